//! Where the pictures of `predict --out` go: names that do not collide, files that are not there yet.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::files;
use crate::interrupt::Unfinished;
use crate::ui::{ExitCode, Failure, advice};

/// The files that are written for a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The classes of its pixels.
    pub mask: PathBuf,
    /// The photo under them.
    pub overlay: PathBuf,
}

/// Bytes of a name of which files are called, so that they are within the 255 bytes that most disks take with a number
/// and an ending behind it.
const LONGEST: usize = 230;

/// The endings of what is written.
const ENDINGS: [&str; 2] = [".mask.png", ".overlay.png"];

/// The files for each photo in the folder that `--out` names: `NAME.mask.png` and `NAME.overlay.png` after the photo's
/// own name, cut where it is too long for that, and `NAME-2` and so on for further photos of one name. The folder need
/// not be there yet.
///
/// # Errors
///
/// A usage error if one of the files is there already, if a file stands where the folder should, or if the disk does
/// not take such names.
pub fn plan(out: &Path, photos: &[PathBuf]) -> anyhow::Result<Vec<Files>> {
    if out.exists() && !out.is_dir() {
        let what = format!("--out names a folder, and {} is none", out.display());
        let failure = Failure::new(ExitCode::Usage, what);
        return Err(failure
            .with_help("name a folder with --out; it is made if it is not there")
            .into());
    }
    let files: Vec<Files> = names(photos)
        .iter()
        .map(|name| Files::called(out, name))
        .collect();
    for path in files.iter().flat_map(|files| [&files.mask, &files.overlay]) {
        // Even a link that leads nowhere is something.
        let there = match path.symlink_metadata() {
            Ok(_) => path,
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                let what = format!("--out cannot write {} ({error})", path.display());
                let failure = Failure::new(ExitCode::Usage, what);
                return Err(failure.with_help(advice(&error)).into());
            }
            Err(_) => continue,
        };
        let what = format!("--out would overwrite what is there: {}", there.display());
        let failure = Failure::new(ExitCode::Usage, what);
        return Err(failure
            .with_help("name another folder with --out, or move the files away")
            .into());
    }
    Ok(files)
}

/// Writes both pictures of a photo, or neither; the folder is made for the first.
///
/// # Errors
///
/// When the folder cannot be made, or a file cannot be written. What was made before is taken away again.
pub fn write_both(out: &Files, mask: &[u8], overlay: &[u8]) -> anyhow::Result<()> {
    let folder = out.mask.parent().filter(|folder| !folder.is_dir());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let half = out.mask.clone();
    let half = Unfinished::new(move || _ = fs::remove_file(half));
    let written = files::write(&out.mask, mask).and_then(|()| {
        let written = files::write(&out.overlay, overlay);
        if written.is_err() {
            let _ = fs::remove_file(&out.mask);
        }
        written
    });
    drop(half);
    if let (Err(_), Some(folder)) = (&written, folder) {
        // It is not removed if somebody has put something there meanwhile.
        let _ = fs::remove_dir(folder);
    }
    Ok(written?)
}

/// Which photo's own name a picture has that was written for it, if it is called like one.
pub fn photo_of(picture: &Path) -> Option<&str> {
    let name = picture.file_name()?.to_str()?;
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))
}

/// The name before the number that a further photo of that name gets.
pub fn without_number(name: &str) -> Option<&str> {
    let (own, number) = name.rsplit_once('-')?;
    number.parse::<u64>().ok().map(|_| own)
}

/// A photo's own name, as far as files can be called after it.
pub fn own_name(photo: &Path) -> OsString {
    let own = photo.file_stem().unwrap_or(OsStr::new("photo"));
    if own.len() <= LONGEST {
        return own.to_owned();
    }
    let own = own.to_string_lossy();
    own[..own.floor_char_boundary(LONGEST)].into()
}

impl Files {
    fn called(out: &Path, name: &OsStr) -> Self {
        let file = |ending: &str| {
            let mut file = name.to_owned();
            file.push(ending);
            out.join(file)
        };
        Self {
            mask: file(ENDINGS[0]),
            overlay: file(ENDINGS[1]),
        }
    }
}

/// A name for each photo: its own, without the ending, or with the first number from 2 on that makes it new. Names
/// that differ in case alone are one on some disks.
fn names(photos: &[PathBuf]) -> Vec<OsString> {
    let folded = |name: &OsStr| name.to_string_lossy().to_lowercase();
    // What is a photo's own name is not made for another.
    let own = photos.iter().map(|photo| folded(&own_name(photo)));
    let mut taken: HashSet<String> = own.collect();
    let mut given = HashSet::new();
    let mut name = |photo: &PathBuf| {
        let own = own_name(photo);
        if given.insert(folded(&own)) {
            return own;
        }
        let numbered = (2..).map(|number: u64| {
            let mut name = own.clone();
            name.push(format!("-{number}"));
            name
        });
        let mut new = numbered.filter(|name| taken.insert(folded(name)));
        new.next().unwrap_or(OsString::new())
    };
    photos.iter().map(&mut name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_of_one_name_get_files_of_their_own() {
        let photos = [
            "a/cat.jpg",
            "b/cat.png",
            "cat-2.jpg",
            "b/CAT.jpg",
            "dog.old.jpg",
            "-",
        ];
        let names = names(&photos.map(PathBuf::from));
        assert_eq!(names, ["cat", "cat-3", "cat-2", "CAT-4", "dog.old", "-"]);
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("masks/new");
        let photos = [PathBuf::from("cat.jpg")];
        let files = plan(&out, &photos).unwrap();
        assert_eq!(files, [Files::called(&out, OsStr::new("cat"))]);
        assert!(!out.is_dir());
        write_both(&files[0], b"mask", b"mine").unwrap();
        fs::remove_file(&files[0].mask).unwrap();
        let told = plan(&out, &photos).unwrap_err().to_string();
        assert!(told.contains("cat.overlay.png"), "{told}");
        let told = plan(&files[0].overlay, &photos).unwrap_err().to_string();
        assert!(told.contains("names a folder"), "{told}");
        let long = plan(&folder.path().join("x".repeat(300)), &photos);
        let told = long.unwrap_err();
        let told = told.downcast_ref::<Failure>().unwrap().help().unwrap();
        assert!(told.contains("too long"), "{told}");
    }

    #[test]
    fn both_pictures_are_written_or_neither_and_no_empty_folder_stays() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new");
        let files = Files {
            mask: out.join("a.mask.png"),
            overlay: out.join("missing/a.overlay.png"),
        };
        write_both(&files, b"mask", b"overlay").unwrap_err();
        assert!(!out.exists());
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let folder = tempfile::tempdir().unwrap();
        let long = "ä".repeat(125);
        let photos = ["a", "b"].map(|end| PathBuf::from(format!("{long}{end}.jpg")));
        let files = plan(folder.path(), &photos).unwrap();
        assert_ne!(files[0], files[1]);
        for files in &files {
            write_both(files, b"mask", b"overlay").unwrap();
        }
    }

    #[test]
    fn pictures_are_known_by_their_names() {
        let name = |path: &str| photo_of(Path::new(path)).map(str::to_owned);
        assert_eq!(name("x/dog.old.mask.png").as_deref(), Some("dog.old"));
        assert_eq!(name("one-2.overlay.png").as_deref(), Some("one-2"));
        assert_eq!(name("mask.png"), None);
        assert_eq!(without_number("one-2"), Some("one"));
        assert_eq!(without_number("one-a"), None);
    }
}
