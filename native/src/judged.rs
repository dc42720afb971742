//! How well a model did, whatever its task: as a table, a line, a page and JSON.

use rekindle_core::metrics::classify::Report;
use rekindle_core::metrics::multilabel::{self, LabelReport};
use rekindle_core::metrics::regress::{self, ValueReport};
use rekindle_core::postprocess::sigmoid;
use rekindle_core::train::TargetRows;
use serde_json::{Map, Value, json};

use crate::measured::{class_table, share};
use crate::ui::table;

/// The figures of one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// Of one class a photo.
    Classes(Report),
    /// Of several labels a photo.
    Labels {
        /// At the model's thresholds.
        report: LabelReport,
        /// At ½, where the thresholds were chosen on the same photos, at which F1 flatters.
        half: Option<LabelReport>,
    },
    /// Of values.
    Values(ValueReport),
}

impl Judged {
    /// Judges logits of labels at thresholds that are chosen on the same photos, and at ½.
    pub fn labels_chosen(logits: &[f32], targets: &TargetRows) -> anyhow::Result<(Self, Vec<f32>)> {
        let probabilities: Vec<f32> = logits.iter().map(|&logit| sigmoid(logit)).collect();
        let labels = targets.width();
        let chosen = multilabel::best_thresholds(&probabilities, targets.rows(), labels);
        let judge = |at: &[f32]| multilabel::judge(&probabilities, targets.rows(), at);
        let judged = Self::Labels {
            report: judge(&chosen)?,
            half: Some(judge(&vec![0.5; labels])?),
        };
        Ok((judged, chosen))
    }

    /// Judges logits of labels at a model's thresholds.
    pub fn labels(
        logits: &[f32],
        targets: &TargetRows,
        thresholds: &[f32],
    ) -> anyhow::Result<Self> {
        let probabilities: Vec<f32> = logits.iter().map(|&logit| sigmoid(logit)).collect();
        Ok(Self::Labels {
            report: multilabel::judge(&probabilities, targets.rows(), thresholds)?,
            half: None,
        })
    }

    /// Judges values.
    pub fn values(estimates: &[f32], targets: &TargetRows) -> anyhow::Result<Self> {
        let report = regress::judge(estimates, targets.rows(), targets.width())?;
        Ok(Self::Values(report))
    }

    /// The share of photos whose class is right; nothing of other tasks.
    pub fn accuracy(&self) -> Option<f64> {
        match self {
            Self::Classes(report) => report.accuracy,
            _ => None,
        }
    }

    /// The figure that says most, of which more is better: the accuracy, mAP or R².
    pub fn score(&self) -> Option<f64> {
        match self {
            Self::Classes(report) => report.accuracy,
            Self::Labels { report, .. } => report.mean_average_precision,
            Self::Values(report) => report.r2,
        }
    }

    /// What [`score`](Self::score) is called.
    pub fn score_name(&self) -> &'static str {
        match self {
            Self::Classes(_) => "accuracy",
            Self::Labels { .. } => "mAP",
            Self::Values(_) => "R²",
        }
    }

    /// What training makes small: the cross-entropy, the mean of the labels' binary ones, or the mean square.
    pub fn loss(&self) -> Option<f64> {
        match self {
            Self::Classes(report) => report.log_loss,
            Self::Labels { report, .. } => report.log_loss,
            Self::Values(report) => report.mse,
        }
    }

    /// How many photos were judged.
    pub fn images(&self) -> usize {
        match self {
            Self::Classes(report) => report.images,
            Self::Labels { report, .. } => report.images,
            Self::Values(report) => report.images,
        }
    }

    /// A row for each class of `shown`, label or value.
    pub fn table(&self, names: &[String], shown: impl IntoIterator<Item = usize>) -> String {
        match self {
            Self::Classes(report) => class_table(report, names, shown),
            _ => {
                let (head, rows) = self.rows(names);
                let head: Vec<&str> = head.iter().map(|head| &**head).collect();
                let mut table = table(&head);
                rows.into_iter().for_each(|row| _ = table.add_row(row));
                table.to_string()
            }
        }
    }

    /// The head and the rows of a table of labels or values; none of classes.
    pub fn rows(&self, names: &[String]) -> (Vec<&'static str>, Vec<Vec<String>>) {
        match self {
            Self::Classes(_) => (Vec::new(), Vec::new()),
            Self::Labels { report, .. } => {
                let head = vec![
                    "label",
                    "photos",
                    "AP",
                    "threshold",
                    "precision",
                    "recall",
                    "F1",
                ];
                let row = |(name, one): (&String, &multilabel::LabelScores)| {
                    vec![
                        name.clone(),
                        one.support.to_string(),
                        three(one.average_precision),
                        threshold(one.threshold),
                        share(one.precision),
                        share(one.recall),
                        three(one.f1),
                    ]
                };
                (head, names.iter().zip(&report.per_label).map(row).collect())
            }
            Self::Values(report) => {
                let row = |(name, one): (&String, &regress::ValueScores)| {
                    let number = |value| number(value);
                    vec![
                        name.clone(),
                        three(one.r2),
                        number(one.mae),
                        number(one.rmse),
                    ]
                };
                let rows = names.iter().zip(&report.per_value).map(row);
                (vec!["value", "R²", "MAE", "RMSE"], rows.collect())
            }
        }
    }

    /// The figure that says most, alone: `93.8 %`, `mAP 0.788`.
    pub fn figure(&self) -> String {
        match self {
            Self::Classes(report) => share(report.accuracy),
            _ => format!("{} {}", self.score_name(), three(self.score())),
        }
    }

    /// The figure that says most, and what else belongs to it, in words.
    pub fn headline(&self) -> String {
        match self {
            Self::Classes(report) => format!("accuracy {}", share(report.accuracy)),
            Self::Labels { report, half } => {
                let f1 = half.as_ref().unwrap_or(report);
                let at = match half {
                    Some(_) => " at threshold 0.5",
                    None => " at the model's thresholds",
                };
                format!(
                    "mAP {}, micro F1 {}{at}, macro F1 {}",
                    three(report.mean_average_precision),
                    three(f1.f1_micro),
                    three(f1.f1_macro)
                )
            }
            Self::Values(report) => match report.per_value.len() {
                1 => format!(
                    "R² {}, MAE {}, RMSE {}",
                    three(report.r2),
                    number(report.mae),
                    number(report.rmse)
                ),
                values => format!("mean R² of {values} values {}", three(report.r2)),
            },
        }
    }

    /// What else a reader should know of the figures.
    pub fn remark(&self) -> Option<&'static str> {
        match self {
            Self::Labels {
                half: Some(_),
                report,
            } if report.images > 0 => Some(
                "the thresholds make F1 best on these photos, so precision, recall and F1 of the table flatter",
            ),
            _ => None,
        }
    }

    /// The figures that `--json` prints beside others; those of classes have their own places.
    pub fn figures(&self) -> Map<String, Value> {
        let figures = match self {
            Self::Classes(_) => json!({}),
            Self::Labels { report, half } => {
                let at = half.as_ref().unwrap_or(report);
                let mut figures = json!({
                    "mean_average_precision": report.mean_average_precision,
                    "f1_micro": at.f1_micro,
                    "f1_macro": at.f1_macro,
                    "subset_accuracy": at.subset_accuracy,
                });
                if half.is_some() {
                    figures["at_thresholds"] = json!({
                        "f1_micro": report.f1_micro,
                        "f1_macro": report.f1_macro,
                        "subset_accuracy": report.subset_accuracy,
                    });
                }
                figures
            }
            Self::Values(report) => json!({
                "r2": report.r2,
                "mae": report.mae,
                "rmse": report.rmse,
            }),
        };
        match figures {
            Value::Object(figures) => figures,
            _ => Map::new(),
        }
    }

    /// The whole report.
    pub fn report(&self) -> Value {
        match self {
            Self::Classes(report) => json!(report),
            Self::Labels { report, .. } => json!(report),
            Self::Values(report) => json!(report),
        }
    }
}

/// A threshold, of which none is nothing.
fn threshold(share: f32) -> String {
    match share {
        share if share > 0.0 && share < 0.005 => "<0.01".to_owned(),
        share => format!("{share:.2}"),
    }
}

fn three(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// A number of any size, to four digits that count.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), plain_number)
}

/// A number to four digits that count.
pub fn plain_number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 8) as usize;
    match value.abs() {
        1e-5..1e9 => format!("{value:.digits$}"),
        _ => format!("{value:.3e}"),
    }
}
