//! Sums of squares: how long gradients and parameters are.

use crate::text::Text;
use crate::{Kernel, Tier};

/// `sums[part] += Σ numbers[i]²` over a part's numbers, for as many parts as there are: one to [`PLACES`](Self::PLACES).
///
/// Buffers: numbers `[count]`, sums `[PLACES]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SquareSums {
    /// How many numbers.
    pub count: u32,
}

impl SquareSums {
    /// How many sums there are.
    pub const PLACES: u32 = 1024;

    /// The kernel. Its text is one for all lengths.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        const WORKGROUP: u32 = 64;
        let least = if tier == Tier::Software { 1024 } else { 64 };
        let parts = self.count.div_ceil(least).clamp(1, Self::PLACES);
        let mut text = Text::of_any_size();
        text.lanes(self.count);
        text.bind("numbers", "StoredLane").bind("sums", "Stored");
        text.size("PARTS", parts);
        text.piece(include_str!("squares.wgsl"));
        let name = format!("squares_{}", self.count);
        text.kernel(&name, WORKGROUP, parts.div_ceil(WORKGROUP))
    }
}
