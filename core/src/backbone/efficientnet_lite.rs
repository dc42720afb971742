//! EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, so that phones and
//! quantisers like it.
//!
//! Google's release: <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>;
//! Tan and Le, *EfficientNet*, <https://arxiv.org/abs/1905.11946>. Names and layout are timm's
//! `tf_efficientnet_lite0`: TensorFlow's "SAME" padding and a batch-norm epsilon of 1e-3.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::architecture::{Architecture, HeadSlot, HeadStyle, License, PretrainedWeights};
use super::layers::conv_same;
use super::{Activation, Backbone, Stage, Staged};
use crate::preprocess::{Interpolation, Preset};

fn norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels)
        .with_epsilon(1e-3)
        .init(device)
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    relu(x).clamp_max(6.0)
}

/// Depthwise convolution, then a linear projection: the first stage's block.
#[derive(Module, Debug)]
pub struct DepthwiseSeparable {
    conv_dw: Conv2d,
    bn1: BatchNorm,
    conv_pw: Conv2d,
    bn2: BatchNorm,
}

/// Expand, filter depthwise, project: MobileNetV2's block.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    conv_pw: Conv2d,
    bn1: BatchNorm,
    conv_dw: Conv2d,
    bn2: BatchNorm,
    conv_pwl: Conv2d,
    bn3: BatchNorm,
    #[module(skip)]
    skip: bool,
}

#[derive(Module, Debug)]
enum Block {
    Separable(DepthwiseSeparable),
    Inverted(InvertedResidual),
}

/// What a stage is made of: `repeats` blocks that expand by `expansion`.
struct StageConfig {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

impl Block {
    fn new(input: usize, stage: &StageConfig, stride: usize, device: &Device) -> Self {
        let StageConfig {
            kernel,
            expansion,
            channels,
            ..
        } = *stage;
        if expansion == 1 {
            return Self::Separable(DepthwiseSeparable {
                conv_dw: conv_same([input, input], kernel, stride, input, device),
                bn1: norm(input, device),
                conv_pw: conv_same([input, channels], 1, 1, 1, device),
                bn2: norm(channels, device),
            });
        }
        let wide = input * expansion;
        Self::Inverted(InvertedResidual {
            conv_pw: conv_same([input, wide], 1, 1, 1, device),
            bn1: norm(wide, device),
            conv_dw: conv_same([wide, wide], kernel, stride, wide, device),
            bn2: norm(wide, device),
            conv_pwl: conv_same([wide, channels], 1, 1, 1, device),
            bn3: norm(channels, device),
            skip: stride == 1 && input == channels,
        })
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Separable(block) => {
                let x = relu6(block.bn1.forward(block.conv_dw.forward(input)));
                block.bn2.forward(block.conv_pw.forward(x))
            }
            Self::Inverted(block) => {
                let x = relu6(block.bn1.forward(block.conv_pw.forward(input.clone())));
                let x = relu6(block.bn2.forward(block.conv_dw.forward(x)));
                let x = block.bn3.forward(block.conv_pwl.forward(x));
                if block.skip { x + input } else { x }
            }
        }
    }
}

/// EfficientNet-Lite without its classifier.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    conv_stem: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Vec<Block>>,
    conv_head: Conv2d,
    bn2: BatchNorm,
    /// Stride and channels of each stage.
    #[module(skip)]
    plan: Vec<(usize, usize)>,
}

const LITE0: [StageConfig; 7] = [
    StageConfig {
        repeats: 1,
        kernel: 3,
        stride: 1,
        expansion: 1,
        channels: 16,
    },
    StageConfig {
        repeats: 2,
        kernel: 3,
        stride: 2,
        expansion: 6,
        channels: 24,
    },
    StageConfig {
        repeats: 2,
        kernel: 5,
        stride: 2,
        expansion: 6,
        channels: 40,
    },
    StageConfig {
        repeats: 3,
        kernel: 3,
        stride: 2,
        expansion: 6,
        channels: 80,
    },
    StageConfig {
        repeats: 3,
        kernel: 5,
        stride: 1,
        expansion: 6,
        channels: 112,
    },
    StageConfig {
        repeats: 4,
        kernel: 5,
        stride: 2,
        expansion: 6,
        channels: 192,
    },
    StageConfig {
        repeats: 1,
        kernel: 3,
        stride: 1,
        expansion: 6,
        channels: 320,
    },
];

impl EfficientNetLite {
    /// Builds EfficientNet-Lite0, its parameters not yet filled.
    pub fn lite0(device: &Device) -> Self {
        const STEM: usize = 32;
        const FEATURES: usize = 1280;
        let mut channels = STEM;
        let mut stride = 2;
        let mut plan = vec![(stride, STEM)];
        let mut blocks = Vec::new();
        for stage in &LITE0 {
            blocks.push(
                (0..stage.repeats)
                    .map(|index| {
                        let step = if index == 0 { stage.stride } else { 1 };
                        let block = Block::new(channels, stage, step, device);
                        channels = stage.channels;
                        block
                    })
                    .collect(),
            );
            stride *= stage.stride;
            plan.push((stride, stage.channels));
        }
        plan.push((stride, FEATURES));
        Self {
            conv_stem: conv_same([3, STEM], 3, 2, 1, device),
            bn1: norm(STEM, device),
            blocks,
            conv_head: conv_same([channels, FEATURES], 1, 1, 1, device),
            bn2: norm(FEATURES, device),
            plan,
        }
    }
}

impl Staged for EfficientNetLite {
    fn stages(&self) -> Vec<Stage> {
        let last = self.plan.len() - 1;
        self.plan
            .iter()
            .enumerate()
            .map(|(index, &(stride, channels))| {
                let name = match index {
                    0 => "stem".to_owned(),
                    n if n == last => "conv_head".to_owned(),
                    n => format!("blocks.{}", n - 1),
                };
                Stage::new(name, stride, channels)
            })
            .collect()
    }

    fn stage_of(&self, name: &str) -> usize {
        match name.split('.').collect::<Vec<_>>()[..] {
            ["blocks", block, ..] => block.parse::<usize>().map_or(0, |block| block + 1),
            ["conv_head" | "bn2", ..] => self.plan.len() - 1,
            _ => 0,
        }
    }

    fn run(&self, index: usize, input: Activation) -> Activation {
        let Activation::Map(input) = input else {
            panic!("EfficientNet-Lite's stages take feature maps")
        };
        Activation::Map(match index {
            0 => relu6(self.bn1.forward(self.conv_stem.forward(input))),
            n if n <= self.blocks.len() => self.blocks[n - 1]
                .iter()
                .fold(input, |x, block| block.forward(x)),
            _ => relu6(self.bn2.forward(self.conv_head.forward(input))),
        })
    }
}

/// The family, in the names of this project; timm prefixes them with `tf_`.
pub(super) const EFFICIENTNET_LITES: [Architecture; 1] = [Architecture {
    aliases: &["tf_efficientnet_lite0", "efficientnetlite0"],
    params: 4_652_008,
    macs: 385_000_000,
    weights: &[PretrainedWeights {
        name: "BUNDLED",
        file_name: "efficientnet_lite0.safetensors",
        url: None,
        license: License::Apache2,
        source: "bundled, from Google's tensorflow/tpu release",
        // timm's for these weights: 224 pixels are 0.875 of the resized side.
        preset: Preset {
            resize: 256,
            crop: 224,
            interpolation: Interpolation::Bicubic,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        accuracy: Some((74.83, 92.17)),
    }],
    ..Architecture::imagenet(
        "efficientnet_lite0",
        "EfficientNet-Lite",
        1280,
        HeadSlot {
            name: "classifier",
            style: HeadStyle::Linear,
        },
        |_, device| Backbone::EfficientNetLite(EfficientNetLite::lite0(device)),
    )
}];
