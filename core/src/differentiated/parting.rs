//! In what parts a course is gone back through, and what of each is kept: as data.

use std::ops::Range;

/// Some jobs one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub jobs: Range<usize>,
    /// Whether little is kept of them, so that they are gone through again before their way back.
    pub again: bool,
}

/// How little is kept of a course on the way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parting {
    pub parts: Vec<Part>,
    /// Of each job, whether all that it makes is kept although its part is gone through again.
    pub holds: Vec<bool>,
    /// Whether what norms make is not kept where it follows from what is kept for their way back.
    pub remakes: bool,
    /// Whether in parts that are gone through again, what follows from something else that is kept is made a third time, and
    /// not held from when its part is gone through.
    pub twice: bool,
}

impl Parting {
    /// All is kept that does not follow from something else at hardly any cost.
    pub(super) fn none(jobs: usize) -> Self {
        Self {
            parts: vec![Part {
                jobs: 0..jobs,
                again: false,
            }],
            holds: vec![false; jobs],
            remakes: false,
            twice: true,
        }
    }
}
