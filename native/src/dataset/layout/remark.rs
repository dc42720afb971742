//! How a folder was understood, where that is not plain to see.

use std::fmt;

/// Something about the layout of a folder that the user should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// The classes were found further down than they are looked for.
    Deeper {
        /// How many levels.
        levels: usize,
        /// The folders that hold the class folders.
        places: Vec<String>,
    },
    /// Folders that were understood as parts by names that say more than that.
    TakenAs {
        /// Each folder, and the part.
        folders: Vec<(String, &'static str)>,
    },
    /// Every class folder is divided into parts.
    Within {
        /// The parts.
        parts: Vec<String>,
    },
    /// All photos lie in folders inside the class folders.
    Nested {
        /// One of these folders.
        example: String,
    },
    /// A part without class folders, or one that is named as unlabelled.
    Unlabelled {
        /// The folder.
        folder: String,
        /// Photos in it.
        photos: usize,
        /// Whether they lie in folders in it all the same.
        sorted: bool,
    },
    /// A folder of photos that is named like a part and lies beside class folders that hold photos.
    NoClass {
        /// The folder.
        folder: String,
        /// Photos in it.
        photos: usize,
    },
    /// Such a folder that is taken as a class.
    PartAsClass {
        /// The folder.
        folder: String,
    },
    /// A part without any photo.
    EmptyPart {
        /// The folder.
        folder: String,
    },
    /// Folders that were taken as classes, and hold folders of the same names.
    SameWithin {
        /// Two of the folders.
        classes: [String; 2],
        /// Names of folders that lie in both.
        shared: Vec<String>,
        /// A folder that holds photos.
        example: String,
    },
    /// A class folder that is a link to another.
    LinkedClass {
        /// The link.
        link: String,
        /// The folder that it leads to.
        target: String,
    },
    /// Folders with photos that are neither parts nor classes.
    LeftAlone {
        /// The folders.
        folders: Vec<String>,
        /// The parts' folders.
        beside: String,
    },
}

impl Remark {
    /// What the user can do about it; nothing where the layout is sound, and a note will do.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoClass { .. } => {
                "if it is a class, give the folder another name; if it is to be measured on, sort its photos into \
                 class folders, and move the other class folders into train/"
            }
            Self::PartAsClass { .. } => {
                "if it is none, move it away, or sort its photos into the class folders"
            }
            Self::EmptyPart { .. } => "put class folders with photos into it, or delete it",
            Self::SameWithin { .. } => {
                "if they are parts, name them train/ and val/ or test/; if the folders in them are the classes, \
                 merge those of the same name and give the folder that holds them"
            }
            Self::LinkedClass { .. } => "delete the link, unless each photo is to have both labels",
            _ => return None,
        })
    }
}

fn counted(photos: usize) -> String {
    match photos {
        1 => "1 photo".to_owned(),
        photos => format!("{photos} photos"),
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deeper { levels: 1, places } => {
                write!(f, "the classes lie one level down: {}", places.join(", "))
            }
            Self::Deeper { levels, places } => {
                write!(
                    f,
                    "the classes lie {levels} levels down: {}",
                    places.join(", ")
                )
            }
            Self::TakenAs { folders } => {
                let each =
                    |(folder, part): &(String, &str)| format!("{folder} is taken as {part}/");
                let all: Vec<_> = folders.iter().map(each).collect();
                f.write_str(&all.join(", "))
            }
            Self::Within { parts } => {
                write!(f, "each class folder is divided into {}", parts.join(", "))
            }
            Self::Nested { example } => write!(
                f,
                "all photos lie in folders inside the class folders, such as {example}: if those are the \
                 classes, give the folder that holds them"
            ),
            Self::Unlabelled {
                folder,
                photos,
                sorted: false,
            } => {
                let photos = counted(*photos);
                write!(f, "{folder} holds {photos} in no class folder: left alone")
            }
            Self::Unlabelled { folder, photos, .. } => write!(
                f,
                "{folder} ({}) is left alone, since its name says that nobody has sorted them",
                counted(*photos)
            ),
            Self::NoClass { folder, photos } => write!(
                f,
                "{folder} is not taken as a class, since a part of the data is usually called so: its {} left \
                 alone",
                match photos {
                    1 => "1 photo is".to_owned(),
                    photos => format!("{photos} photos are"),
                }
            ),
            Self::PartAsClass { folder } => write!(
                f,
                "{folder} is taken as a class, though a part of the data is usually called so"
            ),
            Self::EmptyPart { folder } => write!(f, "{folder} holds no photo: left alone"),
            Self::SameWithin {
                classes: [a, b],
                shared,
                example,
            } => write!(
                f,
                "all photos lie in folders inside the class folders, such as {example}, and folders of the same \
                 names lie in {a} and {b}: {}",
                shared.join(", ")
            ),
            Self::LinkedClass { link, target } => write!(
                f,
                "{link} is a link to {target} and is taken as a class of its own, of the same photos"
            ),
            Self::LeftAlone { folders, beside } => {
                let verb = if folders.len() == 1 { "is" } else { "are" };
                write!(
                    f,
                    "{} beside {beside} {verb} left alone",
                    folders.join(", ")
                )
            }
        }
    }
}
