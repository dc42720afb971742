//! Folders of photos with a mask each: as PASCAL VOC lays them out, or two folders side by side.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Split, Wanted, nfc};
use crate::interrupt::Interrupt;
use crate::photos::is_photo_name;
use crate::skipped::Skipped;
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
    /// Photos without a mask, masks without a photo, names on the list without either, folders that cannot be listed.
    pub skipped: Vec<Skipped>,
    /// How the folder was understood, for people, where it could be understood otherwise.
    pub remarks: Vec<String>,
    /// The list that was followed, such as `ImageSets/Segmentation/val.txt`, if one was.
    pub list: Option<String>,
    /// The part that it is, if a list was followed.
    pub part: Option<&'static str>,
}

/// The folders of photos and masks that belong together.
const LAYOUTS: [(&str, &str); 2] = [("JPEGImages", "SegmentationClass"), ("images", "masks")];

/// Where PASCAL VOC says which photos are of which part.
const LISTS: &str = "ImageSets/Segmentation";

/// What folders of photos with masks are like, for people.
pub const HELP: &str = "give a folder with JPEGImages/ and SegmentationClass/ as PASCAL VOC has them, or with images/ and \
     masks/, a mask a photo and called as it is; masks are PNG files whose pixels are the classes' numbers";

impl MaskFolder {
    /// Looks for photos and masks in a folder, of the part that is asked for: `val` when there are lists, else
    /// everything.
    ///
    /// # Errors
    ///
    /// When the folder is laid out otherwise, two photos or two masks have one name, the part's list is not there or
    /// cannot be read, or no photo has a mask.
    pub fn find(root: &Path, part: Wanted, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let (photos, masks) = folders(root)?;
        let lists = lists_in(&root.join(LISTS));
        let has_lists = !lists.is_empty();
        let list = match part {
            Wanted::Only(_) | Wanted::All if !has_lists => return Err(undivided().into()),
            Wanted::All => None,
            Wanted::Only(Split::Train) => Some("train"),
            Wanted::Only(Split::Val) => Some("val"),
            Wanted::Only(Split::Test) => Some("test"),
            Wanted::Best => has_lists.then_some("val"),
        };
        let mut found = Self {
            pairs: Vec::new(),
            skipped: Vec::new(),
            remarks: Vec::new(),
            list: list.map(|part| format!("{LISTS}/{part}.txt")),
            part: list,
        };
        found.remarks.extend(other_layout(root, &photos));
        let photos = Named::read(&photos, "photo", interrupt, &mut found.skipped)?;
        let masks = Named::read(&masks, "mask", interrupt, &mut found.skipped)?;
        let names = match &found.list {
            Some(list) => {
                let is_known = |name: &str| photos.has(name) || masks.has(name);
                let listed = names_in(&root.join(list), list, &lists, is_known)?;
                found.remarks.extend(listed.twice(list));
                listed.names
            }
            // Of PASCAL VOC's photos few have masks; of folders side by side each has one.
            None if has_lists || photos.folder.ends_with(LAYOUTS[0].0) => {
                masks.files.keys().cloned().collect()
            }
            None => sorted(photos.files.keys().chain(masks.files.keys()).cloned()),
        };
        found.pair(names, &photos, &masks)?;
        Ok(found)
    }

    /// Finds the photo and the mask of each name.
    fn pair(&mut self, names: Vec<String>, photos: &Named, masks: &Named) -> Result<(), Failure> {
        if names.is_empty() {
            return Err(match &self.list {
                Some(list) => failure(
                    format!("the list is empty: {list}"),
                    "write a photo's name on each line, or choose another list with --split, or --split all",
                ),
                None => failure(
                    format!("there are no masks in {}", masks.folder.display()),
                    HELP,
                ),
            });
        }
        let (by, help) = match &self.list {
            Some(list) => (
                format!(", which {list} names"),
                "add it, or take the name off the list",
            ),
            None => (
                String::new(),
                "a photo and its mask have the same name but for the ending: add what is missing",
            ),
        };
        let count = names.len();
        let mut missing = Vec::new();
        for name in names {
            let (photo, mask) = (photos.files.get(&name), masks.files.get(&name));
            if let (Some(photo), Some(mask)) = (photo, mask) {
                let (photo, mask) = (photo.clone(), mask.clone());
                self.pairs.push(Pair { name, photo, mask });
                continue;
            }
            let (lacks, kind) = match photo {
                None => (photos, "no_photo"),
                Some(_) => (masks, "no_mask"),
            };
            let path = match (photo.or(mask), &self.list) {
                (Some(there), _) => there.display().to_string(),
                (None, list) => list.clone().unwrap_or_else(|| name.clone()),
            };
            let (what, folder) = (lacks.what, lacks.folder.display());
            let reason = format!("there is no {what} of '{name}'{by} in {folder}");
            missing.push(Skipped::of_pair(path, kind, reason, help));
        }
        if let (true, [first, ..]) = (self.pairs.is_empty(), &missing[..]) {
            let of = self
                .list
                .as_ref()
                .map_or_else(String::new, |list| format!(" that {list} names"));
            let what = match count {
                1 => first.reason.clone(),
                _ => format!(
                    "none of the {count} photos{of} is there with its mask; to begin with, {}",
                    first.reason
                ),
            };
            return Err(failure(what, help));
        }
        self.skipped.append(&mut missing);
        Ok(())
    }
}

/// Whether a folder is laid out as photos with masks are.
pub fn holds_masks(root: &Path) -> bool {
    folders(root).is_ok()
}

/// What is said of a second pair of folders beside the one that is measured.
fn other_layout(root: &Path, measured: &Path) -> Option<String> {
    let mut others = LAYOUTS.into_iter();
    let (photos, masks) = others.find(|(photos, masks)| {
        let (photos, masks) = (root.join(photos), root.join(masks));
        photos != measured && photos.is_dir() && masks.is_dir()
    })?;
    let measured = measured.file_name()?.display();
    Some(format!(
        "the photos in {measured}/ are measured; {photos}/ and {masks}/ are left aside"
    ))
}

/// The names of the lists in a folder, sorted.
fn lists_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    sorted(names.filter(|name| name.ends_with(".txt") && !name.starts_with('.')))
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
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
    /// Folders in it that cannot be listed are `skipped`.
    fn read(
        folder: &Path,
        what: &'static str,
        interrupt: &Interrupt,
        skipped: &mut Vec<Skipped>,
    ) -> anyhow::Result<Self> {
        let walked = Walker::new(folder, interrupt)?.walk(folder)?;
        let unreadable = walked.unreadable.into_iter();
        skipped.extend(
            unreadable.map(|(path, cause)| Skipped::folder(path.display().to_string(), cause)),
        );
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

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }
}

/// What a list names.
struct Listed {
    /// Each name once, in the list's order.
    names: Vec<String>,
    /// Names that are there again, as often as they are.
    again: Vec<String>,
}

impl Listed {
    fn twice(&self, list: &str) -> Option<String> {
        let first = self.again.first()?;
        Some(match self.again.len() {
            1 => format!("{list} names '{first}' twice: it is measured once"),
            more => {
                format!("{list} repeats {more} names, such as '{first}': each is measured once")
            }
        })
    }
}

/// The names in a list, one a line, as `is_known` knows them: with or without the file's ending. What follows a name on
/// its line (VOC's 1 and −1 of a class) does not count. `lists` are those that there are.
fn names_in(
    path: &Path,
    place: &str,
    lists: &[String],
    is_known: impl Fn(&str) -> bool,
) -> Result<Listed, Failure> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failure(
            format!("there is no {place}; there is {}", lists.join(", ")),
            "choose another part with --split, or --split all for every photo that has a mask",
        ),
        _ => failure(
            format!("cannot read {} ({error})", path.display()),
            "the list is a text file with a photo's name a line",
        ),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let is_utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let what = if is_utf16 { "UTF-16" } else { "not UTF-8" };
        failure(
            format!("the list is {what}: {}", path.display()),
            "save it as text in UTF-8",
        )
    })?;
    let mut seen = HashSet::new();
    let (mut names, mut again) = (Vec::new(), Vec::new());
    for line in text.trim_start_matches('\u{feff}').lines() {
        let Some(word) = line.split_whitespace().next() else {
            continue;
        };
        // Names may have spaces in them.
        let ways = [line.trim(), word].map(nfc);
        let known = ways.iter().flat_map(|way| [&**way, without_ending(way)]);
        let name = known.into_iter().find(|name| is_known(name));
        let name = name.unwrap_or(without_ending(&ways[1])).to_owned();
        match seen.insert(name.clone()) {
            true => names.push(name),
            false => again.push(name),
        }
    }
    Ok(Listed { names, again })
}

/// A name without the ending of a picture's file.
fn without_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((own, _)) if is_photo_name(Path::new(name)) => own,
        _ => name,
    }
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
        fs::write(
            lists.join("train.txt"),
            "2007_000033 -1\r\n2007_000033.jpg\n",
        )
        .unwrap();
        let no_val = found(voc.path(), Wanted::Best).unwrap_err();
        assert!(no_val.contains("val.txt; there is train.txt"), "{no_val}");
        // With the mark of UTF-8 that Windows writes.
        fs::write(lists.join("val.txt"), "\u{feff}2007_000061\n\n").unwrap();
        let val = found(voc.path(), Wanted::Best).unwrap();
        assert_eq!((names(&val), val.part), (vec!["2007_000061"], Some("val")));
        let train = found(voc.path(), Wanted::Only(Split::Train)).unwrap();
        assert_eq!(names(&train), ["2007_000033"]);
        assert!(
            train.remarks[0].contains("'2007_000033' twice"),
            "{train:?}"
        );
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
        for (list, words) in [
            (
                &b"\n"[..],
                "the list is empty: ImageSets/Segmentation/val.txt",
            ),
            (b"\xff\xfea\0\n\0", "UTF-16"),
            (b"\xe4.jpg", "not UTF-8"),
            (b"1\n2\n", "none of the 2 photos that ImageSets"),
        ] {
            fs::write(lists.join("val.txt"), list).unwrap();
            let told = found(voc.path(), Wanted::Best).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
        fs::write(lists.join("val.txt"), "2007_000042\nx.y\n2007_000061\n").unwrap();
        let some = found(voc.path(), Wanted::Best).unwrap();
        let kinds: Vec<_> = some.skipped.iter().map(|one| one.kind).collect();
        assert_eq!(
            (names(&some), kinds),
            (vec!["2007_000061"], vec!["no_mask", "no_photo"])
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
            (&["images/b.jpg", "masks/x.txt"][..], "no mask of 'b'"),
            (&["images/x.txt", "masks/b.png"], "no photo of 'b'"),
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
        let some = folder(&["images/a b.jpg", "masks/a b.png", "masks/b.png"]);
        let both = found(some.path(), Wanted::Best).unwrap();
        assert_eq!(
            (names(&both), both.skipped[0].kind),
            (vec!["a b"], "no_photo")
        );
        for file in VOC {
            fs::create_dir_all(some.path().join(file).parent().unwrap()).unwrap();
            fs::write(some.path().join(file), b"").unwrap();
        }
        let both = found(some.path(), Wanted::Best).unwrap();
        assert!(both.remarks[0].contains("images/ and masks/ are left aside"));
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
