//! Listing and hashing the files of a data set.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::hash::hash_opened;
use super::layout::{class_names, list, understand};
use super::{Dataset, DatasetError, FileHash, Item, Skipped, Split, relative};
use crate::interrupt::Interrupt;
use crate::photos::{Content, Limits, PhotoProblem, SNIFF_BYTES, open_regular, sniff};

/// Folders inside a class folder deeper than this are a mistake (or an attack), not a collection.
const DEEPEST: usize = 32;

/// What [`scan`] accepts.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanOptions {
    /// Bounds on each photo.
    pub limits: Limits,
    /// Whether a file that cannot be used as a photo is an error instead of being skipped.
    pub strict: bool,
    /// Whether one class, or empty ones, are acceptable, as they are to a model that knows its
    /// classes.
    pub for_evaluation: bool,
}

/// A file found in a class folder.
struct Found {
    path: PathBuf,
    relative: String,
    class: usize,
    split: Option<Split>,
}

/// Understands the folder `root` as a data set.
///
/// # Errors
/// Everything that would keep a classifier from being trained on it, found before anything
/// expensive happens; see [`DatasetError`].
pub fn scan(
    root: &Path,
    options: &ScanOptions,
    interrupt: &Interrupt,
) -> Result<Dataset, DatasetError> {
    let layout = understand(root)?;
    let classes = class_names(&layout.folders);
    let numbers: HashMap<_, _> = classes
        .iter()
        .enumerate()
        .map(|(n, name)| (name, n))
        .collect();

    let mut walk = Walk {
        root,
        found: Vec::new(),
        skipped: Vec::new(),
        other_files: layout.loose_files,
    };
    for folder in &layout.folders {
        interrupt.check()?;
        let class = numbers.get(&folder.name).copied().unwrap_or_default();
        walk.folder(&folder.path, class, folder.split, &mut Vec::new())?;
    }
    let Walk {
        mut found,
        mut skipped,
        other_files,
        ..
    } = walk;
    found.sort_by(|a, b| a.relative.cmp(&b.relative));

    let hashed: Vec<_> = found
        .into_par_iter()
        .map(|found| {
            interrupt.check()?;
            let hash = examine(&found.path, &options.limits);
            Ok((found, hash))
        })
        .collect::<Result<_, DatasetError>>()?;
    let mut items = Vec::with_capacity(hashed.len());
    for (
        Found {
            path,
            relative,
            class,
            split,
        },
        hash,
    ) in hashed
    {
        match hash {
            Ok(hash) => items.push(Item {
                path,
                relative,
                class,
                split,
                hash,
            }),
            Err(problem) => skipped.push(skip(relative, &problem)),
        }
    }
    // A folder that vanishes while it is read looks like many missing files; say what really
    // happened.
    if !root.is_dir() {
        return Err(DatasetError::RootMissing(root.to_owned()));
    }
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    let dataset = Dataset {
        root: root.to_owned(),
        classes,
        items,
        skipped,
        other_files,
        lenient: options.for_evaluation,
        strict: options.strict,
    };
    dataset.check()?;
    Ok(dataset)
}

fn skip(path: String, problem: &PhotoProblem) -> Skipped {
    Skipped {
        path,
        kind: problem.kind(),
        reason: problem.to_string(),
    }
}

struct Walk<'a> {
    root: &'a Path,
    found: Vec<Found>,
    skipped: Vec<Skipped>,
    other_files: usize,
}

impl Walk<'_> {
    /// Collects the photos of a class from a folder and the folders in it. `above` holds the real
    /// paths of the folders on the way here, so that a link to one of them is not followed for
    /// ever.
    fn folder(
        &mut self,
        folder: &Path,
        class: usize,
        split: Option<Split>,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), DatasetError> {
        let entries = list(folder)?;
        // A folder without folders cannot be one of those above it, so most need no look at their
        // real path.
        if !entries.folders.is_empty() {
            let unlistable = |cause| DatasetError::Unlistable {
                path: folder.to_owned(),
                cause,
            };
            let real = fs::canonicalize(folder).map_err(unlistable)?;
            if above.contains(&real) || above.len() >= DEEPEST {
                self.skipped
                    .push(skip(relative(self.root, folder), &PhotoProblem::BadLink));
                return Ok(());
            }
            above.push(real);
            for inner in &entries.folders {
                self.folder(inner, class, split, above)?;
            }
            above.pop();
        }
        self.other_files += entries.others;
        for path in entries.photos {
            let relative = relative(self.root, &path);
            self.found.push(Found {
                path,
                relative,
                class,
                split,
            });
        }
        Ok(())
    }
}

/// Hashes a file and looks at its first bytes; whether it decodes will be seen when it is decoded.
fn examine(path: &Path, limits: &Limits) -> Result<FileHash, PhotoProblem> {
    let (mut file, bytes) = open_regular(path)?;
    if bytes == 0 {
        return Err(PhotoProblem::Empty);
    }
    if bytes > limits.max_file_bytes {
        return Err(PhotoProblem::FileTooLarge { bytes });
    }
    let mut content = None;
    let hash = hash_opened(&mut file, |head| {
        content = Some(sniff(&head[..head.len().min(SNIFF_BYTES)]));
    });
    let hash = hash.map_err(PhotoProblem::from_io)?;
    match content {
        Some(Content::Foreign(format)) => Err(PhotoProblem::Foreign(format)),
        Some(Content::Other(name)) => Err(PhotoProblem::NotAnImage(name)),
        Some(Content::Image(_)) | None => Ok(hash),
    }
}
