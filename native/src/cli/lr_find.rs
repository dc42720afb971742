//! Options of `lr-find`.

use std::ops::Deref;
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use rekindle_core::preprocess::AugmentRecipe;
use rekindle_core::tune::{RateRange, Tune};

use super::shared::StartArgs;
use super::tune::parse_limit;
use super::values::{MANY, MOST_IMAGES, count};

/// Arguments of `lr-find`.
#[derive(Debug, Args)]
pub struct LrFindArgs {
    /// The folder, as `train` takes it.
    pub dir: PathBuf,
    /// What it starts from.
    #[command(flatten)]
    pub start: StartArgs,
    /// What trains while rates are tried, as `train` takes it: last or last:N, full, or gradual (what trains in its
    /// last phase).
    #[arg(long, value_name = "HOW", default_value = "full")]
    #[arg(value_parser = |text: &str| text.parse::<Tune>().map_err(|error| error.to_string()))]
    pub tune: Tune,
    /// Photos a step; 32 when not given.
    #[arg(long, value_parser = count(1, MOST_IMAGES))]
    pub batch: Option<usize>,
    /// Steps, each at a higher rate than the one before.
    #[arg(long, default_value_t = RateRange::USUAL.steps, value_parser = count(RateRange::LEAST_STEPS, MANY))]
    pub steps: usize,
    /// The most memory that it may take, as `train` takes it.
    #[arg(long, value_name = "SIZE", value_parser = parse_limit)]
    pub memory_limit: Option<u64>,
    /// How photos are changed at random: none, flip, light, standard, trivial, rand or strong; flip when not given.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(AugmentRecipe::NAMES))]
    pub augment: Option<String>,
}

impl Deref for LrFindArgs {
    type Target = StartArgs;

    fn deref(&self) -> &StartArgs {
        &self.start
    }
}
