use super::*;
use crate::class_weights::ClassWeights;
use crate::random::Random;
use crate::train::linear::options;
use crate::train::logistic::{LinearSolution, LogisticError, LogisticProblem, LogisticSolver};
use crate::train::recipe::LinearRecipe;
use crate::train::split::{each_alone, stratified_folds};

/// Features of few underlying causes, none below zero, as networks give them.
fn photos(count: usize, width: usize, classes: usize, seed: u64) -> Vec<(usize, Vec<f32>)> {
    let mut random = Random::new(seed);
    let causes = 12;
    let mut draw = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|_| random.uniform() + random.uniform() - 1.0)
            .collect()
    };
    let mixing = draw(causes * width);
    let centres = draw(classes * causes);
    let all = (0..count).map(|photo| {
        let label = photo % classes;
        let own = draw(causes);
        let noise = draw(width);
        let features = (0..width).map(|feature| {
            let sum: f32 = (0..causes)
                .map(|cause| {
                    let value = own[cause] + centres[label * causes + cause];
                    value * mixing[cause * width + feature] / (1 + cause / 3) as f32
                })
                .sum();
            (sum + 0.2 * noise[feature]).max(0.0)
        });
        (label, features.collect())
    });
    all.collect()
}

fn filled(photos: &[(usize, Vec<f32>)]) -> PhotoSpace {
    let mut space = PhotoSpace::new(photos[0].1.len());
    for (label, features) in photos {
        space.push(*label, features).unwrap();
    }
    space
}

/// The same fit without any of this, and its objective at a solution.
fn plain(
    space: &PhotoSpace,
    images: &[usize],
    recipe: &LinearRecipe,
    classes: usize,
) -> LogisticProblem<'static> {
    let examples = space.cache().plain(images);
    LogisticProblem::new(
        examples.features.gathered(),
        space.width(),
        &examples.labels,
        classes,
        options(recipe),
    )
    .unwrap()
}

#[track_caller]
fn assert_alike(ours: &LinearSolution, theirs: &LinearSolution) {
    let off = ours.objective / theirs.objective - 1.0;
    assert!(off.abs() < 1e-8, "objective off by {off:e}");
    let size = theirs
        .weight
        .iter()
        .fold(0.0f32, |size, w| size.max(w.abs()));
    for (a, b) in ours.weight.iter().zip(&theirs.weight) {
        assert!((a - b).abs() < 1e-4 * size, "{a} {b} of {size}");
    }
    for (a, b) in ours.bias.iter().zip(&theirs.bias) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

fn recipes() -> [LinearRecipe; 3] {
    [
        LinearRecipe::default(),
        LinearRecipe {
            c: Some(0.03),
            class_weights: ClassWeights::Balanced,
        },
        LinearRecipe {
            c: Some(100.0),
            class_weights: ClassWeights::Given(vec![1.0, 5.0, 0.2]),
        },
    ]
}

#[test]
fn a_fit_among_the_photos_is_the_fit_among_the_features() {
    // Fewer photos than features, as many, and more than products are kept for.
    for (count, width) in [(4, 200), (60, 90), (70, 70), (110, 70), (150, 60)] {
        let space = filled(&photos(count, width, 3, 1));
        assert_eq!(space.products.len(), count.min(2 * width));
        for recipe in recipes() {
            let all: Vec<usize> = (0..count).collect();
            let problem = plain(&space, &all, &recipe, 3);
            let theirs = LogisticSolver::of_features(problem.clone())
                .solve()
                .unwrap();
            let mut fit = space.fit(&recipe, &[0, 1, 2]).unwrap();
            assert_eq!(fit.solver.is_among_images(), count <= 2 * width);
            let ours = fit.solve().unwrap();
            assert_alike(&ours, &theirs);
            let there = problem.objective(&ours).unwrap() / theirs.objective - 1.0;
            assert!(there.abs() < 1e-8, "{there:e}");
        }
    }
}

#[test]
fn a_warm_start_reaches_the_same_optimum_whatever_came_and_went() {
    let photos = photos(80, 150, 4, 2);
    let recipe = LinearRecipe::default();
    let mut space = filled(&photos[..70]);
    let mut fit = space.fit(&recipe, &[0, 1, 2, 3]).unwrap();
    let cold = fit.solve().unwrap();
    space.keep(&fit);
    let again = space.fit(&recipe, &[0, 1, 2, 3]).unwrap().solve().unwrap();
    assert!(again.iterations <= 1, "{} iterations", again.iterations);
    assert_alike(&again, &cold);

    // Photos more, photos less, one that changes its class, a class less, a class anew.
    type Change = fn(&mut PhotoSpace, &[(usize, Vec<f32>)]);
    let changes: [(Change, &[usize]); 5] = [
        (
            |space, photos| {
                for (label, features) in photos {
                    space.push(*label, features).unwrap();
                }
            },
            &[0, 1, 2, 3],
        ),
        (
            |space, _| [40, 7, 0].into_iter().for_each(|image| space.remove(image)),
            &[0, 1, 2, 3],
        ),
        (|space, _| space.relabel(20, 3), &[0, 1, 2, 3]),
        (
            |space, _| assert!(space.remove_label(1).len() > 9),
            &[3, 0, 2],
        ),
        (
            |space, _| (0..9).for_each(|image| space.relabel(image, 77)),
            &[0, 77, 2, 3],
        ),
    ];
    for (change, classes) in changes {
        change(&mut space, &photos[70..]);
        let mut warm = space.fit(&recipe, classes).unwrap();
        let found = warm.solve().unwrap();
        space.keep(&warm);
        let mut fresh = PhotoSpace::new(space.width());
        for image in 0..space.len() {
            let row = classes.iter().position(|id| *id == space.labels()[image]);
            fresh.push(row.unwrap(), space.features(image)).unwrap();
        }
        let order: Vec<usize> = (0..classes.len()).collect();
        let mut cold = fresh.fit(&recipe, &order).unwrap();
        let cold = cold.solve().unwrap();
        assert_alike(&found, &cold);
        println!(
            "{} iterations warm, {} cold",
            found.iterations, cold.iterations
        );
        assert!(found.iterations <= cold.iterations + 3);
    }
}

#[test]
fn each_folds_head_is_the_fit_on_that_fold_alone() {
    let photos = photos(60, 100, 3, 3);
    for recipe in recipes() {
        let mut space = filled(&photos);
        let splits = stratified_folds(
            space.labels(),
            &each_alone(space.labels().len()),
            None,
            3,
            5,
            7,
        )
        .unwrap();
        let mut cold = FoldFits::new(&space, &recipe, &[0, 1, 2], splits.clone());
        while !cold.step(&space).unwrap().done() {}
        let mut fit = space.fit(&recipe, &[0, 1, 2]).unwrap();
        fit.solve().unwrap();
        space.keep(&fit);
        let mut warm = FoldFits::new(&space, &recipe, &[0, 1, 2], splits.clone());
        while !warm.step(&space).unwrap().done() {}
        for split in &splits {
            let alone = plain(&space, &split.train, &recipe, 3);
            let alone = LogisticSolver::of_features(alone).solve().unwrap();
            let mut fold = space.fit_on(&recipe, &[0, 1, 2], &split.train).unwrap();
            assert_alike(&fold.solve().unwrap(), &alone);
            for (at, logits) in space.logits(&alone, &split.valid).chunks(3).enumerate() {
                for folds in [&cold, &warm] {
                    let found = &folds.logits()[split.valid[at] * 3..][..3];
                    for (a, b) in found.iter().zip(logits) {
                        assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn folds_end_when_photos_change() {
    let mut space = filled(&photos(20, 30, 2, 4));
    let splits = stratified_folds(
        space.labels(),
        &each_alone(space.labels().len()),
        None,
        2,
        2,
        1,
    )
    .unwrap();
    let mut folds = FoldFits::new(&space, &LinearRecipe::default(), &[0, 1], splits);
    folds.step(&space).unwrap();
    space.remove(3);
    assert_eq!(folds.step(&space), Err(LogisticError::Changed));
}

#[test]
fn products_follow_the_photos() {
    let photos = photos(50, 20, 2, 5);
    let mut space = filled(&photos[..45]);
    assert_eq!(space.products.len(), 40);
    for image in [44, 10, 0, 3, 30, 30, 11] {
        space.remove(image);
    }
    for (label, features) in &photos[45..] {
        space.push(*label, features).unwrap();
    }
    assert_eq!(space.products.len(), space.len().min(40));
    for a in 0..space.products.len() {
        for b in 0..=a {
            let less = |image: usize| {
                let row = space.features(image).iter().zip(&space.reference);
                row.map(|(x, r)| f64::from(x - r)).collect::<Vec<_>>()
            };
            let exact: f64 = less(a).iter().zip(less(b)).map(|(x, y)| x * y).sum();
            assert!((f64::from(space.products[a][b]) - exact).abs() < 1e-5 * (1.0 + exact.abs()));
        }
    }
}

#[test]
fn photos_far_from_the_first_one_are_solved_too() {
    // Products less the first photo would be all rounding.
    let mut all = photos(30, 50, 2, 6);
    all[0].1.iter_mut().for_each(|x| *x += 1e6);
    let mut space = filled(&all);
    space.remove(0);
    let images: Vec<usize> = (0..space.len()).collect();
    let recipe = LinearRecipe::default();
    let theirs = LogisticSolver::new(plain(&space, &images, &recipe, 2))
        .solve()
        .unwrap();
    assert_alike(
        &space.fit(&recipe, &[0, 1]).unwrap().solve().unwrap(),
        &theirs,
    );
}

#[test]
fn pieces_are_short_and_the_same_calls_give_the_same_head() {
    let space = filled(&photos(60, 100, 3, 8));
    let solve = || {
        let mut fit = space.fit(&LinearRecipe::default(), &[0, 1, 2]).unwrap();
        let mut pieces = 0;
        while !fit.solver.pieces(1).unwrap().done() {
            pieces += 1;
        }
        (fit.solution(), pieces)
    };
    let (head, pieces) = solve();
    assert!(pieces > 5 * head.iterations, "{pieces} pieces");
    assert_eq!(solve().0, head);
    let mut whole = space.fit(&LinearRecipe::default(), &[0, 1, 2]).unwrap();
    assert_eq!(whole.solve().unwrap(), head);
}
