//! Heads for several labels and for values, and their metrics, against scikit-learn, on problems that
//! `tests/parity/make_target_goldens.py` made and solved.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use rekindle_core::metrics::{multilabel, regress};
use rekindle_core::train::{ClassWeights, Examples, LabelTrainer, LinearRecipe, TargetRows, ridge};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    labels: Vec<Labels>,
    ridge: Vec<Ridge>,
    label_metrics: LabelMetrics,
    value_metrics: ValueMetrics,
}

#[derive(Deserialize)]
struct Labels {
    width: usize,
    c: f64,
    balanced: bool,
    x: Vec<f32>,
    y: Vec<f32>,
    labels: usize,
    weight: Vec<f64>,
    bias: Vec<f64>,
    objective: f64,
}

#[derive(Deserialize)]
struct Ridge {
    width: usize,
    c: Option<f64>,
    values: usize,
    x: Vec<f32>,
    y: Vec<f32>,
    weight: Vec<f64>,
    bias: Vec<f64>,
}

#[derive(Deserialize)]
struct LabelMetrics {
    y: Vec<f32>,
    p: Vec<f32>,
    thresholds: Vec<f32>,
    average_precision: Vec<f64>,
    map: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    f1_micro: f64,
    f1_macro: f64,
    subset_accuracy: f64,
    log_loss: f64,
    best_f1: Vec<f64>,
}

#[derive(Deserialize)]
struct ValueMetrics {
    y: Vec<f32>,
    estimates: Vec<f32>,
    r2: Vec<f64>,
    mae: Vec<f64>,
    rmse: Vec<f64>,
    mse: f64,
    mean_r2: f64,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("fixtures/sklearn/targets.json")).unwrap()
}

fn examples(width: usize, features: Vec<f32>) -> Examples<'static> {
    let labels = vec![0; features.len() / width];
    Examples::new(width, features, labels)
}

fn near(ours: &[f32], theirs: &[f64], share: f64) {
    assert_eq!(ours.len(), theirs.len());
    let most = theirs.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        let off = (f64::from(*ours) - theirs).abs();
        assert!(off <= share * most, "{ours} is not {theirs}");
    }
}

fn same(ours: Option<f64>, theirs: f64) {
    assert!(
        (ours.unwrap() - theirs).abs() < 1e-7,
        "{ours:?} is not {theirs}"
    );
}

#[test]
fn each_label_is_the_logistic_regression_of_scikit_learn() {
    for golden in goldens().labels {
        let recipe = LinearRecipe {
            c: Some(golden.c),
            class_weights: match golden.balanced {
                true => ClassWeights::Balanced,
                false => ClassWeights::None,
            },
        };
        let examples = examples(golden.width, golden.x);
        let targets = TargetRows::new(golden.labels, golden.y).unwrap();
        let solved = LabelTrainer::new(&recipe, &examples, &targets).unwrap();
        let solved = solved.solve().unwrap();
        near(&solved.weight, &golden.weight, 1e-4);
        near(&solved.bias, &golden.bias, 1e-4);
        let off = solved.objective / golden.objective - 1.0;
        assert!(off.abs() < 1e-6, "{off}");
    }
}

#[test]
fn labels_of_all_images_and_of_none_are_certain() {
    let examples = examples(1, vec![1.0, 2.0, 4.0]);
    let targets = TargetRows::new(3, vec![1., 0., 1., 1., 0., 0., 1., 0., 0.]).unwrap();
    let recipe = LinearRecipe::default();
    let solved = LabelTrainer::new(&recipe, &examples, &targets).unwrap();
    let solved = solved.solve().unwrap();
    assert_eq!(
        (&solved.weight[..2], &solved.bias[..2]),
        (&[0.0; 2][..], &[30.0, -30.0][..])
    );
    assert!(solved.weight[2] < 0.0);
    let fewer = TargetRows::new(3, vec![1., 0., 1.]).unwrap();
    assert!(LabelTrainer::new(&recipe, &examples, &fewer).is_err());
}

#[test]
fn values_are_the_ridge_regression_of_scikit_learn() {
    for golden in goldens().ridge {
        let recipe = LinearRecipe {
            c: golden.c,
            class_weights: ClassWeights::None,
        };
        let examples = examples(golden.width, golden.x);
        let targets = TargetRows::new(golden.values, golden.y).unwrap();
        let solved = ridge::solve(&recipe, &examples, &targets).unwrap();
        near(&solved.weight, &golden.weight, 1e-5);
        near(&solved.bias, &golden.bias, 1e-5);
    }
}

#[test]
fn values_that_cannot_be_regressed_are_refused_and_constant_ones_are_their_constant() {
    let recipe = |c| LinearRecipe {
        c,
        ..LinearRecipe::default()
    };
    let rows = |rows: &[f32]| TargetRows::new(1, rows.to_vec()).unwrap();
    let features = examples(2, vec![1.0, 2.0, 3.0, 5.0]);
    assert!(ridge::solve(&recipe(Some(0.0)), &features, &rows(&[1.0, 2.0])).is_err());
    assert!(ridge::solve(&recipe(None), &features, &rows(&[1.0])).is_err());
    let broken = examples(2, vec![1.0, f32::NAN, 3.0, 5.0]);
    assert!(ridge::solve(&recipe(None), &broken, &rows(&[1.0, 2.0])).is_err());
    let constant = ridge::solve(&recipe(None), &features, &rows(&[7.0, 7.0])).unwrap();
    assert_eq!((constant.weight, constant.bias), (vec![0.0; 2], vec![7.0]));
    // Features that do not differ say nothing: the mean is what is left.
    let alike = examples(2, vec![1.0, 2.0, 1.0, 2.0]);
    let mean = ridge::solve(&recipe(None), &alike, &rows(&[1.0, 3.0])).unwrap();
    assert_eq!(mean.logits(&[1.0, 2.0]), [2.0]);
}

#[test]
fn label_metrics_are_scikit_learns_and_no_threshold_beats_the_best() {
    let golden = goldens().label_metrics;
    let report = multilabel::judge(&golden.p, &golden.y, &golden.thresholds).unwrap();
    for (label, scores) in report.per_label.iter().enumerate() {
        same(scores.average_precision, golden.average_precision[label]);
        same(scores.precision, golden.precision[label]);
        same(scores.recall, golden.recall[label]);
        same(scores.f1, golden.f1[label]);
    }
    same(report.mean_average_precision, golden.map);
    same(report.f1_micro, golden.f1_micro);
    same(report.f1_macro, golden.f1_macro);
    same(report.subset_accuracy, golden.subset_accuracy);
    same(report.log_loss, golden.log_loss);
    let best = multilabel::best_thresholds(&golden.p, &golden.y, 4);
    let report = multilabel::judge(&golden.p, &golden.y, &best).unwrap();
    for (scores, &f1) in report.per_label.iter().zip(&golden.best_f1) {
        same(scores.f1, f1);
    }
}

#[test]
fn thresholds_stay_near_the_middle_where_nothing_speaks_against_it() {
    // Of the first label all images are told apart by anything between 0.2 and 0.8; the second no image has; the
    // third all have.
    let p = [0.8, 0.9, 0.9, 0.2, 0.4, 0.6];
    let y = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    assert_eq!(multilabel::best_thresholds(&p, &y, 3), [0.5, 0.5, 0.5]);
    let report = multilabel::judge(&p, &y, &[0.5, 0.95, 0.5]).unwrap();
    assert_eq!(report.per_label[1].average_precision, None);
    assert_eq!(report.per_label[1].f1, None);
    assert_eq!(
        (report.mean_average_precision, report.f1_macro),
        (Some(1.0), Some(1.0))
    );
    let none = multilabel::judge(&[], &[], &[0.5]).unwrap();
    assert_eq!(
        (
            none.images,
            none.f1_micro,
            none.subset_accuracy,
            none.log_loss
        ),
        (0, None, None, None)
    );
    assert!(multilabel::judge(&p, &y[..4], &[0.5; 3]).is_err());
}

#[test]
fn value_metrics_are_scikit_learns() {
    let golden = goldens().value_metrics;
    let report = regress::judge(&golden.estimates, &golden.y, 2).unwrap();
    for (value, scores) in report.per_value.iter().enumerate() {
        let near = |ours: Option<f64>, theirs: f64| {
            assert!(
                (ours.unwrap() / theirs - 1.0).abs() < 1e-6,
                "{ours:?} is not {theirs}"
            );
        };
        near(scores.r2, golden.r2[value]);
        near(scores.mae, golden.mae[value]);
        near(scores.rmse, golden.rmse[value]);
    }
    same(report.r2, golden.mean_r2);
    assert!((report.mse.unwrap() / golden.mse - 1.0).abs() < 1e-6);
    let one = regress::judge(&[1.0], &[3.0], 1).unwrap();
    assert_eq!((one.r2, one.mae, one.rmse), (None, Some(2.0), Some(2.0)));
    assert_eq!(regress::judge(&[], &[], 1).unwrap().mae, None);
    assert!(regress::judge(&[1.0], &[1.0, 2.0], 1).is_err());
}
