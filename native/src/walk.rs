//! Which files and folders count, for every command that is given a folder: one list of litter, one way
//! of following links.
//!
//! Every folder is looked into once, by its real path, however many links lead there, and no link is
//! followed to a folder that lies above. So folders that hold links to themselves, to their parents or
//! to each other end, and a photo is met once. Of a file and a link to it the file is taken.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::interrupt::{Interrupt, Interrupted};
use crate::photos::{Content, SNIFF_BYTES, is_photo_name, open_regular, sniff};
use crate::runs;
use crate::ui::ExitCode;

/// Why a folder could not be walked through.
#[derive(Debug, Error)]
pub enum WalkError {
    /// The folder itself cannot be listed.
    #[error("cannot list the folder ({cause}): {}", path.display())]
    Unlistable {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl WalkError {
    /// How the program should end.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unlistable { .. } => ExitCode::Io,
            Self::Interrupted(_) => ExitCode::Interrupted,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Unlistable { .. } => Some("make the folder readable, or move it away"),
            Self::Interrupted(_) => None,
        }
    }
}

/// The entries of one folder that count, each list sorted.
#[derive(Debug, Default)]
pub struct Entries {
    /// Folders, and links to folders that do not lie above.
    pub folders: Vec<PathBuf>,
    /// Photos, by their names or by their content.
    pub photos: Vec<PathBuf>,
    /// Files that are no photos.
    pub others: usize,
    /// Links to a folder above, which are not followed.
    pub loops: Vec<PathBuf>,
    /// Links that lead nowhere.
    pub dangling: Vec<PathBuf>,
}

/// What lies in a folder and in the folders in it, each list sorted.
#[derive(Debug, Default)]
pub struct Walked {
    /// Photos, by their names or by their content.
    pub photos: Vec<PathBuf>,
    /// Files that are no photos.
    pub others: usize,
    /// Links to a folder above, which are not followed.
    pub loops: Vec<PathBuf>,
    /// Links that lead nowhere.
    pub dangling: Vec<PathBuf>,
    /// Folders that cannot be listed.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// Looks into folders below a root.
pub struct Walker<'a> {
    /// The real path of the root: links to it or above it are not followed.
    root: PathBuf,
    interrupt: &'a Interrupt,
}

/// One thing that was met.
enum Met {
    Folder {
        path: PathBuf,
        real: PathBuf,
        linked: bool,
    },
    Photo {
        path: PathBuf,
        linked: bool,
    },
    Other,
    Loop(PathBuf),
    Dangling(PathBuf),
    Unreadable(PathBuf, io::Error),
}

impl<'a> Walker<'a> {
    /// A walker for `root` and what is linked from there.
    ///
    /// # Errors
    /// [`WalkError::Unlistable`] if there is no such folder.
    pub fn new(root: &Path, interrupt: &'a Interrupt) -> Result<Self, WalkError> {
        Ok(Self {
            root: real_path(root)?,
            interrupt,
        })
    }

    /// What lies in one folder.
    ///
    /// # Errors
    /// [`WalkError::Unlistable`], [`WalkError::Interrupted`].
    pub fn list(&self, folder: &Path) -> Result<Entries, WalkError> {
        let mut entries = Entries::default();
        self.entries(folder, &real_path(folder)?, &mut |met| {
            match met {
                Met::Folder { path, .. } => entries.folders.push(path),
                Met::Photo { path, .. } => entries.photos.push(path),
                Met::Other => entries.others += 1,
                Met::Dangling(path) => entries.dangling.push(path),
                Met::Loop(path) => entries.loops.push(path),
                Met::Unreadable(..) => {}
            }
            ControlFlow::Continue(())
        })
        .map(drop)?;
        // Systems list in any order; class numbers and hashes must not depend on it.
        entries.folders.sort();
        entries.photos.sort();
        entries.loops.sort();
        entries.dangling.sort();
        Ok(entries)
    }

    /// What lies in a folder and in the folders in it.
    ///
    /// # Errors
    /// [`WalkError::Unlistable`] if the folder itself cannot be listed; [`WalkError::Interrupted`].
    pub fn walk(&self, folder: &Path) -> Result<Walked, WalkError> {
        let mut walked = Walked::default();
        let mut links = Vec::new();
        self.traverse(folder, &mut |met| {
            match met {
                Met::Photo { path, linked: true } => links.push(path),
                Met::Photo { path, .. } => walked.photos.push(path),
                Met::Other => walked.others += 1,
                Met::Loop(path) => walked.loops.push(path),
                Met::Dangling(path) => walked.dangling.push(path),
                Met::Unreadable(path, cause) => walked.unreadable.push((path, cause)),
                Met::Folder { .. } => {}
            }
            ControlFlow::Continue(())
        })?;
        if !links.is_empty() {
            links.sort();
            let mut seen = HashSet::new();
            for photo in &walked.photos {
                self.interrupt.check()?;
                seen.extend(fs::canonicalize(photo));
            }
            for link in links {
                self.interrupt.check()?;
                // A link that cannot be followed will be said to be bad when it is opened.
                if fs::canonicalize(&link).map_or(true, |real| seen.insert(real)) {
                    walked.photos.push(link);
                }
            }
        }
        walked.photos.sort();
        walked.loops.sort();
        walked.dangling.sort();
        walked.unreadable.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(walked)
    }

    /// Whether there is any photo in a folder or in the folders in it.
    ///
    /// # Errors
    /// As [`walk`](Self::walk).
    pub fn holds_photo(&self, folder: &Path) -> Result<bool, WalkError> {
        let mut found = false;
        self.traverse(folder, &mut |met| {
            found = matches!(met, Met::Photo { .. });
            if found {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// Whether a link that leads to a folder above leads to the root or a folder in it: what lies there is met on
    /// other ways, so that nothing is lost by not following it.
    pub fn is_met_elsewhere(&self, link: &Path) -> bool {
        fs::canonicalize(link).is_ok_and(|real| real.starts_with(&self.root))
    }

    /// Meets everything in a folder and in the folders in it, each folder once.
    fn traverse(
        &self,
        folder: &Path,
        each: &mut dyn FnMut(Met) -> ControlFlow<()>,
    ) -> Result<(), WalkError> {
        let real = real_path(folder)?;
        let mut seen = HashSet::new();
        let mut pending = vec![(folder.to_owned(), real)];
        // Links come last: a folder is met where it lies, if it lies here at all.
        let mut links: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        while let Some((path, real)) = pending.pop().or_else(|| links.pop_first()) {
            // A folder behind a link may have been met meanwhile.
            if !seen.insert(real.clone()) {
                continue;
            }
            let mut inner = |met| match met {
                Met::Folder {
                    path,
                    real,
                    linked: true,
                } => {
                    links.insert(path, real);
                    ControlFlow::Continue(())
                }
                Met::Folder { path, real, .. } => {
                    pending.push((path, real));
                    ControlFlow::Continue(())
                }
                met => each(met),
            };
            match self.entries(&path, &real, &mut inner) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(WalkError::Unlistable { path: inner, cause }) if inner != folder => {
                    if each(Met::Unreadable(inner, cause)).is_break() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Meets the entries of one folder, whose real path is `real`.
    fn entries(
        &self,
        folder: &Path,
        real: &Path,
        each: &mut dyn FnMut(Met) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, WalkError> {
        let unlistable = |cause| WalkError::Unlistable {
            path: folder.to_owned(),
            cause,
        };
        for entry in fs::read_dir(folder).map_err(unlistable)? {
            self.interrupt.check()?;
            let entry = entry.map_err(unlistable)?;
            let name = entry.file_name();
            if is_litter(&name) {
                continue;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && holds_runs(&entry.path()) {
                continue;
            }
            let met = self.meet(entry.path(), &name, real, entry.file_type().ok());
            if each(met).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn meet(&self, path: PathBuf, name: &OsStr, folder: &Path, kind: Option<fs::FileType>) -> Met {
        let linked = kind.is_none_or(|kind| kind.is_symlink());
        let kind = if linked {
            fs::metadata(&path).map(|target| target.file_type()).ok()
        } else {
            kind
        };
        match kind {
            Some(kind) if kind.is_dir() => {
                let real = if linked {
                    match fs::canonicalize(&path) {
                        Ok(real) => real,
                        Err(_) => return Met::Dangling(path),
                    }
                } else {
                    folder.join(name)
                };
                if linked && (folder.starts_with(&real) || self.root.starts_with(&real)) {
                    return Met::Loop(path);
                }
                Met::Folder { path, real, linked }
            }
            // Whatever is named like a photo is meant to be one; opening it tells what is wrong.
            _ if is_photo_name(&path) => Met::Photo { path, linked },
            Some(kind) if kind.is_file() && holds_picture(&path) => Met::Photo { path, linked },
            None if extension(&path).is_empty() => Met::Dangling(path),
            _ => Met::Other,
        }
    }
}

fn real_path(folder: &Path) -> Result<PathBuf, WalkError> {
    fs::canonicalize(folder).map_err(|cause| WalkError::Unlistable {
        path: folder.to_owned(),
        cause,
    })
}

/// What file managers, archivers, cameras and notebooks leave behind, compared without case. Hidden
/// files and folders (`.DS_Store`, `.ipynb_checkpoints`, macOS's `._IMG_1.jpg`) are litter too.
const LITTER: [&str; 13] = [
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "@recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
];

/// Whether a file or folder of this name does not exist for us.
fn is_litter(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || LITTER
            .iter()
            .any(|litter| name.eq_ignore_ascii_case(litter))
}

/// Entries of a folder that are looked at to tell whether it is one of runs.
const LOOKED_AT: usize = 16;

/// Whether a folder is a run of ours or holds runs: who trains in the folder of the photos has them there.
fn holds_runs(folder: &Path) -> bool {
    let is_run = |folder: &Path| {
        let has = |file: &str| folder.join(file).is_file();
        has(runs::LOCK) || (has(runs::MANIFEST) && (has(runs::MODEL) || has(runs::METRICS)))
    };
    let is_inner = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| {
            entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_run(&entry.path())
        })
    };
    let inner = || fs::read_dir(folder).is_ok_and(|entries| entries.take(LOOKED_AT).any(is_inner));
    is_run(folder) || inner()
}

/// What is certainly something else by its extension and need not be looked into: texts, tables,
/// labels, archives, videos and their previews, sounds, arrays, models, programs, sidecars.
const OTHERS: [&str; 74] = [
    "txt", "text", "md", "rst", "log", "csv", "tsv", "json", "jsonl", "ndjson", "geojson", "xml",
    "yaml", "yml", "toml", "ini", "cfg", "html", "htm", "xhtml", "css", "js", "mjs", "ts", "py",
    "ipynb", "rs", "c", "h", "cpp", "java", "m", "r", "sh", "bat", "exe", "dll", "so", "pdf",
    "doc", "docx", "odt", "xls", "xlsx", "ods", "ppt", "pptx", "zip", "tar", "gz", "tgz", "bz2",
    "xz", "7z", "rar", "mp4", "mov", "avi", "mkv", "webm", "m4v", "3gp", "mts", "thm", "lrv",
    "mp3", "wav", "npy", "npz", "mat", "pkl", "h5", "xmp", "aae",
];

/// Whether a file that is not named like a photo holds a picture all the same: files named by a
/// hash, or `photo.jpg_large`.
fn holds_picture(path: &Path) -> bool {
    let extension = extension(path);
    if OTHERS.contains(&&*extension) {
        return false;
    }
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    let read = open_regular(path)
        .ok()
        .and_then(|(file, _)| file.take(SNIFF_BYTES as u64).read_to_end(&mut head).ok());
    if read.is_none() {
        return false;
    }
    match sniff(&head) {
        Content::Image(_) => true,
        // Pictures that cannot be read here are better listed as skipped than left out unsaid.
        Content::Foreign(_) => extension.is_empty(),
        Content::Other(_) => false,
    }
}

fn extension(path: &Path) -> String {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn write(root: &Path, place: &str, bytes: &[u8]) {
        let path = root.join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What a walk finds, relative to the root.
    fn walked(root: &Path) -> Walked {
        let interrupt = Interrupt::new();
        let walker = Walker::new(root, &interrupt).unwrap();
        let mut walked = walker.walk(root).unwrap();
        for list in [&mut walked.photos, &mut walked.loops, &mut walked.dangling] {
            for path in list.iter_mut() {
                *path = path.strip_prefix(root).unwrap().to_owned();
            }
        }
        walked
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn litter_does_not_exist_at_any_depth_and_in_any_case() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for litter in [
            ".DS_Store",
            "Thumbs.db",
            "._cat.jpg",
            ".ipynb_checkpoints/cat-checkpoint.jpg",
            "__MACOSX/a/._cat.jpg",
            "__macosx/cat.jpg",
            "@eaDir/cat.jpg/SYNOPHOTO_THUMB_M.jpg",
            "$RECYCLE.BIN/cat.jpg",
        ] {
            write(root, litter, PNG);
            write(root, &format!("a/b/{litter}"), PNG);
        }
        write(root, "a/b/cat.jpg", PNG);
        let walked = walked(root);
        assert_eq!(names(&walked.photos), ["a/b/cat.jpg"]);
        assert_eq!(walked.others, 0);
    }

    #[test]
    fn runs_that_lie_among_photos_do_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "fish/1.png", PNG);
        write(root, "runs/first/manifest.json", b"{}");
        write(root, "runs/first/model.safetensors", b"");
        write(root, "runs/first/1.png", PNG);
        write(root, "mine/metrics.jsonl", b"");
        write(root, "mine/manifest.json", b"{}");
        write(root, "mine/1.png", PNG);
        write(root, "under way/now/.lock", b"");
        write(root, "under way/now/1.png", PNG);
        assert_eq!(names(&walked(root).photos), ["fish/1.png"]);
        let interrupt = Interrupt::new();
        let listed = Walker::new(root, &interrupt).unwrap().list(root).unwrap();
        assert_eq!(listed.folders, [root.join("fish")]);
        // Who names a run looks into it.
        let run = root.join("mine");
        let walked = Walker::new(&run, &interrupt).unwrap().walk(&run).unwrap();
        assert_eq!(walked.photos, [run.join("1.png")]);
    }

    #[test]
    fn files_that_are_not_named_like_photos_are_judged_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "n01440764_10026", PNG);
        write(root, "photo.jpg_large", b"\xff\xd8\xff\xe0");
        write(root, "2024.01.02 at 10.33", PNG);
        write(root, "bitmap", b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0");
        write(root, "phone", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
        // None of these is a photo.
        write(root, "README", b"hello");
        write(root, "service", b"BMW service notes, all of them");
        write(root, "empty", b"");
        write(root, "favicon.ico", b"\0\0\x01\0\x01\0");
        write(root, "clip.thm", b"\xff\xd8\xff\xe0");
        write(root, "labels.csv", b"\xff\xd8\xff\xe0");
        let walked = walked(root);
        let expected = [
            "2024.01.02 at 10.33",
            "bitmap",
            "n01440764_10026",
            "phone",
            "photo.jpg_large",
        ];
        assert_eq!(names(&walked.photos), expected);
        assert_eq!(walked.others, 6);
    }

    #[test]
    fn an_interrupt_ends_a_walk() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/1.png", PNG);
        let interrupt = Interrupt::new();
        let walker = Walker::new(folder.path(), &interrupt).unwrap();
        interrupt.raise();
        let stopped = |result: Result<(), WalkError>| {
            assert!(matches!(result, Err(WalkError::Interrupted(_))));
        };
        stopped(walker.walk(folder.path()).map(drop));
        stopped(walker.list(folder.path()).map(drop));
        stopped(walker.holds_photo(folder.path()).map(drop));
    }

    #[cfg(unix)]
    mod links {
        use std::os::unix::fs::symlink;

        use super::*;

        #[test]
        fn a_photo_is_met_once_however_many_links_lead_to_it() {
            let folder = tempfile::tempdir().unwrap();
            let (root, outside) = (folder.path().join("in"), folder.path().join("out"));
            write(&root, "a/1.png", PNG);
            write(&root, "b/2.png", PNG);
            write(&outside, "3.png", PNG);
            for (target, link) in [
                ("in", "in/itself"),
                ("in", "in/a/root"),
                (".", "in/parent"),
                ("in/a", "in/a/again"),
                ("in/b", "in/a/sibling"),
                ("in/a", "in/b/sibling"),
                ("in/a", "in/0"),
                ("in/a/1.png", "in/0.png"),
                ("in/a/1.png", "in/b/copy.png"),
                ("out", "in/elsewhere"),
                ("out", "in/elsewhere too"),
                ("out/3.png", "in/z.png"),
                ("in/b", "out/back"),
                ("in", "out/back to all"),
                ("gone", "in/cats"),
                ("gone.png", "in/gone.png"),
                ("gone.txt", "in/gone.txt"),
                ("in/ring", "in/ring"),
            ] {
                symlink(folder.path().join(target), folder.path().join(link)).unwrap();
            }
            let walked = walked(&root);
            let photos = ["a/1.png", "b/2.png", "elsewhere/3.png", "gone.png"];
            assert_eq!(names(&walked.photos), photos);
            let loops = [
                "a/again",
                "a/root",
                "elsewhere/back to all",
                "itself",
                "parent",
            ];
            assert_eq!(names(&walked.loops), loops);
            assert_eq!(names(&walked.dangling), ["cats", "ring"]);
            assert_eq!(walked.others, 1);
        }

        #[test]
        fn folders_that_all_link_to_each_other_are_walked_in_no_time() {
            // Followed path by path these would be 12! ways.
            let folder = tempfile::tempdir().unwrap();
            for a in 0..12 {
                write(folder.path(), &format!("{a}/{a}.png"), PNG);
                for b in 0..12 {
                    let target = folder.path().join(b.to_string());
                    symlink(target, folder.path().join(format!("{a}/to{b}"))).unwrap();
                }
            }
            assert_eq!(walked(folder.path()).photos.len(), 12);
        }

        #[test]
        fn a_folder_that_cannot_be_listed_is_told_and_the_rest_is_walked() {
            use std::os::unix::fs::PermissionsExt as _;
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "a/1.png", PNG);
            write(folder.path(), "b/2.png", PNG);
            let mode = |mode| fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path().join("a"), mode(0o000)).unwrap();
            let walked = walked(folder.path());
            // The superuser may read everything.
            if let [(path, _)] = &walked.unreadable[..] {
                assert!(path.ends_with("a"));
                assert_eq!(names(&walked.photos), ["b/2.png"]);
            } else {
                assert_eq!(walked.photos.len(), 2);
            }
            fs::set_permissions(folder.path().join("a"), mode(0o755)).unwrap();
        }
    }
}
