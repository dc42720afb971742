//! Attention in one pass over packed queries, keys and values.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// `softmax(q · kᵀ / √depth + bias) · v` for every head of every window.
///
/// Buffers: qkv `[windows, tokens, 3, heads, depth]`, bias `[heads, tokens, tokens]` if any, result
/// `[windows, tokens, heads, depth]`. The depth must be a multiple of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Sequences that are attended to by themselves: windows, or images.
    pub windows: u32,
    /// Tokens of a window.
    pub tokens: u32,
    /// Heads.
    pub heads: u32,
    /// Numbers of a head.
    pub depth: u32,
    /// Whether a bias is added to the scores.
    pub bias: bool,
    /// How numbers are stored.
    pub storage: Storage,
}

impl Attention {
    /// The kernel; binds qkv, bias?, result.
    ///
    /// # Panics
    ///
    /// If the depth is not a multiple of four.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        assert!(
            self.depth.is_multiple_of(4),
            "heads of a multiple of four numbers"
        );
        let fours = self.depth / 4;
        let software = tier == Tier::Software;
        let mut text = Text::new(self.storage, tier);
        text.bind_numbers("qkv", true);
        if self.bias {
            text.bind_numbers("bias", false);
        }
        text.bind_numbers("result", true)
            .flag("bias", self.bias)
            .flag("slices", !software);
        // Queries in an invocation's registers, invocations, queries of a tile.
        let (queries, workgroup) = match (software, fours) {
            (true, ..=16) => (8, 16),
            (true, _) => (4, 16),
            (false, _) => (1, 64),
        };
        let tile = if software { queries } else { workgroup };
        let query_tiles = self.tokens.div_ceil(tile);
        let tiles = self.windows * self.heads * query_tiles;
        text.range('p', queries)
            .range('k', 2)
            .range('d', fours)
            .size_all([
                ("TOKENS", self.tokens),
                ("HEADS", self.heads),
                ("QUERY_TILES", query_tiles),
                ("TILES", tiles),
            ])
            .set("FOURS", fours)
            // Two slices in 16 KiB, of an even number of keys.
            .set("SLICE_KEYS", (512 / fours / 2 * 2).clamp(2, 64));
        text.set_f32("SCALE", (self.depth as f32).sqrt().recip());
        text.piece(include_str!("attention.wgsl"));
        let name = format!("attention_{}x{}x{}", self.tokens, self.heads, self.depth);
        text.kernel(
            &name,
            workgroup,
            if software {
                tiles.div_ceil(workgroup)
            } else {
                tiles
            },
        )
    }
}
