//! Options of `lr-find`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use rekindle_core::preprocess::AugmentRecipe;
use rekindle_core::tune::{RateRange, Tune};

use super::cache::CacheArgs;
use super::shared::{PhotoArgs, PictureArgs, WeightArgs};
use super::values::{MANY, MOST_IMAGES, count};
use crate::runs::RUNS_FOLDER;

/// Arguments of `lr-find`.
#[derive(Debug, Args)]
pub struct LrFindArgs {
    /// The folder, as `train` takes it.
    pub dir: PathBuf,
    /// The network to start from; see `rekindle models`.
    #[arg(long, short, default_value = "efficientnet_lite0")]
    pub model: String,
    /// Its weights.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// What it is given.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Which photos are read.
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// What is kept of what was computed.
    #[command(flatten)]
    pub cache: CacheArgs,
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
    /// Seed of everything that is drawn: which photos are held back, their order, how they are changed, and
    /// `--weights random`'s numbers. 0 when not given.
    #[arg(long, value_parser = count(0, u64::MAX))]
    pub seed: Option<u64>,
    /// How photos are changed at random: none, flip, light, standard, trivial, rand or strong; light when not given.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(AugmentRecipe::NAMES))]
    pub augment: Option<String>,
    /// Where run folders go.
    #[arg(long, value_name = "DIR", default_value = RUNS_FOLDER)]
    pub out: PathBuf,
    /// Name of the run folder; date, network and `lr-find` when not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Fail on photos that cannot be read instead of skipping them.
    #[arg(long)]
    pub strict: bool,
}
