//! Options that several commands have.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rekindle_core::model::Channels;

use super::cache::CacheArgs;
use super::labels::TrainLabelArgs;
use super::values::count;
use crate::runs::RUNS_FOLDER;

/// What is learnt from, beside the folder: options of all that trains, or measures trainings.
#[derive(Debug, Clone, Default, Args)]
pub struct DataArgs {
    /// Which photos are read.
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// Fail on photos that cannot be read instead of skipping them.
    #[arg(long)]
    pub strict: bool,
    /// Seed of everything that is drawn: which photos are held back or tried, folds, views, the order of photos, and
    /// the numbers of `--weights random` and of a two-layer head. What is drawn follows from it and from the photos'
    /// content, whatever they are called. 0 when not given.
    #[arg(long, value_parser = count(0, u64::MAX))]
    pub seed: Option<u64>,
    /// What is kept of what was computed.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What says what is on the photos, if not their folders.
    #[command(flatten)]
    pub labels: TrainLabelArgs,
}

impl DataArgs {
    /// The seed, given or not.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }
}

/// What a run starts from, and where it is kept: options of all that leaves a run folder behind.
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// The network to start from; see `rekindle models`.
    #[arg(long, short, default_value = "efficientnet_lite0")]
    pub model: String,
    /// Its weights.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// What it is given.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// What it learns from.
    #[command(flatten)]
    pub data: DataArgs,
    /// Where run folders go.
    #[arg(long, value_name = "DIR", default_value = RUNS_FOLDER)]
    pub out: PathBuf,
    /// Name of the run folder; date, network and what is done with it when not given.
    #[arg(long)]
    pub name: Option<String>,
}

impl Deref for StartArgs {
    type Target = DataArgs;

    fn deref(&self) -> &DataArgs {
        &self.data
    }
}

impl DerefMut for StartArgs {
    fn deref_mut(&mut self) -> &mut DataArgs {
        &mut self.data
    }
}

/// Which pretrained weights to start from.
#[derive(Debug, Clone, Args)]
pub struct WeightArgs {
    /// Weights for the network: a name such as IMAGENET1K_V2, a .pth or .safetensors file, or
    /// `random` for none. FILE#KEY takes one of several dictionaries in a file, such as
    /// `checkpoint.pth#state_dict_ema`. The network's default weights when not given.
    #[arg(long, value_name = "WEIGHTS")]
    pub weights: Option<String>,
}

/// Which photos are read.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct PhotoArgs {
    /// Most pixels that a photo may have, as 400000000 or 400M, however much memory that takes. When not
    /// given, memory is the limit: 2 GiB to decode a photo, enough for a phone's 200 megapixels.
    #[arg(long, value_name = "N", value_parser = parse_pixels)]
    pub max_pixels: Option<u64>,
}

/// `400000000`, or `400M` for as many million.
fn parse_pixels(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let pixels = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match pixels {
        None | Some(0) => {
            Err("it must be a number of pixels above 0, as 400000000 or 400M".to_owned())
        }
        Some(pixels) => Ok(pixels),
    }
}

/// What a network is given, where that is not what it was trained on.
#[derive(Debug, Clone, Default, Args)]
pub struct PictureArgs {
    /// Side of the square the network sees, in pixels; what its weights were trained on when not
    /// given. Transformers' positions are resampled.
    #[arg(long, value_name = "SIDE", value_parser = parse_side)]
    pub input: Option<u32>,
    /// Take the photos in grey, and how: repeat (three times over), mean or luminance (the first
    /// convolution's kernels become one), adapter (a convolution in front makes three of one).
    #[arg(long, value_enum, value_name = "WAY")]
    pub grey: Option<GreyChoice>,
    /// Leave out the hidden layers between the features and the classifier (AlexNet, VGG, MobileNetV3,
    /// MaxViT).
    #[arg(long)]
    pub bare: bool,
    /// Keep the resolution at the network's beginning, for pictures of some 32 pixels (He et al.'s
    /// CIFAR layout); networks whose first kernel is larger than 3×3 then start untrained.
    #[arg(long)]
    pub small_stem: bool,
}

/// The ways to take grey pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GreyChoice {
    /// Three times over.
    Repeat,
    /// The mean of the first convolution's kernels.
    Mean,
    /// Their sum, weighed as the eye weighs colours.
    Luminance,
    /// A 1×1 convolution from one channel to three in front of the network.
    Adapter,
}

impl From<GreyChoice> for Channels {
    fn from(choice: GreyChoice) -> Self {
        match choice {
            GreyChoice::Repeat => Self::GreyRepeated,
            GreyChoice::Mean => Self::GreyMean,
            GreyChoice::Luminance => Self::GreyLuminance,
            GreyChoice::Adapter => Self::GreyConvolved,
        }
    }
}

/// A side in pixels, whatever the network can take.
fn parse_side(text: &str) -> Result<u32, String> {
    let side = text.parse();
    side.map_err(|_| "it must be a whole number of pixels, such as 224".to_owned())
}
