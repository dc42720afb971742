//! Trying learning rates.

use serde_json::Value;

use super::{Shell, stderr, text};

/// Options that make it quick.
const SMALL: [&str; 8] = [
    "--model",
    "squeezenet1_1",
    "--input",
    "64",
    "--steps",
    "20",
    "--device",
    "cpu",
];

#[test]
fn rates_are_tried_drawn_and_suggested() {
    let shell = Shell::new();
    let data = shell.two_classes("two classes", 8);
    let more = [
        "--batch",
        "8",
        "--seed",
        "3",
        "--augment",
        "none",
        "--out",
        "found",
    ];
    let find = [&["lr-find", text(&data)], &SMALL[..], &more].concat();
    let output = shell.run(&[&find[..], &["--name", "lr"]].concat());
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    let run = shell.path("found/lr");
    let drawing = std::fs::read_to_string(run.join("lr.svg")).unwrap();
    assert!(drawing.contains("learning rate") && drawing.contains("prefers-color-scheme"));
    let figures = std::fs::read_to_string(run.join("lr.json")).unwrap();
    let figures: Value = serde_json::from_str(&figures).unwrap();
    let count = |key: &str| figures[key].as_array().unwrap().len();
    let steps = count("rates");
    assert!((10..=20).contains(&steps) && count("losses") == steps && count("smoothed") == steps);
    let rates = figures["rates"].as_array().unwrap();
    assert_eq!(rates[0], 1e-7);
    assert!((rates[5].as_f64().unwrap() / 1e-5 - 1.0).abs() < 1e-9);
    // Of a few photos, no fall is certain.
    match figures["valley"].as_f64() {
        Some(valley) => {
            for words in [
                "valley",
                "steepest",
                "rekindle train '",
                "--tune full --lr ",
                "lr.svg",
            ] {
                assert!(told.contains(words), "{words}\n{told}");
            }
            let command = figures["command"].as_str().unwrap();
            let (_, rate) = command.split_once("--lr ").unwrap();
            let rate: f64 = rate.split(' ').next().unwrap().parse().unwrap();
            assert!((rate / valley - 1.0).abs() < 0.05);
            assert!(
                command.ends_with("--batch 8 --augment none --seed 3"),
                "{command}"
            );
            assert!(drawing.contains("valley: ") && drawing.contains("steepest: "));
        }
        None => assert!(said.contains("falls at no rate"), "{said}"),
    }

    // The same again: nothing is drawn but from the seed.
    let json = shell.json(&[&find[..], &["--json"]].concat());
    let [again] = &json[..] else {
        panic!("one object: {json:?}")
    };
    for key in [
        "rates", "losses", "smoothed", "valley", "steepest", "command", "ended",
    ] {
        assert_eq!(again[key], figures[key], "{key}");
    }
    for file in again["files"].as_array().unwrap() {
        assert!(shell.path(file.as_str().unwrap()).is_file(), "{file}");
    }
}

#[test]
fn the_last_stages_alone_and_gradual_unfreezing_have_rates() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    for tune in ["last:1", "gradual"] {
        let more = ["--tune", tune, "--batch", "8", "--json", "--quiet"];
        let found = shell.json(&[&["lr-find", text(&data)], &SMALL[..], &more].concat());
        assert_eq!(found[0]["tune"], tune);
        assert!(found[0]["losses"][0].as_f64().unwrap() > 0.0);
    }
}

/// Writes a file of labels of two classes' photos.
fn labels(shell: &Shell, data: &std::path::Path, name: &str) {
    let mut rows = vec!["path,kind,tags,size,animal,part".to_owned()];
    for (number, class) in ["fish", "windmill"].into_iter().enumerate() {
        let files = std::fs::read_dir(data.join(class)).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let row = |(at, name): (usize, &String)| {
            let tags = ["", ";green"][at % 2];
            let size = 3 * number + at;
            let part = ["train", "val"][usize::from(at % 4 == 3)];
            format!(
                "{class}/{name},{class},{class}{tags},{size},{class}{},{part}",
                at / 2
            )
        };
        rows.extend(names.iter().enumerate().map(row));
    }
    std::fs::write(shell.path(name), rows.join("\n")).unwrap();
}

#[test]
fn what_train_learns_has_rates_classes_labels_and_values_from_folders_and_files() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    labels(&shell, &data, "labels.csv");
    let find = |data: &str, model: &str, more: &[&str]| {
        let start = [
            "lr-find", data, "--model", model, "--input", "64", "--steps", "12",
        ];
        let rest = [
            "--device", "cpu", "--tune", "last:1", "--batch", "8", "--json", "--quiet",
        ];
        shell.json(&[&start[..], &rest, more].concat()).remove(0)
    };
    let losses = |found: &Value| -> Vec<f64> {
        let losses = found["losses"].as_array().unwrap().iter();
        losses.map(|loss| loss.as_f64().unwrap()).collect()
    };
    // Classes are the same wherever they are written down.
    let folders = find("data", "squeezenet1_1", &[]);
    let classes = ["--labels", "labels.csv", "--label-column", "kind"];
    let file = find("data", "squeezenet1_1", &classes);
    assert_eq!(losses(&folders), losses(&file));
    // Other photos are held back where animals stay together, and where the file says which.
    let animal = [&classes[..], &["--group-column", "animal"]].concat();
    let part = [&classes[..], &["--split-column", "part"]].concat();
    let parted = find("data", "squeezenet1_1", &part);
    assert_ne!(
        losses(&find("data", "squeezenet1_1", &animal)),
        losses(&file)
    );
    assert_ne!(losses(&parted), losses(&file));
    // As where a folder does: val/ is not learnt from.
    for (class, at) in ["fish", "windmill"]
        .into_iter()
        .flat_map(|class| (0..8).map(move |at| (class, at)))
    {
        let mut files: Vec<_> = std::fs::read_dir(data.join(class))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        let folder = shell
            .path("parts")
            .join(if at % 4 == 3 { "val" } else { "train" })
            .join(class);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(&files[at], folder.join(files[at].file_name().unwrap())).unwrap();
    }
    assert_eq!(
        losses(&find("parts", "squeezenet1_1", &[])),
        losses(&parted)
    );

    // Binary cross-entropy of labels, squared error of values: as train begins with.
    for (column, task) in [("tags", "multilabel"), ("size", "regress")] {
        let more = [
            "--labels",
            "labels.csv",
            "--label-column",
            column,
            "--task",
            task,
        ];
        let found = find("data", "efficientnet_lite0", &more);
        let tried = losses(&found);
        assert!(tried.len() >= 5 && tried[0] > 0.0, "{found}");
        let name = format!("trained-{task}");
        let start = [
            "train",
            "data",
            "--model",
            "efficientnet_lite0",
            "--input",
            "64",
        ];
        let tune = [
            "--tune", "last:1", "--batch", "8", "--epochs", "1", "--lr", "1e-12",
        ];
        let rest = ["--device", "cpu", "--quiet", "--json", "--name", &name];
        shell.json(&[&start[..], &tune, &rest, &more].concat());
        let epochs = shell.metrics(&name);
        let epoch = epochs
            .iter()
            .find(|line| line.get("epoch").is_some())
            .unwrap();
        // The mean of the first steps, at rates that change nothing.
        let (steps, loss) = (2, epoch["loss"].as_f64().unwrap());
        let mean = tried[..steps].iter().sum::<f64>() / steps as f64;
        assert!(
            (mean - loss).abs() < 1e-3 * loss,
            "{task}: {tried:?} {loss}"
        );
    }
    let tags = [
        "--labels",
        "labels.csv",
        "--label-column",
        "tags",
        "--task",
        "multilabel",
    ];
    let start = [
        "lr-find",
        "data",
        "--model",
        "squeezenet1_1",
        "--name",
        "refused",
    ];
    shell.fails(
        &[&start[..], &tags].concat(),
        2,
        &["squeezenet1_1", "--model"],
    );
    assert!(!shell.path("runs/refused").exists());
}

#[test]
fn where_memory_is_short_photos_go_through_in_parts_and_losses_stay() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 10);
    const AMPLE: u64 = 3_000_000_000;
    let ample = AMPLE.to_string();
    let start = [text(&data), "--model", "squeezenet1_1", "--input", "160"];
    let rest = [
        "--device", "cpu", "--tune", "full", "--batch", "8", "--json",
    ];
    let words = |command, more: &[&'static str]| [&[command], &start[..], &rest, more].concat();
    // What a step of eight photos takes, and what the process has taken before it.
    let trained = words("train", &["--epochs", "1", "--memory-limit"]);
    let trained = shell.json(&[&trained[..], &[&ample]].concat()).remove(0);
    let needed = trained["predicted_memory_bytes"].as_u64().unwrap();
    let taken = AMPLE - trained["free_memory_bytes"].as_u64().unwrap();

    let find = words("lr-find", &["--steps", "10", "--memory-limit"]);
    let whole = shell.json(&[&find[..], &[&ample]].concat()).remove(0);
    let limit = (taken + needed / 5 * 4).to_string();
    let output = shell.run(&[&find[..], &[&limit]].concat());
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("batches of 4, gradients of 2 added up"),
        "{said}"
    );
    let divided: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The first rates change nothing.
    for step in 0..3 {
        let [one, other] = [&whole, &divided].map(|found| found["losses"][step].as_f64().unwrap());
        assert!((one - other).abs() < 1e-3 * one, "{one} {other}");
    }
    let little = words("lr-find", &["--memory-limit", "1MB", "--name", "little"]);
    shell.fails(&little, 4, &["a single photo at a time", "--input"]);
    assert!(!shell.path("runs/little").exists());
}

#[test]
fn what_has_no_rate_is_refused_and_leaves_nothing() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    let data = text(&data);
    let cases: [(&[&str], i32, &[&str]); 8] = [
        (&["--tune", "head"], 2, &["--tune head", "help:"]),
        (&["--tune", "scratch"], 2, &["--tune scratch", "help:"]),
        (&["--tune", "most"], 2, &["most"]),
        (&["--tune", "last:40"], 2, &["help:"]),
        (&["--steps", "5"], 2, &["from 10"]),
        (&["--batch", "0"], 2, &["from 1"]),
        (&["--augment", "wild"], 2, &["light"]),
        (&["--name", "../x"], 2, &["../x", "help:"]),
    ];
    for (more, code, words) in cases {
        let find = [
            &["lr-find", data, "--model", "squeezenet1_1", "--input", "64"],
            more,
        ]
        .concat();
        shell.fails(&find, code, words);
    }
    shell.fails(&["lr-find", "nowhere"], 3, &["nowhere", "help:"]);
    shell.fails(
        &["lr-find", data, "--model", "fcn_resnet50"],
        2,
        &["lr-find"],
    );
    assert!(!shell.path("runs").exists());
}

#[test]
#[cfg(unix)]
fn stopping_it_leaves_nothing() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    let mut find = shell.command(&["lr-find", text(&data), "--model", "squeezenet1_1"]);
    find.args(["--steps", "100000", "--device", "cpu"]);
    let child = find.stderr(Stdio::piped()).spawn().unwrap();
    // The head has been solved: rates are tried from then on.
    let solved = || {
        let runs = std::fs::read_dir(shell.path("runs")).ok()?;
        let mut runs = runs.filter_map(|run| Some(run.ok()?.path().join("metrics.jsonl")));
        runs.next().filter(|metrics| metrics.is_file())
    };
    let until = Instant::now() + Duration::from_secs(60);
    while solved().is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    let left = std::fs::read_dir(shell.path("runs")).unwrap().count();
    assert_eq!(left, 0, "{said}");
}
