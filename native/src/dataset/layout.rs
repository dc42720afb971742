//! Which folders are classes: directly under the root, under `train/`, `val/` and `test/`, or a level
//! further down than expected, as archives unpack.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use super::divided::Sorted;
use super::parts::part_of;
use super::remark::Remark;
use super::{DatasetError, Split, relative};
use crate::walk::{Entries, Walker};

/// Folders that hold nothing but one folder are opened this many levels down.
pub(super) const DEEPEST: usize = 4;

/// One folder that holds the photos of one class in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassFolder {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) split: Option<Split>,
}

/// A part whose photos lie in no class folders.
#[derive(Debug)]
pub(super) struct Unlabelled {
    /// Nothing for what is only there to be predicted.
    pub(super) split: Option<Split>,
    pub(super) path: PathBuf,
    pub(super) photos: usize,
}

/// What was understood of a root folder.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) folders: Vec<ClassFolder>,
    /// The parts that hold class folders, each with its place under the root.
    pub(super) parts: Vec<(Split, String)>,
    pub(super) unlabelled: Vec<Unlabelled>,
    /// Parts to measure on in which there is no photo.
    pub(super) empty: Vec<(Split, PathBuf)>,
    /// Files that belong to no class, other than litter.
    pub(super) loose_files: usize,
    /// Links at the places of class folders that lead nowhere or in a circle.
    pub(super) bad_links: Vec<PathBuf>,
    pub(super) remarks: Vec<Remark>,
}

impl Layout {
    /// Leaves a part alone in which there is no photo.
    pub(super) fn set_empty(&mut self, split: Option<Split>, place: String, path: &Path) {
        self.remarks.push(Remark::EmptyPart { folder: place });
        self.empty
            .extend(split.map(|split| (split, path.to_owned())));
    }

    pub(super) fn set_aside(&mut self, entries: &Entries) {
        self.loose_files += entries.photos.len() + entries.others;
        self.bad_links.extend_from_slice(&entries.loops);
        self.bad_links.extend_from_slice(&entries.dangling);
    }
}

/// Whether a name is that of a class, where somebody knows: a model, or the photos to learn from.
pub(super) type Known<'k> = Option<&'k dyn Fn(&str) -> bool>;

/// Whether a folder's name is known; one that is no text never is.
pub(super) fn is_known(known: Known<'_>, folder: &Path) -> bool {
    known.is_some_and(|known| text_of(folder).is_some_and(known))
}

pub(super) fn text_of(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str()
}

/// Reads the layout of a folder.
pub(super) struct Reader<'a> {
    pub(super) root: &'a Path,
    pub(super) walker: &'a Walker<'a>,
    pub(super) known: Known<'a>,
}

impl Reader<'_> {
    /// Understands the folders under the root.
    ///
    /// A folder named like a part is one only if it holds folders: `train` may well be a class beside
    /// `bus` and `car`.
    pub(super) fn understand(&self) -> Result<Layout, DatasetError> {
        let mut layout = Layout::default();
        let mut base = self.root.to_owned();
        for level in 0.. {
            let top = self.walker.list(&base)?;
            layout.set_aside(&top);
            let sorted = self.sort(&top)?;
            if !sorted.parts.is_empty() {
                self.divided(&mut layout, sorted, level)?;
                break;
            }
            if level < DEEPEST
                && let Some(wrapper) = self.wrapper(&top, self.known)?
            {
                base = wrapper;
                continue;
            }
            if !self.divided_within(&mut layout, &top)? {
                self.flat(&mut layout, &base, &top)?;
            }
            if level > 0 {
                let places = vec![self.place(&base)];
                layout.remarks.push(Remark::Deeper {
                    levels: level,
                    places,
                });
            }
            break;
        }
        layout.bad_links.sort();
        Ok(layout)
    }

    pub(super) fn place(&self, folder: &Path) -> String {
        format!("{}/", relative(self.root, folder))
    }

    /// Those of some folders that hold photos, at any depth; no more than `most` are looked for.
    pub(super) fn holding<'e>(
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
    pub(super) fn holds_photo(&self, folder: &Path) -> Result<bool, DatasetError> {
        match self.walker.holds_photo(folder) {
            Err(crate::walk::WalkError::Unlistable { .. }) => Ok(true),
            other => Ok(other?),
        }
    }

    /// The one folder of some that holds photos, if it holds the classes rather than being one.
    pub(super) fn wrapper(
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
    pub(super) fn is_class(&self, folder: &Path) -> Result<bool, DatasetError> {
        if !is_known(self.known, folder) {
            return Ok(false);
        }
        let inner = self.walker.list(folder)?.folders;
        Ok(!inner.iter().any(|inner| is_known(self.known, inner)))
    }

    /// Whether all folders with photos are named like parts, more than one, and one of them plainly so.
    fn all_are_parts(&self, top: &Entries) -> Result<bool, DatasetError> {
        let holding = self.holding(&top.folders, usize::MAX)?;
        let mut names = Vec::with_capacity(holding.len());
        for folder in &holding {
            names.push(match text_of(folder).and_then(part_of) {
                Some(_) if self.is_class(folder)? => None,
                name => name,
            });
        }
        let names: Option<Vec<_>> = names.into_iter().collect();
        Ok(names.is_some_and(|names| {
            names.iter().any(|name| name.rest.is_empty())
                && names.iter().any(|name| name.part != names[0].part)
        }))
    }

    /// Every folder is a class.
    fn flat(&self, layout: &mut Layout, base: &Path, top: &Entries) -> Result<(), DatasetError> {
        if top.folders.is_empty() {
            return Err(DatasetError::NoClasses {
                root: base.to_owned(),
                loose: top.photos.len(),
            });
        }
        // `train/` and `val/` full of photos that nobody has sorted, and nothing else.
        let sorted = self.sort(top)?;
        if sorted.others.is_empty() || self.all_are_parts(top)? {
            let train = |part: &&(Option<Split>, &Path)| part.0 == Some(Split::Train);
            let shown = sorted.unlabelled.iter().find(train);
            if let Some((_, folder)) = shown.or(sorted.unlabelled.first()) {
                return Err(DatasetError::NoClasses {
                    root: folder.to_path_buf(),
                    loose: self.walker.list(folder)?.photos.len(),
                });
            }
        }
        let left = self.parts_beside_classes(layout, &sorted)?;
        for folder in &top.folders {
            if !left.contains(&folder.as_path()) {
                layout.folders.push(class_folder(folder, None)?);
            }
        }
        Ok(())
    }

    /// Folders of photos that are named like parts, beside class folders that hold photos: `test/` beside `cat/` and
    /// `dog/` holds what nobody has sorted, while `train/` beside `bus/` and `car/` is a class, and so is `valid/`
    /// beside `invalid/` alone. Either may be wrong, so either is said. Returns those that are no classes.
    fn parts_beside_classes<'e>(
        &self,
        layout: &mut Layout,
        sorted: &Sorted<'e>,
    ) -> Result<Vec<&'e Path>, DatasetError> {
        let mut left = Vec::new();
        let others: Vec<PathBuf> = sorted
            .others
            .iter()
            .map(|path| path.to_path_buf())
            .collect();
        let classes = self.holding(&others, 2)?.len();
        for &(split, folder) in &sorted.unlabelled {
            let photos = self.walker.walk(folder)?.photos.len();
            let place = self.place(folder);
            if photos == 0 {
                layout.set_empty(split, place, folder);
            } else if self.known.is_none() && (split == Some(Split::Train) || classes < 2) {
                layout.remarks.push(Remark::PartAsClass { folder: place });
                continue;
            } else if !self.walker.list(folder)?.photos.is_empty() {
                layout.remarks.push(Remark::NoClass {
                    folder: place,
                    photos,
                });
            } else {
                self.set_unlabelled(layout, split, folder)?;
            }
            left.push(folder);
        }
        Ok(left)
    }
}

/// The name of a class's folder.
pub(super) fn name_of(folder: &Path) -> Result<String, DatasetError> {
    // A name of several lines could pass for several answers where it is printed.
    let name = text_of(folder).filter(|name| !name.chars().any(char::is_control));
    name.map(nfc)
        .ok_or_else(|| DatasetError::ClassName(folder.to_owned()))
}

pub(super) fn class_folder(path: &Path, split: Option<Split>) -> Result<ClassFolder, DatasetError> {
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
pub(super) fn class_names(folders: &[ClassFolder]) -> Vec<String> {
    folders
        .iter()
        .map(|folder| folder.name.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
