//! Vision Transformer: an image is worth 16×16 words.
//!
//! Dosovitskiy et al., <https://arxiv.org/abs/2010.11929>; layer for layer torchvision's
//! `vision_transformer.py` and, for the small ones, timm's (pre-norm blocks, exact GELU, layer-norm
//! epsilon 1e-6, packed query, key and value projections).

use super::architecture::{Architecture, HeadSlot};
use super::parts::perceptron;
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{AttentionParts, Conv, Init, InitRules, Value};

const EPSILON: f64 = 1e-6;

/// What tells one member of the family from another.
#[derive(Clone, Copy)]
struct Size {
    /// Side of a patch, in pixels.
    patch: usize,
    /// Encoder blocks.
    layers: usize,
    /// Attention heads.
    heads: usize,
    /// Width of a token; the perceptron is four times as wide.
    width: usize,
}

impl Size {
    const fn new(patch: usize, layers: usize, heads: usize, width: usize) -> Self {
        Self {
            patch,
            layers,
            heads,
            width,
        }
    }

    /// Base: twelve blocks of width 768.
    const fn base(patch: usize) -> Self {
        Self::new(patch, 12, 12, 768)
    }

    /// Large: twenty-four blocks of width 1024.
    const fn large(patch: usize) -> Self {
        Self::new(patch, 24, 16, 1024)
    }

    fn attention(&self) -> AttentionParts {
        AttentionParts::new(self.heads, self.width)
    }

    fn patches(&self) -> Conv {
        Conv::new(self.width, self.patch)
            .stride(self.patch)
            .padding(0)
            .bias()
    }
}

/// torchvision's names.
fn vit(image: Value, size: Size) -> Value {
    let attention = AttentionParts {
        names: ["in_proj", "_", "out_proj"],
        ..size.attention()
    };
    let mut x = image
        .conv("conv_proj", size.patches())
        .tokens()
        .class_token("class_token")
        .position_embedding("encoder.pos_embedding")
        .stage("patch_embed");
    for layer in 0..size.layers {
        let name = format!("encoder_layer_{layer}");
        x = x.within(format!("encoder.layers.{name}"), |x| {
            let mixed = x.layer_norm("ln_1", EPSILON);
            let x = mixed.attention("self_attention", &attention) + x.clone();
            let y = x.layer_norm("ln_2", EPSILON);
            let y = y.within("mlp", |y| perceptron(y, ["0", "3"], 4 * size.width));
            x + y
        });
        x = x.stage(name);
    }
    x.layer_norm("encoder.ln", EPSILON).stage("ln")
}

/// timm's names.
fn timm_vit(image: Value, size: Size) -> Value {
    let attention = size.attention();
    let mut x = image
        .conv("patch_embed.proj", size.patches())
        .tokens()
        .class_token("cls_token")
        .position_embedding("pos_embed")
        .stage("patch_embed");
    for layer in 0..size.layers {
        let name = format!("blocks.{layer}");
        x = x.within(&name, |x| {
            let mixed = x.layer_norm("norm1", EPSILON);
            let x = x.clone() + mixed.attention("attn", &attention);
            let y = x.layer_norm("norm2", EPSILON);
            let y = y.within("mlp", |y| perceptron(y, ["fc1", "fc2"], 4 * size.width));
            x + y
        });
        x = x.stage(name);
    }
    x.layer_norm("norm", EPSILON).stage("norm")
}

const INIT: InitRules = InitRules {
    conv: Init::TruncatedFanIn,
    conv_bias: Init::Constant(0.0),
    linear: Init::XavierUniform,
    linear_bias: Init::Normal(1e-6),
    special: &[
        ("heads.head", Init::Constant(0.0)),
        ("pos_embedding", Init::Normal(0.02)),
        ("in_proj_bias", Init::Constant(0.0)),
        ("out_proj.bias", Init::Constant(0.0)),
        ("out_proj.weight", Init::Default),
    ],
    parts: &[],
};

/// timm's, which is the JAX original's.
const TIMM_INIT: InitRules = InitRules {
    conv: Init::TruncatedFanIn,
    conv_bias: Init::Constant(0.0),
    linear: Init::Truncated(0.02),
    linear_bias: Init::Constant(0.0),
    special: &[
        ("pos_embed", Init::Truncated(0.02)),
        ("cls_token", Init::Normal(1e-6)),
    ],
    parts: &[],
};

/// The published files of torchvision's first transformers call the perceptron's layers by numbers.
fn modern_name(name: String) -> String {
    name.replace("mlp.linear_1.", "mlp.0.")
        .replace("mlp.linear_2.", "mlp.3.")
}

const fn entry(
    name: &'static str,
    patch: usize,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture {
        input_multiple: patch,
        modern_name,
        ..Architecture::new(
            name,
            "Vision Transformer",
            HeadSlot::linear("heads.head"),
            describe,
            weights,
        )
        .init(INIT)
    }
}

const fn timm(
    name: &'static str,
    patch: usize,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture {
        input_multiple: patch,
        ..Architecture::new(
            name,
            "Vision Transformer",
            HeadSlot::linear("head"),
            describe,
            weights,
        )
        .timm(name)
        .init(TIMM_INIT)
    }
}

/// The family as torchvision and timm publish it.
pub(super) const VISION_TRANSFORMERS: [Architecture; 9] = [
    entry(
        "vit_b_16",
        16,
        |x| vit(x, Size::base(16)),
        published::VIT_B_16,
    ),
    entry(
        "vit_b_32",
        32,
        |x| vit(x, Size::base(32)),
        published::VIT_B_32,
    ),
    entry(
        "vit_l_16",
        16,
        |x| vit(x, Size::large(16)),
        published::VIT_L_16,
    ),
    entry(
        "vit_l_32",
        32,
        |x| vit(x, Size::large(32)),
        published::VIT_L_32,
    ),
    Architecture {
        // Its default weights were trained at this size.
        input_size: 518,
        ..entry(
            "vit_h_14",
            14,
            |x| vit(x, Size::new(14, 32, 16, 1280)),
            published::VIT_H_14,
        )
    },
    timm(
        "vit_tiny_patch16_224",
        16,
        |x| timm_vit(x, Size::new(16, 12, 3, 192)),
        published::VIT_TINY_PATCH16_224,
    ),
    timm(
        "vit_small_patch16_224",
        16,
        |x| timm_vit(x, Size::new(16, 12, 6, 384)),
        published::VIT_SMALL_PATCH16_224,
    ),
    timm(
        "vit_small_patch32_224",
        32,
        |x| timm_vit(x, Size::new(32, 12, 6, 384)),
        published::VIT_SMALL_PATCH32_224,
    ),
    timm(
        "vit_base_patch16_224",
        16,
        |x| timm_vit(x, Size::base(16)),
        published::VIT_BASE_PATCH16_224,
    ),
];
