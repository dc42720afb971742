mod extremes;

use super::loss::spread;
use super::newton::Newton;
use super::solver::objective;
use super::space::Space;
use super::*;
use crate::class_weights::ClassWeights;
use crate::random::Random;

/// Features with unlike scales and offsets, and labels that depend on them.
fn data(images: usize, dim: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<usize>) {
    let mut random = Random::new(seed);
    let mut features = Vec::new();
    let mut labels = Vec::new();
    for image in 0..images {
        let label = if image < classes {
            image
        } else {
            random.below(classes)
        };
        for feature in 0..dim {
            let signal = if feature % classes == label { 0.4 } else { 0.0 };
            let scale = 10f32.powi(feature as i32 % 3 - 1);
            features.push(scale * (random.uniform() + signal + 0.5));
        }
        labels.push(label);
    }
    (features, labels)
}

fn options(c: f64, scaling: Scaling) -> LogisticOptions {
    LogisticOptions {
        c,
        scaling,
        ..Default::default()
    }
}

#[test]
fn the_gradient_is_the_objectives_finite_difference() {
    for (images, dim, classes) in [(37, 5, 3), (16, 8, 2), (9, 13, 5)] {
        let (features, labels) = data(images, dim, classes, 1);
        for scaling in [Scaling::None, Scaling::Global, Scaling::PerFeature] {
            let weights = (0..classes).map(|class| 0.5 + class as f64).collect();
            let options = LogisticOptions {
                class_weights: ClassWeights::Given(weights),
                ..options(0.7, scaling)
            };
            let problem = LogisticProblem::new(&features, dim, &labels, classes, options).unwrap();
            for among_images in [false, true] {
                let space = LogisticSolver::space(&problem, among_images);
                let (rows, targets) = (&problem.rows, &problem.targets);
                let size = classes * space.dimensions(rows);
                let mut random = Random::new(2);
                let mut draw = |count: usize| -> Vec<f64> {
                    let one = |_| {
                        (f64::from(random.uniform()) - 0.5) / if among_images { 99. } else { 1. }
                    };
                    (0..count).map(one).collect()
                };
                let (point, bias) = (draw(size), draw(classes));
                let standing = |point: &[f64], bias: &[f64]| {
                    Newton::new(point.to_vec(), bias.to_vec()).standing
                };
                let at = standing(&point, &bias);
                let mut logits = space.exact(rows, targets, &at.point);
                spread(&mut logits, &at.bias);
                let residual = targets.residual(&logits);
                let gradient = space.gradient(rows, targets, &point, residual.clone());
                // Among the images the gradient is a mixture of them: its slope along a direction
                // is the direction's logits' product with its coefficients.
                for variable in 0..size {
                    let mut unit = vec![0.0; size];
                    unit[variable] = 1.0;
                    let along = space.exact(rows, targets, &unit);
                    let expected = space.inner(&gradient, &unit, &along);
                    let value = |offset: f64| {
                        let mut point = point.clone();
                        point[variable] += offset;
                        objective(rows, targets, &space, &standing(&point, &bias))
                    };
                    let h = if among_images { 1e-7 } else { 1e-5 };
                    let slope = (value(h) - value(-h)) / (2.0 * h);
                    let size = expected.abs().max(1.0);
                    assert!(
                        (slope - expected).abs() < 1e-7 * size,
                        "variable {variable}: {slope} {expected}"
                    );
                }
                for class in 0..classes {
                    let value = |offset: f64| {
                        let mut bias = bias.clone();
                        bias[class] += offset;
                        objective(rows, targets, &space, &standing(&point, &bias))
                    };
                    let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
                    let expected: f64 = residual[class * images..][..images].iter().sum();
                    assert!((slope - expected).abs() < 1e-9, "bias {class}");
                }
            }
        }
    }
}

#[test]
fn an_interrupted_solve_equals_an_uninterrupted_one_bit_for_bit() {
    let (features, labels) = data(40, 21, 4, 3);
    let problem =
        || LogisticProblem::new(&features, 21, &labels, 4, LogisticOptions::default()).unwrap();
    let whole = LogisticSolver::new(problem()).solve().unwrap();
    let mut parts = LogisticSolver::new(problem());
    loop {
        let text = serde_json::to_string(&parts.state()).unwrap();
        let state = serde_json::from_str(&text).unwrap();
        parts = LogisticSolver::restore(problem(), state).unwrap();
        if parts.step().unwrap().done() {
            break;
        }
    }
    assert_eq!(parts.solution(), whole);
}

#[test]
fn a_state_of_another_problem_is_refused() {
    let (features, labels) = data(40, 21, 4, 3);
    let make = |features: &[f32], c| {
        let options = options(c, Scaling::Global);
        LogisticProblem::new(features.to_vec(), 21, &labels, 4, options).unwrap()
    };
    let mut solver = LogisticSolver::new(make(&features, 1.0));
    solver.step().unwrap();
    let mut other = features.clone();
    other[5] += 0.5;
    for problem in [make(&other, 1.0), make(&features, 2.0)] {
        let error = LogisticSolver::restore(problem, solver.state()).err();
        assert!(matches!(error, Some(LogisticError::State(_))));
    }
    let (small, labels) = data(40, 20, 4, 3);
    let small = LogisticProblem::new(small, 20, &labels, 4, LogisticOptions::default()).unwrap();
    assert!(LogisticSolver::restore(small, solver.state()).is_err());
}

#[test]
fn a_warm_start_reaches_the_same_optimum_in_fewer_iterations() {
    let (features, labels) = data(81, 30, 3, 4);
    let problem = |images: usize| {
        let features = &features[..images * 30];
        LogisticProblem::new(
            features,
            30,
            &labels[..images],
            3,
            LogisticOptions::default(),
        )
        .unwrap()
    };
    let before = LogisticSolver::new(problem(80)).solve().unwrap();
    let cold = LogisticSolver::new(problem(81)).solve().unwrap();
    let warm = LogisticSolver::warm(problem(81), &before)
        .unwrap()
        .solve()
        .unwrap();
    assert!((warm.objective / cold.objective - 1.0).abs() < 1e-10);
    assert!(
        warm.iterations < cold.iterations,
        "{} {}",
        warm.iterations,
        cold.iterations
    );
    for (a, b) in warm.weight.iter().zip(&cold.weight) {
        assert!((a - b).abs() < 1e-4);
    }
    let again = LogisticSolver::warm(problem(80), &before)
        .unwrap()
        .solve()
        .unwrap();
    assert!(
        3 * again.iterations < before.iterations,
        "{} {}",
        again.iterations,
        before.iterations
    );
}

#[test]
fn a_warm_start_takes_in_a_new_class() {
    let (features, labels) = data(60, 12, 4, 5);
    let old: Vec<usize> = (0..60).filter(|&image| labels[image] < 3).collect();
    let old_features: Vec<f32> = old
        .iter()
        .flat_map(|&image| &features[image * 12..][..12])
        .copied()
        .collect();
    let old_labels: Vec<usize> = old.iter().map(|&image| labels[image]).collect();
    let new =
        || LogisticProblem::new(&features, 12, &labels, 4, LogisticOptions::default()).unwrap();
    let cold = LogisticSolver::new(new()).solve().unwrap();
    for known in [3, 4] {
        let options = LogisticOptions::default();
        let problem = LogisticProblem::new(&old_features, 12, &old_labels, known, options).unwrap();
        let before = LogisticSolver::new(problem).solve().unwrap();
        let warm = LogisticSolver::warm(new(), &before)
            .unwrap()
            .solve()
            .unwrap();
        assert!((warm.objective / cold.objective - 1.0).abs() < 1e-10);
    }
}

#[test]
fn a_class_without_images_changes_nothing_and_is_never_answered() {
    let (features, labels) = data(50, 9, 3, 6);
    let solve = |labels: &[usize], classes| {
        let options = LogisticOptions::default();
        let problem = LogisticProblem::new(&features, 9, labels, classes, options).unwrap();
        LogisticSolver::new(problem).solve().unwrap()
    };
    let dense = solve(&labels, 3);
    let spread: Vec<usize> = labels.iter().map(|&label| [0, 2, 3][label]).collect();
    let sparse = solve(&spread, 5);
    assert_eq!(dense.objective, sparse.objective);
    let far: Vec<f32> = features.iter().map(|x| -1e3 * x).collect();
    for features in [&features, &far] {
        let expected = dense.probabilities(features);
        for (row, expected) in sparse
            .probabilities(features)
            .chunks(5)
            .zip(expected.chunks(3))
        {
            assert!(row[1] < 1e-12 && row[4] < 1e-12);
            for (position, class) in [0, 2, 3].into_iter().enumerate() {
                assert!((row[class] - expected[position]).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn the_constant_that_the_loss_leaves_free_is_used_up() {
    let (features, labels) = data(50, 9, 3, 6);
    let problem =
        LogisticProblem::new(&features, 9, &labels, 3, LogisticOptions::default()).unwrap();
    let head = LogisticSolver::new(problem.clone()).solve().unwrap();
    for row in head.logits(&features).chunks(3) {
        assert!(row.iter().sum::<f32>().abs() < 1e-5);
    }
    let objective = problem.objective(&head).unwrap();
    assert!((objective / head.objective - 1.0).abs() < 1e-10);
}

#[test]
fn constant_and_equal_features_are_solved_too() {
    let labels = [0, 0, 0, 1];
    for scaling in [Scaling::None, Scaling::Global, Scaling::PerFeature] {
        let problem =
            LogisticProblem::new(vec![3.0; 8], 2, &labels, 2, options(1.0, scaling)).unwrap();
        let head = LogisticSolver::new(problem).solve().unwrap();
        // All that is left to learn is how frequent the classes are.
        for (probability, expected) in head.probabilities(&[3.0, 3.0]).iter().zip([0.75, 0.25]) {
            assert!((probability - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn what_cannot_be_solved_is_a_typed_error() {
    let new = |features: &[f32], labels: &[usize], c| {
        let options = options(c, Scaling::None);
        LogisticProblem::new(features.to_vec(), 2, labels, 2, options).err()
    };
    let good = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(
        new(&good[..3], &[0, 1], 1.0),
        Some(LogisticError::Shape {
            values: 3,
            images: 2,
            features: 2
        })
    );
    assert_eq!(
        new(&[1.0, 2.0, f32::NAN, 4.0], &[0, 1], 1.0),
        Some(LogisticError::Feature {
            image: 1,
            feature: 0
        })
    );
    assert_eq!(
        new(&good, &[1, 1], 1.0),
        Some(LogisticError::TooFewClasses(1))
    );
    assert_eq!(new(&[], &[], 1.0), Some(LogisticError::TooFewClasses(0)));
    assert!(matches!(
        new(&good, &[0, 2], 1.0),
        Some(LogisticError::ClassWeights(_))
    ));
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(new(&good, &[0, 1], c), Some(LogisticError::C(_))));
    }
    // Features at the edge of f32 are within the reach of f64.
    let problem = LogisticProblem::new(
        vec![f32::MAX, f32::MIN_POSITIVE, -f32::MAX, 0.0],
        2,
        &[0, 1],
        2,
        LogisticOptions::default(),
    );
    assert!(LogisticSolver::new(problem.unwrap()).solve().is_ok());
}
