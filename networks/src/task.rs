//! What a network is for: what it answers, and so which work can be done with it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a network answers about a photo. In a model file's card, `task` names it: `"segment"`; where nothing is
/// written, it is `classify`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One class for the whole photo.
    #[default]
    Classify,
    /// Any number of labels for the whole photo, each of which stands by itself.
    MultiLabel,
    /// Numbers for the whole photo, such as a weight or an age.
    Regress,
    /// One class for each pixel.
    Segment,
}

/// Work that is asked of a network whose task has no such work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{work} is for networks that {}, and {network} {}", .wanted.work(), .found.habit())]
pub struct WrongTask {
    work: String,
    network: String,
    found: Task,
    wanted: Task,
}

impl WrongTask {
    /// The task that the network has.
    pub fn found(&self) -> Task {
        self.found
    }
}

impl Task {
    /// Every task there is.
    pub const ALL: [Self; 4] = [
        Self::Classify,
        Self::MultiLabel,
        Self::Regress,
        Self::Segment,
    ];

    /// The word for it in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::MultiLabel => "multilabel",
            Self::Regress => "regress",
            Self::Segment => "segment",
        }
    }

    /// Whether a card leaves the task out.
    pub fn is_classify(&self) -> bool {
        *self == Self::Classify
    }

    /// The most classes that a network of this task may have, if there is a bound.
    pub const fn most_classes(self) -> Option<usize> {
        match self {
            Self::Classify | Self::MultiLabel | Self::Regress => None,
            // A pixel of a mask is a byte, one value of which means "no class".
            Self::Segment => Some(255),
        }
    }

    /// The task of the published networks that can be given a head for this one: a linear head on a classifier's
    /// features may put out logits of labels, or values, as well.
    pub const fn of_network(self) -> Self {
        match self {
            Self::Classify | Self::MultiLabel | Self::Regress => Self::Classify,
            Self::Segment => Self::Segment,
        }
    }

    /// Refuses work that is meant for networks of another task. `work` says what was asked for, `network` of
    /// which network.
    ///
    /// # Errors
    ///
    /// [`WrongTask`], in words that name both.
    pub fn must_be(self, wanted: Self, work: &str, network: &str) -> Result<(), WrongTask> {
        match self == wanted {
            true => Ok(()),
            false => Err(WrongTask {
                work: work.to_owned(),
                network: network.to_owned(),
                found: self,
                wanted,
            }),
        }
    }

    /// What several networks do.
    pub(crate) const fn work(self) -> &'static str {
        match self {
            Self::Classify => "classify photos",
            Self::MultiLabel => "put several labels on photos",
            Self::Regress => "estimate values of photos",
            Self::Segment => "segment photos",
        }
    }

    /// What one network does.
    const fn habit(self) -> &'static str {
        match self {
            Self::Classify => "classifies them",
            Self::MultiLabel => "puts several labels on them",
            Self::Regress => "estimates values of them",
            Self::Segment => "segments them",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_one_lower_case_word() {
        for task in Task::ALL {
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(json, format!("\"{task}\""));
            assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
        }
        assert!(serde_json::from_str::<Task>(r#""Segment""#).is_err());
    }

    #[test]
    fn work_for_another_task_is_refused_by_name() {
        let asked =
            |task: Task| task.must_be(Task::Classify, "training a new head", "fcn_resnet50");
        assert_eq!(asked(Task::Classify), Ok(()));
        assert_eq!(
            asked(Task::Segment).unwrap_err().to_string(),
            "training a new head is for networks that classify photos, and fcn_resnet50 segments them"
        );
        assert_eq!(
            asked(Task::MultiLabel).unwrap_err().to_string(),
            "training a new head is for networks that classify photos, and fcn_resnet50 puts several labels on them"
        );
    }
}
