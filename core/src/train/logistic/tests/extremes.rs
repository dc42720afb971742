//! Problems at the edges: next to no penalty and next to nothing else, photos told apart or not at all,
//! photos twice, classes of one photo, features that say nothing.

use super::*;

/// How far the objective is from the optimum at most, as a share of it. The penalty makes it strongly
/// convex: what is left to gain is at most half the gradient's square over the penalty (biases have
/// none; theirs must vanish).
fn gap(problem: &LogisticProblem<'_>, head: &LinearSolution) -> f64 {
    let (weight, bias) = problem.weight_of(head).unwrap();
    let (rows, targets) = (&problem.rows, &problem.targets);
    let space = Space::Features {
        step: vec![1.0; rows.width],
        is_small: true,
    };
    let mut logits = space.exact(rows, targets, &weight);
    spread(&mut logits, &bias);
    let residual = targets.residual(&logits);
    let of_bias = residual
        .chunks(targets.photos())
        .map(|row| row.iter().sum::<f64>().abs());
    assert!(of_bias.fold(0.0, f64::max) < 1e-4);
    let gradient = space.gradient(rows, targets, &weight, residual);
    let pairs = gradient.iter().zip(rows.penalty.iter().cycle());
    let square: f64 = pairs.map(|(slope, penalty)| slope * slope / penalty).sum();
    0.5 * square * problem.unit / problem.objective(head).unwrap()
}

/// A name, features, classes, the photos' features and their labels.
type Case = (&'static str, usize, usize, Vec<f32>, Vec<usize>);

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, images, dim, classes) in [
        ("two photos", 2, 5, 2),
        ("two photos, one feature", 2, 1, 2),
        ("more features", 30, 50, 3),
        ("more photos", 60, 8, 3),
        ("one photo a class", 20, 30, 20),
        ("many classes", 60, 12, 40),
    ] {
        let (features, labels) = data(images, dim, classes, 11);
        cases.push((name, dim, classes, features, labels));
    }
    // Every photo twice, and a third of them once more under another class.
    let (features, labels) = data(30, 40, 3, 12);
    let mut twice = [features.clone(), features.clone()].concat();
    twice.extend(&features[..10 * 40]);
    let mut of_twice = [labels.clone(), labels.clone()].concat();
    of_twice.extend(labels[..10].iter().map(|label| (label + 1) % 3));
    cases.push(("photos twice", 40, 3, twice, of_twice));
    // Half of the features constant, far from zero.
    let (mut features, labels) = data(25, 40, 4, 13);
    for row in features.chunks_exact_mut(40) {
        row[..20].fill(1e4);
    }
    cases.push(("constant features", 40, 4, features, labels));
    // Told apart by one feature alone, and by a hair.
    let labels: Vec<usize> = (0..20).map(|image| image % 2).collect();
    let hair = labels.iter().map(|&label| 1.0 + 1e-3 * label as f32);
    cases.push(("a hair", 1, 2, hair.collect(), labels));
    cases
}

#[test]
fn whatever_the_photos_and_the_penalty_the_optimum_is_reached() {
    for (name, dim, classes, features, labels) in cases() {
        for scaling in [Scaling::None, Scaling::Global] {
            for c in [1e-8, 1.0, 1e3, 1e8] {
                for lopsided in [false, true] {
                    let mut options = options(c, scaling);
                    if lopsided {
                        let weight = |class| 10f64.powi(class as i32 % 5 - 2);
                        options.class_weights =
                            ClassWeights::Given((0..classes).map(weight).collect());
                    }
                    if lopsided && c != 1.0 || c > 1e6 && scaling == Scaling::None {
                        continue;
                    }
                    let case = format!("{name}, {scaling:?}, C {c:e}, lopsided {lopsided}");
                    let problem =
                        LogisticProblem::new(&features, dim, &labels, classes, options).unwrap();
                    let solve = |among_images, tolerance| {
                        let mut problem = problem.clone();
                        problem.options.stop.tolerance = tolerance;
                        let mut solver = LogisticSolver::cold(problem, among_images);
                        let head = solver.solve().unwrap();
                        let status = solver.newton.standing.status;
                        let stopped = status == Status::IterationLimit;
                        assert!(!stopped || tolerance < 1e-12 || c > 1e6, "{case}: limit");
                        head
                    };
                    let tolerance = StopOptions::default().tolerance;
                    let heads = [false, true].map(|among_images| solve(among_images, tolerance));
                    let best = [false, true]
                        .map(|among_images| solve(among_images, 1e-14).objective)
                        .into_iter()
                        .fold(f64::INFINITY, f64::min);
                    for head in &heads {
                        let off = head.objective / best - 1.0;
                        let bar = if c > 1e6 { 1e-6 } else { 1e-8 };
                        assert!(off < bar, "{case}: off by {off:e}");
                        assert!(
                            head.weight.iter().all(|weight| weight.is_finite()),
                            "{case}"
                        );
                    }
                    // Beyond that the certificate says little: a weight's last bit in f32 is more.
                    if c <= 1.0 && scaling == Scaling::Global {
                        for head in &heads {
                            let gap = gap(&problem, head);
                            assert!(gap < 1e-6, "{case}: at most {gap:e} above the optimum");
                        }
                    }
                }
            }
        }
    }
}
