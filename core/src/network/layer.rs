//! Layers with numbers, as Burn's modules.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    PaddingConfig2d,
};
use burn::tensor::{Device, Tensor};

use crate::graph::{LayerKind, LayerSpec, Padding};

impl Layer {
    /// Makes a layer, its parameters not yet filled.
    pub fn new(spec: &LayerSpec, device: &Device) -> Self {
        match &spec.kind {
            LayerKind::Conv { input, conv } => {
                let shards = spec.shards();
                let config = Conv2dConfig::new([*input, conv.filters / shards], conv.kernel)
                    .with_stride(conv.stride)
                    .with_dilation(conv.dilation)
                    .with_groups(conv.groups)
                    .with_bias(conv.bias)
                    .with_padding(match conv.padding {
                        Padding::Same => PaddingConfig2d::Same,
                        Padding::Symmetric([0, 0]) => PaddingConfig2d::Valid,
                        Padding::Symmetric([rows, columns]) => {
                            PaddingConfig2d::Explicit(rows, columns, rows, columns)
                        }
                    });
                match shards {
                    1 => Layer::Conv(config.init(device)),
                    n => Layer::ConvShards((0..n).map(|_| config.init(device)).collect()),
                }
            }
            LayerKind::BatchNorm { channels, norm } => Layer::BatchNorm(
                BatchNormConfig::new(*channels)
                    .with_epsilon(norm.epsilon)
                    .with_momentum(norm.momentum)
                    .init(device),
            ),
            LayerKind::LayerNorm { width, epsilon } => Layer::LayerNorm(
                LayerNormConfig::new(*width)
                    .with_epsilon(*epsilon)
                    .init(device),
            ),
            LayerKind::Linear {
                input,
                output,
                bias,
            } => {
                let shards = spec.shards();
                let config = LinearConfig::new(*input, output / shards).with_bias(*bias);
                match shards {
                    1 => Layer::Linear(config.init(device)),
                    n => Layer::LinearShards((0..n).map(|_| config.init(device)).collect()),
                }
            }
            LayerKind::Table(shape) => {
                let zeros = Initializer::Zeros;
                match shape[..] {
                    [a] => Layer::Vector(zeros.init([a], device)),
                    [a, b] => Layer::Matrix(zeros.init([a, b], device)),
                    [a, b, c] => Layer::Block(zeros.init([a, b, c], device)),
                    _ => unreachable!("parameters of one to three axes"),
                }
            }
        }
    }
}

/// A layer with its numbers.
#[derive(Module, Debug)]
pub enum Layer {
    /// A convolution.
    Conv(Conv2d),
    /// A convolution in parts, each of which makes some of the channels.
    ConvShards(Vec<Conv2d>),
    /// Batch norm.
    BatchNorm(BatchNorm),
    /// Layer norm.
    LayerNorm(LayerNorm),
    /// A linear map.
    Linear(Linear),
    /// A linear map in parts, each of which makes some of the outputs.
    LinearShards(Vec<Linear>),
    /// A bare vector.
    Vector(Param<Tensor<1>>),
    /// A bare matrix.
    Matrix(Param<Tensor<2>>),
    /// A bare tensor of three axes.
    Block(Param<Tensor<3>>),
}
