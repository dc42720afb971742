//! The linear head and the metrics against scikit-learn, on problems that
//! `tests/parity/make_sklearn_goldens.py` made and solved.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use rekindle_core::metrics::classify::{ConfusionMatrix, Predictions, Scores};
use rekindle_core::train::ClassWeights;
use rekindle_core::train::logistic::{
    LinearSolution, LogisticOptions, LogisticProblem, LogisticSolver, Scaling, Status, StopOptions,
};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Logistic {
    features: usize,
    classes: usize,
    c: f64,
    class_weights: ClassWeights,
    scaling: Scaling,
    x: Vec<f32>,
    y: Vec<usize>,
    objective: f64,
    weight: Vec<f64>,
    bias: Vec<f64>,
    probabilities: Vec<f64>,
}

impl Logistic {
    fn problem(&self, stop: StopOptions) -> LogisticProblem<'_> {
        let options = LogisticOptions {
            c: self.c,
            scaling: self.scaling,
            class_weights: self.class_weights.clone(),
            stop,
        };
        LogisticProblem::new(&self.x, self.features, &self.y, self.classes, options).unwrap()
    }
}

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("fixtures/sklearn/", $name, ".json")))),*]
    };
}

fn regressions() -> impl Iterator<Item = (&'static str, Logistic)> {
    fixtures![
        "logistic_plain",
        "logistic_two_classes",
        "logistic_two_classes_balanced",
        "logistic_imbalanced",
        "logistic_imbalanced_balanced",
        "logistic_imbalanced_given",
        "logistic_separable",
        "logistic_ill_conditioned_none",
        "logistic_ill_conditioned_global",
        "logistic_ill_conditioned_per_feature",
        "logistic_wide",
        "logistic_digits",
    ]
    .into_iter()
    .map(|(name, text)| (name, serde_json::from_str(text).unwrap()))
}

fn largest_gap(ours: &[f32], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(&a, b)| (f64::from(a) - b).abs())
        .fold(0.0, f64::max)
}

#[test]
fn the_objective_is_scikit_learns() {
    for (name, golden) in regressions() {
        let theirs = LinearSolution {
            weight: golden.weight.iter().map(|&w| w as f32).collect(),
            bias: golden.bias.iter().map(|&b| b as f32).collect(),
            objective: 0.0,
            iterations: 0,
        };
        let problem = golden.problem(StopOptions::default());
        let ratio = problem.objective(&theirs).unwrap() / golden.objective;
        assert!(
            (ratio - 1.0).abs() < 1e-8,
            "{name}: off by {:e}",
            ratio - 1.0
        );
    }
}

#[test]
fn the_default_solve_reaches_scikit_learns_optimum() {
    for (name, golden) in regressions() {
        let problem = golden.problem(StopOptions::default());
        let head = LogisticSolver::new(problem).solve().unwrap();
        let off = head.objective / golden.objective - 1.0;
        let probabilities = largest_gap(&head.probabilities(&golden.x), &golden.probabilities);
        println!(
            "{name}: {} iterations, {off:.1e}, {probabilities:.1e}",
            head.iterations
        );
        assert!(off.abs() < 1e-8, "{name}: objective off by {off:e}");
        assert!(
            probabilities < 1e-4,
            "{name}: probabilities off by {probabilities:e}"
        );
    }
}

#[test]
fn a_tight_solve_finds_scikit_learns_coefficients() {
    for (name, golden) in regressions() {
        let stop = StopOptions {
            tolerance: 1e-20,
            ..StopOptions::default()
        };
        let mut solver = LogisticSolver::new(golden.problem(stop));
        let last = loop {
            let progress = solver.step().unwrap();
            if progress.done() {
                break progress;
            }
        };
        assert_ne!(last.status, Status::IterationLimit, "{name}");
        let head = solver.solution();
        let size = |values: &[f64]| values.iter().fold(0.0f64, |size, v| size.max(v.abs()));
        let weight = largest_gap(&head.weight, &golden.weight) / size(&golden.weight);
        let bias = largest_gap(&head.bias, &golden.bias) / size(&golden.bias).max(1.0);
        println!(
            "{name}: {} iterations, {weight:.1e}, {bias:.1e}",
            head.iterations
        );
        assert!(weight < 1e-4, "{name}: weights off by {weight:e}");
        assert!(bias < 1e-4, "{name}: biases off by {bias:e}");
    }
}

#[derive(Deserialize)]
struct Metrics {
    classes: usize,
    probabilities: Vec<f32>,
    y: Vec<usize>,
    accuracy: f64,
    top2_accuracy: f64,
    log_loss: f64,
    calibration_error: f64,
    confusion: Vec<Vec<usize>>,
    per_class: BTreeMap<usize, Row>,
    macro_average: Row,
    weighted_average: Row,
}

/// A row of scikit-learn's `classification_report`.
#[derive(Deserialize)]
struct Row {
    precision: f64,
    recall: f64,
    #[serde(rename = "f1-score")]
    f1: f64,
    support: f64,
}

impl Row {
    /// scikit-learn writes 0 where nothing was measured.
    fn assert_is(&self, ours: Scores) {
        close(ours.precision.unwrap_or(0.0), self.precision);
        close(ours.recall.unwrap_or(0.0), self.recall);
        close(ours.f1.unwrap_or(0.0), self.f1);
        close(ours.support as f64, self.support);
    }
}

fn close(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 1e-6, "{ours} is not {theirs}");
}

#[test]
fn the_metrics_are_scikit_learns() {
    for (_, text) in fixtures!["metrics_five_classes", "metrics_missing_classes"] {
        let golden: Metrics = serde_json::from_str(text).unwrap();
        let predictions =
            Predictions::new(&golden.probabilities, &golden.y, golden.classes).unwrap();
        let report = predictions.report();
        close(report.accuracy.unwrap(), golden.accuracy);
        close(predictions.top_k_accuracy(1).unwrap(), golden.accuracy);
        close(predictions.top_k_accuracy(2).unwrap(), golden.top2_accuracy);
        close(report.log_loss.unwrap(), golden.log_loss);
        close(report.calibration_error.unwrap(), golden.calibration_error);
        assert_eq!(report.confusion.rows(), golden.confusion);
        for (class, scores) in report.per_class.iter().enumerate() {
            match golden.per_class.get(&class) {
                Some(row) => row.assert_is(*scores),
                // scikit-learn is silent on a class that is neither true nor answered.
                None => assert_eq!((scores.support, scores.f1), (0, None)),
            }
        }
        golden
            .macro_average
            .assert_is(report.macro_average.unwrap());
        golden
            .weighted_average
            .assert_is(report.weighted_average.unwrap());
        let again = ConfusionMatrix::new(&golden.y, &predictions.top1(), golden.classes).unwrap();
        assert_eq!(again, report.confusion);
    }
}
