//! Augmentations that choose the operation themselves: torchvision's `TrivialAugmentWide` (Müller & Hutter, arXiv
//! 2103.10158) and `RandAugment` (Cubuk et al., arXiv 1909.13719).

use serde::{Deserialize, Serialize};

use super::error::{AugmentError, check};
use super::operation::Operation;
use super::warp::Fill;
use crate::random::Random;

/// Strengths of an operation, torchvision's `num_magnitude_bins`.
const STRENGTHS: u32 = 31;
/// Operations in a row that a recipe may ask for.
const MOST_OPERATIONS: u32 = 16;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Automatic {
    /// One operation, of any strength.
    Trivial,
    /// A few operations, all of one strength.
    Rand(RandAugment),
}

/// How many operations, and how strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandAugment {
    /// How many, one after the other; torchvision's `num_ops`.
    pub operations: u32,
    /// 0 to 30.
    pub magnitude: u32,
}

impl Default for RandAugment {
    /// torchvision's.
    fn default() -> Self {
        Self {
            operations: 2,
            magnitude: 9,
        }
    }
}

/// What both choose from, each as likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Colour,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const CHOICES: [Choice; 14] = [
    Choice::Identity,
    Choice::ShearX,
    Choice::ShearY,
    Choice::TranslateX,
    Choice::TranslateY,
    Choice::Rotate,
    Choice::Brightness,
    Choice::Colour,
    Choice::Contrast,
    Choice::Sharpness,
    Choice::Posterize,
    Choice::Solarize,
    Choice::AutoContrast,
    Choice::Equalize,
];

/// The greatest strengths of one of the two.
struct Ranges {
    shear: f32,
    translate: [f32; 2],
    rotate: f32,
    factor: f32,
    /// Bits that posterizing takes away.
    bits: f32,
}

impl Automatic {
    /// # Errors
    ///
    /// [`AugmentError::Value`] for a number that means nothing.
    pub(super) fn check(&self) -> Result<(), AugmentError> {
        let Self::Rand(rand) = self else {
            return Ok(());
        };
        check(
            (1..=MOST_OPERATIONS).contains(&rand.operations),
            "automatic.rand.operations",
            || rand.operations.to_string(),
            "from 1 to 16",
        )?;
        check(
            rand.magnitude < STRENGTHS,
            "automatic.rand.magnitude",
            || rand.magnitude.to_string(),
            "from 0 to 30",
        )
    }

    /// For a picture of this size.
    pub(super) fn draw(self, size: [u32; 2], fill: Fill, random: &mut Random) -> Vec<Operation> {
        match self {
            Self::Trivial => {
                let ranges = Ranges {
                    shear: 0.99,
                    translate: [32.0; 2],
                    rotate: 135.0,
                    factor: 0.99,
                    bits: 6.0,
                };
                let strength = |random: &mut Random| random.below(STRENGTHS as usize) as u32;
                ranges.draw(strength, fill, random).into_iter().collect()
            }
            Self::Rand(RandAugment {
                operations,
                magnitude,
            }) => {
                let ranges = Ranges {
                    shear: 0.3,
                    translate: size.map(|side| (150.0 / 331.0 * f64::from(side)) as f32),
                    rotate: 30.0,
                    factor: 0.9,
                    bits: 4.0,
                };
                (0..operations)
                    .filter_map(|_| ranges.draw(|_| magnitude.min(STRENGTHS - 1), fill, random))
                    .collect()
            }
        }
    }
}

impl Ranges {
    /// One operation; none for the identity.
    fn draw(
        &self,
        strength: impl Fn(&mut Random) -> u32,
        fill: Fill,
        random: &mut Random,
    ) -> Option<Operation> {
        let choice = CHOICES[random.below(CHOICES.len())];
        let strength = strength(random);
        let negative = random.below(2) == 1;
        let signed = |most: f32| {
            let value = at(0.0, most, strength);
            if negative { -value } else { value }
        };
        let affine = |translate, shear, centre| Operation::Affine {
            angle: 0.0,
            translate,
            scale: 1.0,
            shear,
            centre,
            fill,
        };
        // About the upper left corner.
        let sheared = |shear| affine([0; 2], shear, Some([0.0; 2]));
        let moved = |translate| affine(translate, [0.0; 2], None);
        let degrees = || signed(self.shear).atan().to_degrees();
        Some(match choice {
            Choice::Identity => return None,
            Choice::ShearX => sheared([degrees(), 0.0]),
            Choice::ShearY => sheared([0.0, degrees()]),
            Choice::TranslateX => moved([signed(self.translate[0]) as i32, 0]),
            Choice::TranslateY => moved([0, signed(self.translate[1]) as i32]),
            Choice::Rotate => Operation::Rotate {
                angle: signed(self.rotate),
                fill,
            },
            Choice::Brightness => Operation::Brightness(1.0 + signed(self.factor)),
            Choice::Colour => Operation::Saturation(1.0 + signed(self.factor)),
            Choice::Contrast => Operation::Contrast(1.0 + signed(self.factor)),
            Choice::Sharpness => Operation::Sharpness(1.0 + signed(self.factor)),
            Choice::Posterize => {
                let step = (STRENGTHS - 1) as f32 / self.bits;
                Operation::Posterize(8 - (strength as f32 / step).round_ties_even() as u8)
            }
            Choice::Solarize => Operation::Solarize(at(255.0, 0.0, strength)),
            Choice::AutoContrast => Operation::AutoContrast,
            Choice::Equalize => Operation::Equalize,
        })
    }
}

/// `torch.linspace(first, last, 31)` at an index: counted from the nearer end, in steps of 32 bits, rounded once.
fn at(first: f32, last: f32, index: u32) -> f64 {
    let step = f64::from((last - first) / (STRENGTHS - 1) as f32);
    let [first, last] = [first, last].map(f64::from);
    let value = match index < STRENGTHS / 2 {
        true => first + step * f64::from(index),
        false => last - step * f64::from(STRENGTHS - 1 - index),
    };
    f64::from(value as f32)
}
