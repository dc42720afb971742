//! Options that name a file of labels and its columns.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rekindle_core::task::Task;

/// A file that says what is on the photos of a folder.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelArgs {
    /// A file of paths and labels instead of class folders: CSV whose first line names the columns, or JSONL, an
    /// object a line. Paths are relative to the folder, or to the file, and stay in the folder.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Column of the photos' paths; when not given, the first of path, file, filename, image and the like.
    #[arg(long, value_name = "NAME")]
    pub path_column: Option<String>,
    /// Column of the labels, or several with commas between them; when not given, the first of label, labels, class,
    /// target and the like, or the only one that is left.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub label_column: Vec<String>,
    /// Column that puts each photo into train, val or test.
    #[arg(long, value_name = "NAME")]
    pub split_column: Option<String>,
}

/// What training takes beside.
#[derive(Debug, Clone, Default, Args)]
pub struct TrainLabelArgs {
    /// The file.
    #[command(flatten)]
    pub file: LabelArgs,
    /// Column of what photos belong together by, such as the animal or the patient: photos of one group are never
    /// both trained on and measured on.
    #[arg(long, value_name = "NAME")]
    pub group_column: Option<String>,
    /// What the labels are; found from them when not given. Several labels of a photo are separated by `;` or `|` in
    /// CSV, a list in JSONL, a line each, or a column of 0 and 1 each.
    #[arg(long, value_enum, value_name = "TASK")]
    pub task: Option<TaskChoice>,
}

/// What labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskChoice {
    /// One class a photo.
    Classify,
    /// Any number of labels a photo.
    Multilabel,
    /// Numbers.
    Regress,
}

impl TaskChoice {
    /// The task of the network.
    pub fn task(self) -> Task {
        match self {
            Self::Classify => Task::Classify,
            Self::Multilabel => Task::MultiLabel,
            Self::Regress => Task::Regress,
        }
    }
}
