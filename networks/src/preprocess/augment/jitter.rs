//! torchvision's `ColorJitter`: brightness, contrast, saturation and hue, each changed a little, in a random order.

use serde::{Deserialize, Serialize};

use super::error::AugmentError;
use super::operation::Operation;
use super::spread::Spread;
use crate::random::Random;

/// How much each may change; 0, the default, not at all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jitter {
    /// Factors about 1, never below 0.
    pub brightness: Spread,
    /// Factors about 1, never below 0.
    pub contrast: Spread,
    /// Factors about 1, never below 0.
    pub saturation: Spread,
    /// Shares of the circle of hues about 0, from −0.5 to 0.5.
    pub hue: Spread,
}

impl Jitter {
    /// # Errors
    ///
    /// [`AugmentError::Value`] for a range that is none.
    pub(super) fn check(&self) -> Result<(), AugmentError> {
        for (field, spread) in [
            ("jitter.brightness", self.brightness),
            ("jitter.contrast", self.contrast),
            ("jitter.saturation", self.saturation),
        ] {
            let needed = "a number from 0, or two numbers from 0, the lower first";
            factors(spread).check(field, 1.0, [0.0, f64::MAX], needed)?;
        }
        let needed = "a number from 0 to 0.5, or two numbers from -0.5 to 0.5, the lower first";
        self.hue.check("jitter.hue", 0.0, [-0.5, 0.5], needed)
    }

    /// The changes, in their order.
    pub(super) fn draw(&self, random: &mut Random) -> Vec<Operation> {
        let mut order = [0, 1, 2, 3];
        random.shuffle(&mut order);
        let mut value = |spread: Spread, middle: f64| {
            let value = spread.draw(middle, random);
            (spread.range(middle) != [middle; 2]).then_some(value)
        };
        let drawn = [
            value(factors(self.brightness), 1.0).map(Operation::Brightness),
            value(factors(self.contrast), 1.0).map(Operation::Contrast),
            value(factors(self.saturation), 1.0).map(Operation::Saturation),
            value(self.hue, 0.0).map(Operation::Hue),
        ];
        order.into_iter().filter_map(|part| drawn[part]).collect()
    }
}

/// A number means factors to both sides of 1, but none below 0.
fn factors(spread: Spread) -> Spread {
    match spread {
        Spread::Around(width) if width > 1.0 => Spread::Between([0.0, 1.0 + width]),
        other => other,
    }
}
