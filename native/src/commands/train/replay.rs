//! `rekindle replay`: a run made once more, and what came out different.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{carry_out, resume};
use crate::cli::ReplayArgs;
use crate::context::Context;
use crate::hash::hash_file;
use crate::interrupt::Unfinished;
use crate::runs::{MANIFEST, METRICS, MODEL, RunError};
use crate::ui::{ExitCode, Failure, print_json, print_text};

/// The name of the run that is made, in a folder of its own.
const NAME: &str = "replay";

/// What may differ, from what goes in to what comes out: its name, and where the manifest says it.
const COMPARED: [(&str, &str); 12] = [
    ("Rekindle's version", "/rekindle"),
    ("the device", "/device/name"),
    ("the weights", "/weights"),
    ("the photos", "/data/sha256"),
    ("the classes", "/result/classes"),
    ("the labels", "/labels/sha256"),
    ("the recipe", "/recipe"),
    ("the seed", "/seed"),
    ("the accuracy", "/result/accuracy"),
    ("the figures", "/report"),
    ("the metrics, epoch by epoch", "/metrics_sha256"),
    ("the model", "/model_sha256"),
];

/// Makes a run again beside it, compares and forgets it. Ends with code 1 if anything came out different.
pub fn run(args: &ReplayArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let (mut training, folder) = resume::began(&args.run)?;
    let before = manifest(&folder)?;
    let root = std::env::temp_dir().join(format!("rekindle-replay-{}", std::process::id()));
    let of_undo = root.clone();
    let unfinished = Unfinished::new(move || _ = fs::remove_dir_all(of_undo));
    training.out.clone_from(&root);
    training.name = Some(NAME.to_owned());
    training.min_accuracy = None;
    training.tuning.replayed = Some(folder.clone());
    // In as many parts as then, whatever memory is free now.
    let divided = before.pointer("/result/divided").cloned();
    training.tuning.divided = divided.and_then(|divided| serde_json::from_value(divided).ok());
    let outcome = carry_out(&training, context, false).and_then(|_| manifest(&root.join(NAME)));
    let _ = fs::remove_dir_all(&root);
    drop(unfinished);
    let after = outcome?;
    let differs: Vec<Value> = COMPARED
        .iter()
        .filter(|(_, place)| before.pointer(place) != after.pointer(place))
        .map(|(name, place)| json!({ "what": name, "then": before.pointer(place), "now": after.pointer(place) }))
        .collect();
    let repeats = differs.is_empty();
    if context.global.json {
        print_json(&json!({
            "run": folder,
            "repeats": repeats,
            "differs": differs,
            "accuracy": after.pointer("/result/accuracy"),
            "model_sha256": after.pointer("/model_sha256"),
        }))?;
    } else {
        print_text(&told(&folder, &differs))?;
    }
    Ok(if repeats {
        ExitCode::Ok
    } else {
        ExitCode::GateFailed
    })
}

/// What is said to people.
fn told(folder: &Path, differs: &[Value]) -> String {
    if differs.is_empty() {
        return format!("{} repeats: the same model to the byte", folder.display());
    }
    let mut text = format!("{} does not repeat; this differs:", folder.display());
    for one in differs {
        let what = one["what"].as_str().unwrap_or_default();
        text += &match (&one["then"], &one["now"]) {
            // Short figures stand beside each other, long ones would not be read.
            (
                then @ (Value::String(_) | Value::Number(_)),
                now @ (Value::String(_) | Value::Number(_)),
            ) => {
                format!("\n  {what}: {then} then, {now} now")
            }
            _ => format!("\n  {what}"),
        };
    }
    text
}

/// A run's manifest, with the hashes of its files as they are now.
fn manifest(folder: &Path) -> anyhow::Result<Value> {
    let Ok(bytes) = fs::read(folder.join(MANIFEST)) else {
        if !folder.is_dir() {
            return Err(RunError::NoRun(folder.to_owned()).into());
        }
        let message = format!(
            "the run has no {MANIFEST}: it did not come to its end: {}",
            folder.display()
        );
        let help = "`rekindle train --resume RUN` goes on with it";
        return Err(Failure::new(ExitCode::Usage, message)
            .with_help(help)
            .into());
    };
    let mut manifest: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("{} is damaged: {error}", folder.join(MANIFEST).display());
        let failure = Failure::new(ExitCode::Data, message);
        failure.with_help("replay another run, or train anew")
    })?;
    // The files that are there, whatever was once written of them.
    for (name, file) in [("model_sha256", MODEL), ("metrics_sha256", METRICS)] {
        manifest[name] = match hash_file(&folder.join(file)) {
            Ok(hash) => json!(hash.to_string()),
            Err(_) => Value::Null,
        };
    }
    Ok(manifest)
}
