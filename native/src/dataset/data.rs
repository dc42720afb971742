//! A data set: its photos, their classes and parts, and the rules that it has to meet.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rekindle_core::task::Task;
use rekindle_core::train::{TargetError, TargetRows};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::error::DatasetError;
use super::layout::Remark;
use super::split::Split;
use crate::hash::FileHash;
use crate::photos::PhotoError;
use crate::skipped::Skipped;

/// One usable photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it is.
    pub path: PathBuf,
    /// Its place under the data set's folder, with `/` between components.
    pub relative: String,
    /// Index into [`Dataset::classes`]; of photos with labels or values, the stratum by which they are divided evenly.
    pub class: usize,
    /// For each of [`Dataset::classes`], 1 if the photo has that label and 0 if not, or its value. Empty of photos
    /// that have one class.
    pub target: Vec<f32>,
    /// The group that a file of labels puts it in, by number.
    pub group: Option<usize>,
    /// The part its folder puts it in; nothing if the data set is not divided.
    pub split: Option<Split>,
    /// SHA-256 of the file.
    pub hash: FileHash,
}

/// A file that says what is on photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFile {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub hash: Option<FileHash>,
}

/// What a network is to put out for the photos of a data set, in the order of [`Dataset::items`].
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One class each, an index into [`Dataset::classes`].
    Classes(Vec<usize>),
    /// For every label whether the photo has it: 1 or 0.
    Labels(TargetRows),
    /// Values.
    Values(TargetRows),
}

/// How many photos of a class there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Name of the class.
    pub class: String,
    /// Photos in `train/`, or all of them if the data set is not divided.
    pub train: usize,
    /// Photos in `val/`.
    pub val: usize,
    /// Photos in `test/`.
    pub test: usize,
}

impl ClassCount {
    /// All photos of the class.
    pub fn total(&self) -> usize {
        self.train + self.val + self.test
    }
}

/// A folder of photos that training or evaluation can use.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The folder.
    pub root: PathBuf,
    /// What is to be learnt of its photos.
    pub task: Task,
    /// The file that says what is on them; nothing if their folders do.
    pub labels: Option<LabelFile>,
    /// Names of the classes or labels, sorted, or of the values.
    pub classes: Vec<String>,
    /// The photos, sorted by their place under the folder.
    pub items: Vec<Item>,
    /// What is meant to be a photo, or to lead to some, and cannot be used, sorted by place.
    pub skipped: Vec<Skipped>,
    /// Number of other files: notes, tables, videos. Hidden files are not counted.
    pub other_files: usize,
    /// The parts that hold class folders, in order, each with its place under the folder.
    pub parts: Vec<(Split, String)>,
    /// Photos of parts that were set aside.
    pub unused: usize,
    /// How the folder was understood, where that is not plain to see.
    pub remarks: Vec<Remark>,
    /// The part that a model is measured on, or all of them; nothing if the photos are to be learnt.
    pub(super) measured: Option<Option<Split>>,
    pub(super) strict: bool,
}

impl Dataset {
    /// How many photos each class or label has; values have no counts. In the order of [`Dataset::classes`].
    pub fn counts(&self) -> Vec<ClassCount> {
        if self.task == Task::Regress {
            return Vec::new();
        }
        let empty = |class: &String| ClassCount {
            class: class.clone(),
            train: 0,
            val: 0,
            test: 0,
        };
        let mut counts: Vec<_> = self.classes.iter().map(empty).collect();
        for item in &self.items {
            let of_class = [item.class];
            let has = |label: &usize| item.target[*label] > 0.5;
            let labels: Vec<usize> = (0..item.target.len()).filter(has).collect();
            let own = match self.task {
                Task::MultiLabel => &labels[..],
                _ => &of_class[..],
            };
            for &class in own {
                let count = &mut counts[class];
                *match item.split {
                    None | Some(Split::Train) => &mut count.train,
                    Some(Split::Val) => &mut count.val,
                    Some(Split::Test) => &mut count.test,
                } += 1;
            }
        }
        counts
    }

    /// What a network is to put out for each photo.
    ///
    /// # Errors
    ///
    /// Never of a data set that was read: its photos have as many labels or values as there are names.
    pub fn targets(&self) -> Result<Targets, TargetError> {
        let rows = || {
            let rows = self
                .items
                .iter()
                .flat_map(|item| item.target.iter().copied());
            TargetRows::new(self.classes.len(), rows.collect())
        };
        Ok(match self.task {
            Task::MultiLabel => Targets::Labels(rows()?),
            Task::Regress => Targets::Values(rows()?),
            Task::Classify | Task::Segment => {
                Targets::Classes(self.items.iter().map(|item| item.class).collect())
            }
        })
    }

    /// Whether the folders divide the photos into parts.
    pub fn is_divided(&self) -> bool {
        self.items.iter().any(|item| item.split.is_some())
    }

    /// Whether the folders keep some photos apart to measure on: train/ alone does not.
    pub fn holds_some_back(&self) -> bool {
        let is_apart = |part: Split| part != Split::Train;
        self.items
            .iter()
            .any(|item| item.split.is_some_and(is_apart))
    }

    /// The part that [`scan_to_measure`](super::scan_to_measure) chose; nothing if it took all photos.
    pub fn measured_part(&self) -> Option<Split> {
        self.measured.flatten()
    }

    /// Whether a part was left alone because it holds no photo.
    pub fn has_empty_part(&self) -> bool {
        let is_empty = |remark: &Remark| matches!(remark, Remark::EmptyPart { .. });
        self.remarks.iter().any(is_empty)
    }

    /// The place of a part under the folder, such as `val/` or `chest/Validation/`.
    pub fn place_of(&self, split: Split) -> String {
        let found = self.parts.iter().find(|(part, _)| *part == split);
        found.map_or_else(|| format!("{}/", split.name()), |(_, place)| place.clone())
    }

    /// Sets the photos of one part aside and says how many are unused now.
    pub fn set_aside(&mut self, split: Split) -> usize {
        let before = self.items.len();
        self.items.retain(|item| item.split != Some(split));
        self.unused += before - self.items.len();
        self.unused
    }

    /// A hash of the whole data set: of the places and contents of all usable photos, in sorted
    /// order. It does not depend on where the folder lies, on dates, or on the order in which the
    /// system lists files.
    pub fn data_hash(&self) -> FileHash {
        let mut hasher = Sha256::new();
        for item in &self.items {
            // The length in front keeps ("a", "bc") and ("ab", "c") apart.
            hasher.update((item.relative.len() as u64).to_le_bytes());
            hasher.update(item.relative.as_bytes());
            hasher.update(item.hash.0);
            // Folders say in a photo's place what is on it.
            if self.labels.is_some() {
                match self.task {
                    Task::Classify => {
                        let class = &self.classes[item.class];
                        hasher.update((class.len() as u64).to_le_bytes());
                        hasher.update(class.as_bytes());
                    }
                    _ => item
                        .target
                        .iter()
                        .for_each(|value| hasher.update(value.to_le_bytes())),
                }
            }
        }
        FileHash(hasher.finalize().into())
    }

    /// Takes photos out that could not be decoded, given by their index into [`Dataset::items`],
    /// adds them to the skipped ones and returns them.
    ///
    /// # Errors
    /// [`DatasetError::Unusable`] if unreadable photos are not tolerated;
    /// [`DatasetError::EmptyClasses`] if a class has lost its last photo;
    /// [`DatasetError::RootMissing`] if the whole folder has vanished.
    pub fn leave_out(
        &mut self,
        failed: &[(usize, PhotoError)],
    ) -> Result<Vec<Skipped>, DatasetError> {
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        if !self.root.is_dir() {
            return Err(DatasetError::RootMissing(self.root.clone()));
        }
        let left_out = failed.iter().filter_map(|(index, error)| {
            let item = self.items.get(*index)?;
            Some(Skipped::new(item.relative.clone(), &error.problem).of_class(item.class))
        });
        let left_out: Vec<_> = left_out.collect();
        self.skipped.extend_from_slice(&left_out);
        let gone: BTreeSet<usize> = failed.iter().map(|(index, _)| *index).collect();
        let mut index = 0;
        self.items.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        self.check()?;
        Ok(left_out)
    }

    /// The rules every data set has to meet, before and after photos were left out.
    pub(super) fn check(&self) -> Result<(), DatasetError> {
        if self.strict && !self.skipped.is_empty() {
            return Err(DatasetError::Unusable {
                skipped: self.skipped.clone(),
            });
        }
        let name = |class: usize| self.classes[class].clone();
        let classes_where = |wanted: &dyn Fn(&ClassCount) -> bool| -> Vec<String> {
            let counts = self.counts();
            let indices = counts.iter().enumerate().filter(|(_, count)| wanted(count));
            indices.map(|(class, _)| name(class)).collect()
        };
        if self.items.is_empty() {
            return Err(DatasetError::NoPhotos {
                root: self.root.clone(),
                skipped: self.skipped.clone(),
            });
        }
        if self.measured.is_some() || self.task != Task::Classify {
            return Ok(());
        }
        let skipped_of = |classes: &[String]| -> Vec<Skipped> {
            let is_of = |class: usize| classes.contains(&self.classes[class]);
            let skipped = self.skipped.iter();
            let skipped = skipped.filter(|skipped| skipped.class.is_some_and(is_of));
            skipped.cloned().collect()
        };
        let empty = classes_where(&|count| count.total() == 0);
        if !empty.is_empty() {
            return Err(DatasetError::EmptyClasses {
                root: self.root.clone(),
                skipped: skipped_of(&empty),
                classes: empty,
            });
        }
        if self.is_divided() {
            let untaught = classes_where(&|count| count.train == 0);
            if !untaught.is_empty() {
                return Err(DatasetError::NotInTrain {
                    root: self.root.clone(),
                    skipped: skipped_of(&untaught),
                    classes: untaught,
                });
            }
        }
        match self.classes.as_slice() {
            [only] => Err(DatasetError::OneClass {
                root: self.root.clone(),
                class: only.clone(),
            }),
            _ => Ok(()),
        }
    }
}
