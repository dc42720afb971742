//! Softmax and layer normalisation over the last axis.

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
