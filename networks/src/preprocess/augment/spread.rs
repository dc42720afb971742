//! A number that is drawn anew each time, from a range.

use serde::{Deserialize, Serialize};

use super::area::between;
use super::error::{AugmentError, check};
use crate::random::Random;

/// A range, written as torchvision takes it: one number `x` means so much to both sides of what changes nothing,
/// two numbers are the range itself. Every number in it is as likely.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, or two: the lowest and the highest")]
pub enum Spread {
    /// To both sides.
    Around(f64),
    /// From the first to the second.
    Between([f64; 2]),
}

impl Default for Spread {
    fn default() -> Self {
        Self::Around(0.0)
    }
}

impl Spread {
    /// From where to where, about a middle.
    pub(super) fn range(self, middle: f64) -> [f64; 2] {
        match self {
            Self::Around(width) => [middle - width, middle + width],
            Self::Between(range) => range,
        }
    }

    /// Refuses what is no range of finite numbers within `bounds`, as `needed` says it.
    pub(super) fn check(
        self,
        field: &'static str,
        middle: f64,
        bounds: [f64; 2],
        needed: &'static str,
    ) -> Result<(), AugmentError> {
        let [low, high] = self.range(middle);
        let [least, most] = bounds;
        let holds =
            low.is_finite() && high.is_finite() && least <= low && low <= high && high <= most;
        let found = || match self {
            Self::Around(width) => width.to_string(),
            Self::Between([low, high]) => format!("{low} to {high}"),
        };
        check(holds, field, found, needed)
    }

    /// A number of the range.
    pub(super) fn draw(self, middle: f64, random: &mut Random) -> f64 {
        between(self.range(middle), random)
    }
}
