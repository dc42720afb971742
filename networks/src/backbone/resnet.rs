//! ResNet, ResNeXt and Wide ResNet.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, <https://arxiv.org/abs/1512.03385>;
//! Xie et al. (ResNeXt), <https://arxiv.org/abs/1611.05431>; Zagoruyko and Komodakis (Wide ResNet),
//! <https://arxiv.org/abs/1605.07146>. Layer for layer torchvision's `resnet.py`, that is ResNet
//! "v1.5": a bottleneck's stride sits in its 3×3 convolution.

use super::architecture::{Architecture, HeadSlot};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Init, InitRules, Norm, Pool, Value};

/// What a member's blocks are like.
#[derive(Clone, Copy)]
pub(super) enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 in groups, 1×1 with four times the planes. A group is `width` channels wide at 64
    /// planes (ResNeXt); one group wider than 64 widens the whole block (Wide ResNet).
    Bottleneck { groups: usize, width: usize },
}

pub(super) const BOTTLENECK: Block = Block::Bottleneck {
    groups: 1,
    width: 64,
};

fn resnet(image: Value, block: Block, depths: [usize; 4]) -> Value {
    trunk(&image, block, depths, [false; 4])
}

/// A network without its classifier. The layers that are `dilated` keep the resolution and look twice as far
/// instead (torchvision's `replace_stride_with_dilation`), as networks do that answer for each pixel.
pub(super) fn trunk(image: &Value, block: Block, depths: [usize; 4], dilated: [bool; 4]) -> Value {
    let mut dilation = 1;
    let mut x = image
        .stem_conv("conv1", Conv::new(64, 7).stride(2))
        .batch_norm("bn1", Norm::TORCH)
        .relu()
        .stem_pool(Pool::new(3, 2).padding(1))
        .stage("stem");
    for (layer, depth) in depths.into_iter().enumerate() {
        let planes = 64 << layer;
        for index in 0..depth {
            let halves = layer > 0 && index == 0;
            let stride = if halves && !dilated[layer] { 2 } else { 1 };
            x = x.within(format!("layer{}.{index}", layer + 1), |x| {
                residual(x, block, planes, Reach { stride, dilation })
            });
            // The block that would have halved the map still sees it as the layer before does.
            if halves && dilated[layer] {
                dilation *= 2;
            }
        }
        x = x.stage(format!("layer{}", layer + 1));
    }
    x
}

/// How a block's 3×3 convolution moves over the map.
#[derive(Clone, Copy)]
struct Reach {
    stride: usize,
    dilation: usize,
}

fn residual(x: &Value, block: Block, planes: usize, reach: Reach) -> Value {
    let Reach { stride, dilation } = reach;
    let (output, y) = match block {
        Block::Basic => {
            let y = x
                .conv("conv1", Conv::new(planes, 3).stride(stride))
                .batch_norm("bn1", Norm::TORCH)
                .relu()
                .conv("conv2", Conv::new(planes, 3))
                .batch_norm("bn2", Norm::TORCH);
            (planes, y)
        }
        Block::Bottleneck { groups, width } => {
            let inner = planes * width / 64 * groups;
            let y = x
                .conv("conv1", Conv::new(inner, 1))
                .batch_norm("bn1", Norm::TORCH)
                .relu()
                .conv(
                    "conv2",
                    Conv::new(inner, 3)
                        .stride(stride)
                        .dilation(dilation)
                        .groups(groups),
                )
                .batch_norm("bn2", Norm::TORCH)
                .relu()
                .conv("conv3", Conv::new(4 * planes, 1))
                .batch_norm("bn3", Norm::TORCH);
            (4 * planes, y)
        }
    };
    let identity = match stride != 1 || x.channels() != output {
        true => x.within("downsample", |x| {
            x.conv("0", Conv::new(output, 1).stride(stride))
                .batch_norm("1", Norm::TORCH)
        }),
        false => x.clone(),
    };
    (y + identity).relu()
}

pub(super) const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    ..InitRules::TORCH
};

const fn entry(
    name: &'static str,
    family: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture::new(name, family, HeadSlot::linear("fc"), describe, weights).init(INIT)
}

const fn grouped(groups: usize, width: usize) -> Block {
    Block::Bottleneck { groups, width }
}

/// The family as torchvision publishes it.
pub(super) const RESNETS: [Architecture; 10] = [
    entry(
        "resnet18",
        "ResNet",
        |x| resnet(x, Block::Basic, [2, 2, 2, 2]),
        published::RESNET18,
    ),
    entry(
        "resnet34",
        "ResNet",
        |x| resnet(x, Block::Basic, [3, 4, 6, 3]),
        published::RESNET34,
    ),
    entry(
        "resnet50",
        "ResNet",
        |x| resnet(x, BOTTLENECK, [3, 4, 6, 3]),
        published::RESNET50,
    ),
    entry(
        "resnet101",
        "ResNet",
        |x| resnet(x, BOTTLENECK, [3, 4, 23, 3]),
        published::RESNET101,
    ),
    entry(
        "resnet152",
        "ResNet",
        |x| resnet(x, BOTTLENECK, [3, 8, 36, 3]),
        published::RESNET152,
    ),
    entry(
        "resnext50_32x4d",
        "ResNeXt",
        |x| resnet(x, grouped(32, 4), [3, 4, 6, 3]),
        published::RESNEXT50_32X4D,
    ),
    entry(
        "resnext101_32x8d",
        "ResNeXt",
        |x| resnet(x, grouped(32, 8), [3, 4, 23, 3]),
        published::RESNEXT101_32X8D,
    ),
    entry(
        "resnext101_64x4d",
        "ResNeXt",
        |x| resnet(x, grouped(64, 4), [3, 4, 23, 3]),
        published::RESNEXT101_64X4D,
    ),
    entry(
        "wide_resnet50_2",
        "Wide ResNet",
        |x| resnet(x, grouped(1, 128), [3, 4, 6, 3]),
        published::WIDE_RESNET50_2,
    ),
    entry(
        "wide_resnet101_2",
        "Wide ResNet",
        |x| resnet(x, grouped(1, 128), [3, 4, 23, 3]),
        published::WIDE_RESNET101_2,
    ),
];
