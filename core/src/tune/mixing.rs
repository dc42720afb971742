//! Mixing images of a batch, and their targets by the same shares: mixup (Zhang et al.,
//! <https://arxiv.org/abs/1710.09412>) and CutMix (Yun et al., <https://arxiv.org/abs/1905.04899>), as
//! `torchvision.transforms.v2.MixUp` and `CutMix` do it. Here are the draws; who has the images mixes them.

use rekindle_networks::random::Random;
use serde::{Deserialize, Serialize};

/// Which mixing a run does.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixing {
    /// The alpha of mixup's Beta distribution; 0 is off.
    pub mixup: f64,
    /// The alpha of CutMix's; 0 is off.
    pub cutmix: f64,
}

/// How the images of a batch are mixed: each with the one [before](Self::partner) it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// The share of an image itself, and of its target; the rest is that of its partner.
    pub share: f64,
    /// CutMix: the area that is the partner's, as top, left, height and width in pixels. Outside it an image stays as
    /// it is, and the share is that of the outside. Without an area all pixels are mixed by the share.
    pub area: Option<[usize; 4]>,
}

impl Mixing {
    /// Whether anything is mixed.
    pub fn is_on(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// What is done to one batch of images of this height and width. Where both are on, it is one of them, each as
    /// likely, as torchvision's references choose. `None` where none is on.
    pub fn draw(&self, random: &mut Random, height: usize, width: usize) -> Option<Mix> {
        let cuts = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return None,
            (true, true) => random.below(2) == 1,
            (_, cuts) => cuts,
        };
        if !cuts {
            let share = beta(self.mixup, random);
            return Some(Mix { share, area: None });
        }
        let share = beta(self.cutmix, random);
        let centre = [random.below(height), random.below(width)];
        Some(Mix::cut(share, centre, height, width))
    }
}

impl Mix {
    /// CutMix with these draws: a box of `1 − share` of the image's area around a centre (row, column), clipped at the
    /// image's edges, and the share that is left of the image itself.
    pub fn cut(share: f64, [row, column]: [usize; 2], height: usize, width: usize) -> Self {
        let half = 0.5 * (1.0 - share).max(0.0).sqrt();
        let span = |centre: usize, side: usize| {
            let reach = (half * side as f64) as usize;
            let start = centre.saturating_sub(reach);
            (start, (centre + reach).min(side).saturating_sub(start))
        };
        let ((top, rows), (left, columns)) = (span(row, height), span(column, width));
        let pixels = (height * width).max(1);
        Self {
            share: 1.0 - (rows * columns) as f64 / pixels as f64,
            area: Some([top, left, rows, columns]),
        }
    }

    /// The image that one of a batch of so many is mixed with: the one before it, the last for the first, torch's
    /// `roll(1, 0)`.
    pub fn partner(image: usize, count: usize) -> usize {
        image.checked_sub(1).unwrap_or(count.saturating_sub(1))
    }
}

/// A number of the distribution Beta(alpha, alpha): `x / (x + y)` of two of Gamma(alpha, 1). In logarithms, as draws
/// of a small alpha are smaller than any `f64`.
fn beta(alpha: f64, random: &mut Random) -> f64 {
    let (x, y) = (log_gamma(alpha, random), log_gamma(alpha, random));
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a number of Gamma(alpha, 1) (Marsaglia & Tsang, "A Simple Method for Generating Gamma Variables",
/// ACM TOMS 2000).
fn log_gamma(alpha: f64, random: &mut Random) -> f64 {
    if alpha < 1.0 {
        let power = unit(random).ln() / alpha;
        return log_gamma(alpha + 1.0, random) + power;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = f64::from(random.normal());
        let v = (1.0 + c * x).powi(3);
        let u = unit(random);
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d.ln() + v.ln();
        }
    }
}

/// A number in `(0, 1]`, a multiple of 2⁻⁵³.
fn unit(random: &mut Random) -> f64 {
    ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_moments_of_beta() {
        for alpha in [0.1, 0.2, 0.5, 1.0, 2.0, 10.0] {
            let mut random = Random::new(5);
            let count = 50_000;
            let draws: Vec<f64> = (0..count).map(|_| beta(alpha, &mut random)).collect();
            assert!(draws.iter().all(|share| (0.0..=1.0).contains(share)));
            let mean = |power: i32| {
                let powers = draws.iter().map(|share| (share - 0.5).powi(power));
                powers.sum::<f64>() / f64::from(count)
            };
            // Of Beta(a, a): the variance is 1/(4(2a + 1)), the fourth moment 3/(16(2a + 1)(2a + 3)).
            let variance = 0.25 / (2.0 * alpha + 1.0);
            let fourth = 3.0 / 16.0 / ((2.0 * alpha + 1.0) * (2.0 * alpha + 3.0));
            assert!(mean(1).abs() < 0.01, "{alpha}: mean {}", mean(1));
            assert!(mean(3).abs() < 0.003, "{alpha}: skew {}", mean(3));
            assert!(
                (mean(2) / variance - 1.0).abs() < 0.03,
                "{alpha}: {}",
                mean(2)
            );
            assert!(
                (mean(4) / fourth - 1.0).abs() < 0.05,
                "{alpha}: {}",
                mean(4)
            );
        }
        // Nearly all at the ends, and a number all the same.
        let mut random = Random::new(6);
        let tiny = beta(1e-4, &mut random);
        assert!((0.0..=1.0).contains(&tiny));
    }

    #[test]
    fn boxes_and_shares_are_torchvisions() {
        let cases = crate::tune::fixture::fixture().cutmix;
        assert!(cases.len() > 40);
        for case in cases {
            let mix = Mix::cut(case.share, case.centre, case.height, case.width);
            assert_eq!(mix.area, Some(case.area));
            assert!((mix.share - case.corrected).abs() < 1e-11, "{mix:?}");
        }
    }

    #[test]
    fn mixup_and_cutmix_take_turns_where_both_are_on() {
        let mut random = Random::new(9);
        let draw =
            |mixup, cutmix, random: &mut Random| Mixing { mixup, cutmix }.draw(random, 12, 20);
        assert_eq!(draw(0.0, 0.0, &mut random), None);
        for _ in 0..50 {
            assert_eq!(draw(0.2, 0.0, &mut random).unwrap().area, None);
            assert!(draw(0.0, 1.0, &mut random).unwrap().area.is_some());
        }
        let cuts = (0..2000).filter(|_| draw(0.2, 1.0, &mut random).unwrap().area.is_some());
        assert!(cuts.count().abs_diff(1000) < 100);
        assert_eq!([0, 1, 2].map(|image| Mix::partner(image, 3)), [2, 0, 1]);
        assert_eq!(Mix::partner(0, 1), 0);
    }
}
