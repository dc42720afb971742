//! Listing and hashing the files of a data set.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rayon::prelude::*;
use rekindle_core::task::Task;

use super::data::{Dataset, Item};
use super::error::DatasetError;
use super::layout::{
    ClassFolder, Known, Layout, Reader, Remark, Unlabelled, class_names, nfc, relative,
};
use super::split::Split;
use crate::hash::{FileHash, hash_opened};
use crate::interrupt::{Interrupt, Interrupted};
use crate::photos::{Content, Limits, PhotoProblem, SNIFF_BYTES, open_regular, sniff};
use crate::skipped::Skipped;
use crate::walk::{WalkError, Walker};

/// What [`scan`] accepts.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanOptions {
    /// Bounds on each photo.
    pub limits: Limits,
    /// Whether a file that cannot be used as a photo is an error instead of being skipped.
    pub strict: bool,
}

/// Which photos of a folder a model is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those of test/, else of val/, else of train/; all of a folder that is not divided.
    Best,
    /// Those of one part.
    Only(Split),
    /// All, whatever their part.
    All,
}

/// A file found in a class folder, or by its path in a file of labels; see [`Item`].
pub(super) struct Found {
    pub path: PathBuf,
    pub relative: String,
    pub class: usize,
    pub target: Vec<f32>,
    pub group: Option<usize>,
    pub split: Option<Split>,
}

/// Understands the folder `root` as a data set to learn from.
///
/// # Errors
/// Everything that would keep a classifier from being trained on it, found before anything
/// expensive happens; see [`DatasetError`].
pub fn scan(
    root: &Path,
    options: &ScanOptions,
    interrupt: &Interrupt,
) -> Result<Dataset, DatasetError> {
    let scan = Scan::new(root, options, interrupt)?;
    let layout = scan.layout(None)?;
    // The parts come in order.
    if layout
        .parts
        .first()
        .is_none_or(|(part, _)| *part != Split::Train)
    {
        refuse_unsorted(&layout, Split::Train)?;
    }
    if let Some((first, _)) = layout.parts.first()
        && *first != Split::Train
    {
        let found: Vec<_> = layout.parts.iter().map(|(_, place)| &**place).collect();
        return Err(DatasetError::Ambiguous {
            root: root.to_owned(),
            found: format!("{} without train/", found.join(", ")),
            fix: "name a train/ folder beside it, or give the folder of classes itself".into(),
        });
    }
    scan.read(layout, None)
}

/// Understands the folder `root` as photos to measure a model on, which knows its classes (`known` says
/// which they are, where they have names): one class, or empty ones, will do.
///
/// # Errors
/// [`DatasetError::NoSuchPart`] if the wanted part is not there; everything that leaves nothing to
/// measure on.
pub fn scan_to_measure(
    root: &Path,
    options: &ScanOptions,
    wanted: Wanted,
    known: Known<'_>,
    interrupt: &Interrupt,
) -> Result<Dataset, DatasetError> {
    let scan = Scan::new(root, options, interrupt)?;
    let mut layout = scan.layout(known)?;
    let chosen = choose(root, &layout, wanted, &scan.walker)?;
    if let Some(split) = chosen {
        layout.folders.retain(|folder| folder.split == Some(split));
    }
    scan.read(layout, Some(chosen))
}

/// The classes of the folder `root`, by the names of their folders, sorted, each once.
///
/// # Errors
/// Everything that keeps the folders from being understood.
pub fn classes_of(root: &Path, interrupt: &Interrupt) -> Result<Vec<String>, DatasetError> {
    let options = ScanOptions::default();
    let layout = Scan::new(root, &options, interrupt)?.layout(None)?;
    Ok(class_names(&layout.folders))
}

/// Says so where the photos of a part lie in no class folders, or those of all.
fn refuse_unsorted(layout: &Layout, split: Split) -> Result<(), DatasetError> {
    let nothing = layout.folders.is_empty();
    let unsorted = |part: &&Unlabelled| part.split == Some(split);
    let found = layout.unlabelled.iter().find(unsorted);
    match found.or(layout.unlabelled.first().filter(|_| nothing)) {
        Some(part) => Err(DatasetError::NoClasses {
            root: part.path.clone(),
            loose: part.photos,
        }),
        None => Ok(()),
    }
}

/// The part to measure on; nothing if all photos are.
fn choose(
    root: &Path,
    layout: &Layout,
    wanted: Wanted,
    walker: &Walker<'_>,
) -> Result<Option<Split>, DatasetError> {
    let has = |split| layout.parts.iter().any(|(part, _)| *part == split);
    match wanted {
        Wanted::All => Ok(None),
        Wanted::Only(split) if has(split) => Ok(Some(split)),
        Wanted::Only(split) => {
            refuse_unsorted(layout, split)?;
            if let Some((_, path)) = layout.empty.iter().find(|(part, _)| *part == split) {
                return Err(DatasetError::NoPhotos {
                    root: path.clone(),
                    skipped: Vec::new(),
                });
            }
            Err(DatasetError::NoSuchPart {
                root: root.to_owned(),
                wanted: split,
                found: layout
                    .parts
                    .iter()
                    .map(|(_, place)| place.clone())
                    .collect(),
            })
        }
        Wanted::Best => {
            for split in [Split::Test, Split::Val, Split::Train] {
                for folder in layout.folders.iter().filter(|f| f.split == Some(split)) {
                    match walker.holds_photo(&folder.path) {
                        Ok(false) => {}
                        // Whatever is wrong with it will be said when it is read.
                        Ok(true) | Err(WalkError::Unlistable { .. }) => return Ok(Some(split)),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            refuse_unsorted(layout, Split::Test).map(|()| None)
        }
    }
}

/// Whether there is a folder at all.
///
/// # Errors
/// [`DatasetError::RootMissing`], [`DatasetError::NotAFolder`] or [`DatasetError::Unlistable`].
pub fn check_root(root: &Path) -> Result<(), DatasetError> {
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(DatasetError::NotAFolder(root.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(DatasetError::Unlistable {
                path: root.to_owned(),
                cause: error,
            })
        }
        Err(_) => Err(DatasetError::RootMissing(root.to_owned())),
    }
}

/// What every scan begins with, and how it ends.
struct Scan<'a> {
    root: &'a Path,
    options: &'a ScanOptions,
    walker: Walker<'a>,
    interrupt: &'a Interrupt,
}

impl<'a> Scan<'a> {
    fn new(
        root: &'a Path,
        options: &'a ScanOptions,
        interrupt: &'a Interrupt,
    ) -> Result<Self, DatasetError> {
        check_root(root)?;
        let walker = Walker::new(root, interrupt)?;
        Ok(Self {
            root,
            options,
            walker,
            interrupt,
        })
    }

    /// Understands the folders; `known` says which names are classes', where somebody knows.
    fn layout(&self, known: Known<'_>) -> Result<Layout, DatasetError> {
        let reader = Reader {
            root: self.root,
            walker: &self.walker,
            known,
        };
        reader.understand()
    }

    /// Class folders of one part that are links to others.
    fn linked(&self, folders: &[ClassFolder]) -> Vec<Remark> {
        let is_link = |folder: &&ClassFolder| folder.path.is_symlink();
        let place = |path: &Path| format!("{}/", relative(self.root, path));
        let twin = |link: &ClassFolder| {
            let real = fs::canonicalize(&link.path).ok()?;
            let mut others = folders.iter();
            let target = others.find(|other| {
                other.split == link.split
                    && other.name != link.name
                    && fs::canonicalize(&other.path).is_ok_and(|other| other == real)
                    && (!other.path.is_symlink() || other.path < link.path)
            })?;
            Some(Remark::LinkedClass {
                link: place(&link.path),
                target: place(&target.path),
            })
        };
        folders.iter().filter(is_link).filter_map(twin).collect()
    }

    /// Lists and hashes the photos of the class folders.
    fn read(
        &self,
        layout: Layout,
        measured: Option<Option<Split>>,
    ) -> Result<Dataset, DatasetError> {
        let Layout {
            folders,
            parts,
            loose_files: mut other_files,
            bad_links,
            mut remarks,
            ..
        } = layout;
        let classes = class_names(&folders);
        let skip_link = |path: &PathBuf| {
            let path = relative(self.root, path);
            Skipped::new(path, &PhotoProblem::BadLink)
        };
        let is_lost = |link: &&PathBuf| !self.walker.is_met_elsewhere(link);
        let bad_links = bad_links.iter().filter(is_lost);
        let mut skipped: Vec<Skipped> = bad_links.map(skip_link).collect();
        remarks.extend(self.linked(&folders));
        let mut found = Vec::new();
        for folder in &folders {
            let class = classes.binary_search(&folder.name).unwrap_or_default();
            let walked = self.walker.walk(&folder.path)?;
            if let Some((path, cause)) = walked.unreadable.into_iter().next() {
                return Err(DatasetError::Unlistable { path, cause });
            }
            other_files += walked.others;
            let loops = walked.loops.iter().filter(is_lost);
            let bad_links = loops.chain(&walked.dangling);
            skipped.extend(bad_links.map(|path| skip_link(path).of_class(class)));
            found.extend(walked.photos.into_iter().map(|path| Found {
                relative: relative(self.root, &path),
                path,
                class,
                target: Vec::new(),
                group: None,
                split: folder.split,
            }));
        }
        found.sort_by(|a, b| a.relative.cmp(&b.relative));
        if parts.is_empty() && measured.is_none() {
            remarks.extend(nested(&folders, &found, self.root));
        }
        let items = hashed(found, self.options, self.interrupt, &mut skipped)?;
        // A folder that vanishes while it is read looks like many missing files; say what really
        // happened.
        if !self.root.is_dir() {
            return Err(DatasetError::RootMissing(self.root.to_owned()));
        }
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let dataset = Dataset {
            root: self.root.to_owned(),
            task: Task::Classify,
            labels: None,
            classes,
            items,
            skipped,
            other_files,
            parts,
            unused: 0,
            remarks,
            measured,
            strict: self.options.strict,
        };
        dataset.check()?;
        Ok(dataset)
    }
}

/// Hashes the photos on all cores; those that cannot be used are skipped.
pub(super) fn hashed(
    found: Vec<Found>,
    options: &ScanOptions,
    interrupt: &Interrupt,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Item>, DatasetError> {
    let hashed: Vec<_> = found
        .into_par_iter()
        .map(|found| {
            let hash = examine(&found.path, &options.limits, interrupt)?;
            Ok((found, hash))
        })
        .collect::<Result<_, DatasetError>>()?;
    let mut items = Vec::with_capacity(hashed.len());
    for (found, hash) in hashed {
        match hash {
            Ok(hash) => items.push(Item {
                path: found.path,
                relative: found.relative,
                class: found.class,
                target: found.target,
                group: found.group,
                split: found.split,
                hash,
            }),
            Err(problem) => {
                skipped.push(Skipped::new(found.relative, &problem).of_class(found.class));
            }
        }
    }
    Ok(items)
}

/// What is said where no class folder holds any photo itself: then the classes may lie further down, the more so
/// if the same folders lie in several.
fn nested(folders: &[ClassFolder], found: &[Found], root: &Path) -> Option<Remark> {
    let classes: HashSet<_> = folders.iter().map(|class| class.path.as_path()).collect();
    let direct = |found: &Found| found.path.parent().is_some_and(|at| classes.contains(at));
    if found.iter().any(direct) {
        return None;
    }
    let (example, _) = found.first()?.relative.rsplit_once('/')?;
    let example = format!("{example}/");
    let mut within: Vec<(&Path, BTreeSet<String>)> = Vec::new();
    for folder in folders {
        let inside = found.iter().filter_map(|found| {
            let place = found.path.strip_prefix(&folder.path).ok()?;
            let first = place.components().next()?.as_os_str().to_str()?;
            // Years and numbers are no classes.
            let is_name = first.chars().any(char::is_alphabetic);
            is_name.then(|| format!("{}/", nfc(first)))
        });
        let names: BTreeSet<String> = inside.collect();
        for (other, theirs) in &within {
            let shared: Vec<String> = names.intersection(theirs).take(SHARED).cloned().collect();
            if shared.len() > 1 {
                let place = |path: &Path| format!("{}/", relative(root, path));
                return Some(Remark::SameWithin {
                    classes: [place(other), place(&folder.path)],
                    shared,
                    example,
                });
            }
        }
        within.push((&folder.path, names));
    }
    Some(Remark::Nested { example })
}

/// Names of folders that a remark lists.
const SHARED: usize = 5;

/// Hashes a file and looks at its first bytes; whether it decodes will be seen when it is decoded.
fn examine(
    path: &Path,
    limits: &Limits,
    interrupt: &Interrupt,
) -> Result<Result<FileHash, PhotoProblem>, Interrupted> {
    interrupt.check()?;
    let (mut file, bytes) = match open_regular(path) {
        Ok(opened) => opened,
        Err(problem) => return Ok(Err(problem)),
    };
    if bytes == 0 {
        return Ok(Err(PhotoProblem::Empty));
    }
    let allowed = limits.max_file_bytes;
    if bytes > allowed {
        return Ok(Err(PhotoProblem::FileTooLarge { bytes, allowed }));
    }
    let mut content = None;
    let hash = hash_opened(&mut file, |head| {
        content.get_or_insert_with(|| sniff(&head[..head.len().min(SNIFF_BYTES)]));
        interrupt.check()
    });
    Ok(match (hash?, content) {
        (Err(error), _) => Err(PhotoProblem::from_io(error)),
        (Ok(_), Some(Content::Foreign(format))) if !format.is_read() => {
            Err(PhotoProblem::Foreign(format))
        }
        (Ok(_), Some(Content::Other(name))) => Err(PhotoProblem::NotAnImage(name)),
        (Ok(hash), Some(Content::Image(_) | Content::Foreign(_)) | None) => Ok(hash),
    })
}
