//! A recipe met with a network: what trains in which phase, at which rate, and from where on.

use std::collections::BTreeMap;

use thiserror::Error;

use super::blocks::{self, TooFew};
use super::engine::Learning;
use super::rates::{Rate, RatesError};
use super::recipe::{PhaseRecipe, Recipe, RecipeError, Tune};
use super::schedule::ScheduleError;
use crate::graph::{Graph, LayerId, LayerKind, LayerSpec};
use crate::parts::{Freezing, UnknownPart};

/// Why a recipe does not fit a network.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// A value that no network can be trained by.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A schedule that leaves steps without a rate.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A part that the network does not have.
    #[error(transparent)]
    Part(#[from] UnknownPart),
    /// Rates that do not fit the network.
    #[error(transparent)]
    Rates(#[from] RatesError),
    /// Fewer stages than are to train.
    #[error(transparent)]
    Stages(#[from] TooFew),
    /// Nothing is left to train.
    #[error("nothing is left to train: {0}")]
    Nothing(String),
}

/// A stretch of training in which the same parts train.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// What it is called where it is told: `all`, `layer4 and behind`, `head`.
    pub name: String,
    /// What changes.
    pub learning: Learning,
    /// The learning rate of each parameter, before the schedule.
    pub rates: BTreeMap<String, Rate>,
    /// Passes over the photos.
    pub epochs: usize,
    /// The value of the graph from which on it runs: what lies before does not change in this phase. 0 is the image.
    pub cut: usize,
    /// The first stage that trains.
    pub stage: usize,
    /// In how many parts a step's photos go through the network: as the recipe has it, unless a shell finds that more
    /// are needed for want of memory.
    pub parts: usize,
}

/// The phases of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it follows.
    pub recipe: Recipe,
    /// The phases, first to last; none where the head is all that is wanted.
    pub phases: Vec<Phase>,
}

impl Plan {
    /// What a recipe means for a network.
    ///
    /// # Errors
    ///
    /// When they do not fit.
    pub fn new(recipe: &Recipe, graph: &Graph) -> Result<Self, PlanError> {
        recipe.check()?;
        recipe.schedule.check(recipe.warmup)?;
        let phases = match recipe.phases.is_empty() {
            true => usual(recipe, graph)?,
            false => listed(recipe, graph)?,
        };
        Ok(Self {
            recipe: recipe.clone(),
            phases,
        })
    }

    /// Passes over the photos in all phases.
    pub fn epochs(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs).sum()
    }

    /// The epochs before a phase.
    pub fn epochs_before(&self, phase: usize) -> usize {
        self.phases[..phase].iter().map(|phase| phase.epochs).sum()
    }
}

/// The phases of a way to tune.
fn usual(recipe: &Recipe, graph: &Graph) -> Result<Vec<Phase>, PlanError> {
    let from = match recipe.tune {
        Tune::Head => return Ok(Vec::new()),
        Tune::Last(count) => vec![blocks::last(graph, count)?],
        Tune::Full | Tune::Scratch => vec![0],
        Tune::Gradual => blocks::gradual(graph),
    };
    let mut phases: Vec<Phase> = Vec::with_capacity(from.len());
    let mut nothing = None;
    for stage in from {
        match phase(recipe, graph, Freezing::before(graph, stage), 1, recipe.lr) {
            // What thaws with it is frozen: it would be the phase before once more.
            Ok(next)
                if phases
                    .last()
                    .is_some_and(|last| last.learning == next.learning) => {}
            Ok(next) => phases.push(next),
            Err(error @ PlanError::Nothing(_)) => nothing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match nothing {
        Some(error) if phases.is_empty() => return Err(error),
        _ => {}
    }
    let count = phases.len();
    for (index, phase) in phases.iter_mut().enumerate() {
        // The first phases are the shorter ones where they do not come out even, but none is empty.
        let epochs = recipe.epochs * (index + 1) / count - recipe.epochs * index / count;
        phase.epochs = epochs.max(1);
    }
    Ok(phases)
}

/// The phases that a recipe lists.
fn listed(recipe: &Recipe, graph: &Graph) -> Result<Vec<Phase>, PlanError> {
    let each = recipe.phases.iter().map(|listed: &PhaseRecipe| {
        let mut freezing = Freezing::none(graph).freeze(graph, "all")?;
        for part in &listed.train {
            freezing = freezing.unfreeze(graph, part)?;
        }
        let rate = listed.lr.unwrap_or(recipe.lr);
        phase(recipe, graph, freezing, listed.epochs, rate)
    });
    each.collect()
}

/// A phase in which these parts train, but for what the recipe freezes.
fn phase(
    recipe: &Recipe,
    graph: &Graph,
    mut freezing: Freezing,
    epochs: usize,
    rate: f64,
) -> Result<Phase, PlanError> {
    for part in &recipe.freeze {
        freezing = freezing.freeze(graph, part)?;
    }
    for part in &recipe.unfreeze {
        freezing = freezing.unfreeze(graph, part)?;
    }
    let together = recipe.batch.div_ceil(recipe.accumulate.max(1));
    let follows = recipe.bn.follows(recipe.tune, together);
    let mut learning = Learning::default();
    let mut stage = graph.stages().len();
    for (index, layer) in graph.layers().iter().enumerate() {
        let is_norm = matches!(layer.kind, LayerKind::BatchNorm { .. });
        let parameters = layer.parameters();
        let names = parameters.iter().map(|(name, _)| name);
        let trained: Vec<_> = names.filter(|name| freezing.trains_tensor(name)).collect();
        if trained.is_empty() {
            continue;
        }
        stage = stage.min(graph.stage_of_layer(LayerId(index)));
        if !is_norm || recipe.bn_affine {
            learning.parameters.extend(trained.into_iter().cloned());
        }
        if is_norm && follows {
            let leaves = ["running_mean", "running_var"];
            learning
                .statistics
                .extend(leaves.map(|leaf| layer.tensor(leaf)));
        }
    }
    if learning.parameters.is_empty() {
        return Err(PlanError::Nothing(why_nothing(recipe)));
    }
    let parameters = graph.layers().iter().flat_map(LayerSpec::parameters);
    let is_all = parameters.count() == learning.parameters.len();
    let name = if is_all {
        "all".to_owned()
    } else {
        name(graph, stage)
    };
    // Layers that serve several stages, and values that more than one stage takes, move the cut towards the image.
    let output = [graph.output()];
    let cut = (0..=stage).rev().find_map(|stage| {
        let value = match stage {
            0 => 0,
            stage => graph.stages()[stage - 1].output,
        };
        graph.schedule(&[value], &output).is_ok().then_some(value)
    });
    let mut rates = recipe.rates.of(graph, rate)?;
    rates.retain(|name, _| learning.parameters.contains(name));
    Ok(Phase {
        name,
        learning,
        rates,
        epochs,
        cut: cut.unwrap_or(0),
        stage,
        parts: recipe.accumulate,
    })
}

/// Why a phase has nothing to train.
fn why_nothing(recipe: &Recipe) -> String {
    match recipe.freeze.is_empty() {
        true => {
            "what should is no more than factors and summands of batch norms, which stay".to_owned()
        }
        false => format!("all that should is frozen ({})", recipe.freeze.join(", ")),
    }
}

/// What a phase is called that trains from a stage on, and not everything.
fn name(graph: &Graph, stage: usize) -> String {
    match graph.stages().get(stage) {
        Some(first) if stage + 1 == graph.stages().len() => first.name.clone(),
        Some(first) => format!("{} and behind", first.name),
        None => "no stage".to_owned(),
    }
}
