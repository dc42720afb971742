//! The head: how it is to be trained, and how well it does on photos that it has not seen.

use std::time::Instant;

use anyhow::Context as _;
use rekindle_core::metrics::classify::Report;
use rekindle_core::model::Model;
use rekindle_core::train::{
    Examples, Fitted, HeadRecipe, HeadTrainer, Split, TrainError, cross_validate, evaluate, judge,
};
use serde_json::json;

use super::material::Material;
use super::{recipe_file, targets};
use crate::cli::TrainArgs;
use crate::context::Context;
use crate::dataset::{Dataset, Targets};
use crate::judged::Judged;
use crate::runs::Run;
use crate::ui::Unit;

/// A head that was trained, and how well it does on photos that it has not seen.
pub struct Learnt {
    pub recipe: HeadRecipe,
    /// Which photos it was trained on, and which were held back.
    pub split: Split,
    pub fitted: Fitted,
    /// How well it does on the photos held back.
    pub report: Judged,
    /// Of labels: from which probability each is one of a photo's, where that was chosen on photos held back.
    pub thresholds: Option<Vec<f32>>,
    /// When it was trained, before it was measured.
    pub finished: Instant,
    /// What training it took.
    pub fit_seconds: f64,
}

/// Trains a head on some photos and measures it on others. Its losses go to `log`, if it has any.
pub fn learn(
    args: &TrainArgs,
    dataset: &Dataset,
    material: Material<'_>,
    split: Split,
    log: Option<&mut Run>,
    context: &Context,
) -> anyhow::Result<Learnt> {
    let Material { model, cache, .. } = material;
    let recipe = recipe(args)?;
    let classes = dataset.classes.len();
    let wanted = dataset.targets()?;
    let is_classes = targets::rows(&wanted).is_none();
    let fitting = Instant::now();
    let fitted = match is_classes {
        true => {
            let examples = cache.all_views(&split.train);
            fit(&recipe, examples, classes, model, args.seed(), log, context)?
        }
        false => targets::fit(&recipe, material, &wanted, &split.train, context)?,
    };
    let finished = Instant::now();
    let answers = answers(&fitted, material, &split.valid)?;
    let (report, thresholds) = judged(dataset, &split.valid, &answers)?;
    Ok(Learnt {
        recipe,
        split,
        fitted,
        report,
        thresholds,
        finished,
        fit_seconds: (finished - fitting).as_secs_f64(),
    })
}

/// What a head puts out for the plain views of some photos, `[N, K]`.
pub fn answers(
    fitted: &Fitted,
    material: Material<'_>,
    photos: &[usize],
) -> anyhow::Result<Vec<f32>> {
    let examples = material.cache.plain(photos);
    let (slot, device) = (material.model.slot(), material.model.device());
    Ok(pollster::block_on(evaluate(
        fitted, &examples, slot, device,
    ))?)
}

/// Judges what was put out for some photos; of labels, the thresholds that are chosen on them too.
pub fn judged(
    dataset: &Dataset,
    photos: &[usize],
    answers: &[f32],
) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
    match dataset.targets()? {
        Targets::Classes(all) => {
            let labels: Vec<usize> = photos.iter().map(|&row| all[row]).collect();
            let report = judge(answers, &labels, dataset.classes.len())?;
            Ok((Judged::Classes(report), None))
        }
        targets => targets::judge(&targets, photos, answers),
    }
}

/// Heads each of which has not seen the photos that it is asked about, and how well they do, all taken together.
pub fn cross_validated(
    args: &TrainArgs,
    dataset: &Dataset,
    material: Material<'_>,
    splits: &[Split],
    context: &Context,
) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
    let recipe = recipe(args)?;
    let wanted = dataset.targets()?;
    let classes = dataset.classes.len();
    if targets::rows(&wanted).is_some() {
        return targets::cross_validated(args, &recipe, material, &wanted, splits, context);
    }
    let report = cross_validated_classes(args, splits, &recipe, material, classes, context)?;
    Ok((Judged::Classes(report), None))
}

/// The recipe of the head that the options, and a file, ask for.
fn recipe(args: &TrainArgs) -> anyhow::Result<HeadRecipe> {
    let mut recipe = match &args.tuning.recipe {
        Some(file) => recipe_file::head(file, args.head)?,
        None => recipe_file::usual(args.head),
    };
    if let Some(choice) = args.class_weights {
        recipe = recipe.with_class_weights(choice.weights());
    }
    match &mut recipe {
        HeadRecipe::Linear(linear) => linear.c = args.c.or(linear.c),
        HeadRecipe::Mlp {
            hidden,
            dropout,
            training,
            ..
        } => {
            *hidden = args.hidden.or(*hidden);
            *dropout = args.dropout.unwrap_or(*dropout);
            // With --tune they say how the network is tuned behind it.
            if args.tuning.tune.is_head() {
                training.epochs = args.epochs.unwrap_or(training.epochs);
                training.batch = args.batch.unwrap_or(training.batch);
                training.rate = args.lr.unwrap_or(training.rate);
                training.weight_decay = args.weight_decay.unwrap_or(training.weight_decay);
            }
        }
    }
    Ok(recipe)
}

/// The report of heads for classes.
fn cross_validated_classes(
    args: &TrainArgs,
    splits: &[Split],
    recipe: &HeadRecipe,
    material: Material<'_>,
    classes: usize,
    context: &Context,
) -> anyhow::Result<Report> {
    let mut progress = context
        .console
        .start("folds", Unit::Items, Some(splits.len() as u64));
    let model = material.model;
    let (slot, device, seed) = (model.slot(), model.device(), args.seed());
    let answer = async |train, valid: &Examples<'_>| {
        let fitted = rekindle_core::train::fit(recipe, train, classes, slot, seed, device).await?;
        evaluate(&fitted, valid, slot, device).await
    };
    let cache = material.cache;
    let held_out = pollster::block_on(cross_validate::<TrainError>(
        cache,
        classes,
        splits,
        answer,
        |_| {
            progress.advance();
            !context.interrupt.is_raised()
        },
    ))?;
    context.interrupt.check()?;
    let held_out = held_out.context("the cross-validation was stopped")?;
    let labels = cache.plain(&held_out.images).labels;
    Ok(judge(&held_out.logits, &labels, classes)?)
}

/// Trains the head on all examples.
fn fit(
    recipe: &HeadRecipe,
    examples: Examples<'_>,
    classes: usize,
    model: &Model,
    seed: u64,
    mut log: Option<&mut Run>,
    context: &Context,
) -> anyhow::Result<Fitted> {
    let slot = model.slot();
    let mut trainer =
        HeadTrainer::new(recipe, examples, classes, slot, seed, None, model.device())?;
    let total = match recipe {
        HeadRecipe::Mlp { training, .. } => Some(training.epochs as u64),
        HeadRecipe::Linear(_) => None,
    };
    let mut progress = context.console.start("head", Unit::Items, total);
    let mut logged = None;
    loop {
        let step = pollster::block_on(trainer.step())?;
        if let (Some(loss), true) = (step.loss, logged != Some(step.done)) {
            logged = Some(step.done);
            progress.set(step.done as u64, step.total.map(|total| total as u64));
            progress.message(&format!("loss {loss:.4}"));
            if let Some(run) = &mut log {
                run.append_metrics(&json!({ "step": step.done, "loss": loss }))?;
            }
        }
        if step.finished {
            return Ok(pollster::block_on(trainer.head())?);
        }
        context.interrupt.check()?;
    }
}
