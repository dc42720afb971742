//! Folders as users have them.

mod layouts;

use std::fs;
use std::path::{Path, PathBuf};

use super::warning::Warning;
use super::*;
use crate::interrupt::Interrupt;
use crate::photos::{Content, Limits, PhotoError, PhotoProblem, is_photo_name, sniff};
use crate::skipped;

/// A folder under construction.
struct Folder(tempfile::TempDir);

impl Folder {
    /// Files named `a/b.png`; each holds a PNG signature and its own name, so that no two are
    /// equal.
    fn with(files: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|file| folder.photo(file, file));
        folder
    }

    fn path(&self, place: &str) -> PathBuf {
        self.0.path().join(place)
    }

    fn write(&self, place: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(place).parent().unwrap()).unwrap();
        fs::write(self.path(place), bytes).unwrap();
    }

    fn photo(&self, place: &str, content: &str) {
        if is_photo_name(Path::new(place)) {
            let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
            bytes.extend_from_slice(content.as_bytes());
            self.write(place, &bytes);
        } else {
            self.write(place, content.as_bytes());
        }
    }

    fn folder(&self, place: &str) {
        fs::create_dir_all(self.path(place)).unwrap();
    }

    fn scan(&self) -> Result<Dataset, DatasetError> {
        self.scan_as(&ScanOptions::default())
    }

    fn scan_as(&self, options: &ScanOptions) -> Result<Dataset, DatasetError> {
        scan(self.0.path(), options, &Interrupt::new())
    }

    /// What a model with these classes would be measured on.
    fn measure(&self, wanted: Wanted, known: &[&str]) -> Result<Dataset, DatasetError> {
        let known = |name: &str| known.contains(&name);
        let options = ScanOptions::default();
        scan_to_measure(
            self.0.path(),
            &options,
            wanted,
            Some(&known),
            &Interrupt::new(),
        )
    }

    /// The error message without the folder's changing name, and the help.
    fn refusal(&self) -> (String, String) {
        self.explained(&self.scan().unwrap_err())
    }

    fn explained(&self, error: &DatasetError) -> (String, String) {
        let text = error
            .to_string()
            .replace(&self.0.path().display().to_string(), "DIR");
        (text, error.help().unwrap())
    }
}

fn indices_of(dataset: &Dataset, split: Split) -> Vec<usize> {
    let belongs = |&index: &usize| dataset.items[index].split == Some(split);
    (0..dataset.items.len()).filter(belongs).collect()
}

fn places(dataset: &Dataset) -> Vec<(&str, usize, Option<Split>)> {
    dataset
        .items
        .iter()
        .map(|i| (i.relative.as_str(), i.class, i.split))
        .collect()
}

#[test]
fn plain_class_folders_are_sorted_and_followed_into_depth() {
    let folder = Folder::with(&[
        "dog/2.png",
        "dog/1.JPG",
        "cat/holiday/2019/a.webp",
        "cat/b.png",
        "Ape/x.gif",
        ".DS_Store",
        "dog/.hidden.png",
        "cat/Thumbs.db",
        "ATTRIBUTION.tsv",
        "dog/notes.txt",
        ".git/x/y.png",
        "__MACOSX/cat/b.png",
    ]);
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, ["Ape", "cat", "dog"]);
    let expected = [
        ("Ape/x.gif", 0, None),
        ("cat/b.png", 1, None),
        ("cat/holiday/2019/a.webp", 1, None),
        ("dog/1.JPG", 2, None),
        ("dog/2.png", 2, None),
    ];
    assert_eq!(places(&dataset), expected);
    assert_eq!(dataset.other_files, 2);
    assert!(dataset.skipped.is_empty() && !dataset.is_divided());
}

#[test]
fn train_and_val_folders_divide_the_data_whatever_they_are_called() {
    for val in ["val", "valid", "Validation"] {
        let files = [
            "Train/a/1.png",
            "Train/b/2.png",
            "V/a/3.png",
            "test/b/4.png",
            "V/5.png",
        ];
        let files: Vec<_> = files.iter().map(|f| f.replace('V', val)).collect();
        let folder = Folder::with(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let dataset = folder.scan().unwrap();
        assert_eq!(dataset.classes, ["a", "b"]);
        assert_eq!(indices_of(&dataset, Split::Train).len(), 2);
        assert_eq!(indices_of(&dataset, Split::Val).len(), 1);
        assert_eq!(indices_of(&dataset, Split::Test).len(), 1);
        assert_eq!(dataset.other_files, 1);
        assert!(
            dataset
                .warnings()
                .contains(&Warning::NotValidated { class: "b".into() })
        );
    }
}

#[test]
fn train_can_be_a_class_and_test_need_not_be_sorted() {
    let vehicles = Folder::with(&["bus/1.png", "car/2.png", "train/3.png"]);
    assert_eq!(vehicles.scan().unwrap().classes, ["bus", "car", "train"]);
    let contest = Folder::with(&["train/a/1.png", "train/b/2.png", "test/3.png", "test/4.png"]);
    let dataset = contest.scan().unwrap();
    assert_eq!((dataset.items.len(), dataset.other_files), (2, 0));
}

#[test]
fn what_is_no_data_set_is_refused_with_advice() {
    let missing = scan(
        Path::new("no/such/folder"),
        &ScanOptions::default(),
        &Interrupt::new(),
    );
    assert!(matches!(missing, Err(DatasetError::RootMissing(_))));

    let file = Folder::with(&["x.png"]);
    let error = scan(
        &file.path("x.png"),
        &ScanOptions::default(),
        &Interrupt::new(),
    );
    assert!(matches!(error, Err(DatasetError::NotAFolder(_))));
    let (text, help) = file.refusal();
    assert_eq!(text, "there are no class folders in DIR");
    assert!(help.starts_with("1 photo lies directly in it"), "{help}");

    let (_, help) = Folder::with(&[]).refusal();
    assert!(help.contains("cats"), "{help}");

    let (text, help) = Folder::with(&["only/1.png", "only/2.png"]).refusal();
    assert_eq!(text, "there is only one class, `only`, in DIR");
    assert!(help.contains("second folder"));

    let unsorted = Folder::with(&["train/1.png", "train/2.png", "val/3.png"]);
    let (text, help) = unsorted.refusal();
    assert_eq!(text, "there are no class folders in DIR/train");
    assert!(help.starts_with("2 photos"));

    let texts = Folder::with(&["a/1.txt", "b/2.txt"]);
    assert_eq!(texts.refusal().0, "there is no usable photo in DIR");
}

#[test]
fn an_empty_class_is_refused_by_name() {
    let folder = Folder::with(&["a/1.png", "b/2.png"]);
    folder.folder("c");
    folder.folder("d/only/folders");
    let (text, help) = folder.refusal();
    assert_eq!(text, "no usable photo in classes `c`, `d` of DIR");
    assert!(help.contains("move the folder away"));
    assert_eq!(folder.measure(Wanted::Best, &["a"]).unwrap().items.len(), 2);
}

#[test]
fn a_class_that_cannot_be_learnt_is_refused() {
    let folder = Folder::with(&[
        "train/a/1.png",
        "train/b/2.png",
        "val/a/3.png",
        "val/new/4.png",
    ]);
    let (text, _) = folder.refusal();
    assert_eq!(text, "no photo to learn class `new` from in DIR");
}

#[test]
fn ambiguous_layouts_are_refused_with_a_way_out() {
    let both = Folder::with(&["train/a/1.png", "train/b/2.png", "c/3.png"]);
    let (text, help) = both.refusal();
    assert_eq!(
        text,
        "the layout of the folder is ambiguous, c/ beside train/: DIR"
    );
    assert!(help.contains("into train/"));
    let twice = Folder::with(&["train/a/1.png", "val/a/2.png", "valid/a/3.png"]);
    assert!(
        twice.refusal().0.contains("val/, valid/ mean the same"),
        "{}",
        twice.refusal().0
    );
    let headless = Folder::with(&["val/a/1.png", "val/b/2.png"]);
    assert!(headless.refusal().0.contains("val/ without train/"));
}

#[test]
fn files_that_are_no_pictures_are_skipped_listed_and_counted() {
    let folder = Folder::with(&["a/1.png", "a/2.png", "b/3.png"]);
    folder.write("a/page.jpg", b"<!DOCTYPE html><html></html>");
    folder.write("b/empty.jpg", b"");
    folder.write("b/photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.items.len(), 3);
    let skipped: Vec<_> = dataset
        .skipped
        .iter()
        .map(|s| (s.path.as_str(), s.kind))
        .collect();
    let expected = [
        ("a/page.jpg", "not_an_image"),
        ("b/empty.jpg", "empty"),
        ("b/photo.heic", "unsupported_format"),
    ];
    assert_eq!(skipped, expected);
    assert_eq!(skipped::counted(&dataset.skipped), "3 files");

    let strict = ScanOptions {
        strict: true,
        ..ScanOptions::default()
    };
    let error = folder.scan_as(&strict).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("3 files cannot be used: a/page.jpg (not an image"),
        "{error}"
    );
    assert!(error.help().is_some_and(|help| help.contains("--strict")));
}

#[test]
fn a_class_without_usable_photos_says_why_and_what_to_do() {
    let heic: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    let folder = Folder::with(&["a/1.png", "b/2.png"]);
    for name in ["1.heic", "2.HEIC", "3.jpg"] {
        folder.write(&format!("phone/{name}"), heic);
    }
    folder.write("phone/4.jpg", b"");
    if !matches!(sniff(heic), Content::Foreign(format) if format.is_read()) {
        let (text, help) = folder.refusal();
        assert_eq!(
            text,
            "no usable photo in class `phone` of DIR: a HEIC picture is not supported (3 files, such as \
             phone/1.heic); the file is empty (phone/4.jpg)"
        );
        assert!(help.contains("heif-convert"), "{help}");
        // Nothing else at all, and nothing else to learn from.
        let all = Folder::with(&[]);
        all.write("a/1.heic", heic);
        all.write("b/2.heic", heic);
        let error = all.measure(Wanted::Best, &["a", "b"]).unwrap_err();
        for (text, help) in [all.refusal(), all.explained(&error)] {
            assert!(
                text.contains("HEIC") && help.contains("heif-convert"),
                "{text}\n{help}"
            );
        }
        let parts = Folder::with(&["train/a/1.png", "train/b/2.png", "val/c/3.png"]);
        parts.write("train/c/4.heic", heic);
        let (text, help) = parts.refusal();
        assert!(
            text.contains("learn class `c`") && text.contains("HEIC"),
            "{text}"
        );
        assert!(help.contains("heif-convert"), "{help}");
    }
    // What is found when it is decoded is said in the same way.
    let folder = Folder::with(&["a/1.png", "b/2.png"]);
    let mut dataset = folder.scan().unwrap();
    let limits = Limits::with_max_pixels(Some(10));
    let problem = limits.admit(4, 3, 36).unwrap_err();
    let error = PhotoError::new(&folder.path("b/2.png"), problem);
    let (text, help) = folder.explained(&dataset.leave_out(&[(1, error)]).unwrap_err());
    assert_eq!(
        text,
        "no usable photo in class `b` of DIR: the picture of 4×3 pixels is larger than allowed: at most 10 \
         pixels are allowed (b/2.png)"
    );
    assert!(help.contains("--max-pixels"), "{help}");
}

#[test]
fn photos_found_damaged_later_follow_the_same_rules() {
    let folder = Folder::with(&["a/1.png", "a/2.png", "b/3.png"]);
    let failed = |dataset: &Dataset, place: &str| {
        let index = dataset
            .items
            .iter()
            .position(|item| item.relative == place)
            .unwrap();
        (
            index,
            PhotoError::new(&folder.path(place), PhotoProblem::Truncated),
        )
    };
    let mut dataset = folder.scan().unwrap();
    dataset.leave_out(&[failed(&dataset, "a/1.png")]).unwrap();
    assert_eq!(
        places(&dataset),
        [("a/2.png", 0, None), ("b/3.png", 1, None)]
    );
    assert_eq!(
        (dataset.skipped[0].path.as_str(), dataset.skipped[0].kind),
        ("a/1.png", "truncated")
    );
    let error = dataset
        .leave_out(&[failed(&dataset, "b/3.png")])
        .unwrap_err();
    assert!(
        matches!(error, DatasetError::EmptyClasses { ref classes, .. } if classes == &["b"]),
        "{error}"
    );

    let strict = ScanOptions {
        strict: true,
        ..ScanOptions::default()
    };
    let mut dataset = folder.scan_as(&strict).unwrap();
    let error = dataset
        .leave_out(&[failed(&dataset, "a/1.png")])
        .unwrap_err();
    assert!(matches!(error, DatasetError::Unusable { .. }), "{error}");

    let mut dataset = folder.scan().unwrap();
    let gone = failed(&dataset, "a/1.png");
    fs::remove_dir_all(folder.0.path()).unwrap();
    let error = dataset.leave_out(&[gone]).unwrap_err();
    assert!(matches!(error, DatasetError::RootMissing(_)), "{error}");
}

#[test]
fn scarce_unbalanced_and_clashing_classes_are_warned_of() {
    let mut files: Vec<_> = (0..9).map(|n| format!("many/{n}.png")).collect();
    files.extend(["two/a.png".into(), "two/b.png".into(), "Many/x.png".into()]);
    let folder = Folder::with(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let warnings = folder.scan().unwrap().warnings();
    let expected = [
        Warning::Imbalance {
            largest: "many".into(),
            most: 9,
            smallest: "Many".into(),
            fewest: 1,
        },
        Warning::FewPhotos {
            class: "Many".into(),
            photos: 1,
        },
        Warning::FewPhotos {
            class: "two".into(),
            photos: 2,
        },
        Warning::CaseClash {
            classes: ["Many".into(), "many".into()],
        },
    ];
    // Where file names have no case the folders are one.
    if warnings
        .iter()
        .any(|w| matches!(w, Warning::CaseClash { .. }))
    {
        assert_eq!(warnings, expected);
    }
}

#[test]
fn copies_are_found_by_content() {
    let folder = Folder::with(&[
        "train/a/1.png",
        "train/a/2.png",
        "train/b/3.png",
        "val/b/4.png",
        "val/a/5.png",
    ]);
    assert!(
        !folder
            .scan()
            .unwrap()
            .warnings()
            .iter()
            .any(|w| w.to_string().contains("copies"))
    );
    folder.photo("val/a/leak.jpg", "train/a/1.png");
    folder.photo("train/b/label.jpg", "train/a/2.png");
    folder.photo("train/b/twin.jpg", "train/b/3.png");
    let warnings = folder.scan().unwrap().warnings();
    let pair = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
    let expected = [
        Warning::TwoLabels {
            photos: 1,
            example: pair("train/b/label.jpg", "train/a/2.png"),
        },
        Warning::Leak {
            photos: 1,
            example: pair("val/a/leak.jpg", "train/a/1.png"),
        },
        Warning::Duplicates {
            photos: 1,
            example: pair("train/b/twin.jpg", "train/b/3.png"),
        },
    ];
    assert_eq!(warnings[..3], expected);
}

#[test]
fn the_data_hash_follows_contents_and_places_alone() {
    let files = ["a/1.png", "a/2.png", "b/3.png"];
    let (first, second) = (Folder::with(&files), Folder::with(&files));
    let hash = |folder: &Folder| folder.scan().unwrap().data_hash();
    assert_eq!(hash(&first), hash(&second));
    second.write("notes.txt", b"irrelevant");
    assert_eq!(hash(&first), hash(&second));
    second.photo("b/3.png", "changed");
    assert_ne!(hash(&first), hash(&second));
    second.photo("b/3.png", "b/3.png");
    assert_eq!(hash(&first), hash(&second));
    fs::rename(second.path("a/2.png"), second.path("b/2.png")).unwrap();
    assert_ne!(hash(&first), hash(&second));
}

#[test]
fn a_thousand_classes_are_no_trouble() {
    let folder = Folder(tempfile::tempdir().unwrap());
    for class in 0..1_000 {
        folder.photo(&format!("c{class:05}/x.png"), &class.to_string());
    }
    let dataset = folder.scan().unwrap();
    assert_eq!((dataset.classes.len(), dataset.items.len()), (1_000, 1_000));
    assert_eq!(dataset.items[999].class, 999);
    let warnings = dataset.warnings();
    assert_eq!(warnings.len(), 6, "not one for each class");
    assert!(warnings.contains(&Warning::MoreFewPhotos { classes: 995 }));
}

#[test]
fn an_interrupt_ends_the_scan() {
    let folder = Folder::with(&["a/1.png", "b/2.png"]);
    let interrupt = Interrupt::new();
    interrupt.raise();
    let result = scan(folder.0.path(), &ScanOptions::default(), &interrupt);
    assert!(matches!(result, Err(DatasetError::Interrupted(_))));
}

#[cfg(unix)]
#[test]
fn loops_of_links_end_and_odd_names_are_kept() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = Folder::with(&["a/1.png", "b/2.png"]);
    symlink(folder.path("a"), folder.path("a/again")).unwrap();
    symlink(folder.path("gone.png"), folder.path("b/dangling.png")).unwrap();
    let odd = folder.path("b").join(OsStr::from_bytes(b"caf\xe9.png"));
    fs::copy(folder.path("b/2.png"), odd).unwrap();
    // What lies inside a class folder may be called anything.
    for class in ["a", "b"] {
        let inner = folder.path(class).join(OsStr::from_bytes(b"\xe9t\xe9"));
        fs::create_dir(&inner).unwrap();
        fs::rename(
            folder
                .path(class)
                .join(if class == "a" { "1.png" } else { "2.png" }),
            inner.join("x.png"),
        )
        .unwrap();
    }
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.items.len(), 3);
    let skipped: Vec<_> = dataset
        .skipped
        .iter()
        .map(|s| (s.path.as_str(), s.kind))
        .collect();
    assert_eq!(skipped, [("b/dangling.png", "bad_link")]);

    fs::create_dir(folder.0.path().join(OsStr::from_bytes(b"cl\xe4ss"))).unwrap();
    assert!(matches!(folder.scan(), Err(DatasetError::ClassName(_))));
}
