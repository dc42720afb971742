//! What was understood of a folder: which folders are classes, in which part, and what was left alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use super::remark::Remark;
use crate::dataset::error::DatasetError;
use crate::dataset::split::Split;
use crate::walk::Entries;

/// One folder that holds the photos of one class in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassFolder {
    pub name: String,
    pub path: PathBuf,
    pub split: Option<Split>,
}

/// A part whose photos lie in no class folders.
#[derive(Debug)]
pub struct Unlabelled {
    /// Nothing for what is only there to be predicted.
    pub split: Option<Split>,
    pub path: PathBuf,
    pub photos: usize,
}

/// What was understood of a root folder.
#[derive(Debug, Default)]
pub struct Layout {
    pub folders: Vec<ClassFolder>,
    /// The parts that hold class folders, each with its place under the root.
    pub parts: Vec<(Split, String)>,
    pub unlabelled: Vec<Unlabelled>,
    /// Parts to measure on in which there is no photo.
    pub empty: Vec<(Split, PathBuf)>,
    /// Files that belong to no class, other than litter.
    pub loose_files: usize,
    /// Links at the places of class folders that lead nowhere or in a circle.
    pub bad_links: Vec<PathBuf>,
    pub remarks: Vec<Remark>,
}

impl Layout {
    /// Leaves a part alone in which there is no photo.
    pub fn set_empty(&mut self, split: Option<Split>, place: String, path: &Path) {
        self.remarks.push(Remark::EmptyPart { folder: place });
        self.empty
            .extend(split.map(|split| (split, path.to_owned())));
    }

    pub fn set_aside(&mut self, entries: &Entries) {
        self.loose_files += entries.photos.len() + entries.others;
        self.bad_links.extend_from_slice(&entries.loops);
        self.bad_links.extend_from_slice(&entries.dangling);
    }
}

/// Whether a name is that of a class, where somebody knows: a model, or the photos to learn from.
pub type Known<'k> = Option<&'k dyn Fn(&str) -> bool>;

/// Whether a folder's name is known; one that is no text never is.
pub fn is_known(known: Known<'_>, folder: &Path) -> bool {
    known.is_some_and(|known| text_of(folder).is_some_and(known))
}

pub fn text_of(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str()
}

/// The name of a class's folder.
pub fn name_of(folder: &Path) -> Result<String, DatasetError> {
    // A name of several lines could pass for several answers where it is printed.
    let name = text_of(folder).filter(|name| !name.chars().any(char::is_control));
    name.map(nfc)
        .ok_or_else(|| DatasetError::ClassName(folder.to_owned()))
}

pub fn class_folder(path: &Path, split: Option<Split>) -> Result<ClassFolder, DatasetError> {
    Ok(ClassFolder {
        name: name_of(path)?,
        path: path.to_owned(),
        split,
    })
}

/// A name in Unicode's composed form: macOS writes `é` as two characters, others as one.
pub fn nfc(name: &str) -> String {
    name.nfc().collect()
}

/// The names of all classes, sorted, each once.
pub fn class_names(folders: &[ClassFolder]) -> Vec<String> {
    folders
        .iter()
        .map(|folder| folder.name.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// `path` under `root`, with `/` between components, in Unicode's composed form; bytes that are not
/// text are replaced.
pub fn relative(root: &Path, path: &Path) -> String {
    let place = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = place
        .components()
        .map(|c| c.as_os_str().to_string_lossy())
        .collect();
    nfc(&parts.join("/"))
}
