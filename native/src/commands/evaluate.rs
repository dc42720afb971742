//! `rekindle evaluate`: how well a model does on a folder of photos.

use rekindle_core::train::judge;
use serde_json::json;

use super::train::{accuracy_gate, class_table, left_out};
use super::{Context, percent, print_json, print_text};
use crate::cli::EvaluateArgs;
use crate::dataset::{ScanOptions, scan};
use crate::features::{self, Answers};
use crate::models;
use crate::ui::{ExitCode, Failure, print_warning};

/// Classifies a labelled folder and prints accuracy, per-class figures and confusions.
pub fn run(args: &EvaluateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let options = ScanOptions {
        limits: context.limits,
        strict: args.strict,
        for_evaluation: true,
    };
    let mut dataset = scan(&args.dir, &options, &context.interrupt)?;
    let device = context.open_device()?;
    let model = models::open(&args.model, None, &device.device, context)?;
    let classes = model.card.classes.clone();

    // The folder's classes by their place among the model's.
    let mut places = Vec::new();
    for class in &dataset.classes {
        let place = classes
            .iter()
            .position(|known| known == class)
            .ok_or_else(|| {
                let known = classes
                    .iter()
                    .take(8)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                Failure::new(
                    ExitCode::Data,
                    format!("the model knows no class '{class}'"),
                )
                .with_help(format!(
                    "it knows {known}{}",
                    if classes.len() > 8 { ", …" } else { "" }
                ))
            })?;
        places.push(place);
    }
    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let Answers { answers, failed } = features::predict(&model, &paths, classes.len(), context)?;
    let labels: Vec<usize> = answers
        .iter()
        .map(|(photo, _)| places[dataset.items[*photo].class])
        .collect();
    let logits: Vec<f32> = answers
        .iter()
        .flat_map(|(_, top)| {
            let mut row = vec![0.0; classes.len()];
            top.iter()
                .for_each(|prediction| row[prediction.index] = prediction.logit);
            row
        })
        .collect();
    dataset.leave_out(&failed)?;
    for skipped in &dataset.skipped {
        print_warning(&left_out(skipped), None);
    }
    let report = judge(&logits, &labels, classes.len())?;

    let accuracy = report.accuracy.unwrap_or(f64::NAN);
    if context.global.json {
        print_json(&json!({
            "accuracy": accuracy,
            "images": labels.len(),
            "skipped": dataset.skipped.len(),
            "classes": classes,
            "report": report,
        }))?;
    } else {
        print_text(&class_table(&report, &classes))?;
        print_text(&format!(
            "accuracy {} on {} photos",
            percent(accuracy),
            labels.len()
        ))?;
    }
    accuracy_gate(accuracy, args.min_accuracy)
}
