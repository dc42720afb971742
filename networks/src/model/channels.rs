//! How the channels of pictures meet a network that was trained on three colours.

use serde::{Deserialize, Serialize};

use crate::graph::{Conv, Value};
use crate::preprocess::Preset;

/// The ways that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// Red, green and blue.
    #[default]
    Rgb,
    /// Grey, three times over: the network stays as it is.
    GreyRepeated,
    /// One channel: the first convolution's three kernels become their mean.
    GreyMean,
    /// One channel: the kernels are weighed as the eye weighs colours, 0.2989 red, 0.5870 green,
    /// 0.1140 blue.
    GreyLuminance,
    /// One channel, which a learnable 1×1 convolution in front of the network turns into three. It
    /// starts with weights of a third.
    #[serde(rename = "grey-adapter")]
    GreyConvolved,
}

/// The name of the convolution in front of the network.
pub(super) const IN_FRONT: &str = "adapter.map";

impl Channels {
    /// Whether pictures come in colours.
    pub fn is_rgb(&self) -> bool {
        *self == Self::Rgb
    }

    /// The network's input channels.
    pub fn count(self) -> usize {
        match self {
            Self::Rgb | Self::GreyRepeated => 3,
            Self::GreyMean | Self::GreyLuminance | Self::GreyConvolved => 1,
        }
    }

    /// How pictures are prepared, given how the weights want colours prepared.
    pub fn preset(self, preset: Preset) -> Preset {
        match self {
            Self::Rgb => preset,
            Self::GreyRepeated => preset.greyscale(),
            Self::GreyMean | Self::GreyLuminance | Self::GreyConvolved => {
                preset.greyscale().with_one_normalisation()
            }
        }
    }

    /// What stands in front of the network.
    pub(super) fn describe(self, image: Value) -> Value {
        match self {
            Self::GreyConvolved => image.conv(IN_FRONT, Conv::new(3, 1)),
            _ => image,
        }
    }

    /// How much each of the three kernels of the first convolution counts in the one.
    pub(super) fn shares(self) -> [f32; 3] {
        match self {
            Self::GreyLuminance => [0.2989, 0.5870, 0.1140],
            _ => [1.0 / 3.0; 3],
        }
    }
}

/// Kernels of a first convolution for other channels than the three they were trained on: one
/// channel is the weighed sum; more take the colours in turn, at `3 / channels` of their strength, as
/// timm's `adapt_input_conv` does.
///
/// # Shapes
///
/// - kernels: `[filters, 3, area]`, row-major
/// - returns: `[filters, channels, area]`
pub fn port_kernels(kernels: &[f32], area: usize, channels: usize, shares: [f32; 3]) -> Vec<f32> {
    let mut ported = Vec::with_capacity(kernels.len() / 3 * channels);
    for filter in kernels.chunks_exact(3 * area) {
        let colour = |index: usize| &filter[index * area..(index + 1) * area];
        if channels == 1 {
            ported.extend((0..area).map(|at| {
                (0..3)
                    .map(|index| shares[index] * colour(index)[at])
                    .sum::<f32>()
            }));
            continue;
        }
        for channel in 0..channels {
            let strength = 3.0 / channels as f32;
            ported.extend(colour(channel % 3).iter().map(|weight| strength * weight));
        }
    }
    ported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_ported_as_luminance_mean_and_timm_do() {
        // Two filters of three 1×1 kernels.
        let kernels = [3.0, 6.0, 9.0, 30.0, 60.0, 90.0];
        let mean = port_kernels(&kernels, 1, 1, Channels::GreyMean.shares());
        assert_eq!(mean, [6.0, 60.0]);
        let eye = port_kernels(&kernels, 1, 1, Channels::GreyLuminance.shares());
        assert!((eye[0] - (0.2989 * 3.0 + 0.587 * 6.0 + 0.114 * 9.0)).abs() < 1e-6);
        // timm.models.adapt_input_conv(4, …): R G B R, each times 3/4.
        let four = port_kernels(&kernels, 1, 4, Channels::Rgb.shares());
        assert_eq!(four[..4], [2.25, 4.5, 6.75, 2.25]);
    }
}
