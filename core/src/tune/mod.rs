//! Fine-tuning: which parts of a network train, at which rates, for how long, from what, and the trainer that does it.
//!
//! A [`Recipe`] met with a graph is a [`Plan`]: phases in each of which some parameters train. A [`Trainer`] follows it
//! a step at a time over an [`Engine`], which computes gradients and moves numbers. Everything here is pure: shells
//! bring the batches, judge epochs and keep states.

mod blocks;
mod engine;
mod finder;
#[cfg(test)]
mod fixture;
#[cfg(feature = "burn")]
mod flat;
mod given;
mod identity;
mod kept;
mod labels;
#[cfg(feature = "burn")]
mod loss;
mod memory;
mod mixing;
mod optimizer;
mod order;
mod plan;
mod planned;
#[cfg(feature = "burn")]
mod programs;
mod rates;
mod recipe;
mod schedule;
mod slope;
mod state;
#[cfg(feature = "burn")]
mod stepwise;
#[cfg(feature = "burn")]
mod trainee;
mod trainer;
mod views;
mod watch;

pub use blocks::{TooFew, gradual, holding_blocks, last};
pub use engine::{Descent, Draws, Engine, EngineState, Enough, Goal, Learning, Loss, WrongState};
pub use finder::{Ended, Finder, RateCurve, RateRange, Suggestion};
pub use given::{Given, Held};
pub use identity::differences;
pub use kept::Place;
pub use labels::{Aims, Labels};
pub use memory::{Footprint, halved};
pub use mixing::{Mix, Mixing};
pub use optimizer::{Number, Optimizer, Pace};
pub use order::Sampler;
pub use plan::{Phase, Plan, PlanError};
pub use planned::Planned;
pub use rates::{Rate, Rates, RatesError};
pub use recipe::{Average, Keep, NormMode, PhaseRecipe, Recipe, RecipeError, Tune, UnknownTune};
pub use schedule::{
    Anneal, Better, CycleStyle, Moment, PlateauState, Schedule, ScheduleError, Setting, Warmup,
};
pub use state::StateError;
#[cfg(feature = "burn")]
pub use stepwise::Stepwise;
#[cfg(feature = "burn")]
pub use trainee::{KeepsAll, Trainee};
pub use trainer::{
    EpochEnd, Parting, Position, Shown, Standing, Trainer, TrainerState, TuneError, Wanted,
    largest_step,
};
pub use views::views_within;
pub use watch::{Judgement, Watch};
