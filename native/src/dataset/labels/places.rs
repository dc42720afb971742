//! Where the photos of a table lie.

use std::path::{Component, Path, PathBuf};

use crate::dataset::layout::relative;

/// Endings that are tried where a table leaves them out.
const ENDINGS: [&str; 10] = [
    "jpg", "jpeg", "png", "JPG", "JPEG", "PNG", "webp", "bmp", "tif", "tiff",
];

/// The folder of a data set, and that of its table.
pub struct Places {
    root: PathBuf,
    /// The folder's path as the file system knows it, `..` resolved.
    whole: PathBuf,
    beside: Option<PathBuf>,
}

/// What a path in a table leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A file in the folder, by its path and its place under the folder.
    Found(PathBuf, String),
    /// Nothing, or no file.
    Missing,
    /// Out of the folder.
    Outside,
}

impl Places {
    /// Paths are looked for under `root`, then beside the table.
    pub fn new(root: &Path, table: &Path) -> Self {
        let whole = plain(root);
        let beside = table.parent().map(plain).filter(|beside| *beside != whole);
        Self {
            root: root.to_owned(),
            whole,
            beside,
        }
    }

    /// Where a path leads. One that leaves the folder by `..` or begins elsewhere is none of the data set's, be
    /// there a file or not; links in the folder may lead anywhere, as they may in class folders.
    pub fn find(&self, text: &str) -> Place {
        let mut ways = vec![text.to_owned()];
        // As Windows writes them.
        if text.contains('\\') {
            ways.push(text.replace('\\', "/"));
        }
        let bases = [Some(&self.whole), self.beside.as_ref()];
        let mut inside = false;
        for way in &ways {
            for base in bases.iter().flatten() {
                let path = plain(&base.join(way));
                let Ok(place) = path.strip_prefix(&self.whole) else {
                    continue;
                };
                inside = true;
                if let Some(found) = self.with_ending(place) {
                    return found;
                }
            }
        }
        match inside {
            true => Place::Missing,
            false => Place::Outside,
        }
    }

    fn with_ending(&self, place: &Path) -> Option<Place> {
        let found = |place: &Path| {
            let path = self.root.join(place);
            // A link that leads nowhere is there: what is wrong with it is said when it is read.
            let is_there = path.is_file() || (path.is_symlink() && !path.exists());
            is_there.then(|| Place::Found(path, relative(Path::new(""), place)))
        };
        let name = place.file_name()?;
        found(place).or_else(|| {
            ENDINGS.into_iter().find_map(|ending| {
                let mut name = name.to_owned();
                name.push(".");
                name.push(ending);
                found(&place.with_file_name(name))
            })
        })
    }
}

/// A path from the top, without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}
