//! What folders hold and what their names say: which are parts, which may be classes, and which only wrap others.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::found::{Known, Layout, Unlabelled, is_known, nfc, relative, text_of};
use super::parts::{Part, PartName, part_of};
use super::remark::Remark;
use crate::dataset::error::DatasetError;
use crate::dataset::split::Split;
use crate::walk::{Entries, WalkError, Walker};

/// Folders that hold nothing but one folder are opened this many levels down.
pub const DEEPEST: usize = 4;

/// A folder named like a part, with folders in it.
pub struct PartFolder<'e> {
    pub split: Split,
    pub path: &'e Path,
    pub entries: Entries,
}

/// The folders under one, by what their names say.
#[derive(Default)]
pub struct Sorted<'e> {
    pub parts: Vec<PartFolder<'e>>,
    /// Named like parts, without folders in them, or said to be unlabelled.
    pub unlabelled: Vec<(Option<Split>, &'e Path)>,
    pub others: Vec<&'e Path>,
}

/// Reads the layout of a folder.
pub struct Reader<'a> {
    pub root: &'a Path,
    pub walker: &'a Walker<'a>,
    pub known: Known<'a>,
}

impl Reader<'_> {
    pub fn place(&self, folder: &Path) -> String {
        format!("{}/", relative(self.root, folder))
    }

    /// Those of some folders that hold photos, at any depth; no more than `most` are looked for.
    pub fn holding<'e>(
        &self,
        folders: &'e [PathBuf],
        most: usize,
    ) -> Result<Vec<&'e Path>, DatasetError> {
        let mut holding = Vec::new();
        for folder in folders {
            if holding.len() < most && self.holds_photo(folder)? {
                holding.push(folder.as_path());
            }
        }
        Ok(holding)
    }

    /// A folder that cannot be listed may hold photos: whoever needs it will be told.
    pub fn holds_photo(&self, folder: &Path) -> Result<bool, DatasetError> {
        match self.walker.holds_photo(folder) {
            Err(WalkError::Unlistable { .. }) => Ok(true),
            other => Ok(other?),
        }
    }

    /// The one folder of some that holds photos, if it holds the classes rather than being one.
    pub fn wrapper(
        &self,
        entries: &Entries,
        known: Known<'_>,
    ) -> Result<Option<PathBuf>, DatasetError> {
        match self.holding(&entries.folders, 2)?[..] {
            [only] if self.wraps(only, known, 0)? => Ok(Some(only.to_owned())),
            _ => Ok(None),
        }
    }

    fn wraps(&self, folder: &Path, known: Known<'_>, depth: usize) -> Result<bool, DatasetError> {
        if depth >= DEEPEST || is_known(known, folder) {
            return Ok(false);
        }
        let inside = self.walker.list(folder)?;
        if !inside.photos.is_empty() {
            return Ok(false);
        }
        if !self.sort(&inside)?.parts.is_empty() {
            return Ok(true);
        }
        let holding = self.holding(&inside.folders, usize::MAX)?;
        for inner in &holding {
            if is_known(known, inner) {
                return Ok(true);
            }
        }
        match holding[..] {
            [only] => self.wraps(only, known, depth + 1),
            // Nobody says what the classes are called: two folders are classes, not a wrapper's.
            [_, _, ..] => Ok(known.is_none()),
            [] => Ok(false),
        }
    }

    /// Whether a folder bears the name of a class that is known, and does not hold folders of such names: a class
    /// may be called `train`, and so may the part of the folder that its photos lie in.
    pub fn is_class(&self, folder: &Path) -> Result<bool, DatasetError> {
        if !is_known(self.known, folder) {
            return Ok(false);
        }
        let inner = self.walker.list(folder)?.folders;
        Ok(!inner.iter().any(|inner| is_known(self.known, inner)))
    }

    /// Tells parts from classes.
    pub fn sort<'e>(&self, top: &'e Entries) -> Result<Sorted<'e>, DatasetError> {
        let mut sorted = Sorted::default();
        let mut names = Vec::with_capacity(top.folders.len());
        for folder in &top.folders {
            let name = text_of(folder).and_then(part_of);
            names.push(match name {
                Some(_) if self.is_class(folder)? => None,
                name => name,
            });
        }
        let certain = self.certain(top, &names)?;
        for ((folder, name), certain) in top.folders.iter().zip(&names).zip(certain) {
            match name.as_ref().map(|name| name.part) {
                Some(Part::Unlabelled) if certain => sorted.unlabelled.push((None, folder)),
                Some(Part::Split(split)) if certain => match self.walker.list(folder)? {
                    entries if entries.folders.is_empty() => {
                        sorted.unlabelled.push((Some(split), folder));
                    }
                    entries => sorted.parts.push(PartFolder {
                        split,
                        path: folder,
                        entries,
                    }),
                },
                _ => sorted.others.push(folder),
            }
        }
        Ok(sorted)
    }

    /// Which of the folders are parts for certain: `bullet_train` is a class, `seg_train` beside `seg_test` is
    /// a part, and so is a folder that would be the only class. Where people name one part in one way and
    /// another in another, the classes in them tell: `seg_test` beside `Training` is a part if a class is in
    /// both, `a_train` beside `b_test` if two are.
    fn certain(
        &self,
        top: &Entries,
        names: &[Option<PartName>],
    ) -> Result<Vec<bool>, DatasetError> {
        let mut certain = Vec::with_capacity(names.len());
        for (folder, name) in top.folders.iter().zip(names) {
            certain.push(match name {
                Some(name) => {
                    name.rest.is_empty()
                        || names
                            .iter()
                            .flatten()
                            .any(|other| other.rest == name.rest && other.part != name.part)
                        || self.holding(&top.folders, 2)? == [folder.as_path()]
                }
                None => false,
            });
        }
        let split = |at: usize| match names[at].as_ref().map(|name| name.part) {
            Some(Part::Split(split)) => Some(split),
            _ => None,
        };
        // Of a part that no other folder with photos is named like, the one that is named a little like it.
        let mut candidates = Vec::new();
        let uncertain = (0..names.len()).filter(|&at| split(at).is_some() && !certain[at]);
        for at in uncertain {
            let mut is_rivalled = false;
            for other in (0..names.len()).filter(|&i| i != at && split(i) == split(at)) {
                is_rivalled = is_rivalled || self.holds_photo(&top.folders[other])?;
            }
            if !is_rivalled {
                candidates.push(at);
            }
        }
        let anchors: Vec<usize> = (0..names.len())
            .filter(|&at| split(at).is_some() && certain[at])
            .collect();
        if candidates.is_empty() || candidates.len() + anchors.len() < 2 {
            return Ok(certain);
        }
        let mut within: HashMap<usize, BTreeSet<String>> = HashMap::new();
        for &at in candidates.iter().chain(&anchors) {
            within.insert(at, self.folders_within(&top.folders[at])?);
        }
        let shared = |a: usize, b: usize| within[&a].intersection(&within[&b]).count();
        for &at in &candidates {
            let is_beside = |&other: &usize, least| other != at && shared(at, other) >= least;
            certain[at] = anchors.iter().any(|anchor| is_beside(anchor, 1))
                || candidates.iter().any(|other| is_beside(other, 2));
        }
        Ok(certain)
    }

    /// The names of the folders in a folder, and of those in the only one that holds photos, and so on.
    fn folders_within(&self, folder: &Path) -> Result<BTreeSet<String>, DatasetError> {
        let mut names = BTreeSet::new();
        let mut folder = folder.to_owned();
        for _ in 0..=DEEPEST {
            let entries = self.walker.list(&folder)?;
            names.extend(entries.folders.iter().filter_map(|f| text_of(f)).map(nfc));
            match self.holding(&entries.folders, 2)?[..] {
                [only] if entries.photos.is_empty() => folder = only.to_owned(),
                _ => break,
            }
        }
        Ok(names)
    }

    /// Leaves a part alone whose photos lie in no class folders, and says so: the remark counts its photos.
    pub fn set_unlabelled(
        &self,
        layout: &mut Layout,
        split: Option<Split>,
        path: &Path,
    ) -> Result<(), DatasetError> {
        let photos = self.walker.walk(path)?.photos.len();
        if photos == 0 {
            layout.set_empty(split, self.place(path), path);
            return Ok(());
        }
        let inside = self.walker.list(path)?;
        layout.remarks.push(Remark::Unlabelled {
            folder: self.place(path),
            photos,
            // Those of several folders were sorted by somebody.
            sorted: inside.photos.is_empty() && self.holding(&inside.folders, 2)?.len() > 1,
        });
        layout.unlabelled.push(Unlabelled {
            split,
            path: path.to_owned(),
            photos,
        });
        Ok(())
    }
}
