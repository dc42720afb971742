//! Softmax and layer normalisation over the last axis.

use crate::norm::{Normed, PARTS};
use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// `exp(x − max) / Σ exp(x − max)` of every row.
///
/// Buffers: x and result `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Softmax {
    /// Rows.
    pub rows: u32,
    /// Numbers of a row.
    pub columns: u32,
    /// How numbers are stored.
    pub storage: Storage,
}

impl Softmax {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(self.storage, tier);
        text.bind_numbers("x", false)
            .bind_numbers("result", false)
            .flag("softmax", true);
        finish(text, "softmax", self.rows, self.columns, tier)
    }
}

/// `(x − mean) / √(variance + ε) · gamma + beta` of every row.
///
/// Buffers: x and result `[rows, columns]`, gamma and beta `[columns]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Rows.
    pub rows: u32,
    /// Numbers of a row.
    pub columns: u32,
    /// ε.
    pub epsilon: f32,
    /// How numbers are stored.
    pub storage: Storage,
}

impl LayerNorm {
    /// The kernel; binds x, gamma, beta, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(self.storage, tier);
        for name in ["x", "gamma", "beta", "result"] {
            text.bind_numbers(name, false);
        }
        text.set_f32("EPSILON", self.epsilon);
        finish(text, "layer_norm", self.rows, self.columns, tier)
    }
}

/// The gradient of [`Softmax`]'s input: `y · (dy − Σ y · dy)` of every row.
///
/// Buffers: y, dy and dx `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftmaxGradient {
    /// Rows.
    pub rows: u32,
    /// Numbers of a row.
    pub columns: u32,
}

impl SoftmaxGradient {
    /// The kernel; binds y, dy, dx.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        for name in ["x", "dy", "result"] {
            text.bind_numbers(name, false);
        }
        text.flag("softmax", true).flag("gradient", true);
        finish(text, "softmax_gradient", self.rows, self.columns, tier)
    }
}

/// The gradients of [`LayerNorm`]: of its input, and of gamma and beta.
///
/// Buffers: x, dy and dx `[rows, columns]`, gamma, dgamma and dbeta `[columns]`, stats `[rows, 2]`, scratch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormGradient {
    /// Rows.
    pub rows: u32,
    /// Numbers of a row.
    pub columns: u32,
    /// ε.
    pub epsilon: f32,
}

impl LayerNormGradient {
    /// Numbers (f32) of scratch memory.
    pub fn scratch(&self, tier: Tier) -> u32 {
        self.normed().scratch(tier)
    }

    /// The kernel of the input's gradient; binds x, dy, gamma, stats, dx.
    pub fn of_input(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        for name in ["x", "dy", "gamma", "stats", "result"] {
            text.bind_numbers(name, false);
        }
        text.set_f32("EPSILON", self.epsilon).flag("gradient", true);
        finish(text, "layer_norm_gradient", self.rows, self.columns, tier)
    }

    /// Two kernels for the gradients of gamma and beta, once the input's is there: they bind x, dy, stats, scratch;
    /// scratch, dgamma, dbeta.
    pub fn of_parameters(&self, tier: Tier) -> Vec<Kernel> {
        let normed = self.normed();
        let mut parts = normed.text(tier, &[("x", false), ("dy", false)]);
        parts.bind("stats", "f32").bind("result", "Lane");
        parts.flag("gradient", true).flag("by_row", true);
        let mut join = normed.text(
            tier,
            &[("parts", false), ("dgamma", false), ("dbeta", false)],
        );
        join.flag("gradient", true);
        let work = normed.parts(tier);
        vec![
            normed.kernel(parts.piece(PARTS), "layer_norm_gradient_parts", work),
            normed.join(&mut join, "layer_norm_gradient_join", tier),
        ]
    }

    fn normed(&self) -> Normed {
        Normed {
            images: 1,
            rows: self.rows,
            channels: self.columns,
            storage: Storage::F32,
        }
    }
}

fn finish(mut text: Text, name: &str, rows: u32, columns: u32, tier: Tier) -> Kernel {
    let (team, workgroup) = match tier {
        Tier::Software => (1, 16),
        _ if columns <= 512 => (64, 64),
        _ => (256, 256),
    };
    text.size_all([("ROWS", rows), ("COLUMNS", columns)]);
    text.set("TEAM", team);
    text.flag("team", team > 1).piece(include_str!("rows.wgsl"));
    let groups = if team > 1 {
        rows
    } else {
        rows.div_ceil(workgroup)
    };
    text.kernel(&format!("{name}_{rows}x{columns}"), workgroup, groups)
}
