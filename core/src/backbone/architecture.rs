//! What is known of each network by name: its size, its head's place, the weights people publish.

use burn::tensor::Device;
use thiserror::Error;

use super::Backbone;
use super::{efficientnet_lite, resnet, squeezenet, vit};
use crate::preprocess::{Interpolation, Preset};

/// A network that Rekindle can build by name.
#[derive(Debug, Clone, Copy)]
pub struct Architecture {
    /// torchvision's name, or timm's where torchvision has none.
    pub name: &'static str,
    /// Other names that mean the same network.
    pub aliases: &'static [&'static str],
    /// The family, as a person would write it.
    pub family: &'static str,
    /// Parameters with the 1000-class ImageNet head (buffers not counted).
    pub params: u64,
    /// Multiply-adds of one forward pass at [`Architecture::input_size`].
    pub macs: u64,
    /// Side of the square input it was trained for, in pixels.
    pub input_size: usize,
    /// The smallest side it can take, in pixels.
    pub min_input: usize,
    /// Every side must be a multiple of this many pixels.
    pub input_multiple: usize,
    /// Length of the pooled feature vector.
    pub features: usize,
    /// Where the classifier sits and what it does.
    pub head: HeadSlot,
    /// Builds the backbone for square inputs of the given side, its parameters not yet filled.
    pub build: fn(input_size: usize, device: &Device) -> Backbone,
    /// The published weights, the default first.
    pub weights: &'static [PretrainedWeights],
}

impl Architecture {
    /// What most ImageNet networks share; the rest is said with `..`.
    pub(super) const fn imagenet(
        name: &'static str,
        family: &'static str,
        features: usize,
        head: HeadSlot,
        build: fn(usize, &Device) -> Backbone,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            family,
            params: 0,
            macs: 0,
            input_size: 224,
            min_input: 1,
            input_multiple: 1,
            features,
            head,
            build,
            weights: &[],
        }
    }

    /// Whether square inputs of this side can go through the network.
    ///
    /// # Errors
    ///
    /// Says the smallest side, or the multiple, that the network asks for.
    pub fn check_input(&self, size: usize) -> Result<(), UnsupportedInput> {
        if size >= self.min_input && size.is_multiple_of(self.input_multiple) {
            return Ok(());
        }
        Err(UnsupportedInput {
            architecture: self.name,
            size,
            min_input: self.min_input,
            multiple: self.input_multiple,
        })
    }
}

/// An input size that a network cannot take.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "{architecture} cannot take images of {size}×{size} pixels: the side must be at least {min_input} and a multiple of {multiple}"
)]
pub struct UnsupportedInput {
    architecture: &'static str,
    size: usize,
    min_input: usize,
    multiple: usize,
}

/// The place of the classifier in torchvision's state_dict, and what it does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSlot {
    /// The module's name: `fc`, `classifier`, `heads.head`.
    pub name: &'static str,
    /// What stands there.
    pub style: HeadStyle,
}

/// What a network's last layer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStyle {
    /// Pooled features into a linear layer.
    Linear,
    /// SqueezeNet's: a 1×1 convolution on the maps, ReLU, then the global average.
    PooledConv,
}

/// Weights that somebody published for an architecture.
#[derive(Debug, Clone, Copy)]
pub struct PretrainedWeights {
    /// torchvision's name for them: `IMAGENET1K_V2`.
    pub name: &'static str,
    /// The name of the file, which for torchvision ends in the start of its SHA-256.
    pub file_name: &'static str,
    /// The address to fetch it from; `None` for files that come with Rekindle.
    pub url: Option<&'static str>,
    /// Under which licence they may be used.
    pub license: License,
    /// Where they come from, for people.
    pub source: &'static str,
    /// How photos must be prepared for them.
    pub preset: Preset,
    /// Published ImageNet accuracy, top-1 and top-5, in percent.
    pub accuracy: Option<(f32, f32)>,
}

impl PretrainedWeights {
    /// torchvision's first weights: trained at 224 pixels out of 256.
    pub(super) const fn v1(
        file_name: &'static str,
        url: &'static str,
        top1: f32,
        top5: f32,
    ) -> Self {
        Self {
            name: "IMAGENET1K_V1",
            file_name,
            url: Some(url),
            license: License::Bsd3,
            source: "torchvision",
            preset: IMAGENET_256,
            accuracy: Some((top1, top5)),
        }
    }

    /// torchvision's second, better weights: 224 pixels out of 232.
    pub(super) const fn v2(
        file_name: &'static str,
        url: &'static str,
        top1: f32,
        top5: f32,
    ) -> Self {
        Self {
            name: "IMAGENET1K_V2",
            preset: IMAGENET_232,
            ..Self::v1(file_name, url, top1, top5)
        }
    }
}

/// The licences the weights come under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum License {
    /// BSD 3-clause, torchvision's own.
    Bsd3,
    /// Apache 2.0.
    Apache2,
    /// MIT.
    Mit,
    /// Creative Commons, attribution, non-commercial (torchvision's SWAG weights).
    CcByNc4,
}

impl License {
    /// The SPDX identifier.
    pub const fn spdx(self) -> &'static str {
        match self {
            Self::Bsd3 => "BSD-3-Clause",
            Self::Apache2 => "Apache-2.0",
            Self::Mit => "MIT",
            Self::CcByNc4 => "CC-BY-NC-4.0",
        }
    }
}

const fn imagenet(resize: u32, crop: u32, interpolation: Interpolation) -> Preset {
    Preset {
        resize,
        crop,
        interpolation,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}

pub(super) const IMAGENET_256: Preset = imagenet(256, 224, Interpolation::Bilinear);
pub(super) const IMAGENET_232: Preset = imagenet(232, 224, Interpolation::Bilinear);
pub(super) const SWAG_224: Preset = imagenet(224, 224, Interpolation::Bicubic);
pub(super) const SWAG_384: Preset = imagenet(384, 384, Interpolation::Bicubic);

/// Every network, by family.
pub const ARCHITECTURES: &[&[Architecture]] = &[
    &squeezenet::SQUEEZENETS,
    &efficientnet_lite::EFFICIENTNET_LITES,
    &resnet::RESNETS,
    &vit::VISION_TRANSFORMERS,
];

/// The network of that name; case does not matter, and `-` may stand for `_`.
///
/// # Errors
///
/// When there is no such network: the error names those that come closest.
pub fn find(name: &str) -> Result<&'static Architecture, UnknownArchitecture> {
    let wanted = name.trim().to_ascii_lowercase().replace('-', "_");
    let all = || ARCHITECTURES.iter().flat_map(|family| family.iter());
    all()
        .find(|a| a.name == wanted || a.aliases.contains(&wanted.as_str()))
        .ok_or_else(|| {
            let mut near: Vec<_> = all().map(|a| (distance(&wanted, a.name), a.name)).collect();
            near.sort();
            near.truncate(3);
            UnknownArchitecture {
                name: name.to_owned(),
                nearest: near.into_iter().map(|(_, name)| name).collect(),
            }
        })
}

/// A name that no network bears.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("there is no network called '{name}'; did you mean {}?", nearest.join(", "))]
pub struct UnknownArchitecture {
    name: String,
    nearest: Vec<&'static str>,
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substituted = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case_and_dashes() {
        assert_eq!(
            find("EfficientNet-Lite0").unwrap().name,
            "efficientnet_lite0"
        );
        assert_eq!(
            find("tf_efficientnet_lite0").unwrap().name,
            "efficientnet_lite0"
        );
        assert_eq!(find("ResNet18").unwrap().name, "resnet18");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = find("resnet19").unwrap_err();
        assert!(error.to_string().contains("resnet18"), "{error}");
    }
}
