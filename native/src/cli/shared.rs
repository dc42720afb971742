//! Options that several commands have.

use clap::{Args, ValueEnum};

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

/// A side in pixels, whatever the network can take.
fn parse_side(text: &str) -> Result<u32, String> {
    let side = text.parse();
    side.map_err(|_| "it must be a whole number of pixels, such as 224".to_owned())
}
