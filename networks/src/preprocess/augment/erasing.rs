//! torchvision's `RandomErasing` (Zhong et al., arXiv 1708.04896): a rectangle without anything to see.

use serde::{Deserialize, Serialize};

use super::area;
use super::error::{AugmentError, check, positive, probability};
use super::operation::Operation;
use crate::preprocess::preset::Preset;
use crate::random::Random;

/// Which rectangles are erased, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Erasing {
    /// How often.
    pub p: f64,
    /// Shares of the picture's area, from and to.
    pub scale: [f64; 2],
    /// Height to width, from and to.
    pub ratio: [f64; 2],
    /// The colour; if left out, the mean that the preset takes away. That is torchvision's value 0 behind
    /// `Normalize`, to half a level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<[u8; 3]>,
}

impl Default for Erasing {
    /// torchvision's.
    fn default() -> Self {
        Self {
            p: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
            colour: None,
        }
    }
}

impl Erasing {
    /// # Errors
    ///
    /// [`AugmentError::Value`] for a number or a range that means nothing.
    pub(super) fn check(&self) -> Result<(), AugmentError> {
        probability("erasing.p", self.p)?;
        let [low, high] = self.scale;
        check(
            0.0 <= low && low <= high && high <= 1.0,
            "erasing.scale",
            || format!("{low} to {high}"),
            "two shares of the area from 0 to 1, the lower first",
        )?;
        positive("erasing.ratio", self.ratio)
    }

    /// For a picture of this size.
    pub(super) fn draw(
        &self,
        size: [u32; 2],
        preset: &Preset,
        random: &mut Random,
    ) -> Option<Operation> {
        if f64::from(random.uniform()) >= self.p {
            return None;
        }
        let area = area::erased(size, self.scale, self.ratio, random)?;
        // `as` stops at 0 and 255.
        let mean = || preset.mean().map(|mean| (mean * 255.0).round() as u8);
        let colour = self.colour.unwrap_or_else(mean);
        Some(Operation::Erase { area, colour })
    }
}
