//! Why a folder cannot be used as a data set.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::split::Split;
use crate::interrupt::Interrupted;
use crate::photos::formats_help;
use crate::skipped::{self, Skipped};
use crate::ui::ExitCode;
use crate::walk::WalkError;

/// How many names a message lists before it says "and … more".
const NAMES: usize = 5;

/// Why a folder cannot be used as a data set.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// There is no such folder, or not any more.
    #[error("there is no such folder: {}", .0.display())]
    RootMissing(PathBuf),
    /// A file was named instead of a folder.
    #[error("this is a file, not a folder of photos: {}", .0.display())]
    NotAFolder(PathBuf),
    /// A folder cannot be listed.
    #[error("cannot list the folder ({cause}): {}", path.display())]
    Unlistable {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// No folders, hence no classes.
    #[error("there are no class folders in {}", root.display())]
    NoClasses {
        /// The folder.
        root: PathBuf,
        /// Photos that lie directly in it.
        loose: usize,
    },
    /// A classifier needs two classes at least.
    #[error("there is only one class, `{class}`, in {}", root.display())]
    OneClass {
        /// The folder.
        root: PathBuf,
        /// The class.
        class: String,
    },
    /// Class folders without any usable photo.
    #[error("no usable photo in {} of {}{}", listed(classes, "class"), root.display(), because(skipped))]
    EmptyClasses {
        /// The folder.
        root: PathBuf,
        /// Names of the classes.
        classes: Vec<String>,
        /// What lies in their folders and cannot be used.
        skipped: Vec<Skipped>,
    },
    /// Classes that occur in `val/` or `test/` but not in `train/`.
    #[error("no photo to learn {} from in {}{}", listed(classes, "class"), root.display(), because(skipped))]
    NotInTrain {
        /// The folder.
        root: PathBuf,
        /// Names of the classes.
        classes: Vec<String>,
        /// What lies in their folders and cannot be used.
        skipped: Vec<Skipped>,
    },
    /// A part was asked for that is not there.
    #[error("there is no {}/ in {}", wanted.name(), root.display())]
    NoSuchPart {
        /// The folder.
        root: PathBuf,
        /// The part.
        wanted: Split,
        /// The parts that are there.
        found: Vec<String>,
    },
    /// Nothing usable at all.
    #[error("there is no usable photo in {}{}", root.display(), because(skipped))]
    NoPhotos {
        /// The folder.
        root: PathBuf,
        /// What cannot be used.
        skipped: Vec<Skipped>,
    },
    /// The folders can be understood in two ways.
    #[error("the layout of the folder is ambiguous, {found}: {}", root.display())]
    Ambiguous {
        /// The folder.
        root: PathBuf,
        /// What was found.
        found: String,
        /// What to do about it.
        fix: String,
    },
    /// A folder's name is not text, so that it cannot name a class in the model file.
    #[error("the name of this class folder is not valid Unicode, or holds control characters: {}", .0.display())]
    ClassName(PathBuf),
    /// `--strict`, and something cannot be used.
    #[error("{}", unusable(skipped))]
    Unusable {
        /// What cannot be used.
        skipped: Vec<Skipped>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl DatasetError {
    /// How the program should end.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Interrupted(_) => ExitCode::Interrupted,
            Self::Unlistable { .. } => ExitCode::Io,
            // The folder may be as it should, only the command asks for another one.
            Self::NoSuchPart { .. } => ExitCode::Usage,
            _ => ExitCode::Data,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::RootMissing(_) | Self::NotAFolder(_) => {
                "name a folder that holds one folder of photos for each class".into()
            }
            Self::Unlistable { .. } => "make the folder readable, or move it away".into(),
            Self::NoClasses { root, loose: 0 } => {
                let example = root.join("cats").join("1.jpg");
                format!(
                    "put the photos into one folder for each class, such as {}",
                    example.display()
                )
            }
            Self::NoClasses { loose, .. } => format!(
                "{loose} photo{} directly in it: sort into one folder for each class, such as cats/ \
                 and dogs/",
                if *loose == 1 { " lies" } else { "s lie" }
            ),
            Self::OneClass { .. } => {
                "add a second folder with photos of something else, or of \"none of these\"".into()
            }
            Self::EmptyClasses { skipped, .. } => skipped::help_with(skipped)
                .unwrap_or("put photos into it, or move the folder away if it is not a class")
                .into(),
            Self::NotInTrain { skipped, .. } => skipped::help_with(skipped)
                .unwrap_or("put photos of it into train/ too, or take it out of val/ and test/")
                .into(),
            Self::NoSuchPart { found, .. } if found.is_empty() => {
                "the folder is not divided: leave out `--split`".into()
            }
            Self::NoSuchPart { found, .. } => {
                format!("the folder is divided into {}", found.join(", "))
            }
            Self::NoPhotos { skipped, .. } => {
                skipped::help_with(skipped).map_or_else(formats_help, Into::into)
            }
            Self::Ambiguous { fix, .. } => fix.clone(),
            Self::ClassName(_) => "rename the folder".into(),
            Self::Unusable { skipped } => {
                let help = "replace or delete them, or leave out `--strict` to skip them";
                match skipped::help_with(skipped) {
                    Some(first) => format!("{first}; {help}"),
                    None => help.into(),
                }
            }
            Self::Interrupted(_) => return None,
        })
    }
}

impl From<WalkError> for DatasetError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Unlistable { path, cause } => Self::Unlistable { path, cause },
            WalkError::Interrupted(interrupted) => Self::Interrupted(interrupted),
        }
    }
}

/// "class `a`", "classes `a`, `b`", "classes `a`, … and 7 more".
fn listed(names: &[String], singular: &str) -> String {
    let plural = if names.len() == 1 { "" } else { "es" };
    let shown: Vec<_> = names
        .iter()
        .take(NAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = match names.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{singular}{plural} {}{more}", shown.join(", "))
}

fn unusable(skipped: &[Skipped]) -> String {
    let shown: Vec<_> = skipped
        .iter()
        .take(NAMES)
        .map(|s| format!("{} ({})", s.path, s.reason))
        .collect();
    let more = match skipped.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} cannot be used: {}{more}",
        skipped::counted(skipped),
        shown.join(", ")
    )
}

/// Why there are no photos where some should be.
fn because(skipped: &[Skipped]) -> String {
    match skipped {
        [] => String::new(),
        skipped => format!(": {}", skipped::reasons(skipped)),
    }
}
