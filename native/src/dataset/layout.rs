//! Which folders are classes: directly under the root, or under `train/`, `val/` and `test/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{DatasetError, Split};
use crate::photos::is_photo_name;

/// One folder that holds the photos of one class in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassFolder {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) split: Option<Split>,
}

/// What was understood of a root folder.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folders: Vec<ClassFolder>,
    /// Files that belong to no class, other than hidden ones.
    pub(super) loose_files: usize,
}

/// The entries of one folder that count, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) folders: Vec<PathBuf>,
    pub(super) photos: Vec<PathBuf>,
    /// Files that are not named like photos.
    pub(super) others: usize,
}

/// Lists a folder. Hidden entries and what file managers leave behind do not exist.
pub(super) fn list(folder: &Path) -> Result<Entries, DatasetError> {
    let unlistable = |cause| DatasetError::Unlistable {
        path: folder.to_owned(),
        cause,
    };
    let mut entries = Entries::default();
    for entry in fs::read_dir(folder).map_err(unlistable)? {
        let path = entry.map_err(unlistable)?.path();
        if is_litter(&path) {
            continue;
        }
        // Follows links; one that leads nowhere is a photo that cannot be read, if it is named like
        // one.
        if path.is_dir() {
            entries.folders.push(path);
        } else if is_photo_name(&path) {
            entries.photos.push(path);
        } else {
            entries.others += 1;
        }
    }
    // Systems list in any order; class numbers and hashes must not depend on it.
    entries.folders.sort();
    entries.photos.sort();
    Ok(entries)
}

fn is_litter(path: &Path) -> bool {
    const NAMES: [&str; 4] = ["__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"];
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".") || NAMES.iter().any(|litter| name == *litter)
}

fn split_of(folder: &Path) -> Option<Split> {
    let name = folder.file_name()?.to_str()?.to_ascii_lowercase();
    match name.as_str() {
        "train" | "training" => Some(Split::Train),
        "val" | "valid" | "validation" => Some(Split::Val),
        "test" => Some(Split::Test),
        _ => None,
    }
}

/// Understands the folders under `root`.
///
/// A folder named like a part is one only if it holds folders: `train` may well be a class beside
/// `bus` and `car`.
pub(super) fn understand(root: &Path) -> Result<Layout, DatasetError> {
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(DatasetError::NotAFolder(root.to_owned())),
        Err(_) => return Err(DatasetError::RootMissing(root.to_owned())),
    }
    let top = list(root)?;
    let mut parts: Vec<(Split, &PathBuf, Entries)> = Vec::new();
    let mut others: Vec<&PathBuf> = Vec::new();
    for folder in &top.folders {
        match split_of(folder) {
            None => others.push(folder),
            Some(split) => match list(folder)? {
                entries if entries.folders.is_empty() => others.push(folder),
                entries => parts.push((split, folder, entries)),
            },
        }
    }
    let loose_files = top.photos.len() + top.others;

    if parts.is_empty() {
        return flat(root, &top, &others, loose_files);
    }
    divided(root, parts, &others, loose_files)
}

/// Every folder is a class.
fn flat(
    root: &Path,
    top: &Entries,
    others: &[&PathBuf],
    loose_files: usize,
) -> Result<Layout, DatasetError> {
    if others.is_empty() {
        return Err(DatasetError::NoClasses {
            root: root.to_owned(),
            loose: top.photos.len(),
        });
    }
    // `train/` and `val/` full of photos that nobody has sorted, and nothing else.
    let train = others
        .iter()
        .find(|folder| split_of(folder) == Some(Split::Train));
    if let Some(train) = train
        && others.iter().all(|folder| split_of(folder).is_some())
    {
        let loose = list(train)?.photos.len();
        return Err(DatasetError::NoClasses {
            root: train.to_path_buf(),
            loose,
        });
    }
    let folders = others
        .iter()
        .map(|folder| class_folder(folder, None))
        .collect::<Result<_, _>>()?;
    Ok(Layout {
        folders,
        loose_files,
    })
}

/// The classes lie one level deeper.
fn divided(
    root: &Path,
    parts: Vec<(Split, &PathBuf, Entries)>,
    others: &[&PathBuf],
    mut loose_files: usize,
) -> Result<Layout, DatasetError> {
    let ambiguous = |found: String, fix: &str| DatasetError::Ambiguous {
        root: root.to_owned(),
        found,
        fix: fix.to_owned(),
    };
    let names = |paths: &mut dyn Iterator<Item = &&PathBuf>| -> String {
        let names: Vec<_> = paths
            .map(|p| format!("{}/", p.file_name().unwrap_or_default().display()))
            .collect();
        names.join(", ")
    };
    for (index, (split, path, _)) in parts.iter().enumerate() {
        if let Some((_, twin, _)) = parts[..index].iter().find(|(other, ..)| other == split) {
            return Err(ambiguous(
                format!("{} mean the same", names(&mut [twin, path].into_iter())),
                "merge the two folders, or move one of them away",
            ));
        }
    }
    // Folders beside the parts are no trouble unless they hold photos and could be meant as
    // classes.
    let mut rivals = Vec::new();
    for folder in others {
        let photos = list(folder)?.photos.len();
        if split_of(folder) == Some(Split::Test) {
            // Competitions hand out a test/ folder without labels: of no use here, but no trouble
            // either.
            loose_files += photos;
        } else if photos > 0 {
            rivals.push(*folder);
        }
    }
    if !rivals.is_empty() {
        let found = format!(
            "{} beside {}",
            names(&mut rivals.iter()),
            names(&mut parts.iter().map(|(_, path, _)| path))
        );
        return Err(ambiguous(
            found,
            "move all class folders into train/ (and val/), or all of them out of it",
        ));
    }
    if !parts.iter().any(|(split, ..)| *split == Split::Train) {
        let found = format!(
            "{} without train/",
            names(&mut parts.iter().map(|(_, path, _)| path))
        );
        return Err(ambiguous(
            found,
            "name a train/ folder beside it, or give the folder of classes itself",
        ));
    }
    let mut folders = Vec::new();
    for (split, _, entries) in parts {
        loose_files += entries.photos.len() + entries.others;
        for folder in &entries.folders {
            folders.push(class_folder(folder, Some(split))?);
        }
    }
    Ok(Layout {
        folders,
        loose_files,
    })
}

fn class_folder(path: &Path, split: Option<Split>) -> Result<ClassFolder, DatasetError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| DatasetError::ClassName(path.to_owned()))?;
    Ok(ClassFolder {
        name: name.to_owned(),
        path: path.to_owned(),
        split,
    })
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
