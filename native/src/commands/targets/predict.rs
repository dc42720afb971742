//! `rekindle predict` with several labels a photo, or values.

use std::path::{Path, PathBuf};

use rekindle_core::model::Model;
use rekindle_core::postprocess::labels;
use rekindle_core::task::Task;
use serde_json::{Map, Value, json};

use crate::cli::PredictArgs;
use crate::context::Context;
use crate::features;
use crate::judged::plain_number;
use crate::photos::PhotoError;
use crate::ui::{percent, plain_line, print_json, print_text};

/// Answers for photos: the labels of each, or its values. `skipped` have been skipped before; `tell` hears of each
/// photo whether it could be read.
pub fn run(
    args: &PredictArgs,
    model: &Model,
    paths: &[PathBuf],
    skipped: usize,
    context: &Context,
    tell: &mut dyn FnMut(usize, Result<(), PhotoError>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    features::outputs(model, paths, skipped, context, |photo, known| match known {
        Ok(outputs) => {
            tell(photo, Ok(()))?;
            let path = &paths[photo];
            match model.card.task {
                Task::Regress => print_values(path, &outputs, model, context),
                _ => print_labels(path, &outputs, args.top, model, context),
            }
        }
        Err(error) => tell(photo, Err(error)),
    })
}

/// The labels that are on, or the `top` most probable.
fn print_labels(
    path: &Path,
    logits: &[f32],
    top: Option<usize>,
    model: &Model,
    context: &Context,
) -> anyhow::Result<()> {
    let mut answers = labels(logits, &model.card.classes, &model.card.label_thresholds());
    match top {
        Some(top) => answers.truncate(top),
        None => answers.retain(|answer| answer.on),
    }
    if context.global.json {
        return print_json(&json!({ "path": path.display().to_string(), "labels": answers }));
    }
    let mut text = plain_line(&path.display().to_string()).into_owned();
    if answers.is_empty() {
        text += "\n  no label";
    }
    for answer in &answers {
        let bar = "█".repeat((20.0 * answer.probability).round() as usize);
        let share = percent(f64::from(answer.probability));
        let off = if answer.on {
            ""
        } else {
            "  (below its threshold)"
        };
        text += &format!("\n  {share:>7}  {bar:<20}  {}{off}", answer.label);
    }
    print_text(&text)
}

fn print_values(
    path: &Path,
    outputs: &[f32],
    model: &Model,
    context: &Context,
) -> anyhow::Result<()> {
    let values = || model.card.classes.iter().zip(outputs);
    if context.global.json {
        let values: Map<String, Value> = values()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        return print_json(&json!({ "path": path.display().to_string(), "values": values }));
    }
    let mut text = plain_line(&path.display().to_string()).into_owned();
    for (name, &value) in values() {
        text += &format!("\n  {:>10}  {name}", plain_number(f64::from(value)));
    }
    print_text(&text)
}
