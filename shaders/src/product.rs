//! The matrix product behind convolutions and linear layers.
//!
//! `result[group][row][column] = Σ left[group][row][depth] · right[group][depth][column]`, where
//! the depth is `taps × channels` and the left matrix may exist only as a way to find its numbers
//! (implicit GEMM: rows are pixels, taps are places of the kernel's window).

use crate::epilogue::Epilogue;
use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// Numbers along the depth that a workgroup stages at a time, in fours.
const SLICE_FOURS: u32 = 4;

/// Below this many operations the compiler's time for a large tile does not come back.
const HEAVY: u64 = 50_000_000;

/// A product, but for the functions that say where its numbers lie. `place`, `start`, `weight_at`,
/// `target_at` and `channel_of` must come from the pieces that `addressing` adds; see
/// `product_lanes.wgsl`.
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) storage: Storage,
    pub(crate) groups: u32,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) taps: u32,
    pub(crate) channels: u32,
    /// Consecutive depths of a tap are this many numbers apart in the left matrix.
    pub(crate) left_step: u32,
    /// Neighbouring rows of the left matrix, not depths, are neighbours in memory.
    pub(crate) left_turned: bool,
    /// So many of them at a time, from each multiple on; where depths are neighbours, it means nothing.
    pub(crate) left_run: u32,
    /// Consecutive depths of a tap are this many numbers apart in the right matrix.
    pub(crate) right_step: u32,
    /// Consecutive columns of the right matrix are this many numbers apart.
    pub(crate) right_column_step: u32,
    /// No tap lies outside the map.
    pub(crate) inside: bool,
    pub(crate) epilogue: Epilogue,
}

/// Rows and columns (in fours) of one invocation's registers, and invocations along both.
#[derive(Clone, Copy)]
struct Tile {
    rows: u32,
    fours: u32,
    across: u32,
    down: u32,
}

impl Product {
    /// The kernel; binds left, right, bias, residual, result.
    pub(crate) fn kernel(&self, tier: Tier, addressing: impl Fn(&mut Text)) -> Kernel {
        let mut text = Text::new(self.storage, tier);
        text.size_all([
            ("ROWS", self.rows),
            ("COLUMNS", self.columns),
            ("DEPTH_OF_TAP", self.channels),
        ]);
        text.set("TAPS", self.taps)
            .step("LEFT_STEP", self.left_step)
            .step("RIGHT_STEP", self.right_step)
            .step("RIGHT_COLUMN_STEP", self.right_column_step);
        let software = tier == Tier::Software;
        let tile = self.tile(tier);
        let rows_by_four = !software
            && self.left_turned
            && self.left_run.is_multiple_of(4)
            && tile.rows.is_multiple_of(4);
        let left_by_four =
            rows_by_four || !software && !self.left_turned && self.channels.is_multiple_of(4);
        let result_by_four = self.columns.is_multiple_of(4);
        let right_by_four = result_by_four && self.right_column_step == 1;
        text.bind_numbers("left", left_by_four)
            .bind_numbers("right", right_by_four)
            .flag("left_by_four", left_by_four)
            .flag("right_by_four", right_by_four)
            .flag("right_turned", self.right_column_step != 1)
            .flag("left_turned", self.left_turned)
            .flag("rows_by_four", rows_by_four)
            .flag("inside", self.inside);
        self.epilogue.write(&mut text, result_by_four);
        addressing(&mut text);
        text.piece(include_str!("product_depth.wgsl"));
        text.piece(include_str!("product_right.wgsl"));
        if software {
            self.lanes(&mut text)
        } else {
            self.tiles(tile, &mut text)
        }
    }

    /// One invocation, one tile of registers.
    fn lanes(&self, text: &mut Text) -> Kernel {
        const WORKGROUP: u32 = 16;
        let (rows, fours) = lane_tile(
            self.rows,
            self.columns,
            self.groups,
            self.taps * self.channels,
        );
        // Longer chains gain nothing in large tiles and cost the compiler its time.
        let longest = if rows * fours > 16 { 2 } else { 4 };
        let unroll = (1..=longest)
            .rev()
            .find(|u| self.channels.is_multiple_of(*u))
            .unwrap_or(1);
        let row_tiles = self.rows.div_ceil(rows);
        let column_tiles = self.columns.div_ceil(4 * fours);
        let tiles = self.groups * row_tiles * column_tiles;
        text.range('p', rows)
            .range('q', fours)
            .range('u', unroll)
            .size_all([
                ("ROW_TILES", row_tiles),
                ("COLUMN_TILES", column_tiles),
                ("TILES", tiles),
            ]);
        text.piece(include_str!("product_lanes.wgsl"));
        text.kernel(&self.name, WORKGROUP, tiles.div_ceil(WORKGROUP))
    }

    /// Workgroups that stage slices of both matrices in workgroup memory.
    fn tiles(&self, tile: Tile, text: &mut Text) -> Kernel {
        let workgroup = tile.across * tile.down;
        let (tile_rows, tile_fours) = (tile.rows * tile.down, tile.fours * tile.across);
        let row_tiles = self.rows.div_ceil(tile_rows);
        let column_tiles = self.columns.div_ceil(4 * tile_fours);
        let left = tile_rows * SLICE_FOURS;
        let right = 4 * SLICE_FOURS * tile_fours;
        // A phase of a strided gradient may meet no tap at all: its loop then runs zero times.
        text.size("DEPTH", self.taps.max(1) * self.channels).size(
            "SLICES",
            (self.taps * self.channels).div_ceil(4 * SLICE_FOURS),
        );
        text.range('p', tile.rows)
            .range('q', tile.fours)
            .range('i', left.div_ceil(workgroup))
            .range('j', right.div_ceil(workgroup))
            .range('c', 4)
            .range('m', tile.rows / 4)
            .range('r', 4)
            .flag("left_uneven", !left.is_multiple_of(workgroup))
            .flag("right_uneven", !right.is_multiple_of(workgroup))
            .size_all([("ROW_TILES", row_tiles), ("COLUMN_TILES", column_tiles)])
            .set_all([
                ("TILE_ROWS", tile_rows),
                ("TILE_FOURS", tile_fours),
                ("SLICE_FOURS", SLICE_FOURS),
                ("ACROSS", tile.across),
                ("DOWN", tile.down),
            ]);
        text.piece(include_str!("product_tiles.wgsl"));
        text.kernel(
            &self.name,
            workgroup,
            self.groups * row_tiles * column_tiles,
        )
    }

    /// The largest tile that neither wastes columns nor leaves a GPU without work.
    fn tile(&self, tier: Tier) -> Tile {
        let make = |rows, fours, across, down| Tile {
            rows,
            fours,
            across,
            down,
        };
        // 128×128 has twice the reuse, but its registers halve the occupancy of phones.
        let wide = [make(8, 2, 16, 16), make(8, 1, 16, 16)];
        let common = [
            make(4, 1, 16, 16),
            make(4, 1, 8, 16),
            make(4, 1, 8, 8),
            make(2, 1, 8, 8),
        ];
        let narrow = [make(8, 1, 4, 16), make(4, 1, 4, 16), make(2, 1, 4, 8)];
        let candidates: Vec<Tile> = match tier {
            _ if self.columns <= 16 => narrow.to_vec(),
            Tier::Roomy | Tier::Full => wide.into_iter().chain(common).collect(),
            _ => wide[1..].iter().copied().chain(common).collect(),
        };
        // Enough workgroups for an adapter's cores, or else the smallest tile of all. On a card of 132 multiprocessors 600
        // were 12 to 19 % faster than 96 (forward passes of ResNet-18 and 50, batch 32).
        let enough = match tier {
            Tier::Full => 600,
            _ => 96,
        };
        let fits = |tile: &&Tile| {
            let columns = 4 * tile.fours * tile.across;
            let waste = self.columns.next_multiple_of(columns) - self.columns;
            let groups = self.groups
                * self.rows.div_ceil(tile.rows * tile.down)
                * self.columns.div_ceil(columns);
            groups >= enough && waste * 4 <= self.columns.max(columns / 2)
        };
        let last = candidates[candidates.len() - 1];
        candidates.iter().find(fits).copied().unwrap_or(last)
    }
}

/// Rows and fours of columns of a register tile whose loads and sums cost least on lavapipe and
/// SwiftShader, where a load costs about as much as twelve multiplications, and that leave work for
/// every core.
pub(crate) fn lane_tile(rows: u32, columns: u32, groups: u32, depth: u32) -> (u32, u32) {
    let operations =
        2 * u64::from(groups) * u64::from(rows) * u64::from(columns) * u64::from(depth);
    let most = if operations < HEAVY { 16 } else { 32 };
    let cost = |(tile_rows, fours): (u32, u32)| {
        let row_tiles = u64::from(rows.div_ceil(tile_rows));
        let tiles = row_tiles * u64::from(columns.div_ceil(4 * fours));
        let each = 12 * (tile_rows + 4 * fours) + 4 * tile_rows * fours;
        let idle = u64::from(u32::from(tiles * u64::from(groups) < 64));
        (idle, tiles * u64::from(each + 40))
    };
    // Few of them, so that layers share texts: 7 for maps of 7, 14 and 28 rows, 1 for vectors.
    [
        (8, 4),
        (7, 4),
        (8, 2),
        (7, 2),
        (4, 4),
        (4, 2),
        (8, 1),
        (4, 1),
        (1, 1),
    ]
    .into_iter()
    .filter(|&(tile_rows, fours)| {
        tile_rows * fours <= most
            && tile_rows <= rows.next_power_of_two()
            && 4 * fours < columns + 4
    })
    .min_by_key(|&tile| cost(tile))
    .unwrap_or((1, 1))
}
