//! ResNet, ResNeXt and Wide ResNet.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, <https://arxiv.org/abs/1512.03385>;
//! Xie et al. (ResNeXt), <https://arxiv.org/abs/1611.05431>; Zagoruyko and Komodakis (Wide ResNet),
//! <https://arxiv.org/abs/1605.07146>. Layer for layer torchvision's `resnet.py`, that is ResNet
//! "v1.5": a bottleneck's stride sits in its 3×3 convolution.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::architecture::{Architecture, HeadSlot, HeadStyle, PretrainedWeights};
use super::layers::{batch_norm, conv, symmetric};
use super::{Activation, Backbone, Stage, Staged};

/// What tells one member of the family from another.
#[derive(Debug, Clone, Copy)]
pub struct ResNetConfig {
    /// Blocks in `layer1` to `layer4`.
    pub blocks: [usize; 4],
    /// Three convolutions a block instead of two, the last with four times the channels.
    pub bottleneck: bool,
    /// Groups of the 3×3 convolution (ResNeXt's cardinality).
    pub groups: usize,
    /// Channels per group at 64 planes (ResNeXt), or 64 times the widening (Wide ResNet).
    pub width_per_group: usize,
}

impl ResNetConfig {
    /// Plain ResNet.
    pub const fn new(blocks: [usize; 4], bottleneck: bool) -> Self {
        Self {
            blocks,
            bottleneck,
            groups: 1,
            width_per_group: 64,
        }
    }

    /// Grouped or widened: `resnext50_32x4d` is 32 groups of width 4.
    pub const fn with_width(self, groups: usize, width_per_group: usize) -> Self {
        Self {
            groups,
            width_per_group,
            ..self
        }
    }

    const fn expansion(&self) -> usize {
        if self.bottleneck { 4 } else { 1 }
    }

    /// Builds the network, its parameters not yet filled.
    pub fn init(&self, device: &Device) -> ResNet {
        let mut input = 64;
        let mut layer = |blocks: usize, planes: usize, stride: usize| -> Vec<Block> {
            (0..blocks)
                .map(|index| {
                    let stride = if index == 0 { stride } else { 1 };
                    let block = Block::new(self, input, planes, stride, device);
                    input = planes * self.expansion();
                    block
                })
                .collect()
        };
        let layer1 = layer(self.blocks[0], 64, 1);
        let layer2 = layer(self.blocks[1], 128, 2);
        let layer3 = layer(self.blocks[2], 256, 2);
        let layer4 = layer(self.blocks[3], 512, 2);
        ResNet {
            conv1: conv([3, 64], 7, 2, 1).init(device),
            bn1: batch_norm(64, device),
            maxpool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(symmetric(1))
                .init(),
            layer1,
            layer2,
            layer3,
            layer4,
            expansion: self.expansion(),
        }
    }
}

/// A residual block. `conv3` and `bn3` are there in bottlenecks only.
#[derive(Module, Debug)]
pub struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Block {
    fn new(
        config: &ResNetConfig,
        input: usize,
        planes: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        let output = planes * config.expansion();
        let downsample = (stride != 1 || input != output).then(|| {
            (
                conv([input, output], 1, stride, 1).init(device),
                batch_norm(output, device),
            )
        });
        if !config.bottleneck {
            return Self {
                conv1: conv([input, planes], 3, stride, 1).init(device),
                bn1: batch_norm(planes, device),
                conv2: conv([planes, planes], 3, 1, 1).init(device),
                bn2: batch_norm(planes, device),
                conv3: None,
                bn3: None,
                downsample,
            };
        }
        let width = planes * config.width_per_group / 64 * config.groups;
        Self {
            conv1: conv([input, width], 1, 1, 1).init(device),
            bn1: batch_norm(width, device),
            conv2: conv([width, width], 3, stride, config.groups).init(device),
            bn2: batch_norm(width, device),
            conv3: Some(conv([width, output], 1, 1, 1).init(device)),
            bn3: Some(batch_norm(output, device)),
            downsample,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let identity = match &self.downsample {
            Some((conv, norm)) => norm.forward(conv.forward(input.clone())),
            None => input.clone(),
        };
        let x = relu(self.bn1.forward(self.conv1.forward(input)));
        let mut x = self.bn2.forward(self.conv2.forward(x));
        if let (Some(conv3), Some(bn3)) = (&self.conv3, &self.bn3) {
            x = bn3.forward(conv3.forward(relu(x)));
        }
        relu(x + identity)
    }
}

/// A residual network without its classifier.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: MaxPool2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    #[module(skip)]
    expansion: usize,
}

impl Staged for ResNet {
    fn stages(&self) -> Vec<Stage> {
        let layer = |n: usize| Stage::new(format!("layer{n}"), 2 << n, (32 << n) * self.expansion);
        vec![
            Stage::new("stem", 4, 64),
            layer(1),
            layer(2),
            layer(3),
            layer(4),
        ]
    }

    fn stage_of(&self, name: &str) -> usize {
        let layer = name
            .strip_prefix("layer")
            .and_then(|rest| rest.split('.').next()?.parse().ok());
        layer.unwrap_or(0)
    }

    fn run(&self, index: usize, input: Activation) -> Activation {
        let Activation::Map(input) = input else {
            panic!("ResNet's stages take feature maps")
        };
        let layer = match index {
            0 => {
                let x = relu(self.bn1.forward(self.conv1.forward(input)));
                return Activation::Map(self.maxpool.forward(x));
            }
            1 => &self.layer1,
            2 => &self.layer2,
            3 => &self.layer3,
            4 => &self.layer4,
            n => panic!("ResNet has five stages, asked for number {n}"),
        };
        Activation::Map(layer.iter().fold(input, |x, block| block.forward(x)))
    }
}

const HEAD: HeadSlot = HeadSlot {
    name: "fc",
    style: HeadStyle::Linear,
};

const fn entry(
    name: &'static str,
    family: &'static str,
    features: usize,
    [params, macs]: [u64; 2],
    build: fn(usize, &Device) -> Backbone,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture {
        params,
        macs,
        weights,
        ..Architecture::imagenet(name, family, features, HEAD, build)
    }
}

/// The family as torchvision publishes it.
pub(super) const RESNETS: [Architecture; 10] = [
    entry(
        "resnet18",
        "ResNet",
        512,
        [11_689_512, 1_814_000_000],
        |_, device| Backbone::ResNet(ResNetConfig::new([2, 2, 2, 2], false).init(device)),
        &[PretrainedWeights::v1(
            "resnet18-f37072fd.pth",
            "https://download.pytorch.org/models/resnet18-f37072fd.pth",
            69.758,
            89.078,
        )],
    ),
    entry(
        "resnet34",
        "ResNet",
        512,
        [21_797_672, 3_664_000_000],
        |_, device| Backbone::ResNet(ResNetConfig::new([3, 4, 6, 3], false).init(device)),
        &[PretrainedWeights::v1(
            "resnet34-b627a593.pth",
            "https://download.pytorch.org/models/resnet34-b627a593.pth",
            73.314,
            91.42,
        )],
    ),
    entry(
        "resnet50",
        "ResNet",
        2048,
        [25_557_032, 4_089_000_000],
        |_, device| Backbone::ResNet(ResNetConfig::new([3, 4, 6, 3], true).init(device)),
        &[
            PretrainedWeights::v2(
                "resnet50-11ad3fa6.pth",
                "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
                80.858,
                95.434,
            ),
            PretrainedWeights::v1(
                "resnet50-0676ba61.pth",
                "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                76.13,
                92.862,
            ),
        ],
    ),
    entry(
        "resnet101",
        "ResNet",
        2048,
        [44_549_160, 7_801_000_000],
        |_, device| Backbone::ResNet(ResNetConfig::new([3, 4, 23, 3], true).init(device)),
        &[
            PretrainedWeights::v2(
                "resnet101-cd907fc2.pth",
                "https://download.pytorch.org/models/resnet101-cd907fc2.pth",
                81.886,
                95.78,
            ),
            PretrainedWeights::v1(
                "resnet101-63fe2227.pth",
                "https://download.pytorch.org/models/resnet101-63fe2227.pth",
                77.374,
                93.546,
            ),
        ],
    ),
    entry(
        "resnet152",
        "ResNet",
        2048,
        [60_192_808, 11_514_000_000],
        |_, device| Backbone::ResNet(ResNetConfig::new([3, 8, 36, 3], true).init(device)),
        &[
            PretrainedWeights::v2(
                "resnet152-f82ba261.pth",
                "https://download.pytorch.org/models/resnet152-f82ba261.pth",
                82.284,
                96.002,
            ),
            PretrainedWeights::v1(
                "resnet152-394f9c45.pth",
                "https://download.pytorch.org/models/resnet152-394f9c45.pth",
                78.312,
                94.046,
            ),
        ],
    ),
    entry(
        "resnext50_32x4d",
        "ResNeXt",
        2048,
        [25_028_904, 4_230_000_000],
        |_, device| {
            Backbone::ResNet(
                ResNetConfig::new([3, 4, 6, 3], true)
                    .with_width(32, 4)
                    .init(device),
            )
        },
        &[
            PretrainedWeights::v2(
                "resnext50_32x4d-1a0047aa.pth",
                "https://download.pytorch.org/models/resnext50_32x4d-1a0047aa.pth",
                81.198,
                95.34,
            ),
            PretrainedWeights::v1(
                "resnext50_32x4d-7cdf4587.pth",
                "https://download.pytorch.org/models/resnext50_32x4d-7cdf4587.pth",
                77.618,
                93.698,
            ),
        ],
    ),
    entry(
        "resnext101_32x8d",
        "ResNeXt",
        2048,
        [88_791_336, 16_414_000_000],
        |_, device| {
            Backbone::ResNet(
                ResNetConfig::new([3, 4, 23, 3], true)
                    .with_width(32, 8)
                    .init(device),
            )
        },
        &[
            PretrainedWeights::v2(
                "resnext101_32x8d-110c445d.pth",
                "https://download.pytorch.org/models/resnext101_32x8d-110c445d.pth",
                82.834,
                96.228,
            ),
            PretrainedWeights::v1(
                "resnext101_32x8d-8ba56ff5.pth",
                "https://download.pytorch.org/models/resnext101_32x8d-8ba56ff5.pth",
                79.312,
                94.526,
            ),
        ],
    ),
    entry(
        "resnext101_64x4d",
        "ResNeXt",
        2048,
        [83_455_272, 15_460_000_000],
        |_, device| {
            Backbone::ResNet(
                ResNetConfig::new([3, 4, 23, 3], true)
                    .with_width(64, 4)
                    .init(device),
            )
        },
        &[PretrainedWeights {
            name: "IMAGENET1K_V1",
            ..PretrainedWeights::v2(
                "resnext101_64x4d-173b62eb.pth",
                "https://download.pytorch.org/models/resnext101_64x4d-173b62eb.pth",
                83.246,
                96.454,
            )
        }],
    ),
    entry(
        "wide_resnet50_2",
        "Wide ResNet",
        2048,
        [68_883_240, 11_398_000_000],
        |_, device| {
            Backbone::ResNet(
                ResNetConfig::new([3, 4, 6, 3], true)
                    .with_width(1, 128)
                    .init(device),
            )
        },
        &[
            PretrainedWeights::v2(
                "wide_resnet50_2-9ba9bcbe.pth",
                "https://download.pytorch.org/models/wide_resnet50_2-9ba9bcbe.pth",
                81.602,
                95.758,
            ),
            PretrainedWeights::v1(
                "wide_resnet50_2-95faca4d.pth",
                "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
                78.468,
                94.086,
            ),
        ],
    ),
    entry(
        "wide_resnet101_2",
        "Wide ResNet",
        2048,
        [126_886_696, 22_753_000_000],
        |_, device| {
            Backbone::ResNet(
                ResNetConfig::new([3, 4, 23, 3], true)
                    .with_width(1, 128)
                    .init(device),
            )
        },
        &[
            PretrainedWeights::v2(
                "wide_resnet101_2-d733dc28.pth",
                "https://download.pytorch.org/models/wide_resnet101_2-d733dc28.pth",
                82.51,
                96.02,
            ),
            PretrainedWeights::v1(
                "wide_resnet101_2-32ee1156.pth",
                "https://download.pytorch.org/models/wide_resnet101_2-32ee1156.pth",
                78.848,
                94.284,
            ),
        ],
    ),
];
