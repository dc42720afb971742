//! Products of matrices, and linear layers.

use crate::epilogue::Epilogue;
use crate::product::Product;
use crate::{Kernel, Storage, Tier};

/// `activation(a · b + bias + residual)` for each of a batch of matrices.
///
/// Buffers: a `[batch, rows, depth]` (or `[batch, depth, rows]`), b `[batch, depth, columns]` (or
/// `[batch, columns, depth]`), bias `[columns]` if any, residual `[batch, rows, columns]` if any,
/// result like the residual. A linear layer is a batch of one, its weights are b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatMul {
    /// Products.
    pub batch: u32,
    /// Rows of a and of the result.
    pub rows: u32,
    /// Columns of a, rows of b.
    pub depth: u32,
    /// Columns of b and of the result.
    pub columns: u32,
    /// a lies `[batch, depth, rows]`.
    pub turned_a: bool,
    /// b lies `[batch, columns, depth]`.
    pub turned_b: bool,
    /// What follows.
    pub epilogue: Epilogue,
    /// How numbers are stored.
    pub storage: Storage,
}

impl MatMul {
    /// The kernel; binds a, b, bias?, residual?, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let pick = |turned, yes, no| if turned { yes } else { no };
        let product = Product {
            name: format!(
                "matmul_{}x{}x{}x{}",
                self.batch, self.rows, self.depth, self.columns
            ),
            storage: self.storage,
            groups: self.batch,
            rows: self.rows,
            columns: self.columns,
            taps: 1,
            channels: self.depth,
            left_step: pick(self.turned_a, self.rows, 1),
            left_turned: self.turned_a,
            left_run: self.rows,
            right_step: pick(self.turned_b, 1, self.columns),
            right_column_step: pick(self.turned_b, self.depth, 1),
            inside: true,
            epilogue: self.epilogue,
        };
        product.kernel(tier, |text| {
            text.step("LEFT_ROW_STEP", pick(self.turned_a, 1, self.depth));
            text.piece(include_str!("matmul_at.wgsl"));
        })
    }
}
