//! Folders that are divided into parts: which parts are kept, and where the classes lie in them.

use std::collections::BTreeSet;
use std::path::Path;

use super::found::{ClassFolder, Known, Layout, class_folder, is_known, name_of, nfc, text_of};
use super::parts::{Part, is_generic, part_of};
use super::reader::{PartFolder, Reader, Sorted};
use super::remark::Remark;
use crate::dataset::error::DatasetError;
use crate::dataset::split::Split;
use crate::walk::Entries;

impl Reader<'_> {
    /// Whether every class folder is divided in itself: `cat/train/`, `cat/test/`, `dog/train/` …
    pub fn divided_within(&self, layout: &mut Layout, top: &Entries) -> Result<bool, DatasetError> {
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
    pub fn divided(
        &self,
        layout: &mut Layout,
        sorted: Sorted<'_>,
        level: usize,
    ) -> Result<(), DatasetError> {
        let Sorted {
            parts,
            unlabelled,
            others,
        } = sorted;
        let kept = self.one_of_each(parts)?;
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
            if split != Split::Train && !self.holds_photo(&path)? {
                let inside = self.walker.walk(&path)?;
                layout.bad_links.extend(inside.dangling);
                layout.set_empty(Some(split), self.place(&path), &path);
                continue;
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

    /// The folder of each part that holds photos, or any if none does, in the order of the parts: what is to be
    /// learnt says which classes there are, so it comes first.
    fn one_of_each<'e>(
        &self,
        mut parts: Vec<PartFolder<'e>>,
    ) -> Result<Vec<PartFolder<'e>>, DatasetError> {
        parts.sort_by_key(|part| part.split);
        let mut kept: Vec<PartFolder<'e>> = Vec::new();
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
        Ok(kept)
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
