//! `rekindle train`: a new head on a folder of photos.

mod division;
mod folds;
mod learn;
pub mod lr_find;
mod material;
mod mean;
mod photos;
pub mod recipe_file;
mod record;
pub mod replay;
pub mod resume;
mod targets;
mod told;
pub mod tune;

use std::path::Path;
use std::time::Instant;

use rekindle_core::device::{OpenDevice, shares_memory};
use rekindle_core::head::HeadStyle;
use rekindle_core::model::Model;
use rekindle_core::task::Task;
use rekindle_core::train::{FeatureCache, Groups};
use rekindle_core::tune::{Recipe, Tune};

use crate::activations::Store;
use crate::cli::{CacheArgs, HeadChoice, TrainArgs};
use crate::context::Context;
use crate::dataset::{self, Dataset, Labels, ScanOptions, scan, scan_labels};
use crate::features::{self, Drawn, Photos};
use crate::measured::{self, accuracy_gate, check_gate};
use crate::models::{self, Origin};
use crate::runs::{self, Run};
use crate::ui::{ExitCode, Failure, print_json, print_text, print_warning, unless_closed};
use crate::{groups, memory, options, skipped};
use division::Division;
pub use division::HELD_BACK;
use folds::{Crossed, Field};
use learn::learn;
use material::Material;
use record::Record;
use tune::{Ledger, Training, Work};

/// Trains, leaves a run folder behind and prints what came of it.
pub fn run(args: &TrainArgs, context: &Context) -> anyhow::Result<ExitCode> {
    carry_out(args, context, true)
}

/// Trains and leaves a run folder behind.
fn carry_out(args: &TrainArgs, context: &Context, prints: bool) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    check(args)?;
    dataset::check_root(args.dir())?;
    let recipe = match args.tuning.tune.is_head() {
        true => None,
        false => Some(tune::recipe(args)?),
    };
    let device = context.open_device()?;
    keep_limit(args, &device);
    let mut dataset = read(args, context)?;
    options::check_task(args, dataset.task)?;
    options::check_folder(args, dataset.holds_some_back())?;
    introduce(&dataset, context);
    set_unused_aside(args, &mut dataset, context);
    let photos = photos::list(&dataset);
    if let Some(then) = &args.tuning.replayed
        && let Ok(then) = std::fs::read(then.join(runs::PHOTOS))
        && let Some(changes) = photos::changes(&String::from_utf8_lossy(&then), &photos)
    {
        let message = format!("the photos are not those of the run: {changes}");
        print_warning(&message, Some("put them back, or the run cannot repeat"));
    }
    if let Some(folds) = args.folds {
        groups::check_folds(folds, &dataset)?;
    }

    // The run folder first: a disk that cannot be written to is found out before the work.
    let head_name = match (args.tuning.tune, args.head) {
        (Tune::Head, HeadChoice::Mlp) => "mlp".to_owned(),
        (Tune::Head, HeadChoice::Linear) => "linear".to_owned(),
        (tune, _) => tune.to_string().replace(':', "-"),
    };
    let now = jiff::Zoned::now().datetime();
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| runs::default_name(&now, &args.model, &head_name));
    let mut run = match &args.tuning.resume {
        Some(folder) => {
            let run = Run::resume(folder)?;
            photos::check_same(run.read(runs::PHOTOS)?.as_deref(), &dataset)?;
            run
        }
        None => Run::create(&args.out, &name)?,
    };
    if !run.is_resumed() {
        if run.name() != name {
            context.console.note(&format!(
                "{} is there already: this run is {}",
                args.out.join(&name).display(),
                run.folder().display()
            ));
        }
        run.write(runs::PHOTOS, photos.as_bytes())?;
        if let Some(file) = &args.tuning.recipe {
            run.write(runs::GIVEN_RECIPE, recipe_file::text(file)?.as_bytes())?;
        }
        let command = resume::command(&context.words, run.folder())?;
        run.write(runs::COMMAND, command.as_bytes())?;
    }
    let outcome = train(
        args,
        recipe,
        &mut dataset,
        &device,
        &mut run,
        Telling { started, prints },
        context,
    );
    if outcome.is_err() {
        run.discard_if_unfinished();
    }
    outcome
}

/// Lets the process take no more than it was allowed. A limit of an adapter's own memory is kept where steps are divided.
fn keep_limit(args: &TrainArgs, device: &OpenDevice) {
    if let (Some(limit), true) = (args.tuning.memory_limit, shares_memory(&device.device)) {
        memory::allow(limit);
    }
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
    if args
        .dropout
        .is_some_and(|share| !(0.0..1.0).contains(&share))
    {
        return usage(
            "--dropout must be at least 0 and below 1",
            "half is 0.5; 0 drops nothing",
        );
    }
    if args
        .lr
        .is_some_and(|rate| !(rate > 0.0 && rate.is_finite()))
    {
        return usage(
            "--lr must be a number above 0",
            "leave it out, or give a rate such as 0.0005; `rekindle lr-find` looks for one",
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
    let seconds = args.tuning.checkpoint_every;
    if seconds.is_some_and(|seconds| !(0.0..=1e9).contains(&seconds)) {
        return usage(
            "--checkpoint-every must be a number of seconds, at least 0",
            "leave it out, or give 60",
        );
    }
    if args
        .tuning
        .warmup
        .is_some_and(|share| !(0.0..1.0).contains(&share))
    {
        return usage(
            "--warmup must be at least 0 and below 1",
            "leave it out, or give 0.1, a tenth of the steps",
        );
    }
    if args.head == HeadChoice::Mlp && args.tuning.tune.is_head() && args.batch == Some(1) {
        return usage(
            "--batch must be at least 2 for a two-layer head, whose batch norms learn nothing from one photo",
            "leave it out, or give 32",
        );
    }
    check_gate(args.min_accuracy)?;
    runs::check(&args.out, args.name.as_deref())?;
    models::check_network(&args.model, args.weights.weights.as_deref(), &args.pictures)
}

/// When a training began, and whether its result is printed.
struct Telling {
    started: Instant,
    prints: bool,
}

/// Trains in an open run folder.
fn train(
    args: &TrainArgs,
    recipe: Option<Recipe>,
    dataset: &mut Dataset,
    device: &OpenDevice,
    run: &mut Run,
    Telling { started, prints }: Telling,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let weights = match args.tuning.tune {
        Tune::Scratch => Some("random"),
        _ => args.weights.weights.as_deref(),
    };
    let (model, origin) = models::pretrained(
        &args.model,
        weights,
        &args.pictures,
        args.seed(),
        &device.device,
        context,
    )?;
    let plan = match &recipe {
        Some(recipe) => Some(tune::planned(args, recipe, &model, dataset.task)?),
        None => None,
    };
    // What more than the head is tuned, each phase says.
    let frozen = if args.tuning.tune.is_head() {
        " frozen"
    } else {
        ""
    };
    context.console.note(&format!(
        "{} on {} ({} parameters{frozen})",
        model.card.architecture,
        device.info.name,
        model.stage_parameters().iter().sum::<usize>()
    ));
    takes_head(&model, dataset.task)?;
    let learnable = Learnable::extract(args, dataset, &model, weights, context)?;
    let features_seconds = started.elapsed().as_secs_f64();

    let Learnable { alike, groups, .. } = &learnable;
    let is_said = groups::introduce(alike, groups, dataset, args.folds.is_some(), context);
    let material = learnable.material(&model, &origin);
    let division = Division::new(args, dataset, material, is_said)?;
    let mut ledger = Ledger::open(run, args.tuning.divided.as_ref())?;
    let recipe = plan.map(|plan| Recipe {
        views: ledger.views(|| tune::views(args, &plan, material)),
        ..plan.recipe
    });
    let field = Field {
        args,
        dataset,
        material,
        division: &division,
        device: &device.info.name,
        context,
    };
    let crossed = match (&division.folds, &recipe) {
        (None, _) => None,
        (Some(splits), None) => Some(Crossed::of_heads(field, splits)?),
        (Some(splits), Some(recipe)) => Some(Crossed::of(field, recipe, splits, &mut ledger, run)?),
    };
    let split = division.split.clone();
    let learnt = learn(args, dataset, material, split, Some(run), context)?;
    let tuned = match recipe {
        Some(recipe) => {
            let work = Work {
                args,
                dataset,
                material,
                learnt: &learnt,
                part: None,
                trainings: &[Training {
                    part: None,
                    photos: learnt.split.train.len(),
                }],
                foreseen: crossed.as_ref().and_then(Crossed::foreseen),
                device: &device.info.name,
                context,
            };
            Some(tune::tune(&work, recipe, &mut ledger, run)?)
        }
        None => None,
    };
    let finished = tuned.as_ref().map_or(learnt.finished, |_| Instant::now());
    let train_seconds = (finished - started).as_secs_f64();

    // What is known goes into the model file and into the run folder. Ctrl-C comes too late to throw it away.
    let _hold = context.interrupt.hold();
    let record = Record {
        args,
        dataset,
        device: &device.info,
        origin: &origin,
        material,
        measured: division.measured.as_deref(),
        learnt: &learnt,
        crossed: crossed.as_ref(),
        tuned: tuned.as_ref(),
        seconds: [features_seconds, train_seconds],
    };
    let (model_path, summary) = record.write(run)?;
    run.remove(runs::CHECKPOINT);
    run.remove(runs::PARTS);
    if !prints {
        return Ok(ExitCode::Ok);
    }
    let printed = match context.global.json || args.tuning.events {
        true => print_json(&summary),
        false => record
            .print(train_seconds)
            .and_then(|()| print_text(&format!("saved {}", model_path.display()))),
    };
    // The code says how good the model is, be it that nobody reads what is printed.
    unless_closed(printed)?;
    accuracy_gate(record.report().accuracy(), args.min_accuracy)
}

/// Whether a network can put out what the task wants: SqueezeNet's last layer ends in a ReLU, and the constant that
/// lifts its logits over it is seen by everything but a softmax.
fn takes_head(model: &Model, task: Task) -> anyhow::Result<()> {
    if task == Task::Classify || !matches!(model.slot().style, HeadStyle::PooledConv) {
        return Ok(());
    }
    let message = format!(
        "{} puts out nothing below zero, so it can classify, and learn neither several labels a photo nor values",
        model.card.architecture
    );
    Err(Failure::new(ExitCode::Usage, message)
        .with_help("choose another --model, such as efficientnet_lite0")
        .into())
}

/// What a folder, or a file of labels, says is to be learnt.
pub fn read(args: &TrainArgs, context: &Context) -> anyhow::Result<Dataset> {
    let options = ScanOptions {
        limits: context.limits,
        strict: args.strict,
    };
    let Some(labels) = Labels::to_learn(&args.labels) else {
        return Ok(scan(args.dir(), &options, &context.interrupt)?);
    };
    let (dataset, notes) = scan_labels(args.dir(), &labels, &options, &context.interrupt)?;
    notes.iter().for_each(|note| context.console.note(note));
    Ok(dataset)
}

/// What a network makes of the photos, and which of them belong together.
struct Learnable {
    cache: FeatureCache,
    contents: Vec<u64>,
    /// Photos that look the same,
    alike: Groups,
    /// and those, too, that the labels' file says belong together.
    groups: Groups,
}

impl Learnable {
    /// Computes it, or takes what was kept; photos that cannot be read are left out of the data set.
    fn extract(
        args: &TrainArgs,
        dataset: &mut Dataset,
        model: &Model,
        weights: Option<&str>,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let views = views_of(args);
        let cache = extract("features", dataset, model, views, &args.cache, context)?;
        let contents: Vec<_> = dataset.items.iter().map(|item| item.hash.key()).collect();
        let untrained = models::untrained(weights, &args.pictures);
        let alike = groups::find(&cache, &contents, untrained, context);
        let groups = groups::with_given(&alike, dataset);
        Ok(Self {
            cache,
            contents,
            alike,
            groups,
        })
    }

    fn material<'a>(&'a self, model: &'a Model, origin: &'a Origin) -> Material<'a> {
        Material {
            model,
            origin,
            cache: &self.cache,
            groups: &self.groups,
            contents: &self.contents,
        }
    }
}

/// The features of all photos that can be read; the others are left out of the data set.
pub fn extract(
    label: &str,
    dataset: &mut Dataset,
    model: &Model,
    views: Drawn,
    cache: &CacheArgs,
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
    let store = Store::chosen(cache.no_cache, cache.cache_budget);
    let (features, failed) = features::extract(label, model, photos, views, &store, context)?;
    skipped::warn_of(&dataset.leave_out(&failed)?);
    Ok(features)
}

/// The views of each photo from which a head learns.
fn views_of(args: &TrainArgs) -> Drawn {
    Drawn {
        augmented: args.views,
        seed: args.seed(),
    }
}

/// Photos in test/ are not touched where others measure: they are for the end.
pub fn set_unused_aside(args: &TrainArgs, dataset: &mut Dataset, context: &Context) {
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
        args.dir().display()
    ));
}

pub fn introduce(dataset: &Dataset, context: &Context) {
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
    let (photos, classes) = (dataset.items.len(), dataset.classes.len());
    context.console.note(&match dataset.task {
        Task::MultiLabel => format!("{photos} photos with {classes} labels: {shown}{more}"),
        Task::Regress => format!(
            "{photos} photos with values: {}",
            dataset.classes.join(", ")
        ),
        Task::Classify | Task::Segment => {
            format!("{photos} photos in {classes} classes: {shown}{more}")
        }
    });
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
