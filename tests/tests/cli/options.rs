//! Options that make no sense, and commands that need no photos.

use rekindle_tests::root;

use super::{Shell, copy, photos_of, stderr, text};

#[test]
#[cfg(unix)]
fn a_read_only_output_folder_is_found_out_before_the_work() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    // A file where the folder should be stops even the superuser, whom permissions do not.
    std::fs::write(shell.path("occupied"), b"").unwrap();
    let out = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--out",
        "occupied",
    ];
    shell.fails(&out, 5, &["occupied", "help:"]);

    let locked = shell.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(locked.join("probe"), b"").is_err() {
        let out = [
            "train",
            text(&data),
            "--model",
            "squeezenet1_1",
            "--out",
            "locked",
        ];
        shell.fails(&out, 5, &["locked", "help:"]);
    }
}

#[test]
fn nonsense_on_the_command_line_is_a_usage_error() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    shell.fails(
        &["train", text(&data), "--model", "resnet19"],
        2,
        &["resnet18"],
    );
    shell.fails(&["train", text(&data), "--split", "1.5"], 2, &["--split"]);
    shell.fails(&["train", text(&data), "--device", "cuda"], 2, &["cuda"]);
    shell.fails(&["train"], 2, &["Usage"]);
    let model = root().join("assets/weights/squeezenet1_1.safetensors");
    let model = text(&model);
    let cases: [(&[&str], &str); 12] = [
        (&["train", "data", "--views", "-1"], "from 0 to 1000"),
        (&["train", "data", "--views", "100000000"], "from 0 to 1000"),
        (&["train", "data", "--seed", "-1"], "a whole number from 0"),
        (
            &["train", "data", "--c", "-1"],
            "--c must be a number above 0",
        ),
        (&["train", "data", "--lr", "x"], "it must be a number"),
        (
            &["train", "data", "--max-pixels", "1e8"],
            "400000000 or 400M",
        ),
        (&["train", "data", "--max-pixels", "0"], "400000000 or 400M"),
        (&["serve", "--port", "99999"], "from 0 to 65535"),
        (
            &["evaluate", model, "data", "--top", "3"],
            "belongs to `predict`",
        ),
        (&["train", "data", "--model", "nope"], "called 'nope'\n"),
        (
            &["train", "data", "--weights", "nope.pth"],
            "no file 'nope.pth'",
        ),
        (
            &["train", "data", "--weights", "nope.pth#a"],
            "no file 'nope.pth'",
        ),
    ];
    for (arguments, words) in cases {
        shell.fails(arguments, 2, &[words, "help:"]);
        let told = stderr(&shell.run(arguments));
        for not in ["to pass", "..=", "did you mean", "invalid digit"] {
            assert!(!told.contains(not), "{arguments:?}: {told}");
        }
    }
    let help = shell.run(&["help", "--help"]);
    assert!(help.status.success(), "{}", stderr(&help));
}

#[test]
fn what_stands_in_the_place_of_a_model_is_named_with_what_belongs_there() {
    let shell = Shell::new();
    shell.two_classes("data", 1);
    let model = root().join("assets/weights/squeezenet1_1.safetensors");
    std::fs::create_dir_all(shell.path("runs/base")).unwrap();
    copy(&model, &shell.path("runs/base/model.safetensors"));
    std::fs::write(shell.path("runs/base/report.html"), "<!doctype html>").unwrap();
    let (model, photo) = ("runs/base/model.safetensors", photos_of("fish").remove(0));
    let first = "the model comes first, then the photos";
    let cases: [(&[&str], &str); 5] = [
        (&["predict", text(&photo), model], first),
        (&["evaluate", "data", model], first),
        (&["evaluate", "runs/base/report.html", "data"], model),
        (&["evaluate", "runs/base", "data"], model),
        (&["predict", "/dev/null", "data"], "is no file"),
    ];
    let cases = cases.iter().take(if cfg!(unix) { 5 } else { 4 });
    for (arguments, words) in cases {
        shell.fails(arguments, 3, &[words, "help:"]);
    }
    // What was looked at is what is said.
    let looked = shell.run(&["summary", model, "--classes", "3"]);
    let told = String::from_utf8(looked.stdout).unwrap();
    assert!(told.contains("with a new head, 3 classes"), "{told}");
    assert!(
        !told.contains("1000 classes") && told.contains(", bilinear,"),
        "{told}"
    );
}

/// The whole table is in `native/src/options.rs`; here is what depends on files and networks, and the way out.
#[test]
fn options_that_do_not_apply_are_usage_errors_that_say_what_they_belong_to() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let file = root().join("assets/weights/squeezenet1_1.safetensors");
    let photo = photos_of("fish").remove(0);
    std::fs::create_dir_all(shell.path("parts/train")).unwrap();
    std::fs::rename(data.join("fish"), shell.path("parts/train/fish")).unwrap();
    std::fs::create_dir_all(shell.path("parts/val/fish")).unwrap();
    copy(
        &photos_of("fish")[5],
        &shell.path("parts/val/fish/other.webp"),
    );
    std::fs::rename(data.join("windmill"), shell.path("parts/train/windmill")).unwrap();
    let cases: [(&[&str], &[&str]); 19] = [
        (
            &["train", "parts", "--model", text(&file)],
            &["--model", "--weights"],
        ),
        (
            &["train", "data", "--precision", "half"],
            &["--precision", "predict"],
        ),
        (
            &["--precision", "full", "train", "data"],
            &["--precision", "predict"],
        ),
        (
            &["train", "data", "--epochs", "3"],
            &["--epochs", "--head mlp"],
        ),
        (&["train", "data", "--lr", "0.1"], &["--lr", "--head mlp"]),
        (
            &["train", "data", "--head", "mlp", "--c", "1"],
            &["--c", "--head linear"],
        ),
        (&["train", "parts", "--split", "0.3"], &["--split", "val/"]),
        (
            &["train", "parts", "-m", "resnet18", "--bare"],
            &["--bare", "VGG"],
        ),
        (
            &["train", "parts", "-m", "vgg11", "--small-stem"],
            &["--small-stem", "ResNet"],
        ),
        (&["summary", "resnet18", "--bare"], &["--bare", "VGG"]),
        (
            &["predict", text(&file), text(&photo), "--weights", "random"],
            &["--weights", "file"],
        ),
        (
            &["evaluate", text(&file), "parts", "--weights", "random"],
            &["--weights", "file"],
        ),
        (&["train", "parts", "--seed", "3"], &["--seed", "--views"]),
        (
            &["evaluate", "squeezenet1_1", "parts/train", "--split", "all"],
            &["--split", "divided"],
        ),
        (
            &[
                "doctor",
                "--kernels",
                "resnet18",
                "--batch",
                "2",
                "--device",
                "cpu",
            ],
            &["--batch", "processor"],
        ),
        (
            &[
                "doctor",
                "--kernels",
                "resnet18",
                "--tier",
                "cpu",
                "--batch",
                "2",
            ],
            &["--batch", "processor"],
        ),
        (
            &["predict", "squeezenet1_1", "parts", "--top", "0"],
            &["--top"],
        ),
        (
            &["evaluate", "squeezenet1_1", "parts", "--min-accuracy", "90"],
            &["--min-accuracy", "0.9"],
        ),
        (
            &["train", "parts", "--views", "100000"],
            &["--views", "1000"],
        ),
    ];
    for (arguments, words) in cases {
        shell.fails(arguments, 2, words);
    }
    let left = std::fs::read_dir(shell.path("runs")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing was begun");
    // Where it applies, it is obeyed: no processor computes in 16 bits.
    let compare = [
        "compare",
        "squeezenet1_1",
        "--device",
        "cpu",
        "--precision",
        "half",
    ];
    shell.fails(&compare, 4, &["half-precision"]);
}

/// Whatever can be told without a photo comes before all photos: here there are none.
#[test]
fn options_that_cannot_be_are_refused_before_any_photo_is_looked_for() {
    let shell = Shell::new();
    std::fs::write(shell.path("occupied"), b"").unwrap();
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (
            &["train", "nowhere", "--name", "a/b"],
            2,
            &["`a/b`", "letters, digits"],
        ),
        (
            &["train", "nowhere", "--name", ".hidden"],
            2,
            &["`.hidden`"],
        ),
        (
            &["train", "nowhere", "--out", "occupied/runs"],
            5,
            &["occupied/runs"],
        ),
        (&["train", "nowhere", "-m", "resnet19"], 2, &["resnet18"]),
        (
            &["train", "nowhere", "-m", "resnet18", "--bare"],
            2,
            &["--bare"],
        ),
        (
            &["train", "nowhere", "-m", "vgg11", "--small-stem"],
            2,
            &["--small-stem"],
        ),
        (
            &["train", "nowhere", "-m", "alexnet", "--input", "40"],
            2,
            &["at least 63"],
        ),
        (
            &["train", "nowhere", "--weights", "V9"],
            2,
            &["no weights called 'V9'"],
        ),
        (
            &["train", "nowhere", "--weights", "occupied#"],
            2,
            &["nothing stands behind the #"],
        ),
        (&["evaluate", "resnet19", "nowhere"], 2, &["resnet18"]),
        (
            &["evaluate", "resnet18", "nowhere", "--weights", "V9"],
            2,
            &["V9"],
        ),
        (&["predict", "resnet19", "nowhere"], 2, &["resnet18"]),
        (
            &["predict", "resnet18", "nowhere", "--weights", "V9"],
            2,
            &["V9"],
        ),
    ];
    for (arguments, code, words) in cases {
        shell.fails(arguments, code, words);
    }
    // The folder's own trouble is said where nothing else is wrong.
    shell.fails(&["train", "nowhere"], 3, &["no such folder"]);
}

#[test]
fn the_list_of_models_is_data() {
    let shell = Shell::new();
    let models = shell.json(&["models", "--json"]);
    let models = models[0].as_array().unwrap();
    assert!(models.len() >= 90, "{}", models.len());
    for model in models {
        assert!(model["params"].as_u64().unwrap() > 1_000_000, "{model}");
        assert!(model["macs"].as_u64().unwrap() > 30_000_000, "{model}");
        for key in ["name", "license", "source"] {
            assert!(model[key].is_string(), "{model}");
        }
        let (smallest, own) = (&model["min_input_size"], &model["input_size"]);
        assert!(
            smallest.as_u64().unwrap() <= own.as_u64().unwrap(),
            "{model}"
        );
    }
    let inception = models.iter().find(|model| model["name"] == "inception_v3");
    assert_eq!(inception.unwrap()["input_size"], 299);
    assert_eq!(inception.unwrap()["min_input_size"], 75);
}

#[test]
fn completions_and_doctor_answer() {
    let shell = Shell::new();
    let script = shell.run(&["completions", "bash"]);
    assert!(String::from_utf8_lossy(&script.stdout).contains("rekindle"));
    let findings = shell.json(&["doctor", "--json"]);
    assert!(
        findings[0]["auto"]["self_test"].is_object(),
        "{}",
        findings[0]
    );
    // Where the folder above is the one that is named, too.
    let mut doctor = shell.command(&["doctor", "--json"]);
    let findings = doctor.current_dir(root()).output().unwrap().stdout;
    let findings: serde_json::Value = serde_json::from_slice(&findings).unwrap();
    let mut folders = findings["weights"].as_array().unwrap().clone();
    let count = folders.len();
    folders.sort_by_key(ToString::to_string);
    folders.dedup();
    assert_eq!(folders.len(), count, "each folder once");
}
