//! What is worth saying about a data set that can be used.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use rekindle_core::task::Task;
use serde::Serialize;

use super::data::{ClassCount, Dataset, Item};
use crate::hash::FileHash;

/// A class with fewer photos to learn from gets a warning.
const FEW: usize = 5;
/// Classes that are warned of by name; of more their number is said.
const NAMED: usize = 5;
/// The largest class may have this many times the photos of the smallest before a warning.
const IMBALANCE: usize = 4;

/// Something that training survives but the user should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// Too few photos to learn a class, or to measure how well it was learnt.
    FewPhotos {
        /// Name of the class.
        class: String,
        /// Photos to learn from.
        photos: usize,
    },
    /// Some class has many times the photos of another.
    Imbalance {
        /// The class with the most photos.
        largest: String,
        /// How many.
        most: usize,
        /// The class with the fewest photos.
        smallest: String,
        /// How many.
        fewest: usize,
    },
    /// The same file lies in two parts, so that the measured accuracy is too good.
    Leak {
        /// Number of such files.
        photos: usize,
        /// Two places of one of them.
        example: [String; 2],
    },
    /// The same file lies in two classes, so that one of the labels is wrong.
    TwoLabels {
        /// Number of such files.
        photos: usize,
        /// Two places of one of them.
        example: [String; 2],
    },
    /// The same file lies twice in a class.
    Duplicates {
        /// Number of superfluous copies.
        photos: usize,
        /// Two places of one of them.
        example: [String; 2],
    },
    /// A class has nothing in `val/`.
    NotValidated {
        /// Name of the class.
        class: String,
    },
    /// More classes with too few photos.
    MoreFewPhotos {
        /// How many classes.
        classes: usize,
    },
    /// More classes with nothing in `val/`.
    MoreNotValidated {
        /// How many classes.
        classes: usize,
    },
    /// Two class names that are one on Windows and macOS.
    CaseClash {
        /// The names.
        classes: [String; 2],
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewPhotos { class, photos } => {
                let plural = if *photos == 1 { "" } else { "s" };
                write!(
                    f,
                    "class `{class}` has only {photos} photo{plural} to learn from"
                )
            }
            Self::Imbalance {
                largest,
                most,
                smallest,
                fewest,
            } => write!(
                f,
                "the classes are out of balance: {most} photos of `{largest}`, {fewest} of \
                 `{smallest}`"
            ),
            Self::Leak {
                photos,
                example: [a, b],
            } => write!(
                f,
                "{} in more than one part, so the accuracy will look too good: \
                 {a} is {b}",
                either(*photos, "photo lies", "photos lie")
            ),
            Self::TwoLabels {
                photos,
                example: [a, b],
            } => {
                let photos = either(*photos, "photo lies", "photos lie");
                write!(f, "{photos} in more than one class: {a} is {b}")
            }
            Self::Duplicates {
                photos,
                example: [a, b],
            } => {
                let copies = either(
                    *photos,
                    "photo is a copy of another",
                    "photos are copies of others",
                );
                write!(f, "{copies}: {a} is {b}")
            }
            Self::NotValidated { class } => write!(f, "class `{class}` has no photos in val/"),
            Self::MoreFewPhotos { classes } => write!(
                f,
                "{} fewer than {FEW} photos to learn from",
                more(*classes)
            ),
            Self::MoreNotValidated { classes } => {
                write!(f, "{} no photos in val/", more(*classes))
            }
            Self::CaseClash { classes: [a, b] } => {
                write!(f, "the classes `{a}` and `{b}` differ only in case")
            }
        }
    }
}

fn either(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn more(classes: usize) -> String {
    match classes {
        1 => "1 more class has".to_owned(),
        classes => format!("{classes} more classes have"),
    }
}

impl Warning {
    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::FewPhotos { .. } | Self::MoreFewPhotos { .. } => {
                "ten photos or more of each class make a sound start"
            }
            Self::Imbalance { .. } => {
                "add photos of the rare classes, or use `--class-weights auto`"
            }
            Self::Leak { .. } => "delete the copies from val/ and test/",
            Self::TwoLabels { .. } => "decide for one class and delete the other copy",
            Self::Duplicates { .. } => {
                "delete the copies: what lies twice in a class counts twice in it"
            }
            Self::NotValidated { .. } | Self::MoreNotValidated { .. } => {
                "move some of its photos from train/ to val/"
            }
            Self::CaseClash { .. } => {
                "merge or rename the folders: on Windows and macOS they are one"
            }
        }
    }
}

impl Dataset {
    /// What is worth a warning, the gravest first.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.copies();
        if self.task != Task::Classify {
            return warnings;
        }
        let counts = self.counts();
        let by_train = |count: &&ClassCount| count.train;
        let (least, most) = (
            counts.iter().min_by_key(by_train),
            counts.iter().max_by_key(by_train),
        );
        if let (Some(least), Some(most)) = (least, most)
            && most.train > IMBALANCE * least.train
        {
            warnings.push(Warning::Imbalance {
                largest: most.class.clone(),
                most: most.train,
                smallest: least.class.clone(),
                fewest: least.train,
            });
        }
        let mut name = |classes: Vec<&ClassCount>,
                        one: fn(&ClassCount) -> Warning,
                        more: fn(usize) -> Warning| {
            warnings.extend(classes.iter().take(NAMED).map(|count| one(count)));
            let rest = classes.len().saturating_sub(NAMED);
            warnings.extend((rest > 0).then(|| more(rest)));
        };
        let those = |wanted: fn(&&ClassCount) -> bool| counts.iter().filter(wanted).collect();
        name(
            those(|count| count.train < FEW),
            |count| Warning::FewPhotos {
                class: count.class.clone(),
                photos: count.train,
            },
            |classes| Warning::MoreFewPhotos { classes },
        );
        if counts.iter().any(|count| count.val > 0) {
            name(
                those(|count| count.val == 0),
                |count| Warning::NotValidated {
                    class: count.class.clone(),
                },
                |classes| Warning::MoreNotValidated { classes },
            );
        }
        let mut lowercase: BTreeMap<String, &String> = BTreeMap::new();
        for class in &self.classes {
            if let Some(other) = lowercase.insert(class.to_lowercase(), class) {
                warnings.push(Warning::CaseClash {
                    classes: [other.clone(), class.clone()],
                });
            }
        }
        warnings
    }

    /// Warnings about files that occur more than once.
    fn copies(&self) -> Vec<Warning> {
        let mut first: HashMap<FileHash, &Item> = HashMap::new();
        let (mut leaks, mut labels, mut twins) = (Vec::new(), Vec::new(), Vec::new());
        for item in &self.items {
            let Some(original) = first.get(&item.hash) else {
                first.insert(item.hash, item);
                continue;
            };
            let pair = [item.relative.clone(), original.relative.clone()];
            if self.task == Task::Classify && item.class != original.class {
                labels.push(pair);
            } else if item.split != original.split {
                leaks.push(pair);
            } else {
                twins.push(pair);
            }
        }
        let warning = |pairs: Vec<[String; 2]>, make: fn(usize, [String; 2]) -> Warning| {
            let photos = pairs.len();
            pairs
                .into_iter()
                .next()
                .map(|example| make(photos, example))
        };
        [
            warning(labels, |photos, example| Warning::TwoLabels {
                photos,
                example,
            }),
            warning(leaks, |photos, example| Warning::Leak { photos, example }),
            warning(twins, |photos, example| Warning::Duplicates {
                photos,
                example,
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
