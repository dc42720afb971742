//! SqueezeNet: AlexNet's accuracy with fifty times fewer parameters, out of squeeze-and-expand
//! "fire" modules.
//!
//! Iandola et al., *SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
//! size*, <https://arxiv.org/abs/1602.07360>; layer for layer torchvision's `squeezenet.py`.

use burn::module::Module;
use burn::nn::Relu;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::architecture::{
    Architecture, HeadSlot, HeadStyle, IMAGENET_256, License, PretrainedWeights,
};
use super::layers::symmetric;
use super::{Activation, Backbone, Stage, Staged};

/// A squeeze layer of 1×1 filters that feeds an expand layer of 1×1 and 3×3 ones side by side.
#[derive(Module, Debug)]
pub struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl Fire {
    fn new(input: usize, squeeze: usize, expand: usize, device: &Device) -> Self {
        Self {
            squeeze: Conv2dConfig::new([input, squeeze], [1, 1]).init(device),
            expand1x1: Conv2dConfig::new([squeeze, expand], [1, 1]).init(device),
            expand3x3: Conv2dConfig::new([squeeze, expand], [3, 3])
                .with_padding(symmetric(1))
                .init(device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let squeezed = relu(self.squeeze.forward(input));
        let one = relu(self.expand1x1.forward(squeezed.clone()));
        let three = relu(self.expand3x3.forward(squeezed));
        Tensor::cat(vec![one, three], 1)
    }
}

/// One entry of torchvision's `features`; those without parameters keep the indices aligned.
#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Relu(Relu),
    Pool(MaxPool2d),
    Fire(Fire),
}

/// Fire modules between two pools: input channels, squeeze filters, expand filters of either kind.
type FireGroup = &'static [(usize, usize, usize)];

/// Which of the two published layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqueezeNetVersion {
    /// The paper's.
    V1_0,
    /// The authors' later one: 2.4 times less computation, slightly fewer parameters.
    V1_1,
}

/// SqueezeNet's `features`.
#[derive(Module, Debug)]
pub struct SqueezeNet {
    features: Vec<Layer>,
    /// For each stage, the range of `features` it runs, its stride and channels.
    #[module(skip)]
    plan: Vec<(usize, usize, usize, usize)>,
}

impl SqueezeNet {
    /// Builds the network, its parameters not yet filled.
    pub fn new(version: SqueezeNetVersion, device: &Device) -> Self {
        // (first convolution's filters and kernel; fire modules between the pools; the pools)
        let (filters, kernel, groups): (usize, usize, [FireGroup; 3]) = match version {
            SqueezeNetVersion::V1_0 => (
                96,
                7,
                [
                    &[(96, 16, 64), (128, 16, 64), (128, 32, 128)],
                    &[
                        (256, 32, 128),
                        (256, 48, 192),
                        (384, 48, 192),
                        (384, 64, 256),
                    ],
                    &[(512, 64, 256)],
                ],
            ),
            SqueezeNetVersion::V1_1 => (
                64,
                3,
                [
                    &[(64, 16, 64), (128, 16, 64)],
                    &[(128, 32, 128), (256, 32, 128)],
                    &[
                        (256, 48, 192),
                        (384, 48, 192),
                        (384, 64, 256),
                        (512, 64, 256),
                    ],
                ],
            ),
        };
        // torchvision rounds the pools' output up, and so counts windows that hang over the edge.
        let pool = || {
            MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_ceil_mode(true)
                .init()
        };

        let first = Conv2dConfig::new([3, filters], [kernel, kernel]).with_stride([2, 2]);
        let mut features = vec![
            Layer::Conv(first.init(device)),
            Layer::Relu(Relu::new()),
            Layer::Pool(pool()),
        ];
        let mut stride = 4;
        let mut plan = vec![(0, features.len(), stride, filters)];
        for (index, group) in groups.iter().enumerate() {
            let start = features.len();
            let mut channels = 0;
            for &(input, squeeze, expand) in *group {
                features.push(Layer::Fire(Fire::new(input, squeeze, expand, device)));
                channels = 2 * expand;
            }
            if index + 1 < groups.len() {
                features.push(Layer::Pool(pool()));
                stride *= 2;
            }
            plan.push((start, features.len(), stride, channels));
        }
        Self { features, plan }
    }
}

impl Staged for SqueezeNet {
    fn stages(&self) -> Vec<Stage> {
        let name = |index| match index {
            0 => "stem".to_owned(),
            n => format!("stage{n}"),
        };
        self.plan
            .iter()
            .enumerate()
            .map(|(index, &(_, _, stride, channels))| Stage::new(name(index), stride, channels))
            .collect()
    }

    fn stage_of(&self, name: &str) -> usize {
        let entry = name
            .strip_prefix("features.")
            .and_then(|rest| rest.split('.').next()?.parse().ok());
        let entry: usize = entry.unwrap_or(0);
        self.plan
            .iter()
            .position(|&(_, end, _, _)| entry < end)
            .unwrap_or(0)
    }

    fn run(&self, index: usize, input: Activation) -> Activation {
        let Activation::Map(input) = input else {
            panic!("SqueezeNet's stages take feature maps")
        };
        let (start, end, _, _) = self.plan[index];
        Activation::Map(
            self.features[start..end]
                .iter()
                .fold(input, |x, layer| match layer {
                    Layer::Conv(conv) => conv.forward(x),
                    Layer::Relu(activation) => activation.forward(x),
                    Layer::Pool(pool) => pool.forward(x),
                    Layer::Fire(fire) => fire.forward(x),
                }),
        )
    }
}

const HEAD: HeadSlot = HeadSlot {
    name: "classifier.1",
    style: HeadStyle::PooledConv,
};

/// SqueezeNet 1.0 and 1.1 as torchvision publishes them.
pub(super) const SQUEEZENETS: [Architecture; 2] = [
    Architecture {
        params: 1_248_424,
        macs: 819_000_000,
        min_input: 21,
        weights: &[PretrainedWeights::v1(
            "squeezenet1_0-b66bff10.pth",
            "https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth",
            58.092,
            80.42,
        )],
        ..Architecture::imagenet("squeezenet1_0", "SqueezeNet", 512, HEAD, |_, device| {
            Backbone::SqueezeNet(SqueezeNet::new(SqueezeNetVersion::V1_0, device))
        })
    },
    Architecture {
        params: 1_235_496,
        macs: 349_000_000,
        min_input: 17,
        weights: &[
            PretrainedWeights {
                name: "BUNDLED",
                file_name: "squeezenet1_1.safetensors",
                url: None,
                license: License::Mit,
                source: "bundled, from the Python package ndf 0.1.4",
                preset: IMAGENET_256,
                accuracy: None,
            },
            PretrainedWeights::v1(
                "squeezenet1_1-b8a52dc0.pth",
                "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
                58.178,
                80.624,
            ),
        ],
        ..Architecture::imagenet("squeezenet1_1", "SqueezeNet", 512, HEAD, |_, device| {
            Backbone::SqueezeNet(SqueezeNet::new(SqueezeNetVersion::V1_1, device))
        })
    },
];
