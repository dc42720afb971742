//! Convolution with a window of 3×3 by Winograd's minimal filtering: fewer multiplications for more
//! additions and more memory.

use std::fmt::Write;

use crate::conv::Conv;
use crate::epilogue::Epilogue;
use crate::matmul::MatMul;
use crate::text::Text;
use crate::window::{Side, Window};
use crate::{Kernel, Storage, Tier};

const WORKGROUP: u32 = 64;

/// `activation(conv(x, w) + bias + residual)` for windows of 3×3, stride and dilation 1, one group.
///
/// A tile of 4×4 pixels gives 2×2 pixels of the result for 16 multiplications instead of 36, a tile
/// of 6×6 gives 4×4 for 36 instead of 144, at ten to twenty times the rounding error: 1e-5 of the
/// largest number is usual, 1e-4 the most that was seen.
///
/// Buffers: as for [`Conv`], but for the weights, which [`weights`](Self::weights)
/// transforms beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Winograd {
    /// Images.
    pub batch: u32,
    /// Channels of the input.
    pub channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// The sliding window.
    pub window: Window,
    /// Tiles of 6×6, not 4×4.
    pub big: bool,
    /// What follows.
    pub epilogue: Epilogue,
}

/// Rows of coefficients.
type Matrix = &'static [&'static [f32]];

/// What is made of a line of a tile, of a window's line, and of a line of products.
struct Transforms {
    input: Matrix,
    weights: Matrix,
    output: Matrix,
}

/// F(2, 3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*.
const SMALL: Transforms = Transforms {
    input: &[
        &[1.0, 0.0, -1.0, 0.0],
        &[0.0, 1.0, 1.0, 0.0],
        &[0.0, -1.0, 1.0, 0.0],
        &[0.0, 1.0, 0.0, -1.0],
    ],
    weights: &[
        &[1.0, 0.0, 0.0],
        &[0.5, 0.5, 0.5],
        &[0.5, -0.5, 0.5],
        &[0.0, 0.0, 1.0],
    ],
    output: &[&[1.0, 1.0, 1.0, 0.0], &[0.0, 1.0, -1.0, -1.0]],
};

/// F(4, 3), likewise.
const BIG: Transforms = Transforms {
    input: &[
        &[4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        &[0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        &[0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        &[0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        &[0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        &[0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ],
    weights: &[
        &[1.0 / 4.0, 0.0, 0.0],
        &[-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        &[-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        &[1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        &[1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        &[0.0, 0.0, 1.0],
    ],
    output: &[
        &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        &[0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        &[0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        &[0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ],
};

impl Winograd {
    /// The same convolution this way, if that is possible and faster: with few channels the
    /// transforms cost more than they save, and with few tiles the products are too flat for large
    /// ones. Transformed weights and one image's tiles are `most` numbers at most, as many as a
    /// binding takes. On lavapipe and SwiftShader the gain is 1.6 to 2.5.
    pub fn of(conv: &Conv, most: u32) -> Option<Self> {
        let Window { rows, columns } = conv.window;
        let fits = |side: Side| (side.kernel, side.stride, side.dilation) == (3, 1, 1);
        let worth = conv.channels.min(conv.out_channels) >= 16;
        let possible = conv.groups == 1 && conv.storage == Storage::F32;
        if !(fits(rows) && fits(columns) && worth && possible) {
            return None;
        }
        let big = Self {
            batch: conv.batch,
            channels: conv.channels,
            out_channels: conv.out_channels,
            window: conv.window,
            big: true,
            epilogue: conv.epilogue,
        };
        // Of one image: weights are transformed before anybody knows the batch.
        let big_enough = big.grid().0 * big.grid().1 >= 9;
        let sizes = [big_enough, false].map(|big_enough| Self {
            big: big_enough,
            ..big
        });
        let most = u64::from(most);
        sizes.into_iter().find(|size| {
            let tiles = u64::from(size.grid().0) * u64::from(size.grid().1);
            let widest = u64::from(size.channels.max(size.out_channels));
            let tiles = u64::from(size.numbers()) * tiles * widest;
            tiles <= most && u64::from(size.weights_length()) <= most
        })
    }

    /// Transforms the weights; binds w `[3, 3, channels, out_channels]`, and as result as many
    /// numbers (f32) as [`weights_length`](Self::weights_length) says.
    pub fn weights(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.channels * self.out_channels);
        text.bind("w", "Lane").bind("result", "Lane");
        self.piece(
            &mut text,
            include_str!("winograd_weights.wgsl"),
            self.transforms().weights,
            3,
        );
        text.kernel(&self.name("weights"), WORKGROUP, lanes.div_ceil(WORKGROUP))
    }

    /// The same of weights as another convolution has them, of which this one is the gradient of the input: binds w
    /// `[3, 3, out_channels, channels]`, whose taps are met in the opposite order.
    pub fn turned_weights(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        text.lanes(1);
        text.bind("w", "Lane").bind("result", "Lane");
        text.flag("turned", true)
            .size("CHANNELS", self.channels)
            .size("OUT_CHANNELS", self.out_channels);
        self.piece(
            &mut text,
            include_str!("winograd_weights.wgsl"),
            self.transforms().weights,
            3,
        );
        let count = self.channels * self.out_channels;
        text.kernel(
            &self.name("turned_weights"),
            WORKGROUP,
            count.div_ceil(WORKGROUP),
        )
    }

    /// Numbers of the transformed weights.
    pub fn weights_length(&self) -> u32 {
        self.numbers() * self.channels * self.out_channels
    }

    /// Numbers (f32) of the two scratch memories.
    pub fn scratch(&self) -> [u32; 2] {
        let numbers = self.numbers() * self.tiles();
        [numbers * self.channels, numbers * self.out_channels]
    }

    /// Three kernels, binding: x, first scratch; first scratch, transformed weights, second
    /// scratch; second scratch, bias?, residual?, result.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let products = MatMul {
            batch: self.numbers(),
            rows: self.tiles(),
            depth: self.channels,
            columns: self.out_channels,
            turned_a: false,
            turned_b: false,
            epilogue: Epilogue::default(),
            storage: Storage::F32,
        };
        vec![self.input(tier), products.kernel(tier), self.output(tier)]
    }

    fn name(&self, pass: &str) -> String {
        let (made, from, to) = (self.made(), self.channels, self.out_channels);
        format!("winograd_{made}x{made}_{pass}_{from}x{to}")
    }

    fn transforms(&self) -> Transforms {
        if self.big { BIG } else { SMALL }
    }

    /// Side of what a tile makes.
    fn made(&self) -> u32 {
        if self.big { 4 } else { 2 }
    }

    /// Numbers of a tile.
    fn numbers(&self) -> u32 {
        (self.made() + 2).pow(2)
    }

    /// Tiles down and across.
    fn grid(&self) -> (u32, u32) {
        let Window { rows, columns } = self.window;
        (
            rows.output.div_ceil(self.made()),
            columns.output.div_ceil(self.made()),
        )
    }

    fn tiles(&self) -> u32 {
        self.batch * self.grid().0 * self.grid().1
    }

    fn address(&self, text: &mut Text) {
        let Window { rows, columns } = self.window;
        text.set("MADE", self.made()).size_all([
            ("TILES", self.tiles()),
            ("TILES_Y", self.grid().0),
            ("TILES_X", self.grid().1),
            ("SOURCE_Y", rows.input),
            ("SOURCE_X", columns.input),
            ("VISITED_Y", rows.output),
            ("VISITED_X", columns.output),
            ("PADDING_Y", rows.padding),
            ("PADDING_X", columns.padding),
        ]);
    }

    fn input(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.channels);
        text.bind("x_", "Lane").bind("result", "Lane");
        self.address(&mut text);
        self.piece(
            &mut text,
            include_str!("winograd_input.wgsl"),
            self.transforms().input,
            self.made(),
        );
        let invocations = self.tiles() * lanes;
        text.kernel(
            &self.name("input"),
            WORKGROUP,
            invocations.div_ceil(WORKGROUP),
        )
    }

    fn output(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.out_channels);
        text.bind("m", "Lane").size("CHANNELS", self.out_channels);
        self.epilogue
            .write(&mut text, self.out_channels.is_multiple_of(4));
        self.address(&mut text);
        self.piece(
            &mut text,
            include_str!("winograd_output.wgsl"),
            self.transforms().output,
            self.made(),
        );
        let invocations = self.tiles() * lanes;
        text.kernel(
            &self.name("output"),
            WORKGROUP,
            invocations.div_ceil(WORKGROUP),
        )
    }

    /// Adds a piece with a transform. Its indices p and q run over a tile, i and j over the square
    /// that the weights come from or the result becomes, of this side.
    fn piece(&self, text: &mut Text, piece: &str, matrix: Matrix, square: u32) {
        let side = self.made() + 2;
        text.set("SIDE", side).range('p', side).range('q', side);
        text.range('i', square).range('j', square);
        text.piece(&piece.replace("//: transform\n", &both_ways(matrix)));
    }
}

/// Lines that make `c = M · a · Mᵀ` of a square of values `a`.
fn both_ways(matrix: Matrix) -> String {
    let mut out = String::new();
    let (made, taken) = (matrix.len(), matrix[0].len());
    for (row, coefficients) in matrix.iter().enumerate() {
        for column in 0..taken {
            let sum = combination(coefficients, |at| format!("a{at}_{column}"));
            let _ = writeln!(out, "    let b{row}_{column} = {sum};");
        }
    }
    for row in 0..made {
        for (column, coefficients) in matrix.iter().enumerate() {
            let sum = combination(coefficients, |at| format!("b{row}_{at}"));
            let _ = writeln!(out, "    let c{row}_{column} = {sum};");
        }
    }
    out
}

/// `4.0 * a - b` and the like, without what is multiplied by zero.
fn combination(coefficients: &[f32], value: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for (at, &coefficient) in coefficients.iter().enumerate() {
        if coefficient == 0.0 {
            continue;
        }
        let sign = match (out.is_empty(), coefficient < 0.0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        };
        let _ = match coefficient.abs() {
            1.0 => write!(out, "{sign}{}", value(at)),
            size => write!(out, "{sign}{size:?} * {}", value(at)),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_done_with_fits_into_a_binding() {
        let of = |channels: u32, side: u32| {
            let side = Side::new(side, 3, 1, 1, 1);
            let window = Window {
                rows: side,
                columns: side,
            };
            let conv = Conv {
                batch: 1,
                channels,
                out_channels: 512,
                groups: 1,
                window,
                epilogue: Epilogue::default(),
                storage: Storage::F32,
            };
            // 128 MiB.
            let conv = Winograd::of(&conv, (128 << 20) / 4);
            conv.map(|conv| (conv.big, conv.weights_length()))
        };
        assert_eq!(of(512, 65), Some((true, 36 * 512 * 512)));
        // FCN's classifier: the weights of large tiles are too many, and of a photo of 520 pixels there are too
        // many small ones.
        assert_eq!(of(2048, 16), Some((false, 16 * 2048 * 512)));
        assert_eq!(of(2048, 65), None);
    }
}
