//! What a tuning says while it goes on and of what came of it, in words, in its report and to who stops reading.

use std::fs;
use std::process::Stdio;

use super::{Shell, stderr};

/// The words of a training of two classes by the smallest network, which takes a second.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let small = ["train", "data", "--device", "cpu", "--batch", "8"];
    let network = ["--model", "squeezenet1_1", "--input", "32"];
    [&small[..], &network, more].concat()
}

/// A rate at which no number changes, so that no epoch is better than another one.
const STILL: [&str; 4] = ["--optimizer", "sgd", "--lr", "1e-30"];

/// What a training that succeeds says to people, and the JSON that it prints.
fn told(shell: &Shell, more: &[&str]) -> (String, serde_json::Value) {
    let output = shell.run(&train(&[more, &["--json"]].concat()));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    (said, serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn patience_says_when_it_ends_and_the_head_is_told_first() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let options = ["--tune", "full", "--epochs", "5", "--patience", "1"];
    let (said, summary) = told(&shell, &[&options[..], &STILL, &["--name", "p"]].concat());
    let place = |words: &str| {
        said.find(words)
            .unwrap_or_else(|| panic!("{words}: {said}"))
    };
    let ended = "ended after epoch 2 of 5: the last epoch was no better (--patience 1)";
    assert!(place("the head alone: held-out accuracy") < place("epoch 1: loss"));
    assert!(place("epoch 2: loss") < place(ended));
    assert!(place("tuning all ") < place(": 5 epochs\n"), "{said}");
    assert_eq!(summary["epochs"], 2);
    assert!(
        summary["stopped"]
            .as_str()
            .unwrap()
            .contains("--patience 1")
    );
    // A name that is taken is told, and a mean of equal epochs is none.
    let again = ["--soup", "--keep", "tuned", "--name", "p"];
    let output = shell.run(&train(&[&options[..], &STILL, &again].concat()));
    assert!(
        stderr(&output).contains("this run is runs/p-2"),
        "{}",
        stderr(&output)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    for words in [
        "ended after 2 epochs of 5: the last epoch was no better",
        "--soup: ",
        "the figures flatter a little: --folds 5",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_trains_is_told_truly_and_no_phase_twice() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let one = ["--tune", "full", "--epochs", "1", "--freeze", "*.bias"];
    let (said, _) = told(&shell, &one);
    assert!(
        said.contains(" parameters, from stem on: 1 epoch\n"),
        "{said}"
    );
    assert!(!said.contains("tuning all"), "{said}");
    let gradual = ["--tune", "gradual", "--epochs", "3", "--freeze", "stem"];
    let (said, summary) = told(&shell, &gradual);
    let phases: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("tuning "))
        .collect();
    assert!(phases.len() > 1, "{said}");
    assert!(phases.windows(2).all(|pair| pair[0] != pair[1]), "{said}");
    assert!(!said.contains("instead of"), "{said}");
    assert_eq!(summary["epochs"], 3);
}

#[test]
fn a_report_says_how_the_network_was_tuned_and_draws_what_there_is() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let report = |name: &str| String::from_utf8(shell.of_run(name, "report.html")).unwrap();
    let options = ["--tune", "full", "--epochs", "2", "--keep", "tuned"];
    told(&shell, &[&options[..], &["--name", "one"]].concat());
    let one = report("one");
    for words in [
        "tuned (full): accuracy ",
        ", the head alone accuracy ",
        "the head alone</text>",
        ", which is kept</text>",
        "Held-out accuracy",
        "<th>command<td>rekindle train data ",
        "<details>",
    ] {
        assert!(one.contains(words), "{words}");
    }
    assert_eq!(one.matches("<svg").count(), 2);
    assert!(!one.contains("120 %") && !one.contains(">1.5<"), "axes");
    // Folds that keep the head: nothing to draw, and a table of them.
    let folds = ["--tune", "last:1", "--epochs", "1", "--folds", "2"];
    let (said, _) = told(&shell, &[&folds[..], &STILL, &["--name", "two"]].concat());
    for words in [
        "fold 1 of 2: accuracy",
        "of the head alone, which is kept",
        "choosing: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let two = report("two");
    assert!(!two.contains("<svg"), "no empty picture");
    assert!(two.contains("<h2>Folds</h2>") && two.contains("<td>mean"));
}

#[test]
fn photos_that_are_gone_are_named_before_the_work() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let options = [
        "--tune",
        "full",
        "--epochs",
        "50",
        "--checkpoint-every",
        "0",
    ];
    let long = train(&[&options[..], &["--name", "killed"]].concat());
    super::kill(shell.begun(&long, || {
        shell.path("runs/killed/checkpoint.safetensors").exists()
    }));
    told(
        &shell,
        &["--tune", "last:1", "--epochs", "1", "--name", "done"],
    );
    let folder = shell.path("data/fish");
    let mut photos: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    photos.sort();
    let name = |at: usize| format!("fish/{}", photos[at].file_name().unwrap().to_str().unwrap());
    fs::remove_file(&photos[0]).unwrap();
    fs::copy(&photos[2], folder.join("new.webp")).unwrap();
    let gone = format!("{} is gone; fish/new.webp is new", name(0));
    shell.fails(
        &["train", "--resume", "runs/killed"],
        3,
        &["cannot go on: its photos changed", &gone],
    );
    let output = shell.run(&["replay", "runs/done"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&gone), "{said}");
    assert!(said.find(&gone) < said.find("the head alone"), "{said}");
}

#[test]
fn who_stops_reading_events_does_not_stop_the_training() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let options = [
        "--tune", "last:1", "--epochs", "2", "--events", "--name", "heard",
    ];
    let mut command = shell.command(&train(&options));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(shell.path("runs/heard/model.safetensors").exists());
    // The gate is a gate all the same.
    let gate = ["--min-accuracy", "1", "--weights", "random", "--seed", "3"];
    let head = [&gate[..], &["--name", "gate", "--split", "0.5"]].concat();
    let mut child = shell
        .command(&train(
            &[
                &head[..],
                &["--tune", "last:1", "--epochs", "1", "--events"],
            ]
            .concat(),
        ))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let closed = child.wait().unwrap().code();
    let open = [&head[..], &["--tune", "last:1", "--epochs", "1"]].concat();
    assert_eq!(closed, shell.run(&train(&open)).status.code());
}

#[test]
fn what_would_do_nothing_is_refused_and_what_is_wrong_is_named_where_it_was_given() {
    let shell = Shell::new();
    shell.two_classes("data", 6);
    for (file, recipe) in [
        ("norms.toml", "tune = \"full\"\nbn = \"train\""),
        ("depth.toml", "tune = \"full\"\nstochastic_depth = 0.1"),
        ("short.toml", "tune = \"last:1\"\noptimizer = \"sdg\""),
        ("type.toml", "tune = \"last:1\"\nepochs = 1.5"),
        (
            "fits.toml",
            "tune = \"last:1\"\nepochs = 1\noptimizer = \"sgd\"\nschedule = \"cosine\"\nema = 0.9",
        ),
    ] {
        fs::write(shell.path(file), recipe).unwrap();
    }
    for (options, words) in [
        (
            &["--tune", "full", "--mixup", "0.2", "--batch", "1"][..],
            &["--mixup does not apply here", "--batch"][..],
        ),
        (
            &["--tune", "full", "--cutmix", "1", "--accumulate", "8"],
            &["--cutmix does not apply", "one by one"],
        ),
        (
            &["--recipe", "norms.toml"],
            &["`bn` of norms.toml", "no batch norms"],
        ),
        (
            &["--recipe", "depth.toml"],
            &["`stochastic_depth` of depth.toml"],
        ),
        (
            &["--recipe", "short.toml"],
            &["line 2", "`optimizer` is sdg", "adamw"],
        ),
        (
            &["--recipe", "type.toml"],
            &["line 2", "`epochs`", "a whole number"],
        ),
        (
            &["--tune", "full", "--layer-decay", "7.5"],
            &["give it such a value"],
        ),
    ] {
        let mut words = words.to_vec();
        words.push("help: ");
        // The last of a name counts.
        let mut line = train(&[]);
        if options.contains(&"--batch") {
            line.retain(|word| !matches!(*word, "--batch" | "8"));
        }
        shell.fails(&[&line[..], options].concat(), 2, &words);
    }
    told(&shell, &["--recipe", "fits.toml"]);
    for (name, value, words) in [
        (
            "REKINDLE_EPOCHS",
            "x",
            "from REKINDLE_EPOCHS in the environment",
        ),
        (
            "REKINDLE_LR",
            "0",
            "given by REKINDLE_LR in the environment",
        ),
    ] {
        let mut command = shell.command(&train(&["--tune", "last:1"]));
        let output = command.env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn a_budget_that_has_room_for_every_epochs_view_is_enough() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let train = |budget: &str| {
        let options = [
            "--tune",
            "last:1",
            "--epochs",
            "2",
            "--cache-budget",
            budget,
        ];
        told(&shell, &options).0
    };
    let one = train("1kB");
    assert!(one.contains("no room for a single view"), "{one}");
    let recipe = |run: &str| fs::read_to_string(run).unwrap();
    let runs = fs::read_dir(shell.path("runs")).unwrap();
    for run in runs {
        let run = run.unwrap().path().join("recipe.toml");
        assert!(recipe(run.to_str().unwrap()).contains("views = 8"));
    }
    assert!(!train("1GB").contains("budget has"));
}
