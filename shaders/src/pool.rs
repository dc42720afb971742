//! Pools.

use crate::text::Text;
use crate::window::Window;
use crate::{Kernel, Storage, Tier};

const WORKGROUP: u32 = 64;

/// The largest number of each window; padding is never the largest.
///
/// Buffers: x `[batch, rows.input, columns.input, channels]`, result
/// `[batch, rows.output, columns.output, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool {
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// The sliding window.
    pub window: Window,
}

impl MaxPool {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        pool(
            "max_pool",
            self.batch,
            self.channels,
            self.window,
            &["largest"],
            tier,
        )
    }
}

/// The average of each window. The window's dilation must be 1.
///
/// Buffers: as for [`MaxPool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool {
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// The sliding window.
    pub window: Window,
    /// Padding counts as zeros, but what a window reaches beyond it does not count, as in PyTorch.
    pub count_include_pad: bool,
}

impl AvgPool {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let flags: &[_] = if self.count_include_pad {
            &["padding_counts"]
        } else {
            &[]
        };
        pool(
            "avg_pool",
            self.batch,
            self.channels,
            self.window,
            flags,
            tier,
        )
    }
}

fn pool(
    name: &str,
    batch: u32,
    channels: u32,
    window: Window,
    flags: &[&'static str],
    tier: Tier,
) -> Kernel {
    let walks = window.forward();
    let mut text = Text::new(Storage::F32, tier);
    let lanes = text.lanes(channels);
    text.bind("x_", "Lane").bind("result", "Lane");
    text.size("PIXELS", batch * walks.visited()).set_all([
        ("PADDING_Y", window.rows.padding),
        ("PADDING_X", window.columns.padding),
    ]);
    walks.write(&mut text);
    for flag in flags {
        text.flag(flag, true);
    }
    text.piece(include_str!("pool.wgsl"));
    let name = format!("{name}_{}_{channels}", window.name());
    text.kernel(
        &name,
        WORKGROUP,
        (batch * walks.visited() * lanes).div_ceil(WORKGROUP),
    )
}

/// The average of each channel over all pixels of an image.
///
/// Buffers: x `[batch, pixels, channels]`, result `[batch, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalAvgPool {
    /// Images.
    pub batch: u32,
    /// Pixels of an image.
    pub pixels: u32,
    /// Channels.
    pub channels: u32,
}

impl GlobalAvgPool {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.channels);
        text.bind("x", "Lane").bind("result", "Lane");
        text.size_all([("BATCH", self.batch), ("PIXELS", self.pixels)]);
        text.piece(include_str!("global_average.wgsl"));
        let name = format!("global_average_{}x{}", self.pixels, self.channels);
        text.kernel(&name, WORKGROUP, (self.batch * lanes).div_ceil(WORKGROUP))
    }
}
