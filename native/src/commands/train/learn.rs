//! The head: how it is to be trained, on which photos, and what it is measured on.

use std::time::Instant;

use anyhow::Context as _;
use rekindle_core::head::MlpConfig;
use rekindle_core::metrics::classify::Report;
use rekindle_core::model::Model;
use rekindle_core::train::{
    ClassWeights, Examples, Fitted, HeadRecipe, HeadTrainer, LinearRecipe, MlpRecipe, Split,
    TrainError, cross_validate, evaluate, judge, stratified_folds, stratified_split,
};
use serde_json::json;

use super::material::Material;
use super::targets;
use crate::cli::{ClassWeightChoice, HeadChoice, TrainArgs};
use crate::context::Context;
use crate::dataset::{self, Dataset, Item};
use crate::judged::Judged;
use crate::runs::Run;
use crate::ui::{Unit, print_warning};

/// Share of the photos that is held back unless somebody says otherwise.
pub const HELD_BACK: f64 = 0.2;

/// A head that was trained, and how well it does on photos that it has not seen.
pub struct Learnt {
    pub recipe: HeadRecipe,
    /// Which photos it was trained on, and which were held back.
    pub split: Split,
    pub fitted: Fitted,
    /// What the figures are measured on, as `--json` names it; nothing if there is nothing to measure on.
    pub measured: Option<String>,
    pub report: Judged,
    /// Of labels: from which probability each is one of a photo's, where that was chosen on photos held back.
    pub thresholds: Option<Vec<f32>>,
    /// When it was trained, before it was measured.
    pub finished: Instant,
    /// What training it took.
    pub fit_seconds: f64,
}

/// Trains a head and measures it. `is_said` where it was said before that nothing can be measured.
pub fn learn(
    args: &TrainArgs,
    dataset: &Dataset,
    material: Material<'_>,
    run: &mut Run,
    is_said: bool,
    context: &Context,
) -> anyhow::Result<Learnt> {
    let Material { model, cache, .. } = material;
    let recipe = recipe(args);
    let classes = dataset.classes.len();
    let wanted = dataset.targets()?;
    let is_classes = targets::rows(&wanted).is_none();
    let strata = targets::strata(&wanted, material.groups.of(), classes);
    let validated = match args.folds {
        Some(folds) => {
            let splits = folded(args, folds, material, &strata)?;
            Some(match is_classes {
                true => {
                    let report =
                        cross_validated(args, &splits, &recipe, material, classes, context)?;
                    (Judged::Classes(report), None)
                }
                false => {
                    targets::cross_validated(args, &recipe, material, &wanted, &splits, context)?
                }
            })
        }
        None => None,
    };
    let split =
        divide(args, dataset, material, &strata)?.by_content(material.contents, cache.labels());
    if validated.is_none() && split.valid.is_empty() && !is_said {
        print_warning(
            match is_classes {
                true => {
                    "nothing is held back to measure the accuracy on, since no class has two photos that do not belong together"
                }
                false => {
                    "nothing is held back to measure the model on, since too few photos do not belong together"
                }
            },
            Some("add photos, or judge the model by `rekindle evaluate` on others"),
        );
    }
    let measured = measured_on(validated.is_some(), &split, dataset);
    let fitting = Instant::now();
    let fitted = match is_classes {
        true => {
            let examples = cache.all_views(&split.train);
            fit(&recipe, examples, classes, model, args.seed(), run, context)?
        }
        false => targets::fit(&recipe, material, &wanted, &split.train, context)?,
    };
    let finished = Instant::now();
    let (report, thresholds) = match validated {
        Some(judged) => judged,
        None if !is_classes => {
            let answers = targets::answers(&fitted, material, &split.valid);
            targets::judge(&wanted, &split.valid, &answers)?
        }
        None => {
            let examples = cache.plain(&split.valid);
            let logits =
                pollster::block_on(evaluate(&fitted, &examples, model.slot(), model.device()))?;
            let report = judge(&logits, &examples.labels, classes)?;
            (Judged::Classes(report), None)
        }
    };
    Ok(Learnt {
        recipe,
        split,
        fitted,
        measured,
        report,
        thresholds,
        finished,
        fit_seconds: (finished - fitting).as_secs_f64(),
    })
}

/// The recipe that the options ask for.
fn recipe(args: &TrainArgs) -> HeadRecipe {
    let class_weights = match args.class_weights {
        ClassWeightChoice::None => ClassWeights::None,
        ClassWeightChoice::Auto => ClassWeights::Balanced,
    };
    match args.head {
        HeadChoice::Linear => HeadRecipe::Linear(LinearRecipe {
            c: args.c,
            class_weights,
        }),
        HeadChoice::Mlp => HeadRecipe::Mlp {
            hidden: args.hidden,
            dropout: args.dropout.unwrap_or(MlpConfig::DROPOUT),
            training: match args.tuning.tune.is_head() {
                true => MlpRecipe {
                    epochs: args.epochs.unwrap_or(MlpRecipe::USUAL.epochs),
                    batch: args.batch.unwrap_or(MlpRecipe::USUAL.batch),
                    rate: args.lr.unwrap_or(MlpRecipe::USUAL.rate),
                    weight_decay: args.weight_decay.unwrap_or(MlpRecipe::USUAL.weight_decay),
                },
                // They say how the network is tuned behind it.
                false => MlpRecipe::USUAL,
            },
            class_weights,
        },
    }
}

/// The report of heads each of which has not seen the photos that it is asked about.
fn cross_validated(
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

/// The folds of a cross-validation, by the stratum of each photo.
fn folded(
    args: &TrainArgs,
    folds: usize,
    material: Material<'_>,
    (strata, count): &(Vec<usize>, usize),
) -> anyhow::Result<Vec<Split>> {
    let Material {
        cache,
        groups,
        contents,
        ..
    } = material;
    let (groups, keys) = (groups.of(), Some(contents));
    let splits = stratified_folds(strata, groups, keys, *count, folds, args.seed());
    let splits = splits.map_err(TrainError::from)?.into_iter();
    let by_content = |split: Split| split.by_content(contents, cache.labels());
    Ok(splits.map(by_content).collect())
}

/// Which photos train and which are held back. With cross-validation all of them train.
fn divide(
    args: &TrainArgs,
    dataset: &Dataset,
    material: Material<'_>,
    (strata, count): &(Vec<usize>, usize),
) -> anyhow::Result<Split> {
    let Material {
        cache,
        groups,
        contents,
        ..
    } = material;
    if args.folds.is_some() {
        return Ok(Split {
            train: (0..cache.len()).collect(),
            valid: Vec::new(),
        });
    }
    // What is left of a divided folder is train/ and one part to measure on, or train/ alone.
    let is_train = |item: &Item| item.split.is_none_or(|part| part == dataset::Split::Train);
    let (train, valid): (Vec<usize>, Vec<usize>) =
        (0..cache.len()).partition(|&row| is_train(&dataset.items[row]));
    if !valid.is_empty() {
        return Ok(Split { train, valid });
    }
    let share = args.split.unwrap_or(HELD_BACK);
    let split = stratified_split(
        strata,
        groups.of(),
        Some(contents),
        *count,
        share,
        args.seed(),
    );
    Ok(split.map_err(TrainError::from)?)
}

/// What the figures are measured on; nothing if there is nothing to measure on.
fn measured_on(crossed: bool, split: &Split, dataset: &Dataset) -> Option<String> {
    if crossed {
        return Some("cross-validation".to_owned());
    }
    let first = *split.valid.first()?;
    Some(match dataset.items[first].split {
        Some(part) if part != dataset::Split::Train => dataset.place_of(part),
        _ => "held-out photos".to_owned(),
    })
}

/// Trains the head on all examples.
fn fit(
    recipe: &HeadRecipe,
    examples: Examples<'_>,
    classes: usize,
    model: &Model,
    seed: u64,
    run: &mut Run,
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
            run.append_metrics(&json!({ "step": step.done, "loss": loss }))?;
        }
        if step.finished {
            return Ok(pollster::block_on(trainer.head())?);
        }
        context.interrupt.check()?;
    }
}
