//! Recipes: what a run leaves can be done again from its file alone, and what a file says is never dropped.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Shell, text};

/// The words of a quick training.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let quick = ["train", "data", "--device", "cpu", "--json"];
    let network = ["--model", "squeezenet1_1", "--input", "32"];
    [&quick[..], &network, more].concat()
}

/// What `manifest.json` of a run says of its model.
fn model(shell: &Shell, run: &str) -> Value {
    let manifest = fs::read(shell.path("runs").join(run).join("manifest.json")).unwrap();
    serde_json::from_slice::<Value>(&manifest).unwrap()["model_sha256"].clone()
}

#[test]
fn a_runs_recipe_does_it_again_to_the_byte() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let last = ["--tune", "last:1", "--epochs", "1", "--keep", "tuned"];
    for (name, more) in [
        (
            "alone",
            &["--head", "linear", "--c", "0.5", "--seed", "3"][..],
        ),
        (
            "weighed",
            &[&last[..], &["--class-weights", "auto"]].concat(),
        ),
        ("grey", &[&last[..], &["--grey", "mean"]].concat()),
        (
            "deep",
            &[
                &last[..],
                &[
                    "--head",
                    "mlp",
                    "--hidden",
                    "8",
                    "--dropout",
                    "0.2",
                    "--lr",
                    "1e-3",
                ],
            ]
            .concat(),
        ),
        (
            "untrained",
            &[
                "--weights",
                "random",
                "--head",
                "mlp",
                "--epochs",
                "2",
                "--batch",
                "4",
            ],
        ),
    ] {
        shell.json(&train(&[more, &["--name", name]].concat()));
        let recipe = format!("runs/{name}/recipe.toml");
        let again = format!("{name}-again");
        let words = [
            "--recipe", &recipe, "--name", &again, "--device", "cpu", "--json",
        ];
        shell.json(&[&["train", "data"][..], &words].concat());
        assert_eq!(model(&shell, name), model(&shell, &again), "{name}");
    }
}

#[test]
fn what_a_recipe_leaves_an_option_to_do_is_asked_of_the_recipe() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let phases =
        "[tuning]\ntune = \"full\"\nphases = [{ train = [\"head\"], epochs = 1, lr = 1e-3 }]\n";
    for (file, recipe) in [
        ("phases.toml", phases),
        (
            "cosine.toml",
            "[tuning]\ntune = \"last\"\nschedule = { kind = \"cosine\" }\n",
        ),
        ("head.toml", "[head]\nfoo = 3\n"),
        ("way.toml", "[tuning]\nlr = 1e-3\n"),
    ] {
        fs::write(shell.path(file), recipe).unwrap();
    }
    for (more, words) in [
        (
            &["--tune", "last", "--momentum", "0.5"][..],
            "--momentum does not apply here: one-cycle",
        ),
        (
            &["--tune", "last", "--warmup", "0.5"],
            "--warmup does not apply here: one-cycle",
        ),
        (
            &["--tune", "last", "--views", "0"],
            "--views does not apply",
        ),
        (
            &["--recipe", "phases.toml", "--epochs", "3"],
            "--epochs does not apply here",
        ),
        (
            &["--recipe", "phases.toml", "--lr", "1"],
            "--lr does not apply here",
        ),
        (&["--recipe", "phases.toml", "--tune", "last:1"], "phases"),
        (&["--recipe", "head.toml"], "foo"),
        (&["--recipe", "way.toml"], "tune"),
    ] {
        shell.fails(&train(more), 2, &[words]);
    }
    let rises = [
        "--recipe",
        "cosine.toml",
        "--warmup",
        "0.5",
        "--epochs",
        "1",
        "--keep",
        "tuned",
        "--name",
        "rises",
    ];
    shell.json(&train(&rises));
    let recipe = fs::read_to_string(shell.path("runs/rises/recipe.toml")).unwrap();
    assert!(recipe.contains("share = 0.5"), "{recipe}");
}

#[test]
fn a_run_is_made_again_as_it_began_whatever_became_of_its_recipe_and_the_environment() {
    let shell = Shell::new();
    shell.two_classes("data", 8);
    let recipe = shell.path("mine.toml");
    fs::write(
        &recipe,
        "[head]\nc = 0.5\n[tuning]\ntune = \"last:1\"\nepochs = 1\nkeep = \"tuned\"\n",
    )
    .unwrap();
    shell.json(&train(&["--recipe", text(&recipe), "--name", "mine"]));
    fs::remove_file(Path::new(&recipe)).unwrap();
    let replay = ["replay", "runs/mine", "--json"];
    let today = [
        ("REKINDLE_LR", "0.1"),
        ("REKINDLE_EPOCHS", "3"),
        ("REKINDLE_SEED", "9"),
    ];
    let output = shell.command(&replay).envs(today).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A file in the model's place, or none, is not what the run left.
    let model = shell.path("runs/mine/model.safetensors");
    for tampered in [Some(b"other"), None] {
        match tampered {
            Some(bytes) => fs::write(&model, bytes).unwrap(),
            None => fs::remove_file(&model).unwrap(),
        }
        let said = shell.run(&replay);
        assert_eq!(said.status.code(), Some(1));
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        let differs = said["differs"].as_array().unwrap();
        assert_eq!(differs.len(), 1, "{said}");
        assert_eq!(differs[0]["what"], "the model");
    }
}

#[test]
fn flags_can_be_given_by_the_environment() {
    let shell = Shell::new();
    shell.two_classes("data", 6);
    let words = train(&["--tune", "last:1", "--epochs", "1", "--name", "flags"]);
    let today = [
        ("REKINDLE_SOUP", "true"),
        ("REKINDLE_BALANCED", "false"),
        ("REKINDLE_TENSORBOARD", "true"),
    ];
    let output = shell.command(&words).envs(today).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let recipe = fs::read_to_string(shell.path("runs/flags/recipe.toml")).unwrap();
    assert!(
        recipe.contains("soup = true") && recipe.contains("sampler = \"shuffled\""),
        "{recipe}"
    );
    assert!(shell.path("runs/flags/tensorboard").is_dir());
    // They are the run's, wherever it is made again.
    shell.json(&["replay", "runs/flags", "--json"]);
}

#[test]
fn what_nothing_can_tell_is_not_left() {
    let shell = Shell::new();
    // One photo a class: nothing is held back.
    shell.two_classes("data", 1);
    let full = ["--tune", "full", "--epochs", "2"];
    let said = shell.run(&train(&full));
    let (report, words) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    let report: Value = serde_json::from_str(report.trim()).unwrap();
    assert_eq!(
        (&report["kept"], &report["score"]),
        (&Value::from("head"), &Value::Null)
    );
    assert!(words.contains("nothing is held back"), "{words}");
    let tuned = shell
        .json(&train(&[&full[..], &["--keep", "tuned"]].concat()))
        .remove(0);
    assert_eq!(tuned["kept"], "tuned");
    // A network that learnt nothing, without a head to go back to, is no model.
    let wild = [
        "--tune",
        "scratch",
        "--epochs",
        "1",
        "--lr",
        "1e5",
        "--optimizer",
        "sgd",
        "--schedule",
        "constant",
    ];
    shell.two_classes("more", 8);
    let wild = [
        &["train", "more", "--device", "cpu"][..],
        &train(&wild)[4..],
    ]
    .concat();
    shell.fails(&wild, 3, &["nothing was learnt", "--lr"]);
}
