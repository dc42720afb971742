//! Heads for several labels a photo and for values: fitted, and measured on photos that they have not seen.

use std::collections::BTreeMap;

use rekindle_core::train::{
    Fitted, HeadRecipe, LabelTrainer, LinearRecipe, Split, TargetRows, TrainError, ridge,
};

use super::material::Material;
use crate::cli::TrainArgs;
use crate::context::Context;
use crate::dataset::Targets;
use crate::judged::Judged;
use crate::ui::Unit;

/// The stratum of each photo, by which photos are divided evenly, and how many strata there are.
pub fn strata(targets: &Targets, groups: &[usize], classes: usize) -> (Vec<usize>, usize) {
    match targets {
        Targets::Classes(labels) => (labels.clone(), classes),
        Targets::Labels(rows) => rows.label_strata(),
        Targets::Values(rows) => rows.value_strata(groups),
    }
}

/// The rows of what is no class.
pub fn rows(targets: &Targets) -> Option<&TargetRows> {
    match targets {
        Targets::Classes(_) => None,
        Targets::Labels(rows) | Targets::Values(rows) => Some(rows),
    }
}

/// Solves the head on some photos, all their views.
pub fn fit(
    recipe: &HeadRecipe,
    material: Material<'_>,
    targets: &Targets,
    train: &[usize],
    context: &Context,
) -> anyhow::Result<Fitted> {
    let linear = match recipe {
        HeadRecipe::Linear(linear) => linear.clone(),
        HeadRecipe::Mlp { .. } => LinearRecipe::default(),
    };
    let cache = material.cache;
    let examples = cache.all_views(train);
    let solution = match targets {
        Targets::Values(rows) => {
            let rows = rows.pick(train, cache.views());
            ridge::solve(&linear, &examples, &rows).map_err(TrainError::from)?
        }
        Targets::Labels(rows) => {
            let rows = rows.pick(train, cache.views());
            let trainer = LabelTrainer::new(&linear, &examples, &rows);
            let mut trainer = trainer.map_err(TrainError::from)?;
            let total = Some(rows.width() as u64);
            let mut progress = context.console.start("labels", Unit::Items, total);
            while !trainer.step().map_err(TrainError::from)? {
                progress.advance();
                context.interrupt.check()?;
            }
            trainer.solution().clone()
        }
        Targets::Classes(_) => anyhow::bail!("classes have a solver of their own"),
    };
    Ok(Fitted::linear(
        solution,
        examples.rows(),
        material.model.slot(),
    ))
}

/// What a head puts out for the plain views of some photos, `[N, K]`.
pub fn answers(fitted: &Fitted, material: Material<'_>, photos: &[usize]) -> Vec<f32> {
    let plain = material.cache.plain(photos);
    let solution = fitted.solution.as_ref();
    solution.map_or_else(Vec::new, |solution| solution.logits_of(plain.rows()))
}

/// Judges what was put out for some photos; of labels, the thresholds that are chosen on them too.
pub fn judge(
    targets: &Targets,
    photos: &[usize],
    answers: &[f32],
) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
    Ok(match targets {
        Targets::Values(rows) => (Judged::values(answers, &rows.pick(photos, 1))?, None),
        Targets::Labels(rows) => {
            let (judged, thresholds) = Judged::labels_chosen(answers, &rows.pick(photos, 1))?;
            (judged, (!photos.is_empty()).then_some(thresholds))
        }
        Targets::Classes(_) => anyhow::bail!("classes are judged by themselves"),
    })
}

/// Judges heads each of which has not seen the photos that it is asked about.
pub fn cross_validated(
    args: &TrainArgs,
    recipe: &HeadRecipe,
    material: Material<'_>,
    targets: &Targets,
    splits: &[Split],
    context: &Context,
) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
    let total = args.folds.map(|folds| folds as u64);
    let mut progress = context.console.start("folds", Unit::Items, total);
    let width = rows(targets).map_or(1, TargetRows::width);
    let mut all = BTreeMap::new();
    for split in splits {
        let fitted = fit(recipe, material, targets, &split.train, context)?;
        let answers = answers(&fitted, material, &split.valid);
        let each = answers.chunks_exact(width).map(<[f32]>::to_vec);
        all.extend(split.valid.iter().copied().zip(each));
        progress.advance();
        context.interrupt.check()?;
    }
    let photos: Vec<usize> = all.keys().copied().collect();
    let answers: Vec<f32> = all.into_values().flatten().collect();
    judge(targets, &photos, &answers)
}
