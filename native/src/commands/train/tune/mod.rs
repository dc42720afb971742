//! Tuning more of the network than its head, from the head's optimum on.

mod asked;
mod beginning;
mod checkpoint;
mod round;
pub mod source;
pub mod supply;
mod work;

use std::collections::BTreeSet;
use std::time::Instant;

use rekindle_core::model::Model;
use rekindle_core::network::Network;
use rekindle_core::tune::{Plan, Recipe, Stepwise, Trainer, TuneError};

use crate::interrupt::advise;
use crate::judged::Judged;
use crate::runs::Run;
use crate::ui::print_warning;
use beginning::{aims, identity, photos, start, views, with_head};
use checkpoint::Checkpoints;
use round::{Round, Waited, epochs_made};
use source::Showing;

pub use asked::{check, recipe};
pub use work::Work;

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

/// Learnable numbers in the tensors of these names.
fn count(model: &Model, names: &BTreeSet<String>) -> usize {
    let layers = model.graph().layers().iter();
    let parameters = layers.flat_map(|layer| layer.parameters());
    let named = parameters.filter(|(name, _)| names.contains(name));
    named
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum()
}
