//! Column sums: gradients of biases, and the second pass of everything that is summed in parts.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// `result[column] = Σ rows[row][column]`, in a fixed order.
///
/// Buffers: rows `[rows, columns]`, scratch if any, result `[columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnSums {
    /// How many numbers make a sum.
    pub rows: u32,
    /// How many sums.
    pub columns: u32,
}

impl ColumnSums {
    /// Numbers (f32) of scratch memory; 0 if there is one kernel only.
    pub fn scratch(&self, tier: Tier) -> u32 {
        match self.parts(tier) {
            1 => 0,
            parts => parts * self.columns,
        }
    }

    /// One kernel that binds rows, result; or two, of which the first binds rows, scratch and the
    /// second scratch, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let parts = self.parts(tier);
        let mut kernels = vec![self.pass(parts, tier)];
        if parts > 1 {
            let sum = Self {
                rows: parts,
                ..*self
            };
            kernels.push(sum.pass(1, tier));
        }
        kernels
    }

    /// The kernel that sums everything in one pass; binds rows, result.
    pub(crate) fn single(&self, tier: Tier) -> Kernel {
        self.pass(1, tier)
    }

    fn parts(&self, tier: Tier) -> u32 {
        let enough = if tier == Tier::Software { 64 } else { 16_384 };
        split(self.rows, self.columns.div_ceil(4), enough, 32)
    }

    fn pass(&self, parts: u32, tier: Tier) -> Kernel {
        const WORKGROUP: u32 = 64;
        let by_four = self.columns.is_multiple_of(4);
        let lane = if by_four { 4 } else { 1 };
        let lanes = self.columns / lane;
        let element = if by_four { "vec4<f32>" } else { "f32" };
        let mut text = Text::new(Storage::F32, tier);
        text.bind("rows", element)
            .bind("result", element)
            .size_all([
                ("ROWS", self.rows),
                ("LANES", lanes),
                ("PARTS", parts),
                ("PART_ROWS", self.rows.div_ceil(parts)),
            ]);
        text.piece(&format!("alias Lane = {element};"));
        text.piece(include_str!("sums.wgsl"));
        let name = format!("sums_{}x{}", self.rows, self.columns);
        text.kernel(&name, WORKGROUP, (lanes * parts).div_ceil(WORKGROUP))
    }
}

/// Into how many parts of at least `least` a sum over `length` is split, where `width` sums are
/// taken at the same time and `enough` invocations keep an adapter busy.
pub(crate) fn split(length: u32, width: u32, enough: u32, least: u32) -> u32 {
    let wanted = enough
        .div_ceil(width.max(1))
        .clamp(1, length.div_ceil(least).max(1));
    // Parts of equal length, so that none is empty.
    length.div_ceil(length.div_ceil(wanted))
}
