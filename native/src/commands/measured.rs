//! What `train` and `evaluate` say about figures that were measured.

use rekindle_core::train::metrics::Report;

use super::{percent, table};
use crate::dataset::Skipped;
use crate::ui::{ExitCode, Failure};

/// The line about a photo that was skipped.
pub fn left_out(skipped: &Skipped) -> String {
    format!("skipped {}: {}", skipped.path, skipped.reason)
}

/// A share, or a dash where nothing was measured.
pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), percent)
}

/// Precision, recall and what each class is mostly taken for: one row for each class of `shown`, with
/// dashes where nothing was measured.
pub fn class_table(
    report: &Report,
    classes: &[String],
    shown: impl IntoIterator<Item = usize>,
) -> String {
    let mut table = table(&["class", "photos", "precision", "recall", "taken for"]);
    for index in shown {
        let (scores, row) = (report.per_class[index], &report.confusion.rows()[index]);
        let mistaken = (0..classes.len())
            .filter(|&other| other != index && row[other] > 0)
            .max_by_key(|&other| row[other])
            .map(|other| format!("{} ({})", classes[other], row[other]));
        table.add_row(vec![
            classes[index].clone(),
            scores.support.to_string(),
            share(scores.precision),
            share(scores.recall),
            mistaken.unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// An accuracy is a share: a gate of 90 would never open, and one that is no number never close.
pub fn check_gate(least: Option<f64>) -> anyhow::Result<()> {
    match least {
        Some(least) if !(0.0..=1.0).contains(&least) => Err(Failure::new(
            ExitCode::Usage,
            format!("--min-accuracy is {least}; it must lie between 0 and 1"),
        )
        .with_help("90 % is 0.9")
        .into()),
        _ => Ok(()),
    }
}

/// Exit code 1 when the accuracy is below what was asked for, or could not be measured.
pub fn accuracy_gate(accuracy: Option<f64>, least: Option<f64>) -> anyhow::Result<ExitCode> {
    let message = match (accuracy, least) {
        (None, Some(least)) => {
            format!("nothing was measured, so --min-accuracy {least} is not reached")
        }
        (Some(accuracy), Some(least)) if accuracy.is_nan() || accuracy < least => {
            format!("the accuracy {accuracy:.3} is below --min-accuracy {least}")
        }
        _ => return Ok(ExitCode::Ok),
    };
    Err(Failure::new(ExitCode::GateFailed, message).into())
}
