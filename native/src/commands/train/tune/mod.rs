//! Tuning more of the network than its head, from the head's optimum on.

mod checkpoint;
pub mod source;

use std::time::Instant;

use rekindle_core::device::DeviceError;
use rekindle_core::graph::{Op, Scratch};
use rekindle_core::head::HeadKind;
use rekindle_core::image::RgbImage;
use rekindle_core::model::{Model, whole_graph};
use rekindle_core::network::Network;
use rekindle_core::parts::meant;
use rekindle_core::task::Task;
use rekindle_core::train::judge;
use rekindle_core::tune::{
    Aims, Engine as _, EpochEnd, Given, Judgement, Keep, Labels, Loss, Plan, PlanError, Recipe,
    Shown, Stepwise, Trainer, Tune, TuneError, Wanted,
};
use rekindle_core::weights::{TensorSource as _, Tensors};
use serde_json::{Value, json};

use super::learn::Learnt;
use super::material::Material;
use super::targets;
use crate::activations::Store;
use crate::cli::{ClassWeightChoice, TrainArgs};
use crate::context::Context;
use crate::dataset::{Dataset, Targets};
use crate::interrupt::advise;
use crate::judged::Judged;
use crate::runs::Run;
use crate::ui::{ExitCode, Failure, Progress, Unit, print_text, print_warning};
use checkpoint::Checkpoints;
use source::{AtCut, Kept, Photos, Showing};

/// Images that are answered together when an epoch is judged.
const ANSWERED: usize = 32;

/// What a tuning is of.
pub struct Work<'a> {
    pub args: &'a TrainArgs,
    pub dataset: &'a Dataset,
    pub material: Material<'a>,
    pub learnt: &'a Learnt,
    /// The device's name.
    pub device: &'a str,
    pub context: &'a Context,
}

/// What came of a tuning.
pub struct Tuned {
    /// What it went by.
    pub recipe: Recipe,
    /// The network that is left.
    pub model: Model,
    /// Whether it is the tuned one, and not the head alone.
    pub is_tuned: bool,
    /// How good it is on the photos held back, and the labels' thresholds; nothing where there are none, or the head
    /// alone is left.
    pub report: Option<(Judged, Option<Vec<f32>>)>,
    /// Epochs that were made.
    pub epochs: usize,
    /// The epoch that is left, counted from 1.
    pub best_epoch: Option<usize>,
    /// The share of the time in which photos were waited for.
    pub waited: Option<f64>,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
    /// What training it took.
    pub seconds: f64,
}

/// The recipe that the options, and a file, ask for.
pub fn recipe(args: &TrainArgs) -> anyhow::Result<Recipe> {
    let tuning = &args.tuning;
    let mut recipe = match &tuning.recipe {
        Some(file) => super::recipe_file::read(file, tuning.tune)?,
        None => Recipe::of(tuning.tune),
    };
    recipe.epochs = args.epochs.unwrap_or(recipe.epochs);
    recipe.batch = args.batch.unwrap_or(recipe.batch);
    recipe.lr = args.lr.unwrap_or(recipe.lr);
    if args.views > 0 {
        recipe.views = args.views as usize;
    }
    recipe.dropout = args.dropout.or(recipe.dropout);
    if let ClassWeightChoice::Auto = args.class_weights {
        recipe.class_weights = rekindle_core::train::ClassWeights::Balanced;
    }
    tuning.change(&mut recipe);
    if let Some(decay) = args.weight_decay {
        recipe.optimizer = recipe.optimizer.with_weight_decay(decay);
    }
    recipe.check()?;
    Ok(recipe)
}

/// Refuses a recipe that does not fit the network, and options that would do nothing, before the work begins.
pub fn check(args: &TrainArgs, recipe: &Recipe, model: &Model, task: Task) -> anyhow::Result<()> {
    let plan = Plan::new(recipe, model.graph())?;
    check_mixing(&plan)?;
    let tuning = &args.tuning;
    let idle = |option: &str, why: &str| {
        let message = format!("{option} does not apply here: {why}");
        Err(Failure::new(ExitCode::Usage, message)
            .with_help("leave it out")
            .into())
    };
    let network = &model.card.architecture;
    let nodes = model.graph().nodes();
    let norms = nodes.iter().any(|node| matches!(node.op, Op::BatchNorm(_)));
    let drops = nodes
        .iter()
        .any(|node| matches!(node.op, Op::StochasticDepth(_)));
    if !norms && (tuning.bn.is_some() || tuning.freeze_bn_affine) {
        let option = if tuning.bn.is_some() {
            "--bn"
        } else {
            "--freeze-bn-affine"
        };
        return idle(option, &format!("{network} has no batch norms"));
    }
    if !drops && tuning.stochastic_depth.is_some() {
        return idle(
            "--stochastic-depth",
            &format!("{network} has no blocks that are left out"),
        );
    }
    if recipe.soup && recipe.keep == Keep::Last {
        return idle("--soup", "with --keep last the last epoch is left");
    }
    if task != Task::Classify && (tuning.balanced || tuning.label_smoothing.is_some()) {
        let option = if tuning.balanced {
            "--balanced"
        } else {
            "--label-smoothing"
        };
        return idle(option, "it belongs to photos of one class each");
    }
    for (part, _) in &tuning.lr_of {
        let meant = meant(model.graph(), part).map_err(PlanError::from)?;
        let mut phases = plan.phases.iter();
        if !phases.any(|phase| !phase.learning.parameters.is_disjoint(&meant)) {
            return idle(&format!("--lr-of {part}"), "that part does not train");
        }
    }
    Ok(())
}

/// Tunes the network.
pub fn tune(work: &Work<'_>, mut recipe: Recipe, run: &mut Run) -> anyhow::Result<Tuned> {
    let begun = Instant::now();
    let Work {
        args,
        dataset,
        material,
        learnt,
        context,
        ..
    } = *work;
    let base = start(work)?;
    let photos = photos(dataset, learnt);
    recipe.views = views(work, &recipe, &base, &photos, run)?;
    let plan = Plan::new(&recipe, base.graph())?;
    let aims = aims(work, &recipe)?;
    let graph = base
        .graph()
        .with_chance(recipe.dropout, recipe.stochastic_depth);
    let network = Network::new(graph, &base.state_dict(), base.device())?;
    let engine = Stepwise::new(network, base.device());
    let mut trainer = Trainer::new(engine, plan, aims, args.seed());
    let identity = identity(work, &recipe)?;
    let mut checkpoints = Checkpoints::new(&identity, args.tuning.checkpoint_every);
    advise(format!(
        "`rekindle train --resume {}` goes on from here",
        run.folder().display()
    ));
    match run.is_resumed() && checkpoints.take_up(&mut trainer, run)? {
        true => context.console.note(&format!(
            "going on behind step {}",
            trainer.position().steps
        )),
        false => checkpoints.write(&mut trainer, run)?,
    }
    let showing = Showing {
        photos: &photos,
        preset: base.card.preset,
        augment: &recipe.augment,
        seed: args.seed(),
    };
    let mut round = Round {
        work,
        base: &base,
        showing,
        trainer,
        checkpoints,
        run,
        waited: Waited::default(),
    };
    let mut stopped = None;
    while let Some(phase) = round.trainer.phase() {
        let (name, cut, epochs) = (phase.name.clone(), phase.cut, phase.epochs);
        context.console.note(&format!(
            "tuning {name}: {} parameters in {} tensors, {epochs} epochs",
            count(&base, &phase.learning.parameters),
            phase.learning.parameters.len(),
        ));
        let outcome = match cut {
            0 => round.on_images(),
            cut => round.at_cut(cut, recipe.views.min(epochs)),
        };
        let Err(error) = outcome else { continue };
        match error.downcast_ref::<TuneError>() {
            Some(TuneError::Diverged { .. }) => {
                print_warning(
                    &format!("{error}: the last good network is kept"),
                    Some("a lower --lr, --clip 1, or --warmup with --schedule cosine may help"),
                );
                stopped = Some(error.to_string());
                break;
            }
            _ => return Err(error),
        }
    }
    let epochs = epochs_made(&round.trainer);
    let waited = round.waited.share();
    let chosen = round.choose(&recipe, stopped.is_some())?;
    let seconds = begun.elapsed().as_secs_f64();
    let (model, report, best_epoch) = match chosen {
        Some((tensors, epoch)) => {
            let model = base.with_tensors(&tensors);
            let report = round.report(&model)?;
            (model, report, Some(epoch + 1))
        }
        None => (with_head(material.model, dataset, learnt), None, None),
    };
    Ok(Tuned {
        recipe,
        model,
        is_tuned: best_epoch.is_some(),
        report,
        epochs,
        best_epoch,
        waited,
        stopped,
        seconds,
    })
}

/// The views of each photo of which values are kept: those of the recipe, or as many as the budget has room for. A run
/// that goes on has those it began with.
fn views(
    work: &Work<'_>,
    recipe: &Recipe,
    base: &Model,
    photos: &Photos,
    run: &Run,
) -> anyhow::Result<usize> {
    if let Some(views) = checkpoint::views(run)? {
        return Ok(views);
    }
    let cache = &work.args.cache;
    if cache.no_cache {
        return Ok(recipe.views);
    }
    let plan = Plan::new(recipe, base.graph())?;
    let cuts = plan.phases.iter().map(|phase| phase.cut);
    let cuts: Vec<usize> = cuts.filter(|&cut| cut != 0).collect();
    if cuts.is_empty() {
        return Ok(recipe.views);
    }
    let budget = Store::chosen(false, cache.cache_budget).budget();
    let count = photos.paths.len();
    let fitting = source::views_within(budget, base, &cuts, count, recipe.views);
    if fitting < recipe.views {
        print_warning(
            &format!(
                "{fitting} of {} views of each photo are made: the budget has room for no more",
                recipe.views
            ),
            Some("give more by --cache-budget"),
        );
    }
    Ok(fitting)
}

/// What a run is of: another one's checkpoint is not taken up.
fn identity(work: &Work<'_>, recipe: &Recipe) -> anyhow::Result<Value> {
    let Work {
        args,
        dataset,
        material,
        learnt,
        device,
        ..
    } = work;
    let hashes = |rows: &[usize]| -> String {
        let named = |&row: &usize| {
            let item = &dataset.items[row];
            format!("{} {}", item.hash, item.class)
        };
        let text: Vec<String> = rows.iter().map(named).collect();
        crate::hash::hash_text(&text.join(" ")).to_string()
    };
    Ok(json!({
        "network": material.model.card.architecture,
        "classes": dataset.classes,
        "photos that train": hashes(&learnt.split.train),
        "photos held back": hashes(&learnt.split.valid),
        "preset": material.model.card.preset,
        "recipe": recipe,
        "seed": args.seed(),
        "device": device,
    }))
}

/// The network with the head that was trained, its card filled in but for the recipe.
fn with_head(model: &Model, dataset: &Dataset, learnt: &Learnt) -> Model {
    let fitted = &learnt.fitted;
    model.with_head(fitted.kind, fitted.head.clone(), dataset.classes.clone())
}

/// The network that tuning starts from.
fn start(work: &Work<'_>) -> anyhow::Result<Model> {
    let Work {
        args,
        dataset,
        material,
        learnt,
        ..
    } = *work;
    let model = material.model;
    if args.tuning.tune != Tune::Scratch {
        return Ok(with_head(model, dataset, learnt));
    }
    // From nothing: the head is drawn as the family draws it, like all that stands before it.
    let kind = HeadKind::Linear { lift: 0.0 };
    let mut card = model.card.clone();
    card.head = kind;
    card.classes.clone_from(&dataset.classes);
    let size = [1, 2].map(|axis| model.graph().input()[axis]);
    let graph = whole_graph(model.architecture(), &card, size)?;
    let drawn = Scratch::new(&graph, model.architecture().init, args.seed());
    let mut head = Tensors::new();
    for (name, shape) in graph.tensors_of(true) {
        let values = drawn.values(&name, &shape)?;
        head.insert(name, (shape, values.into()));
    }
    Ok(model.with_head(kind, head, dataset.classes.clone()))
}

/// The photos: those that train, then those held back.
fn photos(dataset: &Dataset, learnt: &Learnt) -> Photos {
    let rows = || learnt.split.train.iter().chain(&learnt.split.valid);
    Photos {
        paths: rows().map(|&row| dataset.items[row].path.clone()).collect(),
        contents: rows().map(|&row| dataset.items[row].hash).collect(),
        trained: learnt.split.train.len(),
    }
}

/// What the photos that train are.
fn aims(work: &Work<'_>, recipe: &Recipe) -> anyhow::Result<Aims> {
    let train = &work.learnt.split.train;
    let (labels, weights) = match work.dataset.targets()? {
        Targets::Classes(all) => {
            let labels: Vec<usize> = train.iter().map(|&row| all[row]).collect();
            let classes = work.dataset.classes.len();
            let weights = recipe.class_weights.resolve(&labels, classes);
            let weights = weights.map_err(|error| Failure::new(ExitCode::Usage, error))?;
            (Labels::Classes(labels), weights)
        }
        Targets::Labels(all) => {
            let rows = all.pick(train, 1);
            (
                Labels::Several(rows.rows().to_vec()),
                vec![1.0; rows.width()],
            )
        }
        Targets::Values(all) => {
            let rows = all.pick(train, 1);
            let counts = 1.0 / variance(rows.rows(), rows.width());
            let labels = Labels::Values(rows.rows().to_vec(), Loss::MeanSquare);
            (labels, vec![counts; rows.width()])
        }
    };
    Ok(Aims {
        labels,
        answers: weights.len(),
        weights,
        smoothing: recipe.label_smoothing,
    })
}

/// The mean variance of some columns: a loss divided by it does not depend on the values' unit.
fn variance(rows: &[f32], width: usize) -> f64 {
    let count = (rows.len() / width.max(1)).max(1) as f64;
    let of = |column: usize| {
        let values = || {
            rows.iter()
                .skip(column)
                .step_by(width)
                .map(|&value| f64::from(value))
        };
        let mean = values().sum::<f64>() / count;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / count
    };
    let mean = (0..width).map(of).sum::<f64>() / width.max(1) as f64;
    if mean > 0.0 { mean } else { 1.0 }
}

/// Images are mixed where they are seen; values at a cut are none.
fn check_mixing(plan: &Plan) -> anyhow::Result<()> {
    let is_cached = plan.phases.iter().any(|phase| phase.cut != 0);
    match plan.recipe.mixing.is_on() && is_cached {
        true => {
            let message = "--mixup and --cutmix do not apply here: what stands before the first stage that trains is \
                           computed once, and images are not seen again";
            let help = "leave them out, or tune everything by --tune full";
            Err(Failure::new(ExitCode::Usage, message)
                .with_help(help)
                .into())
        }
        false => Ok(()),
    }
}

/// Learnable numbers in the tensors of these names.
fn count(model: &Model, names: &std::collections::BTreeSet<String>) -> usize {
    let layers = model.graph().layers().iter();
    let parameters = layers.flat_map(|layer| layer.parameters());
    let named = parameters.filter(|(name, _)| names.contains(name));
    named
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum()
}

fn epochs_made(trainer: &Trainer<Stepwise>) -> usize {
    let position = trainer.position();
    match trainer.phase() {
        Some(_) => trainer.plan().epochs_before(position.phase) + position.epoch,
        None => trainer.plan().epochs(),
    }
}

/// The time in which a tuning waited for photos.
#[derive(Default)]
struct Waited {
    waited: f64,
    all: f64,
}

impl Waited {
    fn share(&self) -> Option<f64> {
        (self.all > 0.0).then(|| self.waited / self.all)
    }
}

/// A tuning that goes on.
struct Round<'a> {
    work: &'a Work<'a>,
    base: &'a Model,
    showing: Showing<'a>,
    trainer: Trainer<Stepwise>,
    checkpoints: Checkpoints<'a>,
    run: &'a mut Run,
    waited: Waited,
}

/// What brings the batches of a phase, and answers what the held-out photos are.
trait Supply {
    /// The batches of a step, and the height and width of images, where they are some.
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)>;

    /// Logits of the photos held back.
    fn answers(&mut self, trainer: &Trainer<Stepwise>) -> anyhow::Result<Vec<f32>>;
}

/// Photos as they are decoded.
struct Images<'a, 'l, 'p> {
    loader: &'a mut crate::photos::Loader<'l, RgbImage>,
    showing: Showing<'p>,
    base: &'a Model,
    context: &'a Context,
}

impl Supply for Images<'_, '_, '_> {
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)> {
        let mut given = Vec::with_capacity(batches.len());
        let mut size = None;
        for batch in batches {
            let crops = source::next(self.loader, batch.len(), self.showing.photos)?;
            size = crops
                .first()
                .map(|crop| [crop.height() as usize, crop.width() as usize]);
            given.push(Given::images(self.base.batch(&crops)));
        }
        Ok((given, size))
    }

    fn answers(&mut self, trainer: &Trainer<Stepwise>) -> anyhow::Result<Vec<f32>> {
        let tensors = pollster::block_on(trainer.engine().tensors(trainer.is_averaged()))?;
        held_out(
            &self.base.with_tensors(&tensors),
            self.showing,
            self.context,
        )
    }
}

impl Supply for AtCutOf<'_> {
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)> {
        let given = batches.iter().map(|batch| self.at_cut.given(batch));
        Ok((given.collect::<Result<_, _>>()?, None))
    }

    fn answers(&mut self, trainer: &Trainer<Stepwise>) -> anyhow::Result<Vec<f32>> {
        let mut logits = Vec::new();
        let held: Vec<Shown> = self.held.clone().map(plain).collect();
        for some in held.chunks(ANSWERED) {
            let given = self.at_cut.given(some)?;
            let engine = trainer.engine();
            logits.extend(pollster::block_on(
                engine.answers(given, trainer.is_averaged()),
            )?);
        }
        Ok(logits)
    }
}

/// Values at a cut, and which photos are held back.
struct AtCutOf<'a> {
    at_cut: AtCut<'a>,
    held: std::ops::Range<usize>,
}

/// A photo as it is seen at prediction.
fn plain(example: usize) -> Shown {
    Shown { example, epoch: 0 }
}

/// The logits of a model for the photos held back.
fn held_out(model: &Model, showing: Showing<'_>, context: &Context) -> anyhow::Result<Vec<f32>> {
    let photos = showing.photos;
    let held = photos.trained..photos.paths.len();
    let count = held.len();
    showing.load(held.map(plain), context, |loader| {
        let mut logits = Vec::new();
        let mut done = 0;
        while done < count {
            let crops = source::next(loader, ANSWERED.min(count - done), photos)?;
            done += crops.len();
            for row in pollster::block_on(model.logits(&crops))? {
                logits.extend(row);
            }
        }
        Ok(logits)
    })
}

impl Round<'_> {
    /// A phase that sees images.
    fn on_images(&mut self) -> anyhow::Result<()> {
        let shown: Vec<Shown> = self.trainer.ahead().flatten().flatten().collect();
        let (showing, base, context) = (self.showing, self.base, self.work.context);
        showing.load(shown.into_iter(), context, |loader| {
            let begun = Instant::now();
            let mut supply = Images {
                loader,
                showing,
                base,
                context,
            };
            let outcome = self.phase(&mut supply);
            let all = begun.elapsed().as_secs_f64();
            self.waited.waited += supply.loader.waited() * all;
            self.waited.all += all;
            outcome
        })
    }

    /// A phase behind a cut: what lies before it is computed once.
    fn at_cut(&mut self, cut: usize, views: usize) -> anyhow::Result<()> {
        let photos = self.showing.photos;
        let cache = &self.work.args.cache;
        let store = Store::chosen(cache.no_cache, cache.cache_budget);
        let context = self.work.context;
        // What stands before the cut is as it was when tuning began, or as earlier phases left it.
        let before = pollster::block_on(self.trainer.engine().tensors(false))?;
        let model = self.base.with_tensors(&before);
        let kept = Kept::new(self.showing, views);
        let at_cut = AtCut::open(&model, cut, &kept, &store, context)?;
        let mut supply = AtCutOf {
            at_cut,
            held: photos.trained..photos.paths.len(),
        };
        self.phase(&mut supply)
    }

    /// The steps of a phase, and what follows each epoch.
    fn phase(&mut self, supply: &mut dyn Supply) -> anyhow::Result<()> {
        let context = self.work.context;
        let per_epoch = self.trainer.steps_per_epoch() as u64;
        let epochs = self.trainer.phase().map_or(0, |phase| phase.epochs) as u64;
        let mut progress = context
            .console
            .start("tuning", Unit::Items, Some(per_epoch * epochs));
        let (mut told, mut images) = (Instant::now(), 0);
        loop {
            match self.trainer.wanted() {
                Wanted::Nothing => return Ok(()),
                Wanted::Step(batches) => {
                    // Ctrl-C waits for the step and for what it came to.
                    let _hold = context.interrupt.hold();
                    let (given, size) = supply.step(&batches)?;
                    self.trainer.step(given, size);
                    images += batches.iter().map(Vec::len).sum::<usize>();
                    let position = self.trainer.position();
                    let done = position.epoch as u64 * per_epoch + position.step as u64;
                    progress.set(done, Some(per_epoch * epochs));
                    if told.elapsed().as_secs_f64() > 1.0 {
                        self.tell(&progress, images as f64 / told.elapsed().as_secs_f64())?;
                        (told, images) = (Instant::now(), 0);
                    }
                    self.checkpoints.perhaps(&mut self.trainer, self.run)?;
                    if context.interrupt.is_raised() {
                        self.checkpoints.write(&mut self.trainer, self.run)?;
                        context.interrupt.check()?;
                    }
                }
                Wanted::Judgement => {
                    let _hold = context.interrupt.hold();
                    let end = self.judge(supply, &progress)?;
                    self.checkpoints.write(&mut self.trainer, self.run)?;
                    context.interrupt.check()?;
                    if end.ends_phase {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Says how it goes beside the bar.
    fn tell(&mut self, progress: &Progress, images_per_second: f64) -> anyhow::Result<()> {
        if let Some(loss) = pollster::block_on(self.trainer.losses())? {
            let position = self.trainer.position();
            let epoch = position.epoch + 1;
            progress.message(&format!(
                "epoch {epoch}, loss {loss:.4}, {images_per_second:.0} photos/s"
            ));
            self.event(|| {
                json!({ "event": "step", "step": position.steps, "loss": loss,
                        "images_per_second": images_per_second })
            })?;
        }
        Ok(())
    }

    /// Ends an epoch: measures it on the photos held back.
    fn judge(&mut self, supply: &mut dyn Supply, progress: &Progress) -> anyhow::Result<EpochEnd> {
        let factor = self.trainer.factor();
        pollster::block_on(self.trainer.losses())?;
        let report = match self.work.learnt.split.valid.is_empty() {
            true => None,
            false => Some(self.judged(&self.answers(supply)?)?.0),
        };
        let judgement = report.as_ref().and_then(judgement);
        let end = pollster::block_on(self.trainer.judged(judgement))?;
        let second = match report {
            Some(Judged::Labels { .. }) => "one_less_micro_f1",
            Some(Judged::Values(_)) => "rmse",
            _ => "held_out_loss",
        };
        let line = json!({
            "epoch": end.epoch + 1,
            "phase": end.phase + 1,
            "loss": end.loss,
            "accuracy": report.as_ref().and_then(Judged::accuracy),
            "score": judgement.map(|judgement| judgement.score),
            second: judgement.map(|judgement| judgement.loss),
            "rate_factor": factor,
        });
        self.run.append_metrics(&line)?;
        let measured = report.as_ref().map_or_else(String::new, |report| {
            format!(", held-out {}", report.headline())
        });
        let best = if end.is_best && report.is_some() {
            ", best so far"
        } else {
            ""
        };
        progress.aside(|| {
            self.work.context.console.note(&format!(
                "epoch {}: loss {:.4}{measured}{best}",
                end.epoch + 1,
                end.loss
            ));
        });
        self.event(|| {
            let mut line = line.clone();
            line["event"] = json!("epoch");
            line
        })?;
        Ok(end)
    }

    /// The answers for the photos held back. Numbers that run over there are what a loss without a number is in training.
    fn answers(&self, supply: &mut dyn Supply) -> anyhow::Result<Vec<f32>> {
        let diverged = || TuneError::Diverged {
            loss: f32::NAN,
            step: self.trainer.position().steps,
        };
        match supply.answers(&self.trainer) {
            Ok(answers) if answers.iter().all(|answer| answer.is_finite()) => Ok(answers),
            Ok(_) => Err(diverged().into()),
            Err(error) => Err(match error.downcast_ref::<DeviceError>() {
                Some(DeviceError::NotFinite { .. }) => diverged().into(),
                _ => error,
            }),
        }
    }

    fn event(&self, line: impl FnOnce() -> Value) -> anyhow::Result<()> {
        match self.work.args.tuning.events {
            true => print_text(&line().to_string()),
            false => Ok(()),
        }
    }

    /// How good answers for the photos held back are; of labels, at thresholds that are chosen on them.
    fn judged(&self, answers: &[f32]) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
        let held = &self.work.learnt.split.valid;
        match self.work.dataset.targets()? {
            Targets::Classes(all) => {
                let labels: Vec<usize> = held.iter().map(|&row| all[row]).collect();
                let classes = self.work.dataset.classes.len();
                Ok((Judged::Classes(judge(answers, &labels, classes)?), None))
            }
            targets => targets::judge(&targets, held, answers),
        }
    }

    /// The network that is left and its epoch; nothing if that is the head alone.
    fn choose(&self, recipe: &Recipe, diverged: bool) -> anyhow::Result<Option<(Tensors, usize)>> {
        let head = match recipe.tune {
            Tune::Scratch => None,
            _ => judgement(&self.work.learnt.report),
        };
        if recipe.keep == Keep::Last && !diverged {
            let engine = self.trainer.engine();
            let tensors = pollster::block_on(engine.tensors(recipe.ema.is_some()))?;
            return Ok(Some((
                tensors,
                epochs_made(&self.trainer).saturating_sub(1),
            )));
        }
        let Some((epoch, best, tensors)) = self.trainer.best().next() else {
            return Ok(None);
        };
        let is_measured = !self.work.learnt.split.valid.is_empty();
        match head {
            Some(head) if recipe.keep == Keep::Best && is_measured && !best.beats(&head) => {
                Ok(None)
            }
            _ if recipe.soup => self.soup(best).map(Some),
            _ => Ok(Some((tensors.clone(), epoch))),
        }
    }

    /// The best epochs' networks averaged, one after the other, as long as that does not make it worse: a greedy soup
    /// (Wortsman et al., <https://arxiv.org/abs/2203.05482>).
    fn soup(&self, mut best: Judgement) -> anyhow::Result<(Tensors, usize)> {
        let mut all = self.trainer.best();
        let Some((epoch, _, first)) = all.next() else {
            unreachable!("there is a best epoch")
        };
        let (mut soup, mut parts) = (first.clone(), 1.0_f32);
        for (_, _, more) in all {
            let mixed: Tensors = soup
                .iter()
                .map(|(name, (shape, values))| {
                    let with = values.iter().zip(more[name].1.iter());
                    let mean = with.map(|(a, b)| (a * parts + b) / (parts + 1.0));
                    let mean: Vec<f32> = mean.collect();
                    (name.clone(), (shape.clone(), mean.into()))
                })
                .collect();
            let found = self.report(&self.base.with_tensors(&mixed))?;
            let Some(found) = found.as_ref().and_then(|(judged, _)| judgement(judged)) else {
                break;
            };
            if !best.beats(&found) {
                (soup, best, parts) = (mixed, found, parts + 1.0);
            }
        }
        Ok((soup, epoch))
    }

    /// How good a model is on the photos held back.
    fn report(&self, model: &Model) -> anyhow::Result<Option<(Judged, Option<Vec<f32>>)>> {
        if self.work.learnt.split.valid.is_empty() {
            return Ok(None);
        }
        let logits = held_out(model, self.showing, self.work.context)?;
        self.judged(&logits).map(Some)
    }
}

/// How good a network is, if that was measured: by its accuracy, its mAP, or R².
fn judgement(judged: &Judged) -> Option<Judgement> {
    let (score, loss) = match judged {
        Judged::Classes(report) => (report.accuracy?, report.log_loss?),
        Judged::Labels { report, half } => {
            let f1 = half.as_ref().unwrap_or(report).f1_micro;
            (report.mean_average_precision?, 1.0 - f1.unwrap_or(0.0))
        }
        Judged::Values(report) => (report.r2?, report.rmse?),
    };
    Some(Judgement { score, loss })
}
