//! `rekindle evaluate` with several labels a photo, or values.

use anyhow::Context as _;
use rekindle_core::model::Model;
use rekindle_core::task::Task;
use rekindle_core::train::TargetRows;
use serde_json::json;

use crate::cli::EvaluateArgs;
use crate::context::Context;
use crate::dataset::Dataset;
use crate::features;
use crate::judged::Judged;
use crate::skipped;
use crate::ui::{ExitCode, print_json, print_text};

/// Measures a model on a data set, and prints what came of it. `seen` counts the photos that it was trained on.
pub fn run(
    args: &EvaluateArgs,
    model: &Model,
    dataset: &mut Dataset,
    seen: Option<usize>,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let names = &model.card.classes;
    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let (mut targets, mut outputs, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let before = dataset.skipped.len();
    features::outputs(model, &paths, before, context, |photo, known| {
        match known {
            Ok(row) => {
                outputs.extend(row);
                targets.extend_from_slice(&dataset.items[photo].target);
            }
            Err(error) => failed.push((photo, error)),
        }
        Ok(())
    })
    .with_context(|| format!("cannot measure {}", args.model))?;
    skipped::warn_of(&dataset.leave_out(&failed)?);
    let targets = TargetRows::new(names.len(), targets)?;
    let judged = match model.card.task {
        Task::Regress => Judged::values(&outputs, &targets)?,
        _ => Judged::labels(&outputs, &targets, &model.card.label_thresholds())?,
    };
    if context.global.json {
        let mut summary = json!({
            "task": model.card.task,
            "images": judged.images(),
            "skipped": dataset.skipped.len(),
            "split": dataset.measured_part(),
            "trained_on": seen,
            "classes": names,
            "report": judged.report(),
        });
        for (name, figure) in judged.figures() {
            summary[name] = figure;
        }
        print_json(&summary)?;
        return Ok(ExitCode::Ok);
    }
    print_text(&judged.table(names, []))?;
    let place = match dataset.measured_part() {
        Some(part) => format!(" of {}", dataset.place_of(part)),
        None => String::new(),
    };
    let photos = match judged.images() {
        1 => "1 photo".to_owned(),
        photos => format!("{photos} photos"),
    };
    print_text(&format!("{} on {photos}{place}", judged.headline()))?;
    Ok(ExitCode::Ok)
}
