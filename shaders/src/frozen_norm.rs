//! Batch normalisation that keeps its statistics, as a factor and a summand of each channel.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// `inverse = 1 / √(variance + ε)`, `scale = gamma · inverse`, `shift = beta + (bias − mean) · scale`.
///
/// Buffers: gamma, beta, mean, variance, bias if any, inverse, scale and shift `[channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrozenNorm {
    /// Channels.
    pub channels: u32,
    /// ε.
    pub epsilon: f32,
    /// Whether what comes in has a bias that was not added.
    pub bias: bool,
}

impl FrozenNorm {
    /// The kernel; binds gamma, beta, mean, variance, bias?, inverse, scale, shift.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        const WORKGROUP: u32 = 64;
        let mut text = Text::new(Storage::F32, tier);
        for name in ["gamma", "beta", "mean", "variance"] {
            text.bind_numbers(name, false);
        }
        if self.bias {
            text.bind_numbers("bias", false);
        }
        for name in ["inverse", "scale", "shift"] {
            text.bind_numbers(name, false);
        }
        text.flag("bias", self.bias)
            .size("CHANNELS", self.channels)
            .set_f32("EPSILON", self.epsilon);
        text.piece(include_str!("frozen_norm.wgsl"));
        let name = format!("frozen_norm_{}", self.channels);
        text.kernel(&name, WORKGROUP, self.channels.div_ceil(WORKGROUP))
    }
}
