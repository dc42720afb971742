//! Bilinear resampling and its gradient.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// Bilinear resampling, without antialiasing, as networks do it inside.
///
/// Buffers: x `[batch, height, width, channels]`, y `[batch, out_height, out_width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bilinear {
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// Rows of the output.
    pub out_height: u32,
    /// Columns of the output.
    pub out_width: u32,
    /// The centres of the corner pixels, not their corners, fall together.
    pub align_corners: bool,
}

impl Bilinear {
    /// The kernel; binds x, y.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        self.make("bilinear", false, [self.out_height, self.out_width], tier)
    }

    /// The gradient's kernel; binds dy, dx.
    pub fn gradient(&self, tier: Tier) -> Kernel {
        self.make("bilinear_gradient", true, [self.height, self.width], tier)
    }

    fn make(&self, name: &str, gradient: bool, written: [u32; 2], tier: Tier) -> Kernel {
        const WORKGROUP: u32 = 64;
        let [rows, columns] = written;
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.channels);
        text.bind("x", "Lane").bind("result", "Lane").size_all([
            ("BATCH", self.batch),
            ("SIDE_Y", self.height),
            ("SIDE_X", self.width),
            ("OUT_SIDE_Y", self.out_height),
            ("OUT_SIDE_X", self.out_width),
            ("WRITTEN_Y", rows),
            ("WRITTEN_X", columns),
        ]);
        text.flag("gradient", gradient)
            .flag("align_corners", self.align_corners);
        text.piece(include_str!("bilinear.wgsl"));
        let name = format!(
            "{name}_{}x{}_{}x{}",
            self.height, self.width, self.out_height, self.out_width
        );
        let invocations = self.batch * rows * columns * lanes;
        text.kernel(&name, WORKGROUP, invocations.div_ceil(WORKGROUP))
    }
}
