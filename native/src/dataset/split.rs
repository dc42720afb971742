//! The parts of a data set: photos to learn from, and photos to measure on.

use serde::Serialize;

/// The part of a data set a photo was put in by its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// `train/`.
    Train,
    /// `val/`, `valid/` or `validation/`.
    Val,
    /// `test/`.
    Test,
}

impl Split {
    /// The plainest name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}
