//! Batch normalisation as it is trained, and its gradient.

use crate::epilogue::Activation;
use crate::norm::{Normed, PARTS};
use crate::{Kernel, Storage, Tier};

/// `activation((x − mean) · inverse_std · gamma + beta + residual)`, with mean and biased variance over all rows.
///
/// Buffers: x, residual and result `[rows, channels]` (a row is a pixel of some image), mean, inverse_std,
/// gamma, beta, running_mean, running_variance `[channels]`, scratch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormTrain {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Added to the variance.
    pub epsilon: f32,
    /// The share of the way to the batch's mean and (unbiased) variance that running ones go, if there are any.
    pub share: Option<f32>,
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

    /// Three kernels, binding: x, scratch; scratch, mean, inverse_std and, if they follow, running_mean, running_variance; x,
    /// mean, inverse_std, gamma, beta, residual?, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = normed(self.rows, self.channels);
        let text = |buffers: &[&str]| normed.text(tier, &of_maps(buffers));
        let mut buffers = vec!["x", "mean", "inverse_std", "gamma", "beta"];
        buffers.extend(self.residual.then_some("residual"));
        buffers.push("result");
        let mut parts = text(&["x", "result"]);
        let mut statistics = vec!["parts", "mean", "inverse_std"];
        if self.share.is_some() {
            statistics.extend(["running_mean", "running_variance"]);
        }
        let mut join = text(&statistics);
        join.set_f32("EPSILON", self.epsilon);
        if let Some(share) = self.share {
            join.flag("follows", true).set_f32("SHARE", share);
        }
        let mut apply = text(&buffers);
        apply.flag("residual", self.residual);
        self.activation.write_lane(&mut apply);
        vec![
            normed.kernel(parts.piece(PARTS), "batch_norm_parts", normed.parts(tier)),
            normed.join(&mut join, "batch_norm_join", tier),
            normed.apply(&mut apply, "batch_norm_apply", tier),
        ]
    }
}

/// The gradient of [`BatchNormTrain`] without a residual, through mean and variance as well.
///
/// Buffers: x, dy and dx `[rows, channels]`, mean, inverse_std, gamma, beta, dgamma, dbeta `[channels]`, sums `[2, channels]`,
/// scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNormGradient {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// The function through which the gradient goes first.
    pub activation: Activation,
}

impl BatchNormGradient {
    /// Numbers (f32) of scratch memory.
    pub fn scratch(&self, tier: Tier) -> u32 {
        normed(self.rows, self.channels).scratch(tier)
    }

    /// Three kernels, binding: x, dy, mean, inverse_std, with a function gamma and beta, scratch; scratch, dgamma, dbeta, sums; x,
    /// dy, mean, inverse_std, gamma, with a function beta, sums, dx.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = normed(self.rows, self.channels);
        let ends = self.activation != Activation::None;
        let text = |buffers: &[&str]| {
            let mut text = normed.text(tier, &of_maps(buffers));
            text.flag("gradient", true).flag("ending", ends);
            if ends {
                self.activation.write_slope(&mut text);
            }
            text
        };
        let mut buffers = vec!["x", "dy", "mean", "inverse_std"];
        let before = buffers.clone();
        let ending: &[&str] = if ends { &["gamma", "beta"] } else { &["gamma"] };
        buffers.extend(ending);
        let mut parts = match ends {
            true => text(&[&buffers[..], &["result"]].concat()),
            false => text(&[&before[..], &["result"]].concat()),
        };
        let mut join = normed.text(tier, &of_maps(&["parts", "dgamma", "dbeta", "sums"]));
        join.flag("gradient", true).flag("summed", true);
        let mut apply = text(&[&buffers[..], &["sums", "result"]].concat());
        let rows = normed.parts(tier);
        vec![
            normed.kernel(parts.piece(PARTS), "batch_norm_gradient_parts", rows),
            normed.join(&mut join, "batch_norm_gradient_join", tier),
            normed.apply(&mut apply, "batch_norm_gradient_apply", tier),
        ]
    }
}

/// For each channel of each image `Σ dy · (x − centre) · scale`, or `Σ dy · x`, and `Σ dy`.
///
/// Buffers: x, dy `[images, rows, channels]`, centre, scale, products and slopes `[images, channels]`, scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelProducts {
    /// Images; 1 where sums go over all.
    pub images: u32,
    /// Pixels of an image.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Whether a centre is taken away and a scale multiplied with.
    pub centred: bool,
}

impl ChannelProducts {
    /// Numbers (f32) of scratch memory.
    pub fn scratch(&self, tier: Tier) -> u32 {
        self.normed().scratch(tier)
    }

    /// Two kernels, binding: x, dy, centre and scale if there are any, scratch; scratch, products, slopes.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = self.normed();
        let mut buffers = vec!["x", "dy"];
        if self.centred {
            buffers.extend(["mean", "inverse_std"]);
        }
        buffers.push("result");
        let mut parts = normed.text(tier, &of_maps(&buffers));
        parts.flag("gradient", true).flag("plain", !self.centred);
        let mut join = normed.text(tier, &of_maps(&["parts", "dgamma", "dbeta"]));
        join.flag("gradient", true);
        let rows = normed.parts(tier);
        vec![
            normed.kernel(parts.piece(PARTS), "channel_products_parts", rows),
            normed.join(&mut join, "channel_products_join", tier),
        ]
    }

    fn normed(&self) -> Normed {
        Normed {
            images: self.images,
            ..normed(self.rows, self.channels)
        }
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
