//! Group normalisation and its gradient.

use crate::epilogue::Activation;
use crate::norm::{Normed, PARTS};
use crate::text::Text;
use crate::{Kernel, Storage, Tier};

const GROUPS: &str = include_str!("norm_groups.wgsl");

/// `activation((x − mean) · inverse_std · gamma + beta)`, with mean and biased variance of a group of channels over
/// the pixels of an image.
///
/// Buffers: x and result `[images, rows, channels]` (a row is a pixel), gamma and beta `[channels]`, stored as
/// `storage` says; in f32 mean, inverse_std and, on the way to them, channel_mean and squares `[images, channels]`, and
/// the parts' sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Images.
    pub images: u32,
    /// Pixels of an image.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Groups, which divide the channels.
    pub groups: u32,
    /// Added to the variance.
    pub epsilon: f32,
    /// What is applied last.
    pub activation: Activation,
    /// How maps, gamma and beta are stored.
    pub storage: Storage,
}

impl GroupNorm {
    /// Numbers (f32) of the parts' sums.
    pub fn scratch(&self, tier: Tier) -> u32 {
        self.normed().scratch(tier)
    }

    /// Four kernels, binding: x, parts; parts, channel_mean, squares; channel_mean, squares, mean, inverse_std; x,
    /// mean, inverse_std, gamma, beta, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = self.normed();
        let text = |buffers: &[(&str, bool)]| {
            let mut text = normed.text(tier, buffers);
            text.flag("grouped", true);
            text
        };
        let mut parts = text(&[("x", true), ("result", false)]);
        let mut join = text(&[("parts", false), ("mean", false), ("squares", false)]);
        let buffers = ["channel_mean", "squares", "mean", "inverse_std"];
        let mut groups = group_text(&normed, self.groups, &buffers, tier);
        groups.set_f32("EPSILON", self.epsilon);
        let mut apply = text(&[
            ("x", true),
            ("mean", false),
            ("inverse_std", false),
            ("gamma", true),
            ("beta", true),
            ("result", true),
        ]);
        self.activation.write_lane(&mut apply);
        let each = self.images * self.channels;
        vec![
            normed.kernel(parts.piece(PARTS), "group_norm_parts", normed.parts(tier)),
            normed.join(&mut join, "group_norm_join", tier),
            normed.finish(groups.piece(GROUPS), "group_norm_groups", each),
            normed.apply(&mut apply, "group_norm_apply", tier),
        ]
    }

    fn normed(&self) -> Normed {
        Normed {
            images: self.images,
            rows: self.rows,
            channels: self.channels,
            storage: self.storage,
        }
    }
}

/// The gradient of [`GroupNorm`] without an activation, through mean and variance as well.
///
/// Buffers: x, dy and dx `[images, rows, channels]`, mean and inverse_std `[images, channels]` as the forward pass
/// left them, gamma, dgamma and dbeta `[channels]`; on the way products, slopes, product_share and slope_share
/// `[images, channels]`, and the parts' sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupNormGradient {
    /// Images.
    pub images: u32,
    /// Pixels of an image.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Groups, which divide the channels.
    pub groups: u32,
}

impl GroupNormGradient {
    /// Numbers (f32) of the parts' sums.
    pub fn scratch(&self, tier: Tier) -> u32 {
        self.normed().scratch(tier)
    }

    /// Four kernels, binding: x, dy, mean, inverse_std, parts; parts, products, slopes; products, slopes, gamma,
    /// product_share, slope_share, dgamma, dbeta; x, dy, mean, inverse_std, gamma, product_share, slope_share, dx.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let normed = self.normed();
        let text = |buffers: &[&str]| {
            let buffers: Vec<_> = buffers.iter().map(|&buffer| (buffer, false)).collect();
            let mut text = normed.text(tier, &buffers);
            text.flag("gradient", true).flag("grouped", true);
            text
        };
        let mut parts = text(&["x", "dy", "mean", "inverse_std", "result"]);
        let mut join = text(&["parts", "dgamma", "dbeta"]);
        let shares = ["product_share", "slope_share"];
        let buffers = [
            &["products", "slopes", "gamma"],
            &shares[..],
            &["dgamma", "dbeta"],
        ];
        let mut groups = group_text(&normed, self.groups, &buffers.concat(), tier);
        groups.flag("gradient", true);
        let buffers = [
            &["x", "dy", "mean", "inverse_std", "gamma"],
            &shares[..],
            &["result"],
        ];
        let mut apply = text(&buffers.concat());
        let each = self.images * self.channels;
        vec![
            normed.kernel(
                parts.piece(PARTS),
                "group_norm_gradient_parts",
                normed.parts(tier),
            ),
            normed.join(&mut join, "group_norm_gradient_join", tier),
            normed.finish(groups.piece(GROUPS), "group_norm_gradient_groups", each),
            normed.apply(&mut apply, "group_norm_gradient_apply", tier),
        ]
    }

    fn normed(&self) -> Normed {
        Normed {
            images: self.images,
            rows: self.rows,
            channels: self.channels,
            storage: Storage::F32,
        }
    }
}

/// A text that handles a channel at a time: groups need not divide by four.
fn group_text(normed: &Normed, groups: u32, buffers: &[&str], tier: Tier) -> Text {
    let mut text = Text::new(Storage::F32, tier);
    for buffer in buffers {
        text.bind(buffer, "f32");
    }
    text.size_all([
        ("IMAGES", normed.images),
        ("ROWS", normed.rows),
        ("CHANNELS", normed.channels),
        ("SHARE", normed.channels / groups),
    ]);
    text
}
