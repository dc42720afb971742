//! What `train` and `evaluate` say about a folder and about figures that were measured on it.

use rekindle_core::metrics::classify::Report;

use crate::context::Context;
use crate::dataset::Remark;
use crate::ui::{ExitCode, Failure, percent, print_warning, table};

/// Says how a folder was understood: in notes, and in warnings where something else may be meant.
pub fn tell(remarks: &[Remark], context: &Context) {
    for remark in remarks {
        match remark.help() {
            None => context.console.note(&remark.to_string()),
            help => print_warning(&remark.to_string(), help),
        }
    }
}

/// A share, or a dash where nothing was measured.
pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), percent)
}

/// Mistakes that a row of the table shows; of more there is a mark.
const MISTAKES: usize = 3;

/// What photos of a class were taken for, the most frequent mistakes first: `tool (2), fish (1)`. Nothing if
/// there are none.
fn taken_for(class: usize, report: &Report, classes: &[String]) -> String {
    let row = &report.confusion.rows()[class];
    let mut mistakes: Vec<usize> = (0..classes.len())
        .filter(|&other| other != class && row[other] > 0)
        .collect();
    mistakes.sort_by_key(|&other| std::cmp::Reverse(row[other]));
    let shown = mistakes
        .iter()
        .take(MISTAKES)
        .map(|&other| format!("{} ({})", classes[other], row[other]));
    let mut shown: Vec<_> = shown.collect();
    if mistakes.len() > MISTAKES {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// Precision, recall and what each class is taken for: one row for each class of `shown`, with dashes where
/// nothing was measured.
pub fn class_table(
    report: &Report,
    classes: &[String],
    shown: impl IntoIterator<Item = usize>,
) -> String {
    let mut table = table(&["class", "photos", "precision", "recall", "taken for"]);
    for index in shown {
        let scores = report.per_class[index];
        table.add_row(vec![
            classes[index].clone(),
            scores.support.to_string(),
            share(scores.precision),
            share(scores.recall),
            taken_for(index, report, classes),
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

#[cfg(test)]
mod tests {
    use rekindle_core::train::judge;

    use super::*;

    #[test]
    fn the_table_shows_the_most_frequent_mistakes_with_their_counts() {
        // Ten photos of the first of five classes: 3 right, 1 taken for b, 3 for c, 2 for d, 1 for e; two of b,
        // both right.
        let answers = [0, 0, 0, 1, 2, 2, 2, 3, 3, 4, 1, 1];
        let one_hot = |answer: usize| (0..5).map(move |class| f32::from(u8::from(class == answer)));
        let logits: Vec<f32> = answers.into_iter().flat_map(one_hot).collect();
        let labels: Vec<usize> = (0..12).map(|photo| usize::from(photo >= 10)).collect();
        let report = judge(&logits, &labels, 5).unwrap();
        let classes = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(taken_for(0, &report, &classes), "c (3), d (2), b (1), …");
        assert_eq!(taken_for(1, &report, &classes), "");
        let table = class_table(&report, &classes, 0..2);
        assert!(table.contains("c (3), d (2), b (1), …"), "{table}");
    }
}
