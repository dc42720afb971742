//! `rekindle train`: a new head on a folder of photos.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use rekindle_core::device::OpenDevice;
use rekindle_core::metrics::classify::Report;
use rekindle_core::model::{Model, PhotoHashes};
use rekindle_core::train::MlpRecipe;
use rekindle_core::train::{
    ClassWeights, Examples, FeatureCache, Fitted, Groups, HeadRecipe, HeadTrainer, LinearRecipe,
    Split, TrainError, cross_validate, evaluate, judge, stratified_folds, stratified_split,
};
use serde_json::{Map, Value, json};

use crate::cli::{ClassWeightChoice, HeadChoice, TrainArgs};
use crate::context::Context;
use crate::dataset::{self, Dataset, Item, ScanOptions, scan};
use crate::features::{self, Views};
use crate::hash::FileHash;
use crate::interrupt::Hold;
use crate::measured::{self, accuracy_gate, check_gate, class_table, share};
use crate::models::{self, Origin};
use crate::report::{self, Page};
use crate::runs::{self, Run};
use crate::ui::{ExitCode, Failure, Unit, print_json, print_text, print_warning};
use crate::{groups, options, skipped};

/// Share of the photos that is held back unless somebody says otherwise.
const HELD_BACK: f64 = 0.2;

/// Trains and leaves a run folder behind.
pub fn run(args: &TrainArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    check(args)?;
    dataset::check_root(&args.dir)?;
    let device = context.open_device()?;
    let options = ScanOptions {
        limits: context.limits,
        strict: args.strict,
    };
    let mut dataset = scan(&args.dir, &options, &context.interrupt)?;
    options::check_folder(args, dataset.holds_some_back())?;
    introduce(&dataset, context);
    set_unused_aside(args, &mut dataset, context);
    if let Some(folds) = args.folds {
        groups::check_folds(folds, &dataset)?;
    }

    // The run folder first: a disk that cannot be written to is found out before the work.
    let head_name = if args.head == HeadChoice::Mlp {
        "mlp"
    } else {
        "linear"
    };
    let now = jiff::Zoned::now().datetime();
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| runs::default_name(&now, &args.model, head_name));
    let mut run = Run::create(&args.out, &name)?;
    let outcome = train(args, &mut dataset, &device, &mut run, started, context);
    if outcome.is_err() {
        run.discard_if_unfinished();
    }
    outcome
}

/// What makes no sense is refused before anything is read.
fn check(args: &TrainArgs) -> anyhow::Result<()> {
    let usage = |message: &str, help: &str| {
        Err(Failure::new(ExitCode::Usage, message)
            .with_help(help)
            .into())
    };
    if Path::new(&args.model).is_file() {
        let message = format!(
            "--model takes a network's name, and `{}` is a file",
            args.model
        );
        return Err(Failure::new(ExitCode::Usage, message)
            .with_help(format!(
                "start from its numbers by --weights {}, and name its network by --model",
                args.model
            ))
            .into());
    }
    if args
        .split
        .is_some_and(|share| !(share > 0.0 && share < 1.0))
    {
        return usage(
            "--split must lie between 0 and 1",
            "a fifth is 0.2; to train on all photos, leave it out and measure by --folds 5",
        );
    }
    if args.c.is_some_and(|c| !(c > 0.0 && c.is_finite())) {
        return usage(
            "--c must be a number above 0",
            "leave it out to have it chosen, or give 1",
        );
    }
    if !(0.0..1.0).contains(&args.dropout) {
        return usage(
            "--dropout must be at least 0 and below 1",
            "half is 0.5; 0 drops nothing",
        );
    }
    if !(args.lr > 0.0 && args.lr.is_finite()) {
        return usage(
            "--lr must be a number above 0",
            "leave it out, or give 0.001",
        );
    }
    if !(args.weight_decay >= 0.0 && args.weight_decay.is_finite()) {
        return usage(
            "--weight-decay must be a number, at least 0",
            "leave it out, or give 0.01; 0 is none",
        );
    }
    check_gate(args.min_accuracy)?;
    runs::check(&args.out, args.name.as_deref())?;
    models::check_network(&args.model, args.weights.weights.as_deref(), &args.pictures)
}

/// What a head learns from, and how it is divided.
#[derive(Clone, Copy)]
struct Material<'a> {
    cache: &'a FeatureCache,
    groups: &'a Groups,
    /// What each photo's content says: what is drawn, and in which order photos are learnt from, follows from it
    /// and not from the files' names.
    contents: &'a [u64],
}

fn train(
    args: &TrainArgs,
    dataset: &mut Dataset,
    device: &OpenDevice,
    run: &mut Run,
    started: Instant,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let weights = args.weights.weights.as_deref();
    let (model, origin) = models::pretrained(
        &args.model,
        weights,
        &args.pictures,
        args.seed(),
        &device.device,
        context,
    )?;
    context.console.note(&format!(
        "{} on {} ({} parameters frozen)",
        model.card.architecture,
        device.info.name,
        model.stage_parameters().iter().sum::<usize>()
    ));

    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let labels: Vec<_> = dataset.items.iter().map(|item| item.class).collect();
    let keys: Vec<_> = dataset.items.iter().map(|item| item.hash.key()).collect();
    let views = Views {
        augmented: args.views,
        seed: args.seed(),
        keys: &keys,
    };
    let skipped = dataset.skipped.len();
    let (cache, failed) = features::extract(&model, &paths, &labels, views, skipped, context)?;
    skipped::warn_of(&dataset.leave_out(&failed)?);
    let features_seconds = started.elapsed().as_secs_f64();

    let contents: Vec<_> = dataset.items.iter().map(|item| item.hash.key()).collect();
    let untrained = models::untrained(weights, &args.pictures);
    let groups = groups::find(&cache, &contents, untrained, context);
    let is_said = groups::introduce(&groups, dataset, args.folds.is_some(), context);
    let material = Material {
        cache: &cache,
        groups: &groups,
        contents: &contents,
    };

    let recipe = recipe(args);
    let classes = dataset.classes.len();
    let validated = match args.folds {
        Some(folds) => Some(cross_validated(
            args, folds, &recipe, material, classes, &model, context,
        )?),
        None => None,
    };
    let split = divide(args, dataset, material)?.by_content(&contents, cache.labels());
    if validated.is_none() && split.valid.is_empty() && !is_said {
        print_warning(
            "nothing is held back to measure the accuracy on, since no class has two photos that do not belong together",
            Some("add photos, or judge the model by `rekindle evaluate` on others"),
        );
    }
    let fitting = Instant::now();
    let fitted = fit(
        &recipe,
        &cache,
        &split,
        classes,
        &model,
        args.seed(),
        run,
        context,
    )?;
    let fit_seconds = fitting.elapsed().as_secs_f64();
    let train_seconds = started.elapsed().as_secs_f64();
    let held_out = match &validated {
        Some(report) => report.clone(),
        None => {
            let examples = cache.plain(&split.valid);
            let logits =
                pollster::block_on(evaluate(&fitted, &examples, model.slot(), model.device()))?;
            judge(&logits, &examples.labels, classes)?
        }
    };
    let accuracy = held_out.accuracy;

    // What is known goes into the model file and into the run folder. Ctrl-C comes too late to throw it away.
    let _hold = Hold::new();
    let mut trained = model.with_head(fitted.kind, fitted.head.clone(), dataset.classes.clone());
    trained.card.recipe = recipe_card(args, &recipe, &model, dataset.holds_some_back())?;
    trained.card.provenance = provenance(&origin, dataset, &cache);
    let photos = PhotoHashes::new(split.train.iter().map(|&row| dataset.items[row].hash.0));
    let (in_card, in_manifest) = runs::keep_hashes(photos);
    trained.card.trained_on = in_card;
    let bytes = trained.save()?;
    let model_path = run.write(runs::MODEL, &bytes)?;
    run.write(
        runs::RECIPE,
        toml::to_string_pretty(&trained.card.recipe)?.as_bytes(),
    )?;
    let measured = measured_on(validated.is_some(), &split, dataset);
    let summary = json!({
        "run": run.folder(),
        "model": model_path,
        "architecture": trained.card.architecture,
        "head": trained.card.head.name(),
        "classes": dataset.classes,
        "images": cache.len(),
        "skipped": dataset.skipped.len(),
        "unused": dataset.unused,
        "groups": groups.counts(),
        "measured_on": measured,
        "accuracy": accuracy,
        "cv_accuracy": validated.as_ref().and_then(|report| report.accuracy),
        "folds": args.folds,
        "trained_on": split.train.len(),
        "iterations": fitted.iterations,
        "loss": fitted.loss,
        "train_seconds": train_seconds,
        "seconds": { "features": features_seconds, "fit": fit_seconds },
        "device": device.info.name,
    });
    let manifest = json!({
        "name": run.name(),
        "rekindle": env!("CARGO_PKG_VERSION"),
        "device": device.info,
        "seed": args.seed(),
        "weights": origin,
        "data": {
            "sha256": dataset.data_hash().to_string(),
            "images": cache.len(),
            "skipped": dataset.skipped,
            "trained_on": in_manifest,
        },
        "model_sha256": sha256(&bytes),
        "recipe": trained.card.recipe,
        "result": summary,
        "report": held_out,
    });
    run.write(
        runs::MANIFEST,
        serde_json::to_string_pretty(&manifest)?.as_bytes(),
    )?;
    let page = Page {
        title: models::title(&trained.card),
        measured: measured.as_deref().unwrap_or("nothing was held back"),
        report: &held_out,
        classes: &dataset.classes,
        facts: &summary,
        skipped: &dataset.skipped,
    };
    run.write(runs::REPORT, report::html(&page).as_bytes())?;

    if context.global.json {
        print_json(&summary)?;
    } else {
        let shown = rows(&held_out);
        print_text(&class_table(&held_out, &dataset.classes, shown))?;
        let held = if held_out.images == 1 {
            "photo"
        } else {
            "photos"
        };
        let measured = match measured.as_deref() {
            Some("cross-validation") => {
                format!(" on {} {held} by cross-validation", held_out.images)
            }
            Some("held-out photos") => format!(" on {} held-out {held}", held_out.images),
            Some(place) => format!(" on {} {held} of {place}", held_out.images),
            None => ": nothing was held back to measure it on".to_owned(),
        };
        print_text(&format!(
            "accuracy {}{measured}, trained on {} photos in {train_seconds:.1} s",
            share(accuracy),
            split.train.len(),
        ))?;
        print_text(&format!("saved {}", model_path.display()))?;
    }
    accuracy_gate(accuracy, args.min_accuracy)
}

/// What the figures are measured on, as `--json` names it; nothing if there is nothing to measure on.
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

/// The classes that a table shows: those with photos, and some of the others.
fn rows(report: &Report) -> Vec<usize> {
    const WITHOUT_PHOTOS: usize = 20;
    let mut without = 0;
    let mut shown = |class: &usize| {
        let empty = report.per_class[*class].support == 0;
        without += usize::from(empty);
        !empty || without <= WITHOUT_PHOTOS
    };
    (0..report.per_class.len())
        .filter(|class| shown(class))
        .collect()
}

/// Photos in test/ are not touched where others measure: they are for the end.
fn set_unused_aside(args: &TrainArgs, dataset: &mut Dataset, context: &Context) {
    let has = |split| dataset.items.iter().any(|item| item.split == Some(split));
    if !has(dataset::Split::Test) || !(args.folds.is_some() || has(dataset::Split::Val)) {
        return;
    }
    let place = dataset.place_of(dataset::Split::Test);
    let photos = match dataset.set_aside(dataset::Split::Test) {
        1 => "1 photo".to_owned(),
        photos => format!("{photos} photos"),
    };
    context.console.note(&format!(
        "{place} ({photos}) is not used here: `rekindle evaluate MODEL {}` measures on it",
        args.dir.display()
    ));
}

fn introduce(dataset: &Dataset, context: &Context) {
    let counts: Vec<_> = dataset
        .counts()
        .iter()
        .map(|count| format!("{} {}", count.class, count.total()))
        .collect();
    let shown = counts
        .iter()
        .take(12)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let more = if counts.len() > 12 { ", …" } else { "" };
    context.console.note(&format!(
        "{} photos in {} classes: {shown}{more}",
        dataset.items.len(),
        dataset.classes.len()
    ));
    match dataset.other_files {
        0 => {}
        1 => context.console.note("1 other file is left alone"),
        count => context
            .console
            .note(&format!("{count} other files are left alone")),
    }
    measured::tell(&dataset.remarks, context);
    for warning in dataset.warnings() {
        print_warning(&warning.to_string(), Some(warning.help()));
    }
    skipped::warn_of(&dataset.skipped);
}

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
            dropout: args.dropout,
            training: MlpRecipe {
                epochs: args.epochs,
                batch: args.batch,
                rate: args.lr,
                weight_decay: args.weight_decay,
            },
            class_weights,
        },
    }
}

fn cross_validated(
    args: &TrainArgs,
    folds: usize,
    recipe: &HeadRecipe,
    material: Material<'_>,
    classes: usize,
    model: &Model,
    context: &Context,
) -> anyhow::Result<Report> {
    let mut progress = context
        .console
        .start("folds", Unit::Items, Some(folds as u64));
    let (slot, device, seed) = (model.slot(), model.device(), args.seed());
    let answer = async |train, valid: &Examples| {
        let fitted = rekindle_core::train::fit(recipe, train, classes, slot, seed, device).await?;
        evaluate(&fitted, valid, slot, device).await
    };
    let Material {
        cache,
        groups,
        contents,
    } = material;
    let labels = cache.labels();
    let splits = stratified_folds(labels, groups.of(), Some(contents), classes, folds, seed)
        .map_err(TrainError::from)?;
    let by_content = |split: Split| split.by_content(contents, labels);
    let splits: Vec<_> = splits.into_iter().map(by_content).collect();
    let held_out = pollster::block_on(cross_validate::<TrainError>(
        cache,
        classes,
        &splits,
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

/// Which photos train and which are held back. With cross-validation all of them train.
fn divide(args: &TrainArgs, dataset: &Dataset, material: Material<'_>) -> anyhow::Result<Split> {
    let Material {
        cache,
        groups,
        contents,
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
    let classes = dataset.classes.len();
    let share = args.split.unwrap_or(HELD_BACK);
    let split = stratified_split(
        cache.labels(),
        groups.of(),
        Some(contents),
        classes,
        share,
        args.seed(),
    );
    Ok(split.map_err(TrainError::from)?)
}

#[allow(clippy::too_many_arguments)] // one call, each argument another thing
fn fit(
    recipe: &HeadRecipe,
    cache: &FeatureCache,
    split: &Split,
    classes: usize,
    model: &Model,
    seed: u64,
    run: &mut Run,
    context: &Context,
) -> anyhow::Result<Fitted> {
    let slot = model.slot();
    let examples = cache.all_views(&split.train);
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

/// The recipe as it travels in the model file and in `recipe.toml`.
fn recipe_card(
    args: &TrainArgs,
    recipe: &HeadRecipe,
    model: &Model,
    divided: bool,
) -> anyhow::Result<Map<String, Value>> {
    let mut card = Map::new();
    card.insert("model".into(), json!(model.card.architecture));
    card.insert("input".into(), json!(model.card.preset.side()));
    if !model.card.channels.is_rgb() {
        card.insert("channels".into(), json!(model.card.channels));
    }
    if model.card.bare {
        card.insert("bare".into(), json!(true));
    }
    if model.card.small_stem {
        card.insert("small_stem".into(), json!(true));
    }
    card.insert("seed".into(), json!(args.seed()));
    card.insert("views".into(), json!(args.views));
    match args.folds {
        Some(folds) => card.insert("folds".into(), json!(folds)),
        // A folder that is divided needs no share.
        None if divided => None,
        None => {
            let share = args.split.unwrap_or(HELD_BACK);
            card.insert("split".into(), json!(share))
        }
    };
    let mut head = serde_json::to_value(recipe)?;
    // TOML has no null: what was left to the program is simply not there.
    if let Value::Object(fields) = &mut head {
        fields.retain(|_, value| !value.is_null());
    }
    card.insert("head".into(), head);
    Ok(card)
}

fn provenance(origin: &Origin, dataset: &Dataset, cache: &FeatureCache) -> Map<String, Value> {
    let mut provenance = origin.clone();
    provenance.insert("rekindle".into(), json!(env!("CARGO_PKG_VERSION")));
    provenance.insert("images".into(), json!(cache.len()));
    provenance.insert("data_sha256".into(), json!(dataset.data_hash().to_string()));
    provenance
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    FileHash(sha2::Sha256::digest(bytes).into()).to_string()
}
