//! The gradient of a convolution's weights.

use crate::epilogue::Epilogue;
use crate::product::{Product, lane_tile};
use crate::sums::{ColumnSums, split};
use crate::text::Text;
use crate::window::Window;
use crate::{Kernel, Storage, Tier};

/// `dw = Σ x · dy` over the pixels of all images, in parts that are then added in a fixed order.
///
/// Buffers: x `[batch, rows.input, columns.input, channels]`, dy
/// `[batch, rows.output, columns.output, out_channels]`, scratch if any, dw
/// `[rows.kernel, columns.kernel, channels / groups, out_channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvWeightGradient {
    /// Images.
    pub batch: u32,
    /// Channels of the convolution's input.
    pub channels: u32,
    /// Channels of its output.
    pub out_channels: u32,
    /// Parts into which both kinds of channels are divided.
    pub groups: u32,
    /// The convolution's window.
    pub window: Window,
}

impl ConvWeightGradient {
    /// Numbers (f32) of scratch memory; 0 if there is one kernel only.
    pub fn scratch(&self, tier: Tier) -> u32 {
        match self.parts(tier) {
            1 => 0,
            parts => parts * self.size(),
        }
    }

    /// One kernel that binds x, dy, dw; or two, of which the first binds x, dy, scratch and the
    /// second scratch, dw.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let parts = self.parts(tier);
        let mut kernels = vec![match tier {
            Tier::Software => self.lanes(parts),
            _ => self.tiles(tier, parts),
        }];
        if parts > 1 {
            let sum = ColumnSums {
                rows: parts,
                columns: self.size(),
            };
            kernels.push(sum.single(tier));
        }
        kernels
    }

    fn name(&self) -> String {
        let (window, from, to) = (self.window.name(), self.channels, self.out_channels);
        format!("conv_weight_gradient_{window}_{from}x{to}")
    }

    fn size(&self) -> u32 {
        self.taps() * self.channels / self.groups * self.out_channels
    }

    fn taps(&self) -> u32 {
        self.window.rows.kernel * self.window.columns.kernel
    }

    fn lines(&self) -> u32 {
        self.batch * self.window.rows.output
    }

    fn pixels(&self) -> u32 {
        self.lines() * self.window.columns.output
    }

    /// Channels of a group: of the input and of the output.
    fn group(&self) -> (u32, u32) {
        (self.channels / self.groups, self.out_channels / self.groups)
    }

    /// Whether software adapters take a whole line of the window as one tap: its numbers are neighbours, and there are few
    /// channels, so that the other factor is read once for all of them.
    fn by_line(&self) -> bool {
        let columns = self.window.columns;
        self.groups == 1 && self.channels < 8 && columns.kernel > 1 && columns.dilation == 1
    }

    /// On software adapters: taps, and the channels of each.
    fn lane_taps(&self) -> (u32, u32) {
        let (channels, _) = self.group();
        match self.by_line() {
            true => (
                self.window.rows.kernel,
                self.window.columns.kernel * channels,
            ),
            false => (self.taps(), channels),
        }
    }

    fn lane_tile(&self) -> (u32, u32) {
        let ((taps, channels), (_, columns)) = (self.lane_taps(), self.group());
        lane_tile(channels, columns, self.groups * taps, self.pixels())
    }

    fn parts(&self, tier: Tier) -> u32 {
        let (channels, columns) = self.group();
        if tier == Tier::Software {
            let (rows, fours) = self.lane_tile();
            let (taps, channels) = self.lane_taps();
            let tiles = channels.div_ceil(rows) * columns.div_ceil(4 * fours);
            split(self.lines(), tiles * taps * self.groups, 96, 4)
        } else {
            let tiles = (self.taps() * channels).div_ceil(64) * columns.div_ceil(64) * self.groups;
            // Memory for parts, and the time to add them, must stay small beside the sums.
            let most = (1 << 22) / self.size().max(1) + 1;
            let enough = if tier == Tier::Full { 600 } else { 192 };
            split(self.pixels(), tiles, enough, 256).min(most)
        }
    }

    fn address(&self, text: &mut Text, (taps, channels): (u32, u32)) {
        text.size_all([
            ("CHANNEL_GROUPS", self.groups),
            ("TAP_CHANNELS", channels),
            ("SOURCE_CHANNELS", self.channels),
            ("TARGET_CHANNELS", self.out_channels),
        ]);
        text.set("WINDOW_TAPS", taps);
        self.window.forward().write(text);
    }

    fn lanes(&self, parts: u32) -> Kernel {
        const WORKGROUP: u32 = 16;
        let ((taps, channels), (_, columns)) = (self.lane_taps(), self.group());
        let (rows, fours) = self.lane_tile();
        let (row_tiles, column_tiles) = (channels.div_ceil(rows), columns.div_ceil(4 * fours));
        let tiles = row_tiles * column_tiles * taps * self.groups * parts;
        let by_four = columns.is_multiple_of(4);
        let mut text = Text::new(Storage::F32, Tier::Software);
        text.bind_numbers("left", false)
            .bind_numbers("right", by_four);
        text.flag("right_by_four", by_four)
            .set("RIGHT_COLUMN_STEP", 1);
        text.size_all([
            ("COLUMNS", columns),
            ("LINES", self.lines()),
            ("PART_LINES", self.lines().div_ceil(parts)),
            ("ROW_TILES", row_tiles),
            ("COLUMN_TILES", column_tiles),
            ("TILES", tiles),
        ]);
        Epilogue::default().write(&mut text, by_four);
        text.flag("by_line", self.by_line());
        self.address(&mut text, (taps, channels));
        text.range('p', rows).range('q', fours).range(
            'u',
            self.window
                .columns
                .output
                .min(if rows * fours > 32 { 2 } else { 4 }),
        );
        text.piece(include_str!("product_right.wgsl"));
        text.piece(include_str!("weight_gradient_lanes.wgsl"));
        text.kernel(&self.name(), WORKGROUP, tiles.div_ceil(WORKGROUP))
    }

    fn tiles(&self, tier: Tier, parts: u32) -> Kernel {
        let (channels, columns) = self.group();
        let product = Product {
            name: self.name(),
            storage: Storage::F32,
            groups: self.groups * parts,
            rows: self.taps() * channels,
            columns,
            taps: self.pixels().div_ceil(parts),
            channels: 1,
            left_step: 1,
            left_turned: true,
            left_run: channels,
            right_step: 0,
            right_column_step: 1,
            inside: false,
            epilogue: Epilogue::default(),
        };
        product.kernel(tier, |text| {
            text.size("PIXELS", self.pixels());
            self.address(text, (self.taps(), channels));
            text.flag("same", self.window.same());
            text.piece(include_str!("weight_gradient_at.wgsl"));
        })
    }
}
