//! Vision Transformer: an image is worth 16×16 words.
//!
//! Dosovitskiy et al., <https://arxiv.org/abs/2010.11929>; layer for layer torchvision's
//! `vision_transformer.py` (pre-norm blocks, exact GELU, layer-norm epsilon 1e-6, packed query, key
//! and value projections).

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Gelu, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::architecture::{
    Architecture, HeadSlot, HeadStyle, License, PretrainedWeights, SWAG_224, SWAG_384,
};
use super::{Activation, Backbone, Stage, Staged};

/// What tells one member of the family from another.
#[derive(Debug, Clone, Copy)]
pub struct VisionTransformerConfig {
    /// Side of a patch, in pixels.
    pub patch: usize,
    /// Encoder blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a token.
    pub width: usize,
    /// Width inside the two-layer perceptron.
    pub mlp: usize,
    /// Side of the square input, in pixels.
    pub image: usize,
}

impl VisionTransformerConfig {
    /// ViT-B/16.
    pub const fn b_16(image: usize) -> Self {
        Self {
            patch: 16,
            layers: 12,
            heads: 12,
            width: 768,
            mlp: 3072,
            image,
        }
    }

    /// Builds the network, its parameters not yet filled.
    ///
    /// # Panics
    ///
    /// When the image's side is not a multiple of the patch's:
    /// [`Architecture::check_input`] says so politely.
    pub fn init(&self, device: &Device) -> VisionTransformer {
        assert!(
            self.image.is_multiple_of(self.patch),
            "the image must divide into patches"
        );
        let tokens = (self.image / self.patch).pow(2) + 1;
        let zeros = Initializer::Zeros;
        VisionTransformer {
            class_token: zeros.init([1, 1, self.width], device),
            conv_proj: Conv2dConfig::new([3, self.width], [self.patch, self.patch])
                .with_stride([self.patch, self.patch])
                .init(device),
            encoder: Encoder {
                pos_embedding: Initializer::Normal {
                    mean: 0.0,
                    std: 0.02,
                }
                .init([1, tokens, self.width], device),
                layers: (0..self.layers)
                    .map(|_| EncoderBlock::new(self, device))
                    .collect(),
                ln: layer_norm(self.width, device),
            },
            patch: self.patch,
        }
    }
}

fn layer_norm(width: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(width).with_epsilon(1e-6).init(device)
}

/// Multi-head self-attention with PyTorch's packed projection: one matrix holds the queries', keys'
/// and values' weights, in that order.
#[derive(Module, Debug)]
pub struct PackedAttention {
    /// `[3·width, width]`, as PyTorch lays it out.
    in_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl PackedAttention {
    fn new(width: usize, heads: usize, device: &Device) -> Self {
        Self {
            in_proj_weight: Initializer::XavierUniform { gain: 1.0 }.init_with(
                [3 * width, width],
                Some(width),
                Some(3 * width),
                device,
            ),
            in_proj_bias: Initializer::Zeros.init([3 * width], device),
            out_proj: LinearConfig::new(width, width).init(device),
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [n, t, width] = x.dims();
        let depth = width / self.heads;
        let packed = x.matmul(self.in_proj_weight.val().transpose().unsqueeze())
            + self.in_proj_bias.val().unsqueeze();
        let [q, k, v] = [0, 1, 2].map(|part| {
            packed
                .clone()
                .narrow(2, part * width, width)
                .reshape([n, t, self.heads, depth])
                .swap_dims(1, 2)
        });
        let scores = (q * (depth as f64).powf(-0.5)).matmul(k.swap_dims(2, 3));
        let mixed = softmax(scores, 3).matmul(v);
        self.out_proj
            .forward(mixed.swap_dims(1, 2).reshape([n, t, width]))
    }
}

/// One entry of the block's `mlp`; those without parameters keep torchvision's indices aligned.
#[derive(Module, Debug)]
enum MlpLayer {
    Linear(Linear),
    Gelu(Gelu),
    /// Dropout that does nothing in these networks (its rate is zero).
    Inert(Gelu),
}

/// A pre-norm transformer block.
#[derive(Module, Debug)]
pub struct EncoderBlock {
    ln_1: LayerNorm,
    self_attention: PackedAttention,
    ln_2: LayerNorm,
    mlp: Vec<MlpLayer>,
}

impl EncoderBlock {
    fn new(config: &VisionTransformerConfig, device: &Device) -> Self {
        let linear = |from, to| MlpLayer::Linear(LinearConfig::new(from, to).init(device));
        Self {
            ln_1: layer_norm(config.width, device),
            self_attention: PackedAttention::new(config.width, config.heads, device),
            ln_2: layer_norm(config.width, device),
            mlp: vec![
                linear(config.width, config.mlp),
                MlpLayer::Gelu(Gelu::new()),
                MlpLayer::Inert(Gelu::new()),
                linear(config.mlp, config.width),
            ],
        }
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let x = input.clone() + self.self_attention.forward(self.ln_1.forward(input));
        let y = self
            .mlp
            .iter()
            .fold(self.ln_2.forward(x.clone()), |y, layer| match layer {
                MlpLayer::Linear(linear) => linear.forward(y),
                MlpLayer::Gelu(gelu) => gelu.forward(y),
                MlpLayer::Inert(_) => y,
            });
        x + y
    }
}

/// torchvision's `encoder`.
#[derive(Module, Debug)]
pub struct Encoder {
    pos_embedding: Param<Tensor<3>>,
    layers: Vec<EncoderBlock>,
    ln: LayerNorm,
}

/// A Vision Transformer without its classifier.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    class_token: Param<Tensor<3>>,
    conv_proj: Conv2d,
    encoder: Encoder,
    #[module(skip)]
    patch: usize,
}

impl Staged for VisionTransformer {
    fn stages(&self) -> Vec<Stage> {
        let [_, _, width] = self.class_token.lazy_shape().dims();
        let stage = |name: String| Stage::new(name, self.patch, width);
        let mut stages = vec![stage("patch_embed".to_owned())];
        stages.extend((0..self.encoder.layers.len()).map(|n| stage(format!("encoder_layer_{n}"))));
        stages.push(stage("ln".to_owned()));
        stages
    }

    fn stage_of(&self, name: &str) -> usize {
        let layer = name
            .strip_prefix("encoder.layers.encoder_layer_")
            .and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        match layer {
            Some(layer) => layer + 1,
            None if name.starts_with("encoder.ln.") => self.encoder.layers.len() + 1,
            None => 0,
        }
    }

    fn run(&self, index: usize, input: Activation) -> Activation {
        let tokens = match (index, input) {
            (0, Activation::Map(images)) => {
                let [n, ..] = images.dims();
                // [N, C, rows, columns] → [N, rows·columns, C]: patches in reading order.
                let patches = self
                    .conv_proj
                    .forward(images)
                    .flatten::<3>(2, 3)
                    .swap_dims(1, 2);
                let [_, _, width] = patches.dims();
                let class = self.class_token.val().expand([n, 1, width]);
                Tensor::cat(vec![class, patches], 1) + self.encoder.pos_embedding.val()
            }
            (n, Activation::Tokens(x)) if n > 0 && n <= self.encoder.layers.len() => {
                self.encoder.layers[n - 1].forward(x)
            }
            (n, Activation::Tokens(x)) if n == self.encoder.layers.len() + 1 => {
                self.encoder.ln.forward(x)
            }
            (n, _) => panic!("stage {n} of a Vision Transformer cannot take this activation"),
        };
        Activation::Tokens(tokens)
    }

    fn torch_name(&self, path: String) -> String {
        path.replace("encoder.layers.", "encoder.layers.encoder_layer_")
    }
}

/// Resamples position embeddings to another number of patches, as torchvision's
/// `interpolate_embeddings` does: the class token's stays, the rest is a square map that goes through
/// bicubic interpolation (a = −0.75, corners aligned).
///
/// # Shapes
///
/// - embedding: `[1 + from², width]`, row-major
/// - returns: `[1 + to², width]`
pub fn interpolate_position_embedding(
    embedding: &[f32],
    width: usize,
    from: usize,
    to: usize,
) -> Vec<f32> {
    let taps = |target: usize| -> ([usize; 4], [f64; 4]) {
        let position = if to > 1 {
            target as f64 * (from - 1) as f64 / (to - 1) as f64
        } else {
            0.0
        };
        let base = position.floor();
        let t = position - base;
        let at = |offset: isize| (base as isize + offset).clamp(0, from as isize - 1) as usize;
        const A: f64 = -0.75;
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        (
            [at(-1), at(0), at(1), at(2)],
            [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)],
        )
    };
    let mut resampled = Vec::with_capacity((1 + to * to) * width);
    resampled.extend_from_slice(&embedding[..width]);
    for row in 0..to {
        let (rows, row_weights) = taps(row);
        for column in 0..to {
            let (columns, column_weights) = taps(column);
            resampled.extend((0..width).map(|channel| {
                let mut sum = 0.0;
                for (&r, &wr) in rows.iter().zip(&row_weights) {
                    for (&c, &wc) in columns.iter().zip(&column_weights) {
                        sum += wr * wc * f64::from(embedding[(1 + r * from + c) * width + channel]);
                    }
                }
                sum as f32
            }));
        }
    }
    resampled
}

/// ViT-B/16 as torchvision publishes it.
pub(super) const VISION_TRANSFORMERS: [Architecture; 1] = [Architecture {
    params: 86_567_656,
    macs: 17_564_000_000,
    min_input: 16,
    input_multiple: 16,
    weights: &[
        PretrainedWeights {
            preset: super::architecture::IMAGENET_256,
            ..PretrainedWeights::v1(
                "vit_b_16-c867db91.pth",
                "https://download.pytorch.org/models/vit_b_16-c867db91.pth",
                81.072,
                95.318,
            )
        },
        PretrainedWeights {
            name: "IMAGENET1K_SWAG_E2E_V1",
            license: License::CcByNc4,
            preset: SWAG_384,
            ..PretrainedWeights::v1(
                "vit_b_16_swag-9ac1b537.pth",
                "https://download.pytorch.org/models/vit_b_16_swag-9ac1b537.pth",
                85.304,
                97.65,
            )
        },
        PretrainedWeights {
            name: "IMAGENET1K_SWAG_LINEAR_V1",
            license: License::CcByNc4,
            preset: SWAG_224,
            ..PretrainedWeights::v1(
                "vit_b_16_lc_swag-4e70ced5.pth",
                "https://download.pytorch.org/models/vit_b_16_lc_swag-4e70ced5.pth",
                81.886,
                96.18,
            )
        },
    ],
    ..Architecture::imagenet(
        "vit_b_16",
        "Vision Transformer",
        768,
        HeadSlot {
            name: "heads.head",
            style: HeadStyle::Linear,
        },
        |image, device| {
            Backbone::VisionTransformer(VisionTransformerConfig::b_16(image).init(device))
        },
    )
}];
