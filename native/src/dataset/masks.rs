//! Folders of photos with a mask each: as PASCAL VOC lays them out, or two folders side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Split, Wanted, nfc};
use crate::interrupt::Interrupt;
use crate::ui::{ExitCode, Failure};
use crate::walk::Walker;

/// A photo and its mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What both are called: their place in their folders, without the ending.
    pub name: String,
    /// The photo's file.
    pub photo: PathBuf,
    /// The mask's file.
    pub mask: PathBuf,
}

/// A folder of photos with masks, as it was understood.
#[derive(Debug)]
pub struct MaskFolder {
    /// What is measured, in the list's order or sorted.
    pub pairs: Vec<Pair>,
    /// The list that was followed, such as `ImageSets/Segmentation/val.txt`, if one was.
    pub list: Option<String>,
    /// The part that it is, if a list was followed.
    pub part: Option<&'static str>,
}

/// The folders of photos and masks that belong together.
const LAYOUTS: [(&str, &str); 2] = [("JPEGImages", "SegmentationClass"), ("images", "masks")];

/// Where PASCAL VOC says which photos are of which part.
const LISTS: &str = "ImageSets/Segmentation";

/// What the layouts are, for people.
const HELP: &str = "give a folder with JPEGImages/ and SegmentationClass/ as PASCAL VOC has them, or with images/ and \
     masks/, a mask a photo and called as it is; masks are PNG files whose pixels are the classes' numbers";

impl MaskFolder {
    /// Looks for photos and masks in a folder, of the part that is asked for: `val` when there is a list of it, else
    /// everything.
    ///
    /// # Errors
    ///
    /// When the folder is laid out otherwise, a photo or a mask is missing or there twice, or the part is not there.
    pub fn find(root: &Path, part: Wanted, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let (photos, masks) = folders(root)?;
        let has_lists = root.join(LISTS).is_dir();
        let list = match part {
            Wanted::Only(_) | Wanted::All if !has_lists => return Err(undivided().into()),
            Wanted::All => None,
            Wanted::Only(Split::Train) => Some("train"),
            Wanted::Only(Split::Val) => Some("val"),
            Wanted::Only(Split::Test) => Some("test"),
            Wanted::Best => root.join(LISTS).join("val.txt").is_file().then_some("val"),
        };
        let photos = Named::read(&photos, "photo", interrupt)?;
        let masks = Named::read(&masks, "mask", interrupt)?;
        let Some(part) = list else {
            // Of PASCAL VOC's photos few have masks; of folders side by side each has one.
            let all: Vec<String> = match has_lists || root.join(LAYOUTS[0].0).is_dir() {
                true => masks.files.keys().cloned().collect(),
                false => photos
                    .files
                    .keys()
                    .chain(masks.files.keys())
                    .cloned()
                    .collect(),
            };
            return Ok(Self {
                pairs: pairs(sorted(all), &photos, &masks, None)?,
                list: None,
                part: None,
            });
        };
        let place = format!("{LISTS}/{part}.txt");
        let names = names_in(&root.join(&place), &place)?;
        Ok(Self {
            pairs: pairs(names, &photos, &masks, Some(&place))?,
            list: Some(place),
            part: Some(part),
        })
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

fn failure(what: impl std::fmt::Display, help: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Data, what).with_help(help)
}

fn undivided() -> Failure {
    Failure::new(
        ExitCode::Usage,
        format!(
            "--split does not apply here: it belongs to folders with lists of photos in {LISTS}/"
        ),
    )
    .with_help("leave it out: all photos that have a mask are measured")
}

/// The folders of photos and of masks in `root`.
fn folders(root: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let pair = |root: &Path| {
        LAYOUTS
            .map(|(photos, masks)| (root.join(photos), root.join(masks)))
            .into_iter()
            .find(|(photos, masks)| photos.is_dir() && masks.is_dir())
    };
    if let Some(found) = pair(root) {
        return Ok(found);
    }
    for (photos, masks) in LAYOUTS {
        for (there, missing) in [(photos, masks), (masks, photos)] {
            if root.join(there).is_dir() {
                let what = format!("{} has {there}/, but no {missing}/", root.display());
                return Err(failure(what, HELP));
            }
        }
    }
    // Archives unpack to VOCdevkit/VOC2012.
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
        folders.sort();
        folders
    };
    let deeper = inside(root);
    let deepest = deeper.iter().flat_map(|folder| inside(folder));
    if let Some(found) = deeper
        .iter()
        .cloned()
        .chain(deepest)
        .find(|at| pair(at).is_some())
    {
        let what = format!("{} holds photos and masks one level down", root.display());
        return Err(failure(
            what,
            format!("give the folder that holds them: {}", found.display()),
        ));
    }
    let what = format!("{} holds no photos with masks", root.display());
    Err(failure(what, HELP))
}

/// Files by their place in a folder, without the ending.
struct Named {
    folder: PathBuf,
    what: &'static str,
    files: BTreeMap<String, PathBuf>,
}

impl Named {
    fn read(folder: &Path, what: &'static str, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let walked = Walker::new(folder, interrupt)?.walk(folder)?;
        let mut files = BTreeMap::new();
        for path in walked.photos.into_iter().chain(walked.dangling) {
            let name = path
                .strip_prefix(folder)
                .unwrap_or(&path)
                .with_extension("");
            let parts = name.components();
            let parts: Vec<_> = parts
                .map(|part| part.as_os_str().to_string_lossy())
                .collect();
            if let Some(other) = files.insert(nfc(&parts.join("/")), path.clone()) {
                let what = format!(
                    "two {what}s have one name: {} and {}",
                    other.display(),
                    path.display()
                );
                return Err(failure(
                    what,
                    "photo and mask are found by their names: take one of them away",
                )
                .into());
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            what,
            files,
        })
    }

    fn get(&self, name: &str, list: Option<&str>) -> Result<PathBuf, Failure> {
        self.files.get(name).cloned().ok_or_else(|| {
            let by = list.map_or(String::new(), |list| format!(", which {list} names"));
            let what = format!("there is no {} of '{name}'{by} in {}", self.what, self.folder.display());
            let other = if self.what == "mask" { "photo" } else { "mask" };
            let help = match list {
                Some(_) => "add it, or take the name off the list".to_owned(),
                None => format!("add it, or take the {other} away; a photo and its mask have the same name but for the ending"),
            };
            failure(what, help)
        })
    }
}

fn pairs(
    names: Vec<String>,
    photos: &Named,
    masks: &Named,
    list: Option<&str>,
) -> Result<Vec<Pair>, Failure> {
    if names.is_empty() {
        let what = match list {
            Some(list) => format!("{list} names no photo"),
            None => format!("there are no masks in {}", masks.folder.display()),
        };
        return Err(failure(what, HELP));
    }
    let pair = |name: String| {
        Ok(Pair {
            photo: photos.get(&name, list)?,
            mask: masks.get(&name, list)?,
            name,
        })
    };
    names.into_iter().map(pair).collect()
}

/// The names in a list, one a line; what follows a name on its line (VOC's 1 and −1 of a class) does not count.
fn names_in(path: &Path, place: &str) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failure(
            format!("there is no {place}"),
            "choose another part with --split, or --split all for every photo that has a mask",
        ),
        _ => failure(
            format!("cannot read {} ({error})", path.display()),
            "the list is a text file with a photo's name a line",
        ),
    })?;
    let mut seen = std::collections::HashSet::new();
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names
        .map(nfc)
        .filter(|name| seen.insert(name.clone()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        folder
    }

    fn found(root: &Path, part: Wanted) -> Result<MaskFolder, String> {
        let found = MaskFolder::find(root, part, &Interrupt::default());
        found.map_err(|error| error.to_string())
    }

    fn names(folder: &MaskFolder) -> Vec<&str> {
        folder.pairs.iter().map(|pair| &*pair.name).collect()
    }

    const VOC: [&str; 5] = [
        "JPEGImages/2007_000033.jpg",
        "JPEGImages/2007_000042.jpg",
        "JPEGImages/2007_000061.jpg",
        "SegmentationClass/2007_000033.png",
        "SegmentationClass/2007_000061.png",
    ];

    #[test]
    fn a_voc_folder_is_measured_by_its_lists_and_by_its_masks_without_them() {
        let voc = folder(&VOC);
        let all = found(voc.path(), Wanted::Best).unwrap();
        assert_eq!(names(&all), ["2007_000033", "2007_000061"]);
        assert_eq!(all.list, None);
        assert!(
            found(voc.path(), Wanted::Only(Split::Val))
                .unwrap_err()
                .contains("--split")
        );
        let lists = voc.path().join(LISTS);
        fs::create_dir_all(&lists).unwrap();
        fs::write(lists.join("val.txt"), "2007_000061\n\n").unwrap();
        fs::write(lists.join("train.txt"), "2007_000033 -1\r\n2007_000033\n").unwrap();
        let val = found(voc.path(), Wanted::Best).unwrap();
        assert_eq!((names(&val), val.part), (vec!["2007_000061"], Some("val")));
        let train = found(voc.path(), Wanted::Only(Split::Train)).unwrap();
        assert_eq!(names(&train), ["2007_000033"]);
        let all = found(voc.path(), Wanted::All).unwrap();
        assert_eq!(names(&all).len(), 2);
        let test = found(voc.path(), Wanted::Only(Split::Test)).unwrap_err();
        assert!(
            test.contains("no ImageSets/Segmentation/test.txt"),
            "{test}"
        );
        fs::write(lists.join("val.txt"), "2007_000042\n").unwrap();
        let missing = found(voc.path(), Wanted::Best).unwrap_err();
        assert!(
            missing.contains("no mask of '2007_000042', which ImageSets"),
            "{missing}"
        );
        fs::write(lists.join("val.txt"), "\n").unwrap();
        assert!(
            found(voc.path(), Wanted::Best)
                .unwrap_err()
                .contains("names no photo")
        );
    }

    #[test]
    fn folders_side_by_side_are_paired_by_name() {
        let good = folder(&[
            "images/a.jpg",
            "images/b/c.png",
            "masks/a.png",
            "masks/b/c.png",
        ]);
        assert_eq!(
            names(&found(good.path(), Wanted::Best).unwrap()),
            ["a", "b/c"]
        );
        for (files, words) in [
            (
                &["images/a.jpg", "images/b.jpg", "masks/a.png"][..],
                "no mask of 'b'",
            ),
            (
                &["images/a.jpg", "masks/a.png", "masks/b.png"],
                "no photo of 'b'",
            ),
            (
                &["images/a.jpg", "images/a.png", "masks/a.png"],
                "two photos have one name",
            ),
            (&["images/a.jpg"], "has images/, but no masks/"),
            (&["cat/a.jpg"], "holds no photos with masks"),
        ] {
            let folder = folder(files);
            let told = found(folder.path(), Wanted::Best).unwrap_err();
            assert!(told.contains(words), "{files:?}: {told}");
        }
        let empty = folder(&["images/x.txt", "masks/x.txt"]);
        assert!(
            found(empty.path(), Wanted::Best)
                .unwrap_err()
                .contains("no masks in")
        );
        let archive = VOC.map(|file| format!("VOCdevkit/VOC2012/{file}"));
        let archive = folder(&archive.each_ref().map(|file| &**file));
        let told = found(archive.path(), Wanted::Best).unwrap_err();
        assert!(told.contains("one level down"), "{told}");
    }
}
