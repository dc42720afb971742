//! Which folders are classes: directly under the root, under `train/`, `val/` and `test/`, or a level
//! further down than expected, as archives unpack.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use super::parts::{Part, is_generic, part_of};
use super::remark::Remark;
use super::{DatasetError, Split, relative};
use crate::walk::{Entries, Walker};

/// Folders that hold nothing but one folder are opened this many levels down.
const DEEPEST: usize = 4;

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
    /// Files that belong to no class, other than litter.
    pub(super) loose_files: usize,
    /// Links at the places of class folders that lead nowhere or in a circle.
    pub(super) bad_links: Vec<PathBuf>,
    pub(super) remarks: Vec<Remark>,
}

impl Layout {
    fn set_aside(&mut self, entries: &Entries) {
        self.loose_files += entries.photos.len() + entries.others;
        self.bad_links.extend_from_slice(&entries.loops);
        self.bad_links.extend_from_slice(&entries.dangling);
    }
}

/// A folder named like a part, with folders in it.
struct PartFolder<'e> {
    split: Split,
    path: &'e Path,
    entries: Entries,
}

/// The folders under one, by what their names say.
#[derive(Default)]
struct Sorted<'e> {
    parts: Vec<PartFolder<'e>>,
    /// Named like parts, without folders in them, or said to be unlabelled.
    unlabelled: Vec<(Option<Split>, &'e Path)>,
    others: Vec<&'e Path>,
}

/// Whether a name is that of a class, where somebody knows: a model, or the photos to learn from.
pub(super) type Known<'k> = Option<&'k dyn Fn(&str) -> bool>;

/// Whether a folder's name is known; one that is no text never is.
fn is_known(known: Known<'_>, folder: &Path) -> bool {
    known.is_some_and(|known| text_of(folder).is_some_and(known))
}

fn text_of(folder: &Path) -> Option<&str> {
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

    fn place(&self, folder: &Path) -> String {
        format!("{}/", relative(self.root, folder))
    }

    /// Those of some folders that hold photos, at any depth; no more than `most` are looked for.
    fn holding<'e>(
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
    fn holds_photo(&self, folder: &Path) -> Result<bool, DatasetError> {
        match self.walker.holds_photo(folder) {
            Err(crate::walk::WalkError::Unlistable { .. }) => Ok(true),
            other => Ok(other?),
        }
    }

    /// Tells parts from classes.
    fn sort<'e>(&self, top: &'e Entries) -> Result<Sorted<'e>, DatasetError> {
        let mut sorted = Sorted::default();
        let names: Vec<_> = top
            .folders
            .iter()
            .map(|folder| {
                let name = part_of(text_of(folder)?);
                name.filter(|_| !is_known(self.known, folder))
            })
            .collect();
        for (folder, name) in top.folders.iter().zip(&names) {
            let Some(name) = name else {
                sorted.others.push(folder);
                continue;
            };
            // `bullet_train` is a class, `seg_train` beside `seg_test` is a part, and so is a folder
            // that would be the only class.
            let certain = name.rest.is_empty()
                || names
                    .iter()
                    .flatten()
                    .any(|other| other.rest == name.rest && other.part != name.part)
                || self.holding(&top.folders, 2)? == [folder.as_path()];
            match name.part {
                _ if !certain => sorted.others.push(folder),
                Part::Unlabelled => sorted.unlabelled.push((None, folder)),
                Part::Split(split) => match self.walker.list(folder)? {
                    entries if entries.folders.is_empty() => {
                        sorted.unlabelled.push((Some(split), folder));
                    }
                    entries => sorted.parts.push(PartFolder {
                        split,
                        path: folder,
                        entries,
                    }),
                },
            }
        }
        Ok(sorted)
    }

    /// The one folder of some that holds photos, if it holds the classes rather than being one.
    fn wrapper(
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
        if sorted.others.is_empty() {
            let train = |part: &&(Option<Split>, &Path)| part.0 == Some(Split::Train);
            let shown = sorted.unlabelled.iter().find(train);
            if let Some((_, folder)) = shown.or(sorted.unlabelled.first()) {
                return Err(DatasetError::NoClasses {
                    root: folder.to_path_buf(),
                    loose: self.walker.list(folder)?.photos.len(),
                });
            }
        }
        for folder in &top.folders {
            layout.folders.push(class_folder(folder, None)?);
        }
        Ok(())
    }

    /// Whether every class folder is divided in itself: `cat/train/`, `cat/test/`, `dog/train/` …
    fn divided_within(&self, layout: &mut Layout, top: &Entries) -> Result<bool, DatasetError> {
        let mut folders: Vec<ClassFolder> = Vec::new();
        let mut classes = 0;
        for class in &top.folders {
            let inside = self.walker.list(class)?;
            if !inside.photos.is_empty() {
                return Ok(false);
            }
            let holding = self.holding(&inside.folders, usize::MAX)?;
            for folder in &holding {
                let name = text_of(folder).and_then(part_of);
                let name = name.filter(|name| name.rest.is_empty());
                let Some(Part::Split(split)) = name.map(|name| name.part) else {
                    return Ok(false);
                };
                let name = name_of(class)?;
                if let Some(twin) = folders.iter().find(|other| {
                    other.path.parent() == folder.parent() && other.split == Some(split)
                }) {
                    return Err(self.same_part(&twin.path, folder));
                }
                folders.push(ClassFolder {
                    name,
                    path: folder.to_path_buf(),
                    split: Some(split),
                });
            }
            classes += usize::from(!holding.is_empty());
        }
        if classes == 0 || (classes == 1 && self.known.is_none()) {
            return Ok(false);
        }
        for split in [Split::Train, Split::Val, Split::Test] {
            if folders.iter().any(|folder| folder.split == Some(split)) {
                layout.parts.push((split, format!("{}/", split.name())));
            }
        }
        layout.remarks.push(Remark::Within {
            parts: layout
                .parts
                .iter()
                .map(|(_, place)| place.clone())
                .collect(),
        });
        layout.folders = folders;
        Ok(true)
    }

    /// The classes lie under parts.
    fn divided(
        &self,
        layout: &mut Layout,
        sorted: Sorted<'_>,
        level: usize,
    ) -> Result<(), DatasetError> {
        let Sorted {
            mut parts,
            unlabelled,
            others,
        } = sorted;
        // What is to be learnt says which classes there are, so it comes first.
        parts.sort_by_key(|part| part.split);
        let mut kept: Vec<PartFolder<'_>> = Vec::new();
        for part in parts {
            match kept.last() {
                Some(twin) if twin.split == part.split => {
                    if !self.holds_photo(part.path)? {
                        continue;
                    }
                    if self.holds_photo(twin.path)? {
                        return Err(self.same_part(twin.path, part.path));
                    }
                    kept.pop();
                    kept.push(part);
                }
                _ => kept.push(part),
            }
        }
        self.refuse_rivals(layout, &kept, &others)?;
        for (split, path) in unlabelled {
            self.set_unlabelled(layout, split, path)?;
        }

        let mut taught: Option<BTreeSet<String>> = None;
        let mut deepest = level;
        let mut renamed = Vec::new();
        for PartFolder {
            split,
            path,
            mut entries,
        } in kept
        {
            let taken_as = taken_as(path, split);
            let is_taught = taught
                .as_ref()
                .map(|taught| |name: &str| taught.contains(&nfc(name)));
            let known: Known<'_> = match &is_taught {
                Some(is_taught) => Some(is_taught),
                None => self.known,
            };
            let (mut path, mut levels) = (path.to_owned(), level);
            layout.set_aside(&entries);
            while let Some(inner) = self.wrapper(&entries, known)? {
                entries = self.walker.list(&inner)?;
                layout.set_aside(&entries);
                path = inner;
                levels += 1;
            }
            if split != Split::Train && self.is_unsorted(&path, &entries, known)? {
                self.set_unlabelled(layout, Some(split), &path)?;
                continue;
            }
            deepest = deepest.max(levels);
            renamed.extend(taken_as);
            for folder in &entries.folders {
                layout.folders.push(class_folder(folder, Some(split))?);
            }
            if split == Split::Train {
                let names = layout.folders.iter().map(|folder| folder.name.clone());
                taught = Some(names.collect());
            }
            layout.parts.push((split, self.place(&path)));
        }
        if !renamed.is_empty() {
            layout.remarks.push(Remark::TakenAs { folders: renamed });
        }
        if deepest > 0 {
            layout.remarks.push(Remark::Deeper {
                levels: deepest,
                places: layout
                    .parts
                    .iter()
                    .map(|(_, place)| place.clone())
                    .collect(),
            });
        }
        Ok(())
    }

    /// Whether the folders of a part to measure on are no classes: its photos lie in one folder that is
    /// called `images`, `unknown` or like the part itself.
    fn is_unsorted(
        &self,
        part: &Path,
        entries: &Entries,
        known: Known<'_>,
    ) -> Result<bool, DatasetError> {
        let holding = self.holding(&entries.folders, 2)?;
        let [only] = holding[..] else {
            return Ok(holding.is_empty() && !entries.photos.is_empty());
        };
        let generic = text_of(only).is_some_and(is_generic) || part.file_name() == only.file_name();
        Ok(generic && known.is_some() && !is_known(known, only))
    }

    fn set_unlabelled(
        &self,
        layout: &mut Layout,
        split: Option<Split>,
        path: &Path,
    ) -> Result<(), DatasetError> {
        let photos = self.walker.walk(path)?.photos.len();
        layout.loose_files += photos;
        if photos > 0 {
            layout.remarks.push(Remark::Unlabelled {
                folder: self.place(path),
                photos,
            });
            layout.unlabelled.push(Unlabelled {
                split,
                path: path.to_owned(),
                photos,
            });
        }
        Ok(())
    }

    /// Folders beside the parts are no trouble unless they hold photos and could be meant as classes.
    fn refuse_rivals(
        &self,
        layout: &mut Layout,
        parts: &[PartFolder<'_>],
        others: &[&Path],
    ) -> Result<(), DatasetError> {
        let has_train = parts.iter().any(|part| part.split == Split::Train);
        let (mut rivals, mut left) = (Vec::new(), Vec::new());
        for &folder in others {
            if !self.holds_photo(folder)? {
                continue;
            }
            let entries = self.walker.list(folder)?;
            // An archive unpacked twice has the whole set once more inside.
            let copy = !self.sort(&entries)?.parts.is_empty();
            let named_alike = text_of(folder).and_then(part_of).is_some();
            if copy || named_alike || (entries.photos.is_empty() && has_train) {
                left.push(self.place(folder));
            } else {
                rivals.push(folder);
            }
        }
        let beside = names(parts.iter().map(|part| part.path));
        if !rivals.is_empty() {
            return Err(self.ambiguous(
                format!("{} beside {beside}", names(rivals.iter().copied())),
                "move all class folders into train/ (and val/), or all of them out of it; move what is no \
                 class away",
            ));
        }
        if !left.is_empty() {
            layout.remarks.push(Remark::LeftAlone {
                folders: left,
                beside,
            });
        }
        Ok(())
    }

    fn same_part(&self, a: &Path, b: &Path) -> DatasetError {
        self.ambiguous(
            format!("{} mean the same", names([a, b])),
            "merge the two folders, or move one of them away",
        )
    }

    fn ambiguous(&self, found: String, fix: &str) -> DatasetError {
        DatasetError::Ambiguous {
            root: self.root.to_owned(),
            found,
            fix: fix.to_owned(),
        }
    }
}

/// What is said of a part's folder whose name has more in it than the part's.
fn taken_as(folder: &Path, split: Split) -> Option<(String, &'static str)> {
    const PLAIN: [&str; 7] = [
        "train",
        "training",
        "val",
        "valid",
        "validation",
        "test",
        "testing",
    ];
    let name = text_of(folder)?;
    let plain = PLAIN.iter().any(|plain| name.eq_ignore_ascii_case(plain));
    (!plain).then(|| (format!("{name}/"), split.name()))
}

fn names<'p>(paths: impl IntoIterator<Item = &'p Path>) -> String {
    let name = |path: &Path| format!("{}/", path.file_name().unwrap_or_default().display());
    let names: Vec<_> = paths.into_iter().map(name).collect();
    names.join(", ")
}

/// The name of a class's folder.
fn name_of(folder: &Path) -> Result<String, DatasetError> {
    // A name of several lines could pass for several answers where it is printed.
    let name = text_of(folder).filter(|name| !name.chars().any(char::is_control));
    name.map(nfc)
        .ok_or_else(|| DatasetError::ClassName(folder.to_owned()))
}

fn class_folder(path: &Path, split: Option<Split>) -> Result<ClassFolder, DatasetError> {
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
