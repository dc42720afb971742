//! Where the pictures of `predict --out` go: names that do not collide, files that are not there yet.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::ui::{ExitCode, Failure};

/// The files that are written for a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The classes of its pixels.
    pub mask: PathBuf,
    /// The photo under them.
    pub overlay: PathBuf,
}

/// The folder that `--out` names, made if it is not there, and the files for each photo: `NAME.mask.png` and
/// `NAME.overlay.png` after the photo's own name, `NAME-2` and so on for further photos of one name.
///
/// # Errors
///
/// A usage error if one of the files is there already, or if a file stands where the folder should.
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
    let all = files.iter().flat_map(|files| [&files.mask, &files.overlay]);
    // Even a link that leads nowhere is something.
    if let Some(there) = all.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let what = format!("--out would overwrite what is there: {}", there.display());
        let failure = Failure::new(ExitCode::Usage, what);
        return Err(failure
            .with_help("name another folder with --out, or move the files away")
            .into());
    }
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    Ok(files)
}

impl Files {
    fn called(out: &Path, name: &OsStr) -> Self {
        let file = |ending: &str| {
            let mut file = name.to_owned();
            file.push(ending);
            out.join(file)
        };
        Self {
            mask: file(".mask.png"),
            overlay: file(".overlay.png"),
        }
    }
}

/// A name for each photo: its own, without the ending, or with the first number from 2 on that makes it new. Names
/// that differ in case alone are one on some disks.
fn names(photos: &[PathBuf]) -> Vec<OsString> {
    let folded = |name: &OsStr| name.to_string_lossy().to_lowercase();
    let own = |photo: &PathBuf| photo.file_stem().unwrap_or(OsStr::new("photo")).to_owned();
    // What is a photo's own name is not made for another.
    let mut taken: HashSet<String> = photos.iter().map(|photo| folded(&own(photo))).collect();
    let mut given = HashSet::new();
    let mut name = |photo: &PathBuf| {
        let own = own(photo);
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
        assert!(out.is_dir());
        std::fs::write(&files[0].overlay, b"mine").unwrap();
        let told = plan(&out, &photos).unwrap_err().to_string();
        assert!(told.contains("cat.overlay.png"), "{told}");
        let told = plan(&files[0].overlay, &photos).unwrap_err().to_string();
        assert!(told.contains("names a folder"), "{told}");
    }
}
