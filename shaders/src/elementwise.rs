//! Number by number: sums, affine maps per channel, gates, activations alone.

use crate::epilogue::Activation;
use crate::text::Text;
use crate::{Kernel, Storage, Tier};

const WORKGROUP: u32 = 64;

/// The way back through an activation: `dy · f′`, where f′ follows from what is kept of the way there: what the activation
/// made, or was given (see [`Activation::keeps_output`]).
///
/// Buffers: dy, kept and result of so many numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActivationGradient {
    /// Numbers.
    pub count: u32,
    /// The function.
    pub activation: Activation,
}

impl ActivationGradient {
    /// The kernel; binds dy, kept, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        let lanes = text.lanes(self.count);
        for name in ["dy", "kept", "result"] {
            text.bind(name, "Lane");
        }
        self.activation.write_derivative(&mut text);
        text.piece(include_str!("activation_gradient.wgsl"));
        let name = format!("activation_gradient_{}", self.count);
        text.kernel(&name, WORKGROUP, lanes.div_ceil(WORKGROUP))
    }
}

/// What happens to each number before the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Nothing; binds x, result.
    Nothing,
    /// A buffer as long as x is added; binds x, y, result.
    Add,
    /// `x · scale[channel] + shift[channel]`; binds x, scale, shift, result.
    Affine,
    /// `x · gate[image][channel]`; binds x, gate, result.
    Gate,
}

/// `activation(change(x))`, for x `[batch, pixels, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elementwise {
    /// Images.
    pub batch: u32,
    /// Pixels of an image.
    pub pixels: u32,
    /// Channels of a pixel.
    pub channels: u32,
    /// The change.
    pub change: Change,
    /// What is applied last.
    pub activation: Activation,
    /// How numbers are stored.
    pub storage: Storage,
}

impl Elementwise {
    /// The kernel; see [`Change`] for its buffers.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let (flag, inputs): (_, &[&str]) = match self.change {
            Change::Nothing => ("activate", &[]),
            Change::Add => ("add", &["y"]),
            Change::Affine => ("affine", &["scale", "shift"]),
            Change::Gate => ("gate", &["gate"]),
        };
        let rows = self.batch * self.pixels;
        let mut text = Text::new(self.storage, tier);
        let lanes = text.lanes(self.channels);
        text.bind("x", "StoredLane");
        for input in inputs {
            text.bind(input, "StoredLane");
        }
        text.bind("result", "StoredLane").flag(flag, true);
        text.size_all([("ROWS", rows), ("IMAGE_ROWS", self.pixels)]);
        self.activation.write_lane(&mut text);
        text.piece(include_str!("elementwise.wgsl"));
        let name = format!("{flag}_{}x{}x{}", self.batch, self.pixels, self.channels);
        text.kernel(&name, WORKGROUP, (rows * lanes).div_ceil(WORKGROUP))
    }
}
