//! Batch normalisation as it is trained, and its gradient.

use crate::epilogue::Activation;
use crate::norm::{APPLY, Normed, PARTS};
use crate::{Kernel, Storage, Tier};

/// `activation((x − mean) · inverse_std · gamma + beta + residual)`, with mean and biased variance over all rows.
///
/// Buffers: x, residual and result `[rows, channels]` (a row is a pixel of some image), mean, inverse_std,
/// gamma, beta `[channels]`, scratch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormTrain {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether a buffer as long as the result is added.
    pub residual: bool,
    /// What is applied last.
    pub activation: Activation,
}

impl BatchNormTrain {
    /// Numbers (f32) of scratch memory.
    pub fn scratch(&self, tier: Tier) -> u32 {
        normed(self.rows, self.channels).scratch(tier)
    }

    /// Three kernels, binding: x, scratch; scratch, mean, inverse_std; x, mean, inverse_std, gamma,
    /// beta, residual?, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = normed(self.rows, self.channels);
        let text = |buffers: &[&str]| {
            let mut text = normed.text(tier, &of_maps(buffers));
            text.set_f32("EPSILON", self.epsilon);
            text
        };
        let mut buffers = vec!["x", "mean", "inverse_std", "gamma", "beta"];
        buffers.extend(self.residual.then_some("residual"));
        buffers.push("result");
        let mut parts = text(&["x", "result"]);
        let mut join = text(&["parts", "mean", "inverse_std"]);
        let mut apply = text(&buffers);
        apply.flag("residual", self.residual);
        self.activation.write_lane(&mut apply);
        vec![
            normed.kernel(parts.piece(PARTS), "batch_norm_parts", normed.parts(tier)),
            normed.join(&mut join, "batch_norm_join", tier),
            normed.kernel(apply.piece(APPLY), "batch_norm_apply", self.rows),
        ]
    }
}

/// The gradient of [`BatchNormTrain`], through mean and variance as well.
///
/// Buffers: x, dy and dx `[rows, channels]`, mean, inverse_std, gamma, dgamma, dbeta `[channels]`,
/// scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNormGradient {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
}

impl BatchNormGradient {
    /// Numbers (f32) of scratch memory.
    pub fn scratch(&self, tier: Tier) -> u32 {
        normed(self.rows, self.channels).scratch(tier)
    }

    /// Three kernels, binding: x, dy, mean, inverse_std, scratch; scratch, dgamma, dbeta; x, dy,
    /// mean, inverse_std, gamma, dgamma, dbeta, dx.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = normed(self.rows, self.channels);
        let text = |buffers: &[&str]| {
            let mut text = normed.text(tier, &of_maps(buffers));
            text.flag("gradient", true);
            text
        };
        let mut sums = text(&["x", "dy", "mean", "inverse_std", "result"]);
        let mut join = text(&["parts", "dgamma", "dbeta"]);
        let buffers = ["mean", "inverse_std", "gamma", "dgamma", "dbeta", "result"];
        let mut apply = text(&[&["x", "dy"], &buffers[..]].concat());
        let parts = normed.parts(tier);
        vec![
            normed.kernel(sums.piece(PARTS), "batch_norm_gradient_parts", parts),
            normed.join(&mut join, "batch_norm_gradient_join", tier),
            normed.kernel(apply.piece(APPLY), "batch_norm_gradient_apply", self.rows),
        ]
    }
}

/// The rows of all images as one image's.
fn normed(rows: u32, channels: u32) -> Normed {
    Normed {
        images: 1,
        rows,
        channels,
        storage: Storage::F32,
    }
}

/// Everything in training is stored as sums are.
fn of_maps<'a>(buffers: &[&'a str]) -> Vec<(&'a str, bool)> {
    buffers.iter().map(|&buffer| (buffer, false)).collect()
}
