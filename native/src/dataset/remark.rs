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
    /// A part without class folders.
    Unlabelled {
        /// The folder.
        folder: String,
        /// Photos in it.
        photos: usize,
    },
    /// Folders with photos that are neither parts nor classes.
    LeftAlone {
        /// The folders.
        folders: Vec<String>,
        /// The parts' folders.
        beside: String,
    },
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
            Self::Unlabelled { folder, photos } => {
                let photos = match photos {
                    1 => "1 photo".to_owned(),
                    photos => format!("{photos} photos"),
                };
                write!(f, "{folder} holds {photos} in no class folder: left alone")
            }
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
