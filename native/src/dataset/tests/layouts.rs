//! Folders as archives unpack and as people divide them.

use super::*;

fn remarks(dataset: &Dataset) -> Vec<String> {
    dataset.remarks.iter().map(ToString::to_string).collect()
}

/// Photos of each class in each of some folders.
fn filled(folders: &[&str], classes: &[&str]) -> Vec<String> {
    let photo = |folder: &&str, class: &&str| format!("{folder}/{class}/{class}.png");
    let photos = folders
        .iter()
        .flat_map(|folder| classes.iter().map(move |class| photo(folder, class)));
    photos.collect()
}

fn folder_of(files: &[String]) -> Folder {
    Folder::with(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

fn relatives(dataset: &Dataset) -> Vec<&str> {
    dataset.items.iter().map(|i| i.relative.as_str()).collect()
}

/// As the Intel scenes, the sign alphabet and the flowers of Kaggle unpack.
#[test]
fn classes_a_level_too_deep_are_found_and_said() {
    let scenes = ["sea", "street"];
    let mut files = filled(&["seg_train/seg_train", "seg_test/seg_test"], &scenes);
    files.extend([
        "seg_pred/seg_pred/1.png".into(),
        "seg_pred/seg_pred/2.png".into(),
    ]);
    files.push("__MACOSX/seg_train/._sea".into());
    let folder = folder_of(&files);
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, scenes);
    assert_eq!(indices_of(&dataset, Split::Train).len(), 2);
    assert_eq!(indices_of(&dataset, Split::Test).len(), 2);
    let expected = [
        "seg_pred/ holds 2 photos in no class folder: left alone",
        "seg_train/ is taken as train/, seg_test/ is taken as test/",
        "the classes lie one level down: seg_train/seg_train/, seg_test/seg_test/",
    ];
    assert_eq!(remarks(&dataset), expected);
    let measured = folder.measure(Wanted::Best, &scenes).unwrap();
    assert_eq!(measured.measured_part(), Some(Split::Test));
    assert_eq!(measured.items.len(), 2);

    for (places, said) in [
        (
            &["chest/train", "chest/test"][..],
            "chest/train/, chest/test/",
        ),
        (&["flowers"], "flowers/"),
        (&["training_set/training_set", "test_set/test_set"], ""),
        (
            &["train/images", "val/images"],
            "train/images/, val/images/",
        ),
    ] {
        let folder = folder_of(&filled(places, &["a", "b"]));
        let dataset = folder.scan().unwrap();
        assert_eq!(dataset.classes, ["a", "b"], "{places:?}");
        assert_eq!(dataset.items.len(), 2 * places.len());
        let said = format!("the classes lie one level down: {said}");
        assert!(
            remarks(&dataset).last().unwrap().starts_with(&said),
            "{places:?}"
        );
        let measured = folder.measure(Wanted::Best, &["a", "b"]).unwrap();
        assert_eq!(measured.items.len(), 2, "{places:?}");
    }

    let deep = folder_of(&filled(
        &["archive/data/train", "archive/data/val"],
        &["a", "b"],
    ));
    let said = remarks(&deep.scan().unwrap());
    let expected = "the classes lie 2 levels down: archive/data/train/, archive/data/val/";
    assert_eq!(said, [expected]);
}

#[test]
fn parts_go_by_their_usual_names() {
    for (train, val, test) in [
        ("Train", "Validation", "Test"),
        ("training", "valid", "testing"),
        ("TRAINING", "VAL", "TEST"),
        ("train_set", "dev", "evaluation"),
        ("x_train", "x_val", "x_test"),
        ("train2017", "val2017", "test2017"),
    ] {
        let folder = folder_of(&filled(&[train, val, test], &["a", "b"]));
        let dataset = folder.scan().unwrap();
        assert_eq!(dataset.classes, ["a", "b"], "{train}");
        for split in [Split::Train, Split::Val, Split::Test] {
            assert_eq!(indices_of(&dataset, split).len(), 2, "{train}");
        }
        assert_eq!(dataset.place_of(Split::Val), format!("{val}/"));
    }
    // Names that could be parts' are classes where their neighbours are no parts.
    for classes in [
        ["bullet_train", "car"],
        ["bullet_train", "pregnancy_test"],
        ["train_station", "airport"],
        ["valid", "invalid"],
    ] {
        let mut expected = classes;
        expected.sort_unstable();
        let dataset = folder_of(&filled(&["."], &classes)).scan().unwrap();
        assert_eq!(dataset.classes, expected);
        let deeper: Vec<_> = classes.map(|class| format!("{class}/2019/1.png")).to_vec();
        match folder_of(&deeper).scan() {
            Ok(dataset) => assert_eq!(dataset.classes, expected),
            // A plain `valid/` with folders in it is a part, and `invalid/` beside it no class of it.
            Err(error) => assert!(
                error.to_string().contains("invalid/ beside valid/"),
                "{error}"
            ),
        }
    }
}

#[test]
fn a_part_is_chosen_to_measure_on() {
    let known = ["a", "b"];
    let all = folder_of(&filled(&["train", "val", "test"], &known));
    let part = |folder: &Folder, wanted| {
        let dataset = folder.measure(wanted, &known).unwrap();
        (dataset.measured_part(), dataset.items.len())
    };
    assert_eq!(part(&all, Wanted::Best), (Some(Split::Test), 2));
    assert_eq!(part(&all, Wanted::Only(Split::Val)), (Some(Split::Val), 2));
    assert_eq!(
        part(&all, Wanted::Only(Split::Train)),
        (Some(Split::Train), 2)
    );
    assert_eq!(part(&all, Wanted::All), (None, 6));
    let without_test = folder_of(&filled(&["train", "val"], &known));
    assert_eq!(part(&without_test, Wanted::Best), (Some(Split::Val), 2));
    for (alone, split) in [
        ("train", Split::Train),
        ("val", Split::Val),
        ("test", Split::Test),
    ] {
        let folder = folder_of(&filled(&[alone], &known));
        assert_eq!(part(&folder, Wanted::Best), (Some(split), 2));
    }
    let undivided = folder_of(&filled(&["."], &known));
    assert_eq!(part(&undivided, Wanted::Best), (None, 2));
    assert_eq!(part(&undivided, Wanted::All), (None, 2));

    // A test/ that holds nothing, or nothing sorted, measures nothing.
    all.folder("x");
    for test in [
        "test/1.png",
        "test/test/1.png",
        "test/unknown/1.png",
        "test/a.txt",
    ] {
        let mut files = filled(&["train", "val"], &known);
        files.push(test.to_owned());
        let folder = folder_of(&files);
        assert_eq!(part(&folder, Wanted::Best), (Some(Split::Val), 2), "{test}");
        let said = remarks(&folder.scan().unwrap());
        assert!(said.iter().any(|said| said.starts_with("test/")), "{test}");
        let error = folder
            .measure(Wanted::Only(Split::Test), &known)
            .unwrap_err();
        let expected = match test.ends_with("png") {
            true => "there are no class folders in DIR/test",
            false => "there is no usable photo in DIR/test",
        };
        assert_eq!(folder.explained(&error).0, expected, "{test}");
        assert_eq!(error.exit_code().code(), 3, "{test}");
    }
}

#[test]
fn a_part_that_is_not_there_is_a_usage_error() {
    let folder = folder_of(&filled(&["train", "val"], &["a", "b"]));
    let error = folder
        .measure(Wanted::Only(Split::Test), &["a"])
        .unwrap_err();
    let (text, help) = folder.explained(&error);
    assert_eq!(text, "there is no test/ in DIR");
    assert_eq!(help, "the folder is divided into train/, val/");
    assert_eq!(error.exit_code().code(), 2);
    let folder = folder_of(&filled(&["."], &["a", "b"]));
    let error = folder
        .measure(Wanted::Only(Split::Val), &["a"])
        .unwrap_err();
    assert!(folder.explained(&error).1.contains("not divided"));
    assert_eq!(error.exit_code().code(), 2);
}

#[test]
fn two_folders_of_one_part_are_refused_unless_one_is_empty() {
    for [first, second] in [
        ["train", "Train"],
        ["val", "validation"],
        ["test", "testing"],
    ] {
        let mut places = vec!["train", first, second];
        places.dedup();
        let folder = folder_of(&filled(&places, &["a", "b"]));
        let refused = |error: DatasetError| {
            let text = error.to_string();
            assert!(text.contains("mean the same"), "{text}");
            assert!(text.contains(first) && text.contains(second), "{text}");
        };
        if folder.path(first).is_dir() && first.eq_ignore_ascii_case(second) {
            // Where file names have no case the folders are one.
            let count = fs::read_dir(folder.0.path()).unwrap().count();
            if count < places.len() {
                continue;
            }
        }
        refused(folder.scan().unwrap_err());
        refused(folder.measure(Wanted::Best, &["a", "b"]).unwrap_err());
    }
    let folder = folder_of(&filled(&["train", "val"], &["a", "b"]));
    folder.folder("validation/a");
    assert_eq!(indices_of(&folder.scan().unwrap(), Split::Val).len(), 2);
}

#[test]
fn an_archive_unpacked_twice_counts_once() {
    let classes = ["NORMAL", "PNEUMONIA"];
    let places = ["train", "test", "chest_xray/train", "chest_xray/test"];
    let folder = folder_of(&filled(&places, &classes));
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.items.len(), 4);
    assert_eq!(
        remarks(&dataset),
        ["chest_xray/ beside train/, test/ is left alone"]
    );
}

#[test]
fn folders_named_a_little_like_parts_are_left_alone_beside_parts() {
    // As fruits-360 unpacks.
    let mut files = filled(&["Training", "Test"], &["Apple", "Pear"]);
    files.push("test-multiple_fruits/1.png".to_owned());
    let dataset = folder_of(&files).scan().unwrap();
    assert_eq!(dataset.items.len(), 4);
    let said = "test-multiple_fruits/ beside Training/, Test/ is left alone";
    assert_eq!(remarks(&dataset), [said]);
}

#[test]
fn parts_named_in_different_styles_belong_together_by_the_classes_in_them() {
    let classes = ["cat", "dog"];
    for [train, other] in [
        ["Training", "seg_test"],
        ["seg_train", "Testing"],
        ["seg_train/seg_train", "Testing"],
        ["Training", "seg_test/seg_test"],
        ["seg_train", "asl_alphabet_test"],
        ["train", "my_val"],
        ["x_train", "validation_images"],
    ] {
        let folder = folder_of(&filled(&[train, other], &classes));
        let dataset = folder.scan().unwrap();
        assert_eq!(dataset.classes, classes, "{train} {other}");
        assert_eq!(indices_of(&dataset, Split::Train).len(), 2, "{train}");
        assert_eq!(dataset.items.len(), 4, "{train} {other}");
        let measured = folder.measure(Wanted::Best, &classes).unwrap();
        assert_eq!(measured.items.len(), 2, "{train} {other}");
        assert_ne!(measured.measured_part(), Some(Split::Train), "{train}");
    }
    let folder = Folder::with(&[
        "Training/cat/1.png",
        "Training/dog/2.png",
        "seg_test/cat/3.png",
    ]);
    let dataset = folder.scan().unwrap();
    assert_eq!(indices_of(&dataset, Split::Test).len(), 1);
    assert_eq!(
        remarks(&dataset),
        ["seg_test/ is taken as test/"],
        "what was understood is said"
    );
    // Three styles, and nobody who is certain.
    let folder = folder_of(&filled(&["a_train", "b_val", "c_test"], &classes));
    assert_eq!(folder.scan().unwrap().items.len(), 6);

    // What has no class in common is left alone, and so are two that could be the same part.
    let mut files = filled(&["Training"], &classes);
    files.extend(filled(&["crash_test"], &["front", "side"]));
    files.extend(filled(&["a_val", "b_val"], &classes));
    let dataset = folder_of(&files).scan().unwrap();
    assert_eq!(dataset.items.len(), 2);
    let said = "a_val/, b_val/, crash_test/ beside Training/ is left alone";
    assert_eq!(remarks(&dataset), [said.replace("is left", "are left")]);

    // Photos that nobody has sorted make no class of the name of a part.
    for files in [
        ["Training/1.png", "Training/2.png", "seg_test/3.png"],
        ["Training/1.png", "seg_test/cat/2.png", "seg_test/dog/3.png"],
    ] {
        let (text, help) = Folder::with(&files).refusal();
        assert_eq!(text, "there are no class folders in DIR/Training");
        assert!(help.contains("directly in it"), "{help}");
    }
}

#[test]
fn classes_that_are_each_divided_are_not_measured_on_their_training_photos() {
    let files = [
        "cat/train/1.png",
        "cat/test/2.png",
        "dog/train/3.png",
        "dog/test/4.png",
    ];
    let folder = Folder::with(&files);
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, ["cat", "dog"]);
    assert_eq!(
        remarks(&dataset),
        ["each class folder is divided into train/, test/"]
    );
    let measured = folder.measure(Wanted::Best, &["cat", "dog"]).unwrap();
    assert_eq!(relatives(&measured), ["cat/test/2.png", "dog/test/4.png"]);
}

#[test]
fn a_class_the_model_knows_is_no_wrapper() {
    let folder = Folder::with(&["cat/2019/1.png", "cat/2020/2.png"]);
    assert_eq!(
        folder.measure(Wanted::Best, &["cat"]).unwrap().classes,
        ["cat"]
    );
    let folder = Folder::with(&["animals/cat/1.png"]);
    assert_eq!(
        folder.measure(Wanted::Best, &["cat"]).unwrap().classes,
        ["cat"]
    );
    // A class of a part that the training photos know.
    let mut files = filled(&["train"], &["cat", "dog"]);
    files.extend(["test/cat/old/1.png".into(), "test/cat/new/2.png".into()]);
    let dataset = folder_of(&files).scan().unwrap();
    assert_eq!(dataset.classes, ["cat", "dog"]);
}

#[test]
fn photos_inside_class_folders_are_said_where_none_lies_in_them_directly() {
    let folder = folder_of(&filled(&["2019", "2020"], &["cat", "dog"]));
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, ["2019", "2020"]);
    assert!(
        remarks(&dataset)[0].contains("such as 2019/cat/"),
        "{:?}",
        dataset.remarks
    );
}

#[test]
fn names_are_the_same_however_their_accents_are_written() {
    // As macOS writes them, and as others do.
    let (apart, composed) = ("cafe\u{301}", "caf\u{e9}");
    let other = "bar";
    let files = [
        format!("train/{apart}/1.png"),
        format!("train/{other}/2.png"),
        format!("val/{composed}/3.png"),
        format!("val/{other}/4.png"),
    ];
    let folder = folder_of(&files);
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, [other, composed]);
    // Order and hash do not tell the two ways apart.
    let hash = |name: &str| {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.photo(&format!("{name}/{name}.png"), "x");
        folder.photo("cafz/1.png", "y");
        folder.scan().unwrap().data_hash()
    };
    assert_eq!(hash(apart), hash(composed));
}

#[test]
fn files_without_extension_are_judged_by_their_content() {
    let folder = Folder::with(&["a/1.png", "b/README", "b/notes.txt"]);
    folder.write("b/n02123045_1", b"\xff\xd8\xff\xe0 a photo");
    folder.write("b/from_a_phone", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    let dataset = folder.scan().unwrap();
    assert_eq!(relatives(&dataset), ["a/1.png", "b/n02123045_1"]);
    assert_eq!(dataset.other_files, 2);
    assert_eq!(dataset.skipped[0].kind, "unsupported_format");
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_followed_and_those_to_folders_above_are_not() {
    use std::os::unix::fs::symlink;

    let outside = Folder::with(&["cats/1.png", "dogs/2.png"]);
    let folder = Folder::with(&["fish/3.png"]);
    let link = |target: PathBuf, place: &str| symlink(target, folder.path(place)).unwrap();
    link(outside.path("cats"), "cats");
    link(outside.path("dogs"), "dogs");
    link(folder.path(""), "itself");
    link(folder.path(".."), "parent");
    link(folder.path(""), "fish/all");
    link(folder.path("fish"), "fish/again");
    link(folder.path("gone"), "birds");
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, ["cats", "dogs", "fish"]);
    assert_eq!(
        relatives(&dataset),
        ["cats/1.png", "dogs/2.png", "fish/3.png"]
    );
    let skipped: Vec<_> = dataset.skipped.iter().map(|s| s.path.as_str()).collect();
    // What links to folders in the set lead to is met on other ways, and no photo is lost by not following them.
    assert_eq!(skipped, ["birds", "parent"]);
}

/// What a remark says, for a warning its help too.
fn told(dataset: &Dataset) -> Vec<(String, bool)> {
    let remarks = dataset.remarks.iter();
    remarks
        .map(|r| (r.to_string(), r.help().is_some()))
        .collect()
}

#[test]
fn a_folder_that_is_named_like_a_part_beside_class_folders_is_never_a_class_unsaid() {
    let folder = Folder::with(&["tool/1.png", "windmill/2.png", "test/3.png", "test/4.png"]);
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, ["tool", "windmill"]);
    let said = "test/ is not taken as a class, since a part of the data is usually called so: its 2 photos are left \
                alone";
    assert_eq!(told(&dataset), [(said.to_owned(), true)]);
    assert_eq!(dataset.other_files, 0);
    // A model that knows it as a class is measured on it; another is not.
    let known = folder.measure(Wanted::Best, &["test", "tool", "windmill"]);
    assert_eq!(known.unwrap().items.len(), 4);
    let unknown = folder.measure(Wanted::Best, &["tool", "windmill"]).unwrap();
    assert_eq!((unknown.items.len(), told(&unknown)), (2, told(&dataset)));

    // Vehicles, and two classes of which one is called like a part.
    for (files, class) in [
        (&["bus/1.png", "car/2.png", "train/3.png"][..], "train/"),
        (&["invalid/1.png", "valid/2.png"], "valid/"),
    ] {
        let dataset = Folder::with(files).scan().unwrap();
        assert_eq!(dataset.items.len(), files.len());
        let said =
            format!("{class} is taken as a class, though a part of the data is usually called so");
        assert_eq!(told(&dataset), [(said, true)]);
    }
    // Its name says more than a part's.
    let dataset = Folder::with(&["crash_test/1.png", "car/2.png"])
        .scan()
        .unwrap();
    assert_eq!((dataset.classes.len(), told(&dataset).len()), (2, 0));
}

#[test]
fn parts_without_photos_are_said_to_be_empty() {
    for classes_within in [false, true] {
        let folder = Folder::with(&["train/a/1.png", "train/b/2.png"]);
        match classes_within {
            true => ["val/a", "val/b"]
                .iter()
                .for_each(|place| folder.folder(place)),
            false => folder.folder("val"),
        }
        let said = [("val/ holds no photo: left alone".to_owned(), true)];
        let dataset = folder.scan().unwrap();
        assert_eq!(
            (told(&dataset), dataset.has_empty_part()),
            (said.to_vec(), true)
        );
        let measured = folder.measure(Wanted::Best, &["a", "b"]).unwrap();
        assert_eq!(measured.measured_part(), Some(Split::Train));
        assert_eq!((measured.parts.len(), told(&measured)), (1, said.to_vec()));
        let error = folder
            .measure(Wanted::Only(Split::Val), &["a", "b"])
            .unwrap_err();
        let (text, _) = folder.explained(&error);
        assert_eq!(text, "there is no usable photo in DIR/val");
    }
}

#[test]
fn what_is_named_unlabelled_is_left_alone_for_its_name_and_said_once() {
    let folder = folder_of(&filled(&["train", "val", "unlabeled"], &["a", "b"]));
    let dataset = folder.scan().unwrap();
    let said =
        "unlabeled/ (2 photos) is left alone, since its name says that nobody has sorted them";
    assert_eq!(told(&dataset), [(said.to_owned(), false)]);
    assert_eq!(dataset.other_files, 0);
}

#[test]
fn folders_that_hold_the_same_folders_are_perhaps_no_classes() {
    let dataset = folder_of(&filled(&["set1", "set2"], &["tool", "windmill"]))
        .scan()
        .unwrap();
    let said = "all photos lie in folders inside the class folders, such as set1/tool/, and folders of the same names \
 lie in set1/ and set2/: tool/, windmill/";
    assert_eq!(told(&dataset), [(said.to_owned(), true)]);
    let years = folder_of(&filled(&["cat", "dog"], &["2019", "2020"]))
        .scan()
        .unwrap();
    assert!(told(&years).iter().all(|(_, is_warning)| !is_warning));
}

#[cfg(unix)]
#[test]
fn a_class_that_is_a_link_to_another_is_said_to_be_one() {
    use std::os::unix::fs::symlink;
    let folder = Folder::with(&["tool/1.png", "windmill/2.png"]);
    symlink(folder.path("tool"), folder.path("hammer")).unwrap();
    let dataset = folder.scan().unwrap();
    assert_eq!(dataset.classes, ["hammer", "tool", "windmill"]);
    let said = "hammer/ is a link to tool/ and is taken as a class of its own, of the same photos";
    assert_eq!(told(&dataset), [(said.to_owned(), true)]);
}

#[test]
fn counts_of_copies_agree_in_number() {
    let folder = Folder::with(&["a/1.png", "b/2.png"]);
    folder.photo("a/3.png", "b/2.png");
    let warnings: Vec<_> = folder.scan().unwrap().warnings();
    let said = warnings[0].to_string();
    assert_eq!(
        said,
        "1 photo lies in more than one class: b/2.png is a/3.png"
    );
    folder.photo("a/4.png", "a/1.png");
    let warnings: Vec<_> = folder.scan().unwrap().warnings();
    let said = warnings[1].to_string();
    assert_eq!(said, "1 photo is a copy of another: a/4.png is a/1.png");
}

#[test]
fn a_class_may_be_called_as_the_part_that_it_lies_in() {
    let folder = folder_of(&filled(&["train", "test"], &["train", "bus"]));
    let known = ["bus", "train"];
    let dataset = folder.measure(Wanted::Only(Split::Train), &known).unwrap();
    assert_eq!(dataset.classes, known);
    assert!(
        dataset
            .items
            .iter()
            .all(|item| item.relative.starts_with("train/"))
    );
    let all = folder.measure(Wanted::All, &known).unwrap();
    assert_eq!(all.items.len(), 2 * dataset.items.len());
    // Not divided, it is a class as before.
    let flat = Folder::with(&["train/1.png", "bus/2.png"]);
    let dataset = flat.measure(Wanted::All, &known).unwrap();
    assert_eq!((dataset.items.len(), dataset.classes.len()), (2, 2));
}
