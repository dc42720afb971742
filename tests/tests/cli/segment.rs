//! Networks that segment: masks, overlays and shares of classes; folders of masks measured; what other tasks have is
//! refused.

use std::path::{Path, PathBuf};

use rekindle_core::backbone::find;
use rekindle_core::image::RgbImage;
use rekindle_core::metrics::segment::Pixels;
use rekindle_core::model::{Contents, ModelCard};
use rekindle_core::postprocess::{Mask, VOID, overlay};
use rekindle_core::weights::Generated;
use rekindle_photos::{Limits, decode_file, encode_mask, encode_picture, read_mask};
use serde_json::{Value, json};

use super::{Shell, photos_of, text};

/// Classes of the model.
const CLASSES: [&str; 4] = ["__background__", "cat", "dog", "tree"];

/// A model file of a network that segments, of made-up weights, for photos small enough to be quick.
fn model(shell: &Shell) -> PathBuf {
    let network = find("lraspp_mobilenet_v3_large").unwrap();
    let published = ModelCard::published(network, &network.weights[0]);
    let card = ModelCard {
        preset: published.preset.with_size(96).unwrap(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        ..published
    };
    let contents = Contents::ported(network, card, &Generated).unwrap();
    let path = shell.path("model.safetensors");
    std::fs::write(&path, contents.save().unwrap()).unwrap();
    path
}

fn mask(path: &Path) -> Mask {
    read_mask(path, &Limits::default()).unwrap()
}

fn photo(path: &Path) -> RgbImage {
    decode_file(path, &Limits::default()).unwrap()
}

/// Photos of the same name in two folders, of different aspects, and a third that is upright.
fn three_photos(shell: &Shell) -> [PathBuf; 3] {
    let bundled = photo(&photos_of("windmill")[0]);
    let cut = |width: u32, height: u32| {
        let rows = bundled.pixels().chunks_exact(3 * bundled.width() as usize);
        let rows = rows.take(height as usize);
        let pixels = rows.flat_map(|row| row[..3 * width as usize].to_vec());
        let picture = RgbImage::new(width, height, pixels.collect()).unwrap();
        encode_picture(&picture).unwrap()
    };
    let (width, height) = (bundled.width(), bundled.height());
    let [a, b, c] = ["a/one.png", "b/one.png", "b/two.png"].map(|name| shell.path(name));
    std::fs::create_dir_all(a.parent().unwrap()).unwrap();
    std::fs::create_dir_all(b.parent().unwrap()).unwrap();
    std::fs::write(&a, cut(width, height / 2)).unwrap();
    std::fs::write(&b, cut(width / 2, height)).unwrap();
    std::fs::write(&c, cut(width / 3, height / 3)).unwrap();
    [a, b, c]
}

#[test]
fn masks_overlays_and_shares_come_of_photos_of_any_aspect() {
    let shell = Shell::new();
    let model = model(&shell);
    let photos = three_photos(&shell);
    let named: Vec<&str> = photos.iter().map(|photo| text(photo)).collect();
    let mut arguments = vec!["predict", text(&model), "--out", "masks", "--json"];
    arguments.extend(&named);
    let answers = shell.json(&arguments);
    assert_eq!(answers.len(), 3);
    let names = ["one", "one-2", "two"];
    for ((answer, path), name) in answers.iter().zip(&photos).zip(names) {
        let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["mask", "overlay", "path", "shares"], "{answer}");
        assert_eq!(answer["path"], text(path));
        assert_eq!(answer["mask"], format!("masks/{name}.mask.png"));
        assert_eq!(answer["overlay"], format!("masks/{name}.overlay.png"));
        let photo = photo(path);
        let mask = mask(&shell.path(answer["mask"].as_str().unwrap()));
        assert_eq!(mask.size(), [photo.width(), photo.height()]);
        // The shares are the mask's, the largest first.
        let shares = mask.shares(CLASSES.len());
        let told = answer["shares"].as_array().unwrap();
        let mut all = 0.0;
        let mut before = 1.0;
        for share in told {
            let class = CLASSES.iter().position(|class| share["class"] == *class);
            let value = share["share"].as_f64().unwrap();
            assert_eq!(share["index"], json!(class));
            assert!((value - shares[class.unwrap()]).abs() < 1e-12, "{answer}");
            assert!(value <= before && value > 0.0, "{answer}");
            before = value;
            all += value;
        }
        assert!((all - 1.0).abs() < 1e-9, "{answer}");
        let seen = decode_file(
            &shell.path(answer["overlay"].as_str().unwrap()),
            &Limits::default(),
        );
        assert_eq!(seen.unwrap(), overlay(&photo, &mask, Some(0)).unwrap());
    }
    // Nothing is overwritten, not even to begin with.
    shell.fails(&arguments, 2, &["would overwrite", "one.mask.png", "help:"]);
    // Without --out there are shares alone; --top shows so many.
    let more = shell.json(&["predict", text(&model), named[0], "--json", "--top", "1"]);
    assert_eq!(more[0]["mask"], Value::Null);
    assert_eq!(more[0]["overlay"], Value::Null);
    assert_eq!(more[0]["shares"][0], answers[0]["shares"][0]);
    assert_eq!(more[0]["shares"].as_array().unwrap().len(), 1);
    // The same for people.
    let printed = shell.run(&["predict", text(&model), named[0], "--out", "again"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let largest = answers[0]["shares"][0]["class"].as_str().unwrap();
    assert!(
        printed.contains(largest) && printed.contains(" %"),
        "{printed}"
    );
    assert!(printed.contains("again/one.overlay.png"), "{printed}");
    // Pictures that lie among the photos are not taken for photos.
    shell.json(&["predict", text(&model), "b", "--out", "b", "--json"]);
    let again = shell.run(&["predict", text(&model), "b", "--json"]);
    let answers = String::from_utf8(again.stdout.clone()).unwrap();
    assert_eq!(answers.lines().count(), 2, "{answers}");
    let said = super::stderr(&again);
    assert!(said.contains("left aside: 4 masks"), "{said}");
}

#[test]
#[cfg(unix)]
fn an_interruption_leaves_whole_pictures_and_says_how_to_go_on() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let shell = Shell::new();
    let model = model(&shell);
    let photo = &photos_of("windmill")[0];
    std::fs::create_dir(shell.path("many")).unwrap();
    for number in 100..160 {
        super::copy(photo, &shell.path(&format!("many/{number}.jpg")));
    }
    let mut child = shell.command(&["predict", text(&model), "many", "--out", "out", "--json"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    answers.read_line(&mut String::new()).unwrap();
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    std::io::copy(&mut answers, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = super::stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    let help = "of 60 photos are done, their pictures are whole in out: give the photos that are left, from many/1";
    for words in ["error: interrupted", help, "another folder with --out"] {
        assert_eq!(said.matches(words).count(), 1, "{said}");
    }
    let written = std::fs::read_dir(shell.path("out")).unwrap().count();
    assert_eq!(written % 2, 0, "{written}");
}

#[test]
fn a_photo_that_no_network_could_see_whole_is_skipped_in_words() {
    let shell = Shell::new();
    let model = model(&shell);
    let line = RgbImage::new(1, 10_000, vec![7; 30_000]).unwrap();
    let path = shell.path("line.png");
    std::fs::write(&path, encode_picture(&line).unwrap()).unwrap();
    let words = ["1×10000", "4096", "cut it into parts"];
    let predict = ["predict", text(&model), text(&path), "--out", "none"];
    shell.fails(&predict, 3, &words);
    assert!(!shell.path("none").exists());
    let [good, ..] = three_photos(&shell);
    let answers = shell.json(&["predict", text(&model), text(&path), text(&good), "--json"]);
    assert_eq!(answers[0]["skipped"]["kind"], "too_long");
    assert!(answers[1]["shares"].is_array());
}

/// A folder as PASCAL VOC lays it out, whose masks are what the model says, but for changes.
fn voc(shell: &Shell, model: &Path, change: impl Fn(&str, &mut Vec<u8>)) -> PathBuf {
    let photos = three_photos(shell);
    let root = shell.path("voc");
    for folder in ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (name, path) in ["a", "b", "c"].into_iter().zip(&photos) {
        let photo = root.join(format!("JPEGImages/{name}.png"));
        std::fs::copy(path, &photo).unwrap();
        let out = format!("said-{name}");
        shell.json(&[
            "predict",
            text(model),
            text(&photo),
            "--out",
            &out,
            "--json",
        ]);
        let said = mask(&shell.path(&format!("{out}/{name}.mask.png")));
        let mut labels = said.labels().to_vec();
        change(name, &mut labels);
        let [width, height] = said.size();
        let mask = Mask::new(width, height, labels).unwrap();
        let file = root.join(format!("SegmentationClass/{name}.png"));
        std::fs::write(file, encode_mask(&mask).unwrap()).unwrap();
    }
    root
}

#[test]
fn masks_of_known_overlap_are_measured_at_their_own_size() {
    let shell = Shell::new();
    let model = model(&shell);
    // Some labels are void, and some another class than what the model says.
    let root = voc(&shell, &model, |name, labels| {
        for (place, label) in labels.iter_mut().enumerate() {
            match place % 7 {
                0 => *label = VOID,
                1 if name != "c" => *label = (*label + 1) % 4,
                _ => {}
            }
        }
    });
    let list = |part: &str, names: &str| {
        let path = root.join(format!("ImageSets/Segmentation/{part}.txt"));
        std::fs::write(path, names).unwrap();
    };
    let expected = |names: &[&str]| {
        let mut pixels = Pixels::new(CLASSES.len());
        for name in names {
            let label = mask(&root.join(format!("SegmentationClass/{name}.png")));
            let said = mask(&shell.path(&format!("said-{name}/{name}.mask.png")));
            pixels.add(&label, &said).unwrap();
        }
        pixels.report()
    };
    list("val", "a\nb\n");
    list("train", "c\n");
    let arguments = ["evaluate", text(&model), text(&root), "--json"];
    let answer = shell.json(&arguments).remove(0);
    let report = expected(&["a", "b"]);
    assert_eq!(answer["mean_iou"], json!(report.mean_iou));
    assert_eq!(answer["pixel_accuracy"], json!(report.pixel_accuracy));
    // Five of six labelled pixels are as the model says.
    let accuracy = report.pixel_accuracy.unwrap();
    assert!((accuracy - 5.0 / 6.0).abs() < 1e-3, "{accuracy}");
    assert_eq!(answer["images"], 2);
    assert_eq!(answer["split"], "val");
    for class in answer["classes"].as_array().unwrap() {
        let place = CLASSES
            .iter()
            .position(|name| class["class"] == *name)
            .unwrap();
        assert_eq!(class["iou"], json!(report.per_class[place].iou), "{class}");
    }
    let train = shell.json(&[&arguments[..], &["--split", "train"]].concat());
    assert_eq!(train[0]["mean_iou"], 1.0);
    let all = shell.json(&[&arguments[..], &["--split", "all"]].concat());
    assert_eq!(
        all[0]["mean_iou"],
        json!(expected(&["a", "b", "c"]).mean_iou)
    );
    assert_eq!(all[0]["split"], Value::Null);
    let printed = shell.run(&["evaluate", text(&model), text(&root)]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.contains("mean IoU") && printed.contains("2 photos"),
        "{printed}"
    );
}

#[test]
fn masks_that_do_not_fit_and_folders_without_them_are_told() {
    let shell = Shell::new();
    let model = model(&shell);
    let root = voc(&shell, &model, |_, _| ());
    let file = root.join("SegmentationClass/b.png");
    let whole = mask(&file);
    // What is skipped otherwise ends it before the network begins.
    let evaluate = |root: &Path, words: &[&str]| {
        shell.fails(
            &["evaluate", text(&model), text(root), "--strict"],
            3,
            words,
        );
    };
    let write = |mask: &Mask| std::fs::write(&file, encode_mask(mask).unwrap()).unwrap();
    write(&Mask::new(5, 4, vec![0; 20]).unwrap());
    evaluate(&root, &["5×4", "b.png", "the size of its photo"]);
    // The others are measured.
    let answer = shell.json(&["evaluate", text(&model), text(&root), "--json"]);
    assert_eq!(
        [&answer[0]["images"], &answer[0]["skipped"]],
        [&json!(2), &json!(1)]
    );
    let beyond = vec![4; whole.labels().len()];
    write(&Mask::new(whole.width(), whole.height(), beyond).unwrap());
    evaluate(
        &root,
        &["label 4", "b.png", "__background__, cat, dog, tree"],
    );
    std::fs::copy(root.join("JPEGImages/b.png"), &file).unwrap();
    evaluate(&root, &["in colours", "b.png", "the classes' numbers"]);
    std::fs::write(&file, b"").unwrap();
    evaluate(&root, &["the file is empty", "b.png"]);
    std::fs::remove_file(&file).unwrap();
    let list = root.join("ImageSets/Segmentation/val.txt");
    std::fs::write(&list, "a\nb\n").unwrap();
    evaluate(&root, &["no mask of 'b'", "val.txt"]);
    shell.fails(
        &["evaluate", text(&model), text(&root), "--split", "test"],
        3,
        &["test.txt", "--split all"],
    );
    let classes = shell.two_classes("classes", 1);
    evaluate(&classes, &["no photos with masks", "SegmentationClass"]);
    evaluate(Path::new("nowhere"), &["nowhere", "SegmentationClass"]);
    let classifier = ["evaluate", "squeezenet1_1", text(&root)];
    shell.fails(&classifier, 3, &["knows no class", "networks that segment"]);
    std::fs::write(&list, "a\n").unwrap();
    let a = root.join("SegmentationClass/a.png");
    let good = mask(&a);
    let void = vec![VOID; good.labels().len()];
    let void = Mask::new(good.width(), good.height(), void).unwrap();
    std::fs::write(&a, encode_mask(&void).unwrap()).unwrap();
    evaluate(&root, &["no pixel of 1 photo has a label"]);
    std::fs::write(&a, encode_mask(&good).unwrap()).unwrap();
    // A damaged photo is skipped, and an error with --strict.
    std::fs::write(&list, "a\nc\n").unwrap();
    std::fs::write(root.join("JPEGImages/c.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let answer = shell.json(&["evaluate", text(&model), text(&root), "--json"]);
    assert_eq!(
        (&answer[0]["images"], &answer[0]["skipped"]),
        (&json!(1), &json!(1))
    );
    let strict = ["evaluate", text(&model), text(&root), "--strict"];
    shell.fails(&strict, 3, &["cannot be used"]);
}

#[test]
fn folders_of_photos_and_masks_side_by_side_are_measured() {
    let shell = Shell::new();
    let model = model(&shell);
    let root = voc(&shell, &model, |_, _| ());
    let pairs = shell.path("pairs");
    std::fs::create_dir(&pairs).unwrap();
    std::fs::rename(root.join("JPEGImages"), pairs.join("images")).unwrap();
    std::fs::rename(root.join("SegmentationClass"), pairs.join("masks")).unwrap();
    let arguments = ["evaluate", text(&model), text(&pairs), "--json"];
    let answer = shell.json(&arguments);
    assert_eq!(
        (&answer[0]["mean_iou"], &answer[0]["images"]),
        (&json!(1.0), &json!(3))
    );
    let split = [&arguments[..], &["--split", "val"]].concat();
    shell.fails(&split, 2, &["--split", "ImageSets"]);
    std::fs::remove_file(pairs.join("masks/b.png")).unwrap();
    let answer = shell.json(&arguments).remove(0);
    assert_eq!(
        [&answer["images"], &answer["skipped"]],
        [&json!(2), &json!(1)]
    );
    let strict = [&arguments[..], &["--strict"]].concat();
    shell.fails(&strict, 3, &["no mask of 'b'"]);
}

#[test]
fn what_belongs_to_another_task_is_refused_by_both_names() {
    let shell = Shell::new();
    let folder = shell.two_classes("photos", 2);
    let model = model(&shell);
    let segments = "lraspp_mobilenet_v3_large";
    let train = ["train", text(&folder), "--model", segments];
    shell.fails(&train, 2, &["`train`", segments, "segments"]);
    let bench = ["bench", text(&model), "--train"];
    shell.fails(&bench, 2, &["`bench --train`", "model.safetensors"]);
    let out = ["predict", "squeezenet1_1", text(&folder), "--out", "x"];
    shell.fails(&out, 2, &["`predict --out`", "squeezenet1_1", "classifies"]);
    let gate = [
        "evaluate",
        text(&model),
        text(&folder),
        "--min-accuracy",
        "0.5",
    ];
    shell.fails(&gate, 2, &["--min-accuracy", "segments"]);
    let networks = shell.json(&["models", "--json"]).remove(0);
    let networks = networks.as_array().unwrap();
    let task =
        |name: &str| networks.iter().find(|entry| entry["name"] == name).unwrap()["task"].clone();
    assert_eq!(task(segments), "segment");
    assert_eq!(task("resnet18"), "classify");
}

#[test]
fn cards_of_later_tasks_and_of_the_wrong_one_are_refused() {
    let shell = Shell::new();
    let path = model(&shell);
    let bytes = std::fs::read(&path).unwrap();
    let [photo, ..] = three_photos(&shell);
    // As long as they were, so that the file stays whole.
    let card = |old: &str, new: &str| {
        let quoted = |text: &str| text.replace('"', "\\\"");
        std::fs::write(&path, replaced(&bytes, &quoted(old), &quoted(new))).unwrap();
    };
    card(r#""task":"segment""#, r#""task":"detects""#);
    let predict = ["predict", text(&path), text(&photo)];
    shell.fails(&predict, 3, &["the task 'detects'", "newest Rekindle"]);
    // A card that says nothing is a classifier's, which this network is not.
    card(r#""task":"segment""#, r#""tusk":"segment""#);
    shell.fails(&predict, 3, &["damaged", "`crop`"]);
}

fn replaced(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .position(|some| some == old.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{old} is not there"));
    let mut bytes = bytes.to_vec();
    bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    bytes
}
