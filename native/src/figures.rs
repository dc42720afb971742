//! What whoever published weights measured of them, for tables and JSON.

use std::collections::BTreeMap;

use rekindle_core::backbone::{Accuracy, Figure};
use serde::{Serialize, Serializer};

/// Names in JSON that stand there even where nothing was measured, as null.
const ALWAYS: [&str; 2] = ["acc1", "acc5"];

/// An accuracy's numbers, in percent. As JSON, one entry a number.
#[derive(Debug)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Those of this accuracy, none where nothing was measured.
    pub fn of(accuracy: Option<Accuracy>) -> Self {
        Self(accuracy.map(Accuracy::figures).unwrap_or_default())
    }

    /// The number that networks are compared by, with its name where it is no classifier's.
    pub fn in_words(&self) -> Option<String> {
        let first = self.0.first()?;
        Some(match first.key {
            "acc1" => format!("{:.1} %", first.percent),
            _ => format!("{:.1} % {}", first.percent, first.label),
        })
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self
            .0
            .iter()
            .map(|figure| (figure.key, Some(figure.percent)));
        let always = ALWAYS.map(|key| (key, None));
        serializer.collect_map(always.into_iter().chain(known).collect::<BTreeMap<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_its_own_figures() {
        let told = |accuracy| {
            let figures = Figures::of(accuracy);
            (serde_json::to_string(&figures).unwrap(), figures.in_words())
        };
        let classifier = told(Some(Accuracy::Photos {
            top1: 69.758,
            top5: 89.078,
        }));
        assert_eq!(classifier.0, r#"{"acc1":69.758,"acc5":89.078}"#);
        assert_eq!(classifier.1.as_deref(), Some("69.8 %"));
        let segments = told(Some(Accuracy::Pixels {
            mean_iou: 60.5,
            right: 91.4,
        }));
        assert_eq!(
            segments.0,
            r#"{"acc1":null,"acc5":null,"miou":60.5,"pixel_acc":91.4}"#
        );
        assert_eq!(segments.1.as_deref(), Some("60.5 % mIoU"));
        assert_eq!(
            told(None),
            (r#"{"acc1":null,"acc5":null}"#.to_owned(), None)
        );
    }
}
