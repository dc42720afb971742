//! Resizing of maps inside networks, and its gradient.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

const WORKGROUP: u32 = 64;

/// Which pixels one that is written is made of; never antialiased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The one at `⌊place · input / output⌋`, in f32 as PyTorch computes it.
    Nearest,
    /// The four around it, by distance; the maps' edges fall together.
    Bilinear,
}

impl Filter {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nearest, Self::Bilinear];

    fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
        }
    }
}

/// Maps of another size.
///
/// Buffers: x `[batch, input, channels]`, result `[batch, output, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resize {
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Rows and columns of x.
    pub input: [u32; 2],
    /// Rows and columns of the result.
    pub output: [u32; 2],
    /// How.
    pub filter: Filter,
    /// How numbers are stored.
    pub storage: Storage,
}

impl Resize {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let name = format!("resize_{}", self.filter.name());
        kernel(self, &name, false, self.output, tier)
    }
}

/// The gradient of [`Resize`].
///
/// Buffers: dy `[batch, output, channels]`, dx `[batch, input, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResizeGradient {
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Rows and columns of what was resized.
    pub input: [u32; 2],
    /// Rows and columns of what came of it.
    pub output: [u32; 2],
    /// How.
    pub filter: Filter,
}

impl ResizeGradient {
    /// The kernel; binds dy, dx.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let forward = Resize {
            batch: self.batch,
            channels: self.channels,
            input: self.input,
            output: self.output,
            filter: self.filter,
            storage: Storage::F32,
        };
        let name = format!("resize_{}_gradient", self.filter.name());
        kernel(&forward, &name, true, self.input, tier)
    }
}

fn kernel(
    resize: &Resize,
    name: &str,
    gradient: bool,
    [rows, columns]: [u32; 2],
    tier: Tier,
) -> Kernel {
    let ([height, width], [out_height, out_width]) = (resize.input, resize.output);
    let mut text = Text::new(resize.storage, tier);
    let lanes = text.lanes(resize.channels);
    text.bind("x", "StoredLane")
        .bind("result", "StoredLane")
        .size_all([
            ("BATCH", resize.batch),
            ("SIDE_Y", height),
            ("SIDE_X", width),
            ("OUT_SIDE_Y", out_height),
            ("OUT_SIDE_X", out_width),
            ("WRITTEN_Y", rows),
            ("WRITTEN_X", columns),
        ]);
    if resize.filter == Filter::Nearest {
        // Divided here: adapters may divide less exactly than PyTorch, which then picks another pixel.
        let scale = |input: u32, output: u32| (input as f32 / output as f32).to_bits();
        text.size_all([
            ("SCALE_Y", scale(height, out_height)),
            ("SCALE_X", scale(width, out_width)),
        ]);
    }
    text.flag("gradient", gradient)
        .flag("nearest", resize.filter == Filter::Nearest);
    text.piece(include_str!("resize.wgsl"));
    let name = format!("{name}_{height}x{width}_{out_height}x{out_width}");
    let invocations = resize.batch * rows * columns * lanes;
    text.kernel(&name, WORKGROUP, invocations.div_ceil(WORKGROUP))
}
