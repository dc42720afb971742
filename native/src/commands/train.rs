//! `rekindle train`: a new head on a folder of photos.

mod learn;
pub mod lr_find;
mod record;

use std::path::Path;
use std::time::Instant;

use rekindle_core::device::OpenDevice;
use rekindle_core::metrics::classify::Report;
use rekindle_core::model::Model;
use rekindle_core::train::FeatureCache;

use crate::activations::Store;
use crate::cli::{HeadChoice, TrainArgs};
use crate::context::Context;
use crate::dataset::{self, Dataset, ScanOptions, scan};
use crate::features::{self, Drawn, Photos};
use crate::measured::{self, accuracy_gate, check_gate, class_table, share};
use crate::models;
use crate::runs::{self, Run};
use crate::ui::{ExitCode, Failure, print_json, print_text, print_warning};
use crate::{groups, options, skipped};
use learn::{Learnt, Material, learn};
use record::Record;

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
    if args.dropout.is_some_and(|share| !(0.0..1.0).contains(&share)) {
        return usage(
            "--dropout must be at least 0 and below 1",
            "half is 0.5; 0 drops nothing",
        );
    }
    if args.lr.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return usage(
            "--lr must be a number above 0",
            "leave it out, or give 0.001",
        );
    }
    if args
        .weight_decay
        .is_some_and(|decay| !(decay >= 0.0 && decay.is_finite()))
    {
        return usage(
            "--weight-decay must be a number, at least 0",
            "leave it out, or give 0.01; 0 is none",
        );
    }
    check_gate(args.min_accuracy)?;
    runs::check(&args.out, args.name.as_deref())?;
    models::check_network(&args.model, args.weights.weights.as_deref(), &args.pictures)
}

/// Trains in an open run folder.
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
    let cache = extract(args, dataset, &model, context)?;
    let features_seconds = started.elapsed().as_secs_f64();

    let contents: Vec<_> = dataset.items.iter().map(|item| item.hash.key()).collect();
    let untrained = models::untrained(weights, &args.pictures);
    let groups = groups::find(&cache, &contents, untrained, context);
    let is_said = groups::introduce(&groups, dataset, args.folds.is_some(), context);
    let material = Material {
        model: &model,
        cache: &cache,
        groups: &groups,
        contents: &contents,
    };
    let learnt = learn(args, dataset, material, run, is_said, context)?;
    let train_seconds = (learnt.finished - started).as_secs_f64();

    // What is known goes into the model file and into the run folder. Ctrl-C comes too late to throw it away.
    let _hold = context.interrupt.hold();
    let record = Record {
        args,
        dataset,
        device: &device.info,
        origin: &origin,
        material,
        learnt: &learnt,
        seconds: [features_seconds, train_seconds],
    };
    let (model_path, summary) = record.write(run)?;
    if context.global.json {
        print_json(&summary)?;
    } else {
        print_result(&learnt, dataset, train_seconds)?;
        print_text(&format!("saved {}", model_path.display()))?;
    }
    accuracy_gate(learnt.report.accuracy, args.min_accuracy)
}

/// The features of all photos that can be read; the others are left out of the data set.
fn extract(
    args: &TrainArgs,
    dataset: &mut Dataset,
    model: &Model,
    context: &Context,
) -> anyhow::Result<FeatureCache> {
    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let labels: Vec<_> = dataset.items.iter().map(|item| item.class).collect();
    let contents: Vec<_> = dataset.items.iter().map(|item| item.hash).collect();
    let photos = Photos {
        paths: &paths,
        labels: &labels,
        contents: &contents,
        skipped: dataset.skipped.len(),
    };
    let views = Drawn {
        augmented: args.views,
        seed: args.seed(),
    };
    let store = Store::chosen(args.cache.no_cache, args.cache.cache_budget);
    let (cache, failed) = features::extract(model, photos, views, &store, context)?;
    skipped::warn_of(&dataset.leave_out(&failed)?);
    Ok(cache)
}

/// Prints how well the head does, class by class and as a whole.
fn print_result(learnt: &Learnt, dataset: &Dataset, train_seconds: f64) -> anyhow::Result<()> {
    let report = &learnt.report;
    let shown = rows(report);
    print_text(&class_table(report, &dataset.classes, shown))?;
    let held = if report.images == 1 {
        "photo"
    } else {
        "photos"
    };
    let measured = match learnt.measured.as_deref() {
        Some("cross-validation") => format!(" on {} {held} by cross-validation", report.images),
        Some("held-out photos") => format!(" on {} held-out {held}", report.images),
        Some(place) => format!(" on {} {held} of {place}", report.images),
        None => ": nothing was held back to measure it on".to_owned(),
    };
    print_text(&format!(
        "accuracy {}{measured}, trained on {} photos in {train_seconds:.1} s",
        share(report.accuracy),
        learnt.split.train.len(),
    ))
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
