//! The learning rate of each step, and the momentum where a schedule moves it too.
//!
//! All of it is a function of the step's number, but for a plateau, which follows what was measured: so a run that
//! goes on where it stopped has the rates that it would have had.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the learning rate moves over a phase. Numbers that are not said are PyTorch's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine, from the base rate to a floor (Loshchilov & Hutter, <https://arxiv.org/abs/1608.03983>):
    /// PyTorch's `CosineAnnealingLR` over all steps behind the warm-up.
    Cosine {
        /// The lowest factor.
        #[serde(default)]
        floor: f64,
    },
    /// Up to the base rate and down again (Smith, <https://arxiv.org/abs/1803.09820>).
    OneCycle {
        /// The share of the steps on which it rises.
        #[serde(default = "defaults::pct_start")]
        pct_start: f64,
        /// The base rate is so many times the rate of the first step.
        #[serde(default = "defaults::div")]
        div: f64,
        /// How many times it falls at the end, against what `style` says.
        #[serde(default = "defaults::div_final")]
        div_final: f64,
        /// The curve between two rates.
        #[serde(default)]
        anneal: Anneal,
        /// The lowest momentum, at the highest rate, and the highest, at both ends; none leaves the optimiser's.
        #[serde(default)]
        momentum: Option<[f64; 2]>,
        /// Whose definition it is.
        #[serde(default)]
        style: CycleStyle,
    },
    /// PyTorch's `StepLR`: multiplied by `gamma` after every so many epochs.
    Step {
        /// Epochs.
        every: usize,
        /// The factor.
        #[serde(default = "defaults::tenth")]
        gamma: f64,
    },
    /// PyTorch's `PolynomialLR`: the share of the steps that are left, to this power.
    Polynomial {
        /// The power; 1 is a straight line to 0.
        #[serde(default = "defaults::power")]
        power: f64,
    },
    /// PyTorch's `ReduceLROnPlateau`: multiplied by `factor` when an epoch's figure has not become better for more
    /// than `patience` epochs.
    Plateau {
        /// The factor.
        #[serde(default = "defaults::tenth")]
        factor: f64,
        /// Epochs without progress that are put up with.
        #[serde(default = "defaults::patience")]
        patience: usize,
        /// The share of the best figure by which another must be better to count.
        #[serde(default = "defaults::threshold")]
        threshold: f64,
        /// Epochs after a fall in which none is counted.
        #[serde(default)]
        cooldown: usize,
        /// The lowest factor.
        #[serde(default)]
        floor: f64,
        /// Which figures are better.
        #[serde(default)]
        better: Better,
    },
}

/// PyTorch's defaults that are not zero.
mod defaults {
    pub(super) fn pct_start() -> f64 {
        0.3
    }

    pub(super) fn div() -> f64 {
        25.0
    }

    pub(super) fn div_final() -> f64 {
        1e4
    }

    pub(super) fn tenth() -> f64 {
        0.1
    }

    pub(super) fn power() -> f64 {
        1.0
    }

    pub(super) fn patience() -> usize {
        10
    }

    pub(super) fn threshold() -> f64 {
        1e-4
    }
}

/// The curve between two rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

/// Two libraries define one cycle almost alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleStyle {
    /// `torch.optim.lr_scheduler.OneCycleLR`: the last step has the last rate, and `div_final` is counted from the
    /// rate of the first step.
    #[default]
    Pytorch,
    /// fastai's `combined_cos` (fastai 2.8, `callback/schedule.py`): a step's place is the share of the steps before
    /// it, so that the last rate would be that of the step after the last, and `div_final` is counted from the base
    /// rate.
    Fastai,
}

/// Which of two figures is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The lower one: a loss.
    #[default]
    Lower,
    /// The higher one: an accuracy.
    Higher,
}

/// The rate rises over the first steps in a straight line, PyTorch's `LinearLR`; the schedule begins behind them
/// (`SequentialLR`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// The share of all steps.
    pub share: f64,
    /// The factor of the first step.
    pub start: f64,
}

/// Where a phase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The step that is to be taken, from 0.
    pub step: usize,
    /// The steps of the phase.
    pub steps: usize,
    /// The steps of an epoch.
    pub per_epoch: usize,
}

/// What a step is taken with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Of the base rate.
    pub factor: f64,
    /// The momentum (Adam's first beta) where the schedule moves it.
    pub momentum: Option<f64>,
}

/// A number that a schedule cannot have, or a warm-up where there is one already.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ScheduleError {
    /// A number is out of its range.
    #[error("the schedule's {name} is {value}: it must be {range}")]
    OutOfRange {
        /// Which number.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A cycle begins with a rise of its own.
    #[error(
        "a one-cycle schedule has a warm-up of its own: leave the warm-up out, and set pct_start"
    )]
    TwoWarmups,
}

impl Schedule {
    /// fastai's `fit_one_cycle` with its defaults.
    pub const FASTAI: Self = Self::fastai(0.25, 25.0);

    /// The cycle of fastai's `fine_tune` over the whole network.
    pub const FINE_TUNE: Self = Self::fastai(0.3, 5.0);

    /// The cycle of fastai's `fine_tune` over the head alone, which rises until the end.
    pub const FINE_TUNE_HEAD: Self = Self::fastai(0.99, 25.0);

    /// PyTorch's `OneCycleLR` with its defaults.
    pub const PYTORCH: Self = Self::OneCycle {
        pct_start: 0.3,
        div: 25.0,
        div_final: 1e4,
        anneal: Anneal::Cosine,
        momentum: Some([0.85, 0.95]),
        style: CycleStyle::Pytorch,
    };

    const fn fastai(pct_start: f64, div: f64) -> Self {
        Self::OneCycle {
            pct_start,
            div,
            div_final: 1e5,
            anneal: Anneal::Cosine,
            momentum: Some([0.85, 0.95]),
            style: CycleStyle::Fastai,
        }
    }

    /// Whether its numbers, and those of a warm-up before it, are such that every step has a rate.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub fn check(&self, warmup: Option<Warmup>) -> Result<(), ScheduleError> {
        let is_share = |x: f64| (0.0..=1.0).contains(&x);
        let is_positive = |x: f64| x > 0.0 && x.is_finite();
        let within = |name, value, is_fine, range| match is_fine {
            true => Ok(()),
            false => Err(ScheduleError::OutOfRange { name, value, range }),
        };
        let share = |name, value| within(name, value, is_share(value), "from 0 to 1");
        let positive = |name, value| within(name, value, is_positive(value), "above 0");
        if let Some(warmup) = warmup {
            if matches!(self, Self::OneCycle { .. }) {
                return Err(ScheduleError::TwoWarmups);
            }
            share("warm-up share", warmup.share)?;
            share("warm-up start", warmup.start)?;
        }
        match *self {
            Self::Constant => Ok(()),
            Self::Cosine { floor } => share("floor", floor),
            Self::OneCycle {
                pct_start,
                div,
                div_final,
                momentum,
                ..
            } => {
                share("pct_start", pct_start)?;
                positive("div", div)?;
                positive("div_final", div_final)?;
                momentum.into_iter().flatten().try_for_each(|value| {
                    let is_fine = (0.0..1.0).contains(&value);
                    within("momentum", value, is_fine, "from 0 to below 1")
                })
            }
            Self::Step { every, gamma } => {
                within("every", every as f64, every > 0, "at least 1 epoch")?;
                positive("gamma", gamma)
            }
            Self::Polynomial { power } => positive("power", power),
            Self::Plateau {
                factor,
                threshold,
                floor,
                ..
            } => {
                let is_fall = factor > 0.0 && factor < 1.0;
                within("factor", factor, is_fall, "between 0 and 1")?;
                share("threshold", threshold)?;
                share("floor", floor)
            }
        }
    }

    /// What a step is taken with. A cycle has no warm-up but its own.
    pub fn at(&self, warmup: Option<Warmup>, moment: Moment, plateau: &PlateauState) -> Setting {
        let Moment { step, steps, .. } = moment;
        let (factor, momentum) = match *self {
            Self::OneCycle {
                pct_start,
                div,
                div_final,
                anneal,
                momentum,
                style,
            } => {
                let (first, last) = match style {
                    CycleStyle::Pytorch => (1.0 / div, 1.0 / div / div_final),
                    CycleStyle::Fastai => (1.0 / div, 1.0 / div_final),
                };
                let (is_rising, place) = style.place(pct_start, step, steps);
                let between = |start, top, end| match is_rising {
                    true => anneal.between(start, top, place),
                    false => anneal.between(top, end, place),
                };
                let momentum = momentum.map(|[low, high]| between(high, low, high));
                (between(first, 1.0, last), momentum)
            }
            _ => (self.behind_warmup(warmup, moment, plateau), None),
        };
        Setting { factor, momentum }
    }

    fn behind_warmup(&self, warmup: Option<Warmup>, moment: Moment, plateau: &PlateauState) -> f64 {
        let Moment { step, steps, .. } = moment;
        let warm = warmup.map_or(0, |warmup| warmup.steps(steps));
        let Some(step) = step.checked_sub(warm) else {
            // Nothing but a plateau can have lowered the rate so early.
            let start = warmup.map_or(1.0, |warmup| warmup.start);
            let rise = start + (1.0 - start) * step as f64 / warm as f64;
            return rise * plateau.factor_under(self);
        };
        let share = match steps - warm.min(steps) {
            0 => 1.0,
            left => (step as f64 / left as f64).min(1.0),
        };
        match *self {
            Self::Cosine { floor } => Anneal::Cosine.between(1.0, floor, share),
            Self::Step { every, gamma } => {
                let epoch = step / moment.per_epoch.max(1);
                gamma.powf((epoch / every.max(1)) as f64)
            }
            Self::Polynomial { power } => (1.0 - share).powf(power),
            Self::Plateau { .. } => plateau.factor,
            Self::Constant | Self::OneCycle { .. } => 1.0,
        }
    }
}

impl Anneal {
    fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Self::Cosine => end + (start - end) / 2.0 * (1.0 + (PI * share).cos()),
            Self::Linear => start + (end - start) * share,
        }
    }
}

impl CycleStyle {
    /// Whether a step is on the way up, and the share of that way, or of the way down, that lies behind it.
    fn place(self, pct_start: f64, step: usize, steps: usize) -> (bool, f64) {
        let (at, top, end) = match self {
            Self::Pytorch => (
                step as f64,
                pct_start * steps as f64 - 1.0,
                steps as f64 - 1.0,
            ),
            Self::Fastai => (step as f64 / steps.max(1) as f64, pct_start, 1.0),
        };
        let is_rising = match self {
            Self::Pytorch => at <= top,
            Self::Fastai => at < top,
        };
        let (from, to) = match is_rising {
            true => (0.0, top),
            false => (top, end),
        };
        // A way without length lies behind.
        let share = match to > from {
            true => (at - from) / (to - from),
            false => 1.0,
        };
        (is_rising, share.clamp(0.0, 1.0))
    }
}

impl Warmup {
    /// Of so many steps, those of the warm-up: to the nearest.
    pub fn steps(self, steps: usize) -> usize {
        ((self.share * steps as f64).round() as usize).min(steps)
    }
}

/// What a plateau has seen: PyTorch's `ReduceLROnPlateau` with relative thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The factor of the base rate.
    factor: f64,
    /// The best figure so far.
    best: Option<f64>,
    /// Epochs since it that were not better.
    bad: usize,
    /// Epochs that are not counted yet.
    cooldown: usize,
}

impl Default for PlateauState {
    fn default() -> Self {
        Self {
            factor: 1.0,
            best: None,
            bad: 0,
            cooldown: 0,
        }
    }
}

/// A smaller fall than this is none: PyTorch's `eps`, here as a share of the base rate.
const SMALLEST_FALL: f64 = 1e-8;

impl PlateauState {
    /// The factor of the base rate that it has come to.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Takes note of an epoch's figure. Other schedules than a plateau do not follow figures.
    pub fn observe(&mut self, schedule: &Schedule, metric: f64) {
        let &Schedule::Plateau {
            factor,
            patience,
            threshold,
            cooldown,
            floor,
            better,
        } = schedule
        else {
            return;
        };
        let is_better = match (self.best, better) {
            (None, Better::Lower) => metric < f64::INFINITY,
            (None, Better::Higher) => metric > f64::NEG_INFINITY,
            (Some(best), Better::Lower) => metric < best * (1.0 - threshold),
            (Some(best), Better::Higher) => metric > best * (1.0 + threshold),
        };
        if is_better {
            self.best = Some(metric);
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad = 0;
        }
        if self.bad > patience {
            let lower = (self.factor * factor).max(floor);
            if self.factor - lower > SMALLEST_FALL {
                self.factor = lower;
            }
            self.cooldown = cooldown;
            self.bad = 0;
        }
    }

    fn factor_under(&self, schedule: &Schedule) -> f64 {
        match schedule {
            Schedule::Plateau { .. } => self.factor,
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests;
