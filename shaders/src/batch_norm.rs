//! Batch normalisation as it is trained, and its gradient.

use crate::norm::{APPLY, JOIN, Normed, PARTS};
use crate::{Kernel, Storage, Tier};

/// `(x − mean) · inverse_std · gamma + beta`, with mean and biased variance over all rows.
///
/// Buffers: x and result `[rows, channels]` (a row is a pixel of some image), mean, inverse_std,
/// gamma, beta `[channels]`, scratch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormTrain {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Added to the variance.
    pub epsilon: f32,
}

impl BatchNormTrain {
    /// Numbers (f32) of scratch memory.
    pub fn scratch(&self, tier: Tier) -> u32 {
        normed(self.rows, self.channels).scratch(tier)
    }

    /// Three kernels, binding: x, scratch; scratch, mean, inverse_std; x, mean, inverse_std, gamma,
    /// beta, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = normed(self.rows, self.channels);
        let pass = |name, buffers: &[&str], piece, work| {
            let mut text = normed.text(tier, &of_maps(buffers));
            text.set_f32("EPSILON", self.epsilon);
            normed.kernel(text.piece(piece), name, work)
        };
        let apply = ["x", "mean", "inverse_std", "gamma", "beta", "result"];
        vec![
            pass(
                "batch_norm_parts",
                &["x", "result"],
                PARTS,
                normed.parts(tier),
            ),
            pass(
                "batch_norm_join",
                &["parts", "mean", "inverse_std"],
                JOIN,
                1,
            ),
            pass("batch_norm_apply", &apply, APPLY, self.rows),
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
        let pass = |name, buffers: &[&str], piece, work| {
            let mut text = normed.text(tier, &of_maps(buffers));
            text.flag("gradient", true);
            normed.kernel(text.piece(piece), name, work)
        };
        let sums = ["x", "dy", "mean", "inverse_std", "result"];
        let apply = [
            "x",
            "dy",
            "mean",
            "inverse_std",
            "gamma",
            "dgamma",
            "dbeta",
            "result",
        ];
        vec![
            pass(
                "batch_norm_gradient_parts",
                &sums,
                PARTS,
                normed.parts(tier),
            ),
            pass(
                "batch_norm_gradient_join",
                &["parts", "dgamma", "dbeta"],
                JOIN,
                1,
            ),
            pass("batch_norm_gradient_apply", &apply, APPLY, self.rows),
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
