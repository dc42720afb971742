//! Folders that are not divided: every one is a class, but for parts that lie beside classes.

use std::path::{Path, PathBuf};

use super::found::{Layout, class_folder, text_of};
use super::parts::part_of;
use super::reader::{Reader, Sorted};
use super::remark::Remark;
use crate::dataset::error::DatasetError;
use crate::dataset::split::Split;
use crate::walk::Entries;

impl Reader<'_> {
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
    pub fn flat(
        &self,
        layout: &mut Layout,
        base: &Path,
        top: &Entries,
    ) -> Result<(), DatasetError> {
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
