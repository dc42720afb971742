//! torchvision's `RandomRotation`, `RandomAffine` and `RandomPerspective`.

use serde::{Deserialize, Serialize};

use super::error::{AugmentError, check, positive, probability};
use super::operation::Operation;
use super::spread::Spread;
use super::warp::Fill;
use crate::random::Random;

/// Turned about the middle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Degrees, counter-clockwise, about 0.
    pub degrees: Spread,
}

/// Turned, moved, scaled and sheared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomAffine {
    /// Degrees, clockwise, about 0.
    pub degrees: Spread,
    /// Shares of the width and of the height that it is moved by at most.
    pub translate: [f64; 2],
    /// How many times as large, from and to.
    pub scale: [f64; 2],
    /// Degrees along the rows, about 0.
    pub shear_x: Spread,
    /// Degrees along the columns, about 0.
    pub shear_y: Spread,
}

/// Seen from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomPerspective {
    /// How far each corner may move: 1 is to the middle.
    pub distortion: f64,
    /// How often.
    pub p: f64,
}

impl Default for RandomAffine {
    fn default() -> Self {
        Self {
            degrees: Spread::default(),
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear_x: Spread::default(),
            shear_y: Spread::default(),
        }
    }
}

impl Default for RandomPerspective {
    /// torchvision's.
    fn default() -> Self {
        Self {
            distortion: 0.5,
            p: 0.5,
        }
    }
}

const DEGREES: &str = "a number of degrees from 0, or two numbers, the lower first";

impl Rotation {
    /// # Errors
    ///
    /// [`AugmentError::Value`] for a range that is none.
    pub(super) fn check(&self) -> Result<(), AugmentError> {
        let any = [f64::MIN, f64::MAX];
        self.degrees.check("rotation.degrees", 0.0, any, DEGREES)
    }

    pub(super) fn draw(&self, fill: Fill, random: &mut Random) -> Operation {
        let angle = self.degrees.draw(0.0, random);
        Operation::Rotate { angle, fill }
    }
}

impl RandomAffine {
    /// # Errors
    ///
    /// [`AugmentError::Value`] for a number or a range that means nothing.
    pub(super) fn check(&self) -> Result<(), AugmentError> {
        let any = [f64::MIN, f64::MAX];
        self.degrees.check("affine.degrees", 0.0, any, DEGREES)?;
        check(
            self.translate
                .iter()
                .all(|share| (0.0..=1.0).contains(share)),
            "affine.translate",
            || format!("{} and {}", self.translate[0], self.translate[1]),
            "two shares from 0 to 1, of the width and of the height",
        )?;
        positive("affine.scale", self.scale)?;
        for (field, spread) in [
            ("affine.shear_x", self.shear_x),
            ("affine.shear_y", self.shear_y),
        ] {
            let needed = "degrees up to 89, or two numbers from -89 to 89, the lower first";
            spread.check(field, 0.0, [-89.0, 89.0], needed)?;
        }
        Ok(())
    }

    /// For a picture of this size.
    pub(super) fn draw(&self, size: [u32; 2], fill: Fill, random: &mut Random) -> Operation {
        let angle = self.degrees.draw(0.0, random);
        let translate = std::array::from_fn(|axis| {
            let most = self.translate[axis] * f64::from(size[axis]);
            let by = Spread::Around(most).draw(0.0, random);
            by.round_ties_even() as i32
        });
        let scale = Spread::Between(self.scale).draw(1.0, random);
        let shear = [self.shear_x, self.shear_y].map(|shear| shear.draw(0.0, random));
        Operation::Affine {
            angle,
            translate,
            scale,
            shear,
            centre: None,
            fill,
        }
    }
}

impl RandomPerspective {
    /// # Errors
    ///
    /// [`AugmentError::Value`] for a number that means nothing.
    pub(super) fn check(&self) -> Result<(), AugmentError> {
        check(
            (0.0..=1.0).contains(&self.distortion),
            "perspective.distortion",
            || self.distortion.to_string(),
            "a number from 0 to 1",
        )?;
        probability("perspective.p", self.p)
    }

    /// For a picture of this size; mostly nothing, if `p` is small.
    pub(super) fn draw(
        &self,
        size: [u32; 2],
        fill: Fill,
        random: &mut Random,
    ) -> Option<Operation> {
        if f64::from(random.uniform()) >= self.p {
            return None;
        }
        let [right, bottom] = size.map(|side| side.cast_signed() - 1);
        let from = [[0, 0], [right, 0], [right, bottom], [0, bottom]];
        // How far a corner moves from its sides towards the middle.
        let mut moved = |axis: usize| {
            let most = (self.distortion.clamp(0.0, 1.0) * f64::from(size[axis] / 2)) as u32;
            random.below(most as usize + 1) as i32
        };
        let to = from.map(|corner| {
            std::array::from_fn(|axis| match corner[axis] == 0 {
                true => moved(axis),
                false => corner[axis] - moved(axis),
            })
        });
        Some(Operation::Perspective { from, to, fill })
    }
}
