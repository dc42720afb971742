//! Tuning more of the network than its head, from the head's optimum on.

mod asked;
mod beginning;
pub mod checkpoint;
mod foreseen;
mod ledger;
pub mod room;
mod round;
pub mod source;
pub mod supply;
mod units;
mod work;

use std::collections::BTreeSet;
use std::time::Instant;

use rekindle_core::model::Model;
use rekindle_core::preprocess::AugmentRecipe;
use rekindle_core::task::Task;
use rekindle_core::tune::{
    Judgement, Keep, Plan, Recipe, Schedule, Trainee, Trainer, Tune, TuneError,
};

use crate::cli::Divided;
use crate::interrupt::advise;
use crate::judged::Judged;
use crate::runs::{self, Run};
use crate::tensorboard::Board;
use crate::ui::{ExitCode, Failure, print_warning};
use beginning::with_head;
use checkpoint::Checkpoints;
use room::Room;
use round::{Chosen, Round, Waited, none_of_the_last};
use source::{Photos, Showing};
use supply::held_out;

pub use asked::{planned, recipe};
pub use beginning::{aims, identity, start, views};
pub use foreseen::Foreseen;
use foreseen::error_of_share;
pub use ledger::Ledger;
pub use round::{Soup, epochs_of};
pub use work::{Training, Work};

/// What came of a tuning.
pub struct Tuned {
    /// What it went by.
    pub recipe: Recipe,
    /// In how many parts the steps of the run's trainings went through the network, as far as it has come.
    pub divided: Divided,
    /// How many photos went through it at a time at most.
    pub images_at_once: usize,
    /// The memory that was predicted for that.
    pub room: Room,
    /// The network that is left.
    pub model: Model,
    /// Whether it is the tuned one, and not the head alone.
    pub is_tuned: bool,
    /// How good it is on the photos held back, and the labels' thresholds; nothing where there are none, or the head
    /// alone is left.
    pub report: Option<(Judged, Option<Vec<f32>>)>,
    /// Epochs that were made.
    pub epochs: usize,
    /// Epochs that would have been made, had it not ended early.
    pub planned: usize,
    /// The epoch that is left, counted from 1.
    pub best_epoch: Option<usize>,
    /// The share of the time in which photos, or their values at a cut, were waited for.
    pub waited: Option<f64>,
    /// Whether it broke off because its loss was no number any more.
    pub broke_off: bool,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
    /// What was averaged, where a mean of several epochs was asked for.
    pub soup: Option<Soup>,
    /// What it tells of another training by the same recipe.
    pub foreseen: Foreseen,
    /// What training it took.
    pub seconds: f64,
}

/// Tunes the network.
pub fn tune(
    work: &Work<'_>,
    mut recipe: Recipe,
    ledger: &mut Ledger,
    run: &mut Run,
) -> anyhow::Result<Tuned> {
    let begun = Instant::now();
    let is_head_best = match work.foreseen {
        Some(foreseen) => foreseen.is_head_best(),
        None => is_unmeasured(work, &recipe),
    };
    if is_head_best && recipe.keep == Keep::Best {
        if work.foreseen.is_none() {
            print_warning(
                "nothing is held back, so nothing could tell whether tuning is better than the head alone, which is left",
                Some("--keep tuned tunes all the same"),
            );
        }
        return Ok(Tuned {
            divided: ledger.divided().clone(),
            images_at_once: 0,
            room: Room::default(),
            model: with_head(work.material.model, work.dataset, work.learnt),
            is_tuned: false,
            report: None,
            epochs: 0,
            planned: 0,
            best_epoch: None,
            waited: None,
            broke_off: false,
            stopped: None,
            soup: None,
            foreseen: work
                .foreseen
                .cloned()
                .unwrap_or_else(|| Foreseen::of(None, &[], 0, false, 1, 0.0)),
            seconds: 0.0,
            recipe,
        });
    }
    let Work {
        args,
        dataset,
        material,
        learnt,
        context,
        ..
    } = *work;
    let base = start(work)?;
    let photos = Photos::of(dataset, &learnt.split.train, &learnt.split.valid);
    // Of fewer photos than a batch there are no steps of that many.
    let fitting = Recipe {
        batch: recipe.batch.min(photos.trained.max(1)),
        ..recipe.clone()
    };
    let mut plan = Plan::new(&fitting, base.graph())?;
    let aims = aims(work, &recipe)?;
    let graph = base
        .graph()
        .with_chance(recipe.dropout, recipe.stochastic_depth);
    if recipe.phases.is_empty() && plan.epochs() > recipe.epochs {
        let (phases, epochs) = (plan.phases.len(), recipe.epochs);
        context.console.note(&format!(
            "{phases} phases have an epoch each at least: {} epochs instead of {epochs}",
            plan.epochs()
        ));
    }
    warn_of_idle_phases(&plan, photos.trained);
    let room = room::divide(work, &mut plan, &graph, base.device(), ledger, run)?;
    let mut engine = Trainee::new(graph, &base.state_dict(), base.device())?;
    room::recompute(&mut engine, args.tuning.recompute)?;
    let mut trainer = Trainer::new(engine, plan, aims, args.seed());
    // Of a run that is made again.
    if let Some(divided) = ledger.divided().of(work.part) {
        trainer = trainer.divided(divided.further.clone());
    }
    let identity = identity(work, &recipe)?;
    let mut checkpoints = Checkpoints::new(&identity, args.tuning.checkpoint_every);
    advise(format!(
        "`rekindle train --resume {}` goes on from here",
        run.folder().display()
    ));
    match run.is_resumed() && checkpoints.take_up(&mut trainer, run)? {
        true => context
            .console
            .note(&format!("going on after step {}", trainer.position().steps)),
        false => checkpoints.write(&mut trainer, run)?,
    }
    let board = match args.tuning.tensorboard {
        true => Some(board(work, trainer.position().steps, run)?),
        false => None,
    };
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
        board,
        waited: Waited::default(),
        units: beginning::units(work)?,
    };
    let whole = parameters(&base);
    if let Some(head) = round.told_head(&recipe) {
        context.console.note(&head);
    }
    let (mut broke_off, mut stopped) = (false, None);
    while let Some(phase) = round.trainer.phase().filter(|_| !round.is_over()) {
        let trains = count(&base, &phase.learning.parameters);
        let what = match trains == whole {
            true => format!("tuning all {whole} parameters"),
            false => {
                let first = base.graph().stages().get(phase.stage);
                let from = first.map_or_else(String::new, |stage| match phase.stage + 1 {
                    last if last == base.graph().stages().len() => format!(", in {}", stage.name),
                    _ => format!(", from {} on", stage.name),
                });
                format!("tuning {trains} of {whole} parameters{from}")
            }
        };
        context
            .console
            .note(&format!("{what}: {}", epochs_of(phase.epochs)));
        let Err(error) = round.phase() else { continue };
        match error.downcast_ref::<TuneError>() {
            Some(TuneError::Diverged { .. })
                if recipe.tune == Tune::Scratch && round.trainer.best().next().is_none() =>
            {
                let message =
                    format!("{error}: nothing was learnt, and there is no head to go back to");
                let help = "give a lower --lr, or --clip 1";
                return Err(Failure::new(ExitCode::Data, message).with_help(help).into());
            }
            Some(TuneError::Diverged { .. }) => {
                print_warning(
                    &format!("{error}: the last good network is kept"),
                    Some("a lower --lr, --clip 1, or --warmup with --schedule cosine may help"),
                );
                (broke_off, stopped) = (true, Some(error.to_string()));
                break;
            }
            _ if room::is_want(&error) => round.go_back(error)?,
            _ => return Err(error),
        }
    }
    let epochs = round.trainer.seen().len();
    let planned = round.trainer.plan().epochs();
    let wanted = work
        .foreseen
        .map_or(planned, |foreseen| foreseen.needed().min(planned));
    if let (None, Some(patience), true) = (&stopped, recipe.patience, epochs < wanted) {
        stopped = Some(format!(
            "{} (--patience {patience})",
            none_of_the_last(patience)
        ));
    }
    ledger.divided_further(work.part, round.trainer.parted());
    let most = ledger.divided().of(work.part).map_or(1, Divided::most);
    let images_at_once = round.trainer.largest_step().div_ceil(most);
    let waited = round.waited.share();
    let head = round.head(&recipe);
    let chosen = round.choose(&recipe, head, broke_off)?;
    let seconds = begun.elapsed().as_secs_f64();
    let (model, report, best_epoch, soup) = match chosen {
        Some(Chosen {
            tensors,
            epoch,
            soup,
        }) => {
            let model = round.model(&tensors);
            let report = round.report(&model)?;
            (model, report, Some(epoch + 1), soup)
        }
        None => (with_head(material.model, dataset, learnt), None, None, None),
    };
    let foreseen = Foreseen::of(
        head,
        round.trainer.seen(),
        planned,
        broke_off,
        soup.as_ref().map_or(1, |soup| soup.epochs.len()),
        error(work, head),
    );
    recipe.accumulate = most;
    Ok(Tuned {
        recipe,
        divided: ledger.divided().clone(),
        images_at_once,
        room,
        model,
        is_tuned: best_epoch.is_some(),
        report,
        epochs,
        planned,
        best_epoch,
        waited,
        broke_off,
        stopped,
        soup,
        foreseen,
        seconds,
    })
}

/// Whether nothing will tell if the tuned network is better than the head alone.
fn is_unmeasured(work: &Work<'_>, recipe: &Recipe) -> bool {
    recipe.tune != Tune::Scratch && work.learnt.split.valid.is_empty()
}

/// A step is all that some phases have, of few photos: one-cycle begins and ends with next to nothing.
fn warn_of_idle_phases(plan: &Plan, trained: usize) {
    let is_idle = |epochs: usize| epochs * trained.div_ceil(plan.recipe.batch) == 1;
    let rises = matches!(plan.recipe.schedule, Schedule::OneCycle { .. });
    if rises && plan.phases.iter().any(|phase| is_idle(phase.epochs)) {
        print_warning(
            "a phase has a single step, in which one-cycle's rate is next to nothing: it changes nothing",
            Some("give more --epochs, a smaller --batch, or --schedule constant"),
        );
    }
}

/// How far what the head alone scores may be off by chance, where that is a share of photos.
fn error(work: &Work<'_>, head: Option<Judgement>) -> f64 {
    match (head, work.dataset.task) {
        (Some(head), Task::Classify) => error_of_share(head.score, work.learnt.split.valid.len()),
        _ => 0.0,
    }
}

/// A file for TensorBoard in the run's folder. Parts of a run are runs of their own there. What a run that goes on told
/// behind where it stands is void.
fn board(work: &Work<'_>, steps: u64, run: &Run) -> anyhow::Result<Board> {
    let mut folder = run.folder().join(runs::TENSORBOARD);
    if let Some(part) = work.part {
        let is_plain = |c: char| c.is_ascii_alphanumeric();
        let words: Vec<&str> = part
            .split(|c| !is_plain(c))
            .filter(|word| !word.is_empty())
            .collect();
        folder.push(words.join("-"));
    }
    Ok(Board::begin(
        &folder,
        run.is_resumed().then_some(steps + 1),
    )?)
}

/// What a network puts out for some photos as they are seen at prediction, `[N, K]`.
pub fn answers(work: &Work<'_>, model: &Model, rows: &[usize]) -> anyhow::Result<Vec<f32>> {
    let photos = Photos::of(work.dataset, &[], rows);
    let showing = Showing {
        photos: &photos,
        preset: model.card.preset,
        augment: &AugmentRecipe::default(),
        seed: work.args.seed(),
    };
    held_out(model, showing, work.context)
}

/// All learnable numbers.
fn parameters(model: &Model) -> usize {
    let layers = model.graph().layers().iter();
    let parameters = layers.flat_map(|layer| layer.parameters());
    parameters
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum()
}

/// Learnable numbers in the tensors of these names.
fn count(model: &Model, names: &BTreeSet<String>) -> usize {
    let layers = model.graph().layers().iter();
    let parameters = layers.flat_map(|layer| layer.parameters());
    let named = parameters.filter(|(name, _)| names.contains(name));
    named
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum()
}
