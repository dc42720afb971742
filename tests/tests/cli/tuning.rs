//! Fine-tuning end to end: every way to tune, runs that are killed and go on, and what is refused.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Shell, kill, stderr, text};

/// A training of two classes by the smallest network, at a size that takes seconds.
const SMALL: [&str; 8] = [
    "--model",
    "squeezenet1_1",
    "--input",
    "64",
    "--device",
    "cpu",
    "--batch",
    "8",
];

fn train<'a>(data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", text(data)];
    arguments.extend(SMALL);
    arguments.extend(more);
    arguments
}

/// The checkpoint of a run that is called `stopped`.
const CHECKPOINT: &str = "runs/stopped/checkpoint.safetensors";

/// A training called `stopped` that goes on, and has its first checkpoint.
fn begun(shell: &Shell, arguments: &[&str]) -> Child {
    shell.begun(arguments, || shell.path(CHECKPOINT).exists())
}

#[test]
fn every_way_to_tune_leaves_a_model_that_is_not_worse_than_the_head_alone() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 10);
    for how in ["last", "last:1", "full", "gradual"] {
        let name = how.replace(':', "-");
        let arguments = train(
            &data,
            &["--tune", how, "--epochs", "2", "--name", &name, "--json"],
        );
        let summary = shell.json(&arguments).pop().unwrap();
        let number = |key: &str| summary[key].as_f64().unwrap();
        assert!(
            number("accuracy") >= number("accuracy_head"),
            "{how}: {summary}"
        );
        assert_eq!(summary["tune"], how);
        // Values at a cut are waited for as photos are.
        let waited = number("waited_for_photos");
        assert!((0.0..=1.0).contains(&waited), "{how}: {summary}");
        assert!(number("epochs") >= 2.0, "{how}: {summary}");
        assert!(["head", "tuned"].contains(&summary["kept"].as_str().unwrap()));
        let epochs = shell.metrics(&name);
        let epochs = epochs.iter().filter(|line| line.get("epoch").is_some());
        assert_eq!(epochs.count() as f64, number("epochs"), "{how}");
        let run = shell.path("runs").join(&name);
        assert!(!run.join("checkpoint.safetensors").exists(), "{how}");
        // What was tuned answers, and its recipe repeats it to the byte.
        let model = run.join("model.safetensors");
        let photos = data.join("fish");
        assert!(
            shell
                .run(&["predict", text(&model), text(&photos)])
                .status
                .success()
        );
    }
    let recipe = shell.path("runs/full/recipe.toml");
    let repeated = [
        "--tune",
        "full",
        "--recipe",
        text(&recipe),
        "--name",
        "again",
    ];
    assert!(shell.run(&train(&data, &repeated)).status.success());
    let bytes =
        |run: &str| fs::read(shell.path("runs").join(run).join("model.safetensors")).unwrap();
    assert!(bytes("full") == bytes("again"));
    // What is computed again instead of kept changes no number.
    let sparing = [&repeated[..4], &["--name", "sparing", "--recompute"]].concat();
    assert!(shell.run(&train(&data, &sparing)).status.success());
    assert!(bytes("full") == bytes("sparing"));
}

#[test]
fn a_run_is_made_again_to_the_byte_or_told_apart() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let quick = ["--recipe", "quick", "--name", "first"];
    let mut command = shell.command(&train(&data, &quick));
    let output = command.env("REKINDLE_EPOCHS", "2").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let recipe = fs::read_to_string(shell.path("runs/first/recipe.toml")).unwrap();
    for line in ["tune = \"last:1\"", "epochs = 2", "views = 3", "batch = 8"] {
        assert!(recipe.contains(line), "{line}\n{recipe}");
    }
    let replay = ["replay", "runs/first", "--json"];
    let told = shell.json(&replay).pop().unwrap();
    assert_eq!(told["repeats"], true, "{told}");
    // The file alone says the network, its size, the way to tune and the seed.
    let recipe = "runs/first/recipe.toml";
    let again = [
        "train", "data", "--recipe", recipe, "--name", "again", "--device", "cpu",
    ];
    assert!(shell.run(&again).status.success());
    let bytes =
        |run: &str| fs::read(shell.path("runs").join(run).join("model.safetensors")).unwrap();
    assert!(bytes("first") == bytes("again"));

    fs::copy(
        shell
            .path("data/fish")
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
        shell.path("data/windmill/more.webp"),
    )
    .unwrap();
    let output = shell.run(&replay);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let differs: Vec<&str> = told["differs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["what"].as_str().unwrap())
        .collect();
    assert!(
        differs.contains(&"the photos") && !differs.contains(&"the recipe"),
        "{differs:?}"
    );
    assert!(!std::env::temp_dir().join("rekindle-replay").exists());
    shell.fails(&["replay", "data"], 2, &["no run"]);
    let unknown = ["--recipe", "quickly"];
    shell.fails(
        &train(&data, &unknown),
        5,
        &["quickly", "quick, best, phone"],
    );
}

#[test]
fn a_network_learns_from_nothing() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 12);
    let more = [
        "--tune", "scratch", "--epochs", "3", "--keep", "last", "--json",
    ];
    let summary = shell.json(&train(&data, &more)).pop().unwrap();
    assert_eq!(summary["kept"], "tuned");
    let losses: Vec<f64> = shell
        .metrics(summary["run"].as_str().unwrap().trim_start_matches("runs/"))
        .iter()
        .filter(|line| line.get("epoch").is_some())
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), 3);
    assert!(
        losses[0] > 0.3 && losses.iter().all(|loss| loss.is_finite()),
        "{losses:?}"
    );
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_bytes() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 10);
    let options = [
        "--tune",
        "gradual",
        "--epochs",
        "3",
        "--ema",
        "0.9",
        "--accumulate",
        "2",
        "--keep",
        "tuned",
        "--checkpoint-every",
        "0",
        "--name",
    ];
    let whole = [&options[..], &["whole"]].concat();
    let begun = Instant::now();
    assert!(shell.run(&train(&data, &whole)).status.success());
    let whole_time = begun.elapsed();
    let bytes = |run: &str, file: &str| shell.of_run(run, file);

    let killed = [&options[..], &["killed"]].concat();
    let mut arguments = train(&data, &killed);
    let run = shell.path("runs/killed");
    let mut kills = 0;
    // Later and later, so that it comes to its end even where a machine is slow.
    for share in 1.. {
        let mut child = shell
            .command(&arguments)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let limit = whole_time * share / 6;
        let begun = Instant::now();
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if begun.elapsed() > limit => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        match ended {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                // Killed between its last file and its end.
                if run.join("model.safetensors").exists() {
                    break;
                }
            }
        }
        if run.join("command.json").exists() {
            arguments = vec!["train", "--resume", "runs/killed"];
        }
    }
    println!("killed {kills} times");
    assert!(kills > 0);
    for file in ["model.safetensors", "metrics.jsonl"] {
        assert!(bytes("whole", file) == bytes("killed", file), "{file}");
    }
    let finished = ["train", "--resume", "runs/killed"];
    shell.fails(&finished, 2, &["this run is finished"]);
}

#[test]
fn a_run_goes_on_with_what_it_began_with_or_not_at_all() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let options = [
        "--tune",
        "full",
        "--epochs",
        "50",
        "--name",
        "stopped",
        "--checkpoint-every",
        "0",
    ];
    let mut child = begun(&shell, &train(&data, &options));
    let checkpoint = shell.path(CHECKPOINT);
    let resume = ["train", "--resume", "runs/stopped"];
    shell.fails(&resume, 5, &["another process is using this run"]);
    child.kill().unwrap();
    child.wait().unwrap();

    let with_options = [&resume[..], &["--epochs", "3"]].concat();
    shell.fails(&with_options, 2, &["--epochs", "the options it began with"]);
    let with_folder = [&resume[..], &["data"]].concat();
    shell.fails(&with_folder, 2, &["--resume"]);
    shell.fails(
        &["train", "--resume", "data"],
        2,
        &["no run of `rekindle train`"],
    );
    // Not a byte of a checkpoint may change.
    let whole = fs::read(&checkpoint).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&checkpoint, damaged).unwrap();
    shell.fails(&resume, 3, &["checkpoint", "damaged"]);
    fs::write(&checkpoint, &whole[..middle]).unwrap();
    shell.fails(&resume, 3, &["begin the run anew"]);
    fs::write(&checkpoint, whole).unwrap();
    fs::remove_file(
        fs::read_dir(data.join("fish"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
    )
    .unwrap();
    shell.fails(&resume, 3, &["cannot go on", "photos"]);
    assert!(checkpoint.exists());
}

#[test]
fn a_project_that_was_moved_is_found_from_its_run() {
    let shell = Shell::new();
    shell.two_classes("old/data", 8);
    let more = [
        "--tune",
        "full",
        "--epochs",
        "6",
        "--keep",
        "tuned",
        "--checkpoint-every",
        "0",
    ];
    let mut arguments = train(Path::new("data"), &more);
    arguments.extend(["--name", "one"]);
    let checkpoint = shell.path("old").join("runs/one/checkpoint.safetensors");
    let mut begun = shell.command(&arguments);
    let begun = begun
        .current_dir(shell.path("old"))
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    let mut child = begun.spawn().unwrap();
    while !checkpoint.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(child);

    // Photos and runs together, the run under another name.
    fs::rename(shell.path("old"), shell.path("new")).unwrap();
    fs::rename(shell.path("new/runs/one"), shell.path("new/runs/other")).unwrap();
    let resumed = shell.run(&["train", "--resume", "new/runs/other"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let told = shell
        .json(&["replay", "new/runs/other", "--json"])
        .pop()
        .unwrap();
    assert_eq!(told["repeats"], true, "{told}");
    // A run without its photos says where it belongs.
    fs::rename(shell.path("new/runs/other"), shell.path("alone")).unwrap();
    shell.fails(
        &["replay", "alone"],
        3,
        &["cannot go to", "old", "help:", "runs/one"],
    );
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_done_and_says_how_to_go_on() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let options = ["--tune", "full", "--epochs", "50", "--name", "stopped"];
    let child = begun(&shell, &train(&data, &options));
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("train --resume runs/stopped"), "{said}");
    assert!(shell.path(CHECKPOINT).exists());
}

#[test]
fn photos_changed_on_an_adapter_give_the_loss_of_photos_changed_on_the_host() {
    if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() {
        println!("skipped, as asked: there is no software adapter");
        return;
    }
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    // One step: its loss is that of the head's optimum on the photos as they are drawn.
    let loss = |device: &str, tune: &str, augment: &str| {
        let name = format!("{device}-{}-{augment}", tune.replace(':', "-"));
        let arguments = [
            "train",
            text(&data),
            "--model",
            "squeezenet1_1",
            "--input",
            "64",
            "--batch",
            "16",
            "--tune",
            tune,
            "--epochs",
            "1",
            "--augment",
            augment,
            "--device",
            device,
            "--name",
            &name,
        ];
        let output = shell.run(&arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        // Changed on the adapter, not on the host in its place.
        assert!(
            !stderr(&output).contains("does not change photos"),
            "{}",
            stderr(&output)
        );
        let epochs = shell.metrics(&name);
        epochs
            .iter()
            .find(|line| line.get("epoch").is_some())
            .and_then(|line| line["loss"].as_f64())
            .unwrap()
    };
    // Whole photos that all of the network sees, and photos of which values at a cut are kept.
    for tune in ["full", "last:1"] {
        let host = loss("cpu", tune, "standard");
        let adapter = loss("software", tune, "standard");
        assert!((host - adapter).abs() < 1e-3, "{tune}: {host} {adapter}");
        let other = loss("cpu", tune, "flip");
        assert!((host - other).abs() > 1e-2, "{tune}: {host} {other}");
    }
    // And a head that learns from several views of each photo.
    let head = |device: &str| {
        let mut arguments = vec!["train", text(&data), "--views", "2", "--device", device];
        arguments.extend([
            "--model",
            "squeezenet1_1",
            "--input",
            "64",
            "--c",
            "1",
            "--json",
        ]);
        let summary = shell.json(&arguments).remove(0);
        summary["loss"].as_f64().unwrap()
    };
    let (host, adapter) = (head("cpu"), head("software"));
    assert!((host - adapter).abs() < 1e-3 * host, "{host} {adapter}");
}

#[test]
fn what_cannot_be_tuned_is_refused_before_anything_is_read() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    let cases: [(&[&str], &[&str]); 18] = [
        (&["--tune", "most"], &["head, last, last:N"]),
        (&["--tune", "last:0"], &["last:N"]),
        (&["--tune", "full", "--lr", "-1"], &["--lr"]),
        (
            &["--tune", "full", "--ema", "1"],
            &["--ema is 1", "below 1"],
        ),
        (&["--tune", "full", "--freeze", "layer9"], &["layer9"]),
        (
            &["--tune", "full", "--freeze", "all"],
            &["nothing is left to train", "(all)", "--unfreeze head"],
        ),
        (&["--tune", "full", "--lr-of", "layer9=1"], &["layer9"]),
        (&["--tune", "last:99"], &["99"]),
        (
            &["--tune", "last", "--mixup", "0.2"],
            &["--mixup", "--tune full"],
        ),
        (
            &["--tune", "full", "--warmup", "0.1"],
            &["--warmup", "one-cycle"],
        ),
        (
            &["--tune", "scratch", "--weights", "random"],
            &["--weights"],
        ),
        (
            &["--tune", "full", "--checkpoint-every=-1"],
            &["--checkpoint-every"],
        ),
        (
            &["--tune", "full", "--schedule", "cosine", "--momentum=nan"],
            &["--momentum is NaN", "below 1"],
        ),
        (
            &["--tune", "full", "--schedule", "cosine", "--momentum", "1"],
            &["--momentum is 1", "below 1"],
        ),
        (&["--tune", "full", "--bn", "train"], &["no batch norms"]),
        (
            &["--tune", "full", "--stochastic-depth", "0.1"],
            &["--stochastic-depth"],
        ),
        (
            &["--tune", "full", "--soup", "--keep", "last"],
            &["--soup", "--keep last"],
        ),
        (
            &["--tune", "last", "--lr-of", "stem=1e-3"],
            &["--lr-of stem", "does not train"],
        ),
    ];
    for (options, words) in cases {
        shell.fails(&train(&data, options), 2, words);
        assert!(
            !shell.path("runs").exists()
                || fs::read_dir(shell.path("runs")).unwrap().next().is_none(),
            "{options:?}"
        );
    }
    let without = ["train", text(&data), "--optimizer", "adam"];
    shell.fails(&without, 2, &["--optimizer", "--tune"]);
    fs::write(shell.path("r.toml"), "learning_rate = 1").unwrap();
    let recipe = ["--tune", "full", "--recipe", "r.toml"];
    shell.fails(&train(&data, &recipe), 2, &["r.toml", "learning_rate"]);
}

#[test]
fn a_loss_that_is_no_number_leaves_the_last_good_network() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let options = [
        "--tune",
        "full",
        "--epochs",
        "3",
        "--lr",
        "1e5",
        "--optimizer",
        "sgd",
        "--json",
    ];
    let output = shell.run(&train(&data, &options));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("a lower --lr"),
        "{}",
        stderr(&output)
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["kept"], "head");
    assert!(
        summary["stopped"]
            .as_str()
            .unwrap()
            .contains("the loss became")
    );
}
