//! A yardstick: nothing but multiply-adds.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// As many multiply-adds as keep a class of adapters busy for some milliseconds.
///
/// Buffers: x `[5]`, a factor and four addends; result `[invocations]`, what an invocation's numbers come to
/// together: [`Peak::CHAINS`] times the sum of the addends, over one minus the factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peak {
    /// How many work on it.
    pub invocations: u32,
    /// Multiply-adds of each number.
    pub rounds: u32,
}

impl Peak {
    /// Vectors of four that an invocation works on.
    pub const CHAINS: u32 = 8;

    /// What keeps such adapters busy: some billions of operations, or some hundred millions in software.
    pub fn for_tier(tier: Tier) -> Self {
        let (invocations, rounds) = match tier {
            Tier::Software => (1 << 12, 1 << 10),
            Tier::Baseline => (1 << 16, 1 << 11),
            Tier::Roomy | Tier::Full => (1 << 18, 1 << 11),
        };
        Self {
            invocations,
            rounds,
        }
    }

    /// Floating-point operations of the kernel.
    pub fn operations(&self) -> f64 {
        8.0 * f64::from(Self::CHAINS) * f64::from(self.invocations) * f64::from(self.rounds)
    }

    /// The kernel; binds x, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        const WORKGROUP: u32 = 64;
        let mut text = Text::new(Storage::F32, tier);
        text.bind("x", "f32").bind("result", "f32");
        text.size_all([("INVOCATIONS", self.invocations), ("ROUNDS", self.rounds)]);
        text.range('c', Self::CHAINS)
            .piece(include_str!("peak.wgsl"));
        let groups = self.invocations.div_ceil(WORKGROUP);
        text.kernel("peak", WORKGROUP, groups)
    }
}
