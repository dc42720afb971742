//! Dividing labelled images into training and validation sides, class by class, without tearing apart what
//! belongs together.
//!
//! Only integers and the counter-based [`Random`] decide who goes where, so the same labels, groups, keys and
//! seed give the same split on every platform. Where keys tell what the images' contents are, each image draws
//! by its own, and the split follows from the contents: what the files are called, and so the order in which
//! they are listed, does not matter. Stratification follows the idea of Kohavi, "A Study of
//! Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection" (IJCAI 1995); groups are kept
//! whole as scikit-learn's `StratifiedGroupKFold` keeps them.
//!
//! A group is what [`Groups`](super::Groups) finds: copies of a picture, a burst of one recording. It stands on
//! one side of every split, because a head that has seen one of its images knows the others. What there is
//! only one group of can therefore not be measured: the only group (or image) of a class always trains.

use std::collections::{BTreeMap, HashMap};

use rekindle_networks::sorting::sorted;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::random::Random;

/// Which images train and which validate: indices into the label list, no index twice; ascending, unless they
/// were put [in order of their contents](Split::by_content).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Images to train on.
    pub train: Vec<usize>,
    /// Images held out.
    pub valid: Vec<usize>,
}

impl Split {
    /// The same images in order of their contents, which `keys` tell (any order will do that does not depend on
    /// names). What is learnt from them, in which batches and with which rounding, is then the same whatever
    /// the files are called. Copies, which have one key, go by class.
    #[must_use]
    pub fn by_content(mut self, keys: &[u64], labels: &[usize]) -> Self {
        for side in [&mut self.train, &mut self.valid] {
            side.sort_unstable_by_key(|&image| (keys.get(image), labels.get(image), image));
        }
        self
    }
}

/// Why images could not be divided.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SplitError {
    /// The held-out share is not between 0 and 1.
    #[error("cannot hold out a share of {0}")]
    Fraction(f64),
    /// Cross-validation needs at least two folds.
    #[error("{0} folds cannot validate each other")]
    TooFewFolds(usize),
    /// Some folds would hold no image.
    #[error("{folds} folds for {images} images")]
    TooManyFolds {
        /// Folds asked for.
        folds: usize,
        /// Images there are.
        images: usize,
    },
    /// Some folds would hold no image, because what belongs together stays together and the only group of a
    /// class always trains.
    #[error("{}", too_few_groups(*folds, *groups))]
    TooFewGroups {
        /// Folds asked for.
        folds: usize,
        /// Groups and single images that can be held out.
        groups: usize,
    },
    /// Groups of another number of images.
    #[error("groups of {groups} images for {images} images")]
    Groups {
        /// Images whose groups are known.
        groups: usize,
        /// Images there are.
        images: usize,
    },
    /// Keys of another number of images.
    #[error("keys of {keys} images for {images} images")]
    Keys {
        /// Images whose keys are known.
        keys: usize,
        /// Images there are.
        images: usize,
    },
    /// A label names a class that does not exist.
    #[error("image {image} has label {label}, but there are only {classes} classes")]
    Label {
        /// Index of the image in the label list.
        image: usize,
        /// Its label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },
}

impl SplitError {
    /// What can be done about it.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Fraction(_) => "choose a number above 0 and below 1",
            Self::TooFewFolds(_) => "use 2 folds or more",
            Self::TooManyFolds { .. } => "use no more folds than images",
            Self::TooFewGroups { groups: 0 | 1, .. } => {
                "copies of a photo and pictures of one recording belong together: add photos taken at \
                 another time, or leave the folds out"
            }
            Self::TooFewGroups { .. } => {
                "use no more folds than that, or add photos taken at another time"
            }
            Self::Groups { .. } | Self::Keys { .. } | Self::Label { .. } => return None,
        })
    }
}

fn too_few_groups(folds: usize, groups: usize) -> String {
    match groups {
        0 => {
            "no class has two photos that do not belong together, so folds have nothing to hold out"
                .to_owned()
        }
        1 => format!("{folds} folds for 1 photo or group of photos that can be held out"),
        _ => format!("{folds} folds for {groups} photos or groups of photos that can be held out"),
    }
}

/// Groups of one image each: nothing belongs together.
pub fn each_alone(images: usize) -> Vec<usize> {
    (0..images).collect()
}

/// Holds out about `fraction` of each class for validation, whole groups at a time.
///
/// `groups` says of each image which group it belongs to, by any number; see [`each_alone`]. `keys` says of each
/// what its content is (its hash), where that is known: then images draw by it, else by their place in the list.
///
/// A class of `n` images is to give `fraction · n` of them, rounded to the nearest whole number (halves
/// up), but at least one and at most `n - 1`. Its groups are held out in random order as far as they fit into
/// that share, and then the one that comes nearest to it, if it does not fit but comes nearer than none: so
/// every class with two groups or more stands on both sides, and gives exactly its share where enough of its
/// images are single. The only group of a class trains. Images of several classes in one group go together, and
/// with them a class may give more than its share. Each class draws from its own random stream, or each image
/// by its key, so adding images to one class leaves the split of the others as it was, as long as their labels,
/// groups and order or keys stay the same.
///
/// # Errors
/// If `fraction` is not strictly between 0 and 1, a label is not below `classes`, or there are not as many
/// groups or keys as labels.
pub fn stratified_split(
    labels: &[usize],
    groups: &[usize],
    keys: Option<&[u64]>,
    classes: usize,
    fraction: f64,
    seed: u64,
) -> Result<Split, SplitError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(SplitError::Fraction(fraction));
    }
    let Bundles { parts, of_class } = Bundles::new(labels, groups, keys, classes, seed)?;
    let mut held = vec![false; parts.len()];
    // Bundles of each class that are left to train on.
    let mut left: Vec<usize> = of_class.iter().map(Vec::len).collect();
    for (class, own) in of_class.iter().enumerate() {
        let size = |part: usize| parts[part].counts[&class];
        let images: usize = own.iter().map(|&part| size(part)).sum();
        if images < 2 {
            continue;
        }
        let target = ((fraction * images as f64 + 0.5) as usize).clamp(1, images - 1);
        let held_before = own.iter().filter(|&&part| held[part]);
        let mut count: usize = held_before.map(|&part| size(part)).sum();
        let free: Vec<usize> = own.iter().copied().filter(|&part| !held[part]).collect();
        let mut hold = |part: usize, left: &mut [usize]| {
            held[part] = true;
            parts[part]
                .counts
                .keys()
                .for_each(|&class| left[class] -= 1);
            size(part)
        };
        // Something of every class must be left to train on.
        let may_go =
            |part: usize, left: &[usize]| parts[part].counts.keys().all(|&class| left[class] > 1);
        // What fits, in random order; then what comes nearest, if that is nearer.
        let mut rest = Vec::new();
        for part in free {
            if count + size(part) <= target && may_go(part, &left) {
                count += hold(part, &mut left);
            } else {
                rest.push(part);
            }
        }
        let off = |part: usize| (count + size(part)).abs_diff(target);
        let last = rest.into_iter().filter(|&part| may_go(part, &left));
        if let Some(part) = last.min_by_key(|&part| off(part))
            && (count == 0 || off(part) < count.abs_diff(target))
        {
            hold(part, &mut left);
        }
    }
    let mut split = Split::default();
    for (part, held) in parts.iter().zip(held) {
        let side = if held {
            &mut split.valid
        } else {
            &mut split.train
        };
        side.extend(&part.images);
    }
    split.train.sort_unstable();
    split.valid.sort_unstable();
    Ok(split)
}

/// Divides the images into `folds` parts for cross-validation and returns one [`Split`] a part: the part
/// validates, all others train. Every image validates exactly once, but for those that belong to the only
/// group of a class: they train in every fold, since a head that never saw their class could say nothing of
/// them.
///
/// Single images are dealt out class by class like cards, each class starting at the fold where the last
/// one stopped. So where no images belong together the folds' sizes differ by at most one image, and so do
/// the images any class has in them; a class smaller than `folds` lies in that many different folds. Groups
/// are dealt out before, the largest first, each to the fold that has the least of its classes. What is too
/// large to be spread makes uneven folds; no fold is empty.
///
/// # Errors
/// If `folds` is below 2, above the number of images, or above the number of groups that can be held out, if
/// a label is not below `classes`, or if there are not as many groups or keys as labels.
pub fn stratified_folds(
    labels: &[usize],
    groups: &[usize],
    keys: Option<&[u64]>,
    classes: usize,
    folds: usize,
    seed: u64,
) -> Result<Vec<Split>, SplitError> {
    if folds < 2 {
        return Err(SplitError::TooFewFolds(folds));
    }
    if folds > labels.len() {
        return Err(SplitError::TooManyFolds {
            folds,
            images: labels.len(),
        });
    }
    let Bundles { parts, of_class } = Bundles::new(labels, groups, keys, classes, seed)?;
    let is_only = |class: &usize| of_class[*class].len() < 2;
    let can_go = |part: &&Bundle| !part.counts.keys().any(is_only);
    let (large, single): (Vec<&Bundle>, Vec<&Bundle>) = parts
        .iter()
        .filter(can_go)
        .partition(|part| part.images.len() > 1);
    if folds > large.len() + single.len() {
        return Err(SplitError::TooFewGroups {
            folds,
            groups: large.len() + single.len(),
        });
    }
    let large = sorted(large, |a, b| b.images.len().cmp(&a.images.len()));

    let mut class_sizes = vec![0_usize; classes];
    labels.iter().for_each(|&label| class_sizes[label] += 1);
    let mut class_counts = vec![vec![0_usize; classes]; folds];
    let mut counts = vec![0_usize; folds];
    let mut fold_of = vec![None; labels.len()];
    let mut turn = 0;
    for part in large.into_iter().chain(single) {
        // How much there is already of what comes: none in an empty fold, which is therefore taken first.
        let crowd = |fold: usize| -> f64 {
            let share = |(&class, &count): (&usize, &usize)| {
                (count * class_counts[fold][class]) as f64 / class_sizes[class] as f64
            };
            part.counts.iter().map(share).sum()
        };
        let fold = (0..folds)
            .map(|step| (turn + step) % folds)
            .min_by(|&a, &b| {
                crowd(a)
                    .total_cmp(&crowd(b))
                    .then(counts[a].cmp(&counts[b]))
            })
            .unwrap_or_default();
        for (&class, &count) in &part.counts {
            class_counts[fold][class] += count;
        }
        counts[fold] += part.images.len();
        part.images
            .iter()
            .for_each(|&image| fold_of[image] = Some(fold));
        turn = (fold + 1) % folds;
    }
    let part = |fold: usize| {
        let (valid, train) = (0..labels.len()).partition(|&image| fold_of[image] == Some(fold));
        Split { train, valid }
    };
    Ok((0..folds).map(part).collect())
}

/// Images that stand on one side.
struct Bundle {
    images: Vec<usize>,
    /// How many of each class that is in it.
    counts: BTreeMap<usize, usize>,
}

struct Bundles {
    parts: Vec<Bundle>,
    /// The parts with images of each class, in the random order in which that class draws them.
    of_class: Vec<Vec<usize>>,
}

impl Bundles {
    fn new(
        labels: &[usize],
        groups: &[usize],
        keys: Option<&[u64]>,
        classes: usize,
        seed: u64,
    ) -> Result<Self, SplitError> {
        if groups.len() != labels.len() {
            return Err(SplitError::Groups {
                groups: groups.len(),
                images: labels.len(),
            });
        }
        let mut parts: Vec<Bundle> = Vec::new();
        let mut of_class = vec![Vec::new(); classes];
        let mut part_of: HashMap<usize, usize> = HashMap::new();
        for (class, images) in shuffled_classes(labels, keys, classes, seed)?
            .into_iter()
            .enumerate()
        {
            for image in images {
                let part = *part_of.entry(groups[image]).or_insert_with(|| {
                    parts.push(Bundle {
                        images: Vec::new(),
                        counts: BTreeMap::new(),
                    });
                    parts.len() - 1
                });
                parts[part].images.push(image);
                let count = parts[part].counts.entry(class).or_default();
                *count += 1;
                if *count == 1 {
                    of_class[class].push(part);
                }
            }
        }
        Ok(Self { parts, of_class })
    }
}

/// The images of each class in random order.
fn shuffled_classes(
    labels: &[usize],
    keys: Option<&[u64]>,
    classes: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>, SplitError> {
    let mut members = vec![Vec::new(); classes];
    for (image, &label) in labels.iter().enumerate() {
        members
            .get_mut(label)
            .ok_or(SplitError::Label {
                image,
                label,
                classes,
            })?
            .push(image);
    }
    let random = Random::new(seed);
    match keys {
        Some(keys) if keys.len() != labels.len() => {
            return Err(SplitError::Keys {
                keys: keys.len(),
                images: labels.len(),
            });
        }
        // Copies draw the same. They belong together, so which of them comes first does not matter.
        Some(keys) => members.iter_mut().for_each(|images| {
            let drawn = images.iter().map(|&image| {
                let key = keys[image];
                ((random.fork(key).next_u64(), key), image)
            });
            let drawn = sorted(drawn.collect(), |(a, _), (b, _)| a.cmp(b));
            *images = drawn.into_iter().map(|(_, image)| image).collect();
        }),
        None => {
            for (class, images) in members.iter_mut().enumerate() {
                random.fork(class as u64).shuffle(images);
            }
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests;
