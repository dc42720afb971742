//! Batch normalisation as it is trained, and its gradient.

use crate::sums::split;
use crate::text::Text;
use crate::{Kernel, Storage, Tier};

const WORKGROUP: u32 = 64;

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
        parts(self.rows, self.channels, tier) * 2 * self.channels
    }

    /// Three kernels, binding: x, scratch; scratch, mean, inverse_std; x, mean, inverse_std, gamma,
    /// beta, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let pass = |name, buffers: &[&str], piece, work| {
            let mut text = text(self.rows, self.channels, tier, buffers);
            text.set_f32("EPSILON", self.epsilon);
            finish(text.piece(piece), name, self.rows, self.channels, work)
        };
        let work = parts(self.rows, self.channels, tier);
        let apply = ["x", "mean", "inverse_std", "gamma", "beta", "result"];
        vec![
            pass("batch_norm_parts", &["x", "result"], PARTS, work),
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
        parts(self.rows, self.channels, tier) * 2 * self.channels
    }

    /// Three kernels, binding: x, dy, mean, inverse_std, scratch; scratch, dgamma, dbeta; x, dy,
    /// mean, inverse_std, gamma, dgamma, dbeta, dx.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let pass = |name, buffers: &[&str], piece, work| {
            let mut text = text(self.rows, self.channels, tier, buffers);
            text.flag("gradient", true);
            finish(text.piece(piece), name, self.rows, self.channels, work)
        };
        let work = parts(self.rows, self.channels, tier);
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
            pass("batch_norm_gradient_parts", &sums, PARTS, work),
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

const PARTS: &str = include_str!("batch_norm_parts.wgsl");
const JOIN: &str = include_str!("batch_norm_join.wgsl");
const APPLY: &str = include_str!("batch_norm_apply.wgsl");

fn parts(rows: u32, channels: u32, tier: Tier) -> u32 {
    let enough = if tier == Tier::Software { 64 } else { 16_384 };
    split(rows, channels.div_ceil(4), enough, 32)
}

fn text(rows: u32, channels: u32, tier: Tier, buffers: &[&str]) -> Text {
    let parts = parts(rows, channels, tier);
    let mut text = Text::new(Storage::F32, tier);
    text.lanes(channels);
    for buffer in buffers {
        text.bind(buffer, "Lane");
    }
    text.size_all([
        ("ROWS", rows),
        ("PARTS", parts),
        ("PART_ROWS", rows.div_ceil(parts)),
    ]);
    text
}

/// The kernel, with an invocation for each lane of `work` rows.
fn finish(text: &mut Text, name: &str, rows: u32, channels: u32, work: u32) -> Kernel {
    let lanes = if channels.is_multiple_of(4) {
        channels / 4
    } else {
        channels
    };
    text.kernel(
        &format!("{name}_{rows}x{channels}"),
        WORKGROUP,
        (work * lanes).div_ceil(WORKGROUP),
    )
}
