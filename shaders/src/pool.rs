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
    /// How numbers are stored.
    pub storage: Storage,
}

impl MaxPool {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        Slide {
            name: "max_pool",
            batch: self.batch,
            channels: self.channels,
            window: self.window,
            flags: &["largest"],
            storage: self.storage,
        }
        .kernel(tier)
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
    /// How numbers are stored.
    pub storage: Storage,
}

impl AvgPool {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let flags: &'static [&'static str] = if self.count_include_pad {
            &["padding_counts"]
        } else {
            &[]
        };
        Slide {
            name: "avg_pool",
            batch: self.batch,
            channels: self.channels,
            window: self.window,
            flags,
            storage: self.storage,
        }
        .kernel(tier)
    }
}

/// What both pools have in common.
struct Slide {
    name: &'static str,
    batch: u32,
    channels: u32,
    window: Window,
    flags: &'static [&'static str],
    storage: Storage,
}

impl Slide {
    fn kernel(&self, tier: Tier) -> Kernel {
        let walks = self.window.forward();
        let pixels = self.batch * walks.visited();
        let mut text = Text::new(self.storage, tier);
        let lanes = text.lanes(self.channels);
        text.bind("x_", "StoredLane").bind("result", "StoredLane");
        text.size("PIXELS", pixels).set_all([
            ("PADDING_Y", self.window.rows.padding),
            ("PADDING_X", self.window.columns.padding),
        ]);
        walks.write(&mut text);
        for flag in self.flags {
            text.flag(flag, true);
        }
        text.piece(include_str!("pool.wgsl"));
        let name = format!("{}_{}_{}", self.name, self.window.name(), self.channels);
        text.kernel(&name, WORKGROUP, (pixels * lanes).div_ceil(WORKGROUP))
    }
}

/// The gradient of a pool's input: of [`MaxPool`], or of [`AvgPool`] whose padding counts.
///
/// Buffers: x and dx `[batch, rows.input, columns.input, channels]`, y and dy
/// `[batch, rows.output, columns.output, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGradient {
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// The sliding window, of dilation 1.
    pub window: Window,
    /// Whether it is the largest number of a window that was taken, not the average.
    pub largest: bool,
}

impl PoolGradient {
    /// The kernel; binds x, y, dy, dx for the largest, dy, dx for the average.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let Window { rows, columns } = self.window;
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.channels);
        let buffers: &[&str] = match self.largest {
            true => &["x_", "y_", "dy", "result"],
            false => &["dy", "result"],
        };
        for buffer in buffers {
            text.bind(buffer, "Lane");
        }
        text.flag("largest", self.largest)
            .size("IMAGES", self.batch);
        for (side, axis) in [(rows, "Y"), (columns, "X")] {
            text.size(&format!("SOURCE_{axis}"), side.input);
            text.size(&format!("TARGET_{axis}"), side.output);
            text.size(&format!("KERNEL_{axis}"), side.kernel);
            text.size(&format!("STRIDE_{axis}"), side.stride);
            text.size(&format!("PADDING_{axis}"), side.padding);
        }
        text.piece(include_str!("pool_slope.wgsl"));
        let name = if self.largest { "max" } else { "avg" };
        let name = format!(
            "{name}_pool_gradient_{}_{}",
            self.window.name(),
            self.channels
        );
        let invocations = self.batch * rows.input * columns.input * lanes;
        text.kernel(&name, WORKGROUP, invocations.div_ceil(WORKGROUP))
    }
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
    /// How numbers are stored.
    pub storage: Storage,
}

impl GlobalAvgPool {
    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        /// Lanes and pixels that a workgroup of a GPU takes at a time.
        const TEAM: [u32; 2] = [16, 16];
        let mut text = Text::new(self.storage, tier);
        let lanes = text.lanes(self.channels);
        text.bind("x", "StoredLane").bind("result", "StoredLane");
        text.size_all([("BATCH", self.batch), ("PIXELS", self.pixels)]);
        let lanes = self.batch * lanes;
        let (workgroup, groups) = match tier {
            Tier::Software => (WORKGROUP, lanes.div_ceil(WORKGROUP)),
            _ => {
                let [across, down] = TEAM;
                text.flag("team", true)
                    .set_all([("ACROSS", across), ("DOWN", down)]);
                (across * down, lanes.div_ceil(across))
            }
        };
        text.piece(include_str!("global_average.wgsl"));
        let name = format!("global_average_{}x{}", self.pixels, self.channels);
        text.kernel(&name, workgroup, groups)
    }
}
