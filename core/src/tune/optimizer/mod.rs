//! Optimisers with PyTorch's arithmetic and defaults.
//!
//! A rule is written once, for a [`Number`]: a known one, so that the processor changes a parameter and all that is
//! kept of it in one pass over memory, or one that is yet to come, which makes a kernel of the rule, so that graphics
//! adapters do the same. What a rule keeps of each number (moments, velocities) it calls slots.

mod adam;
mod lamb;
mod number;
mod rmsprop;
mod rule;
mod sgd;
mod sweep;
#[cfg(feature = "burn")]
mod traced;

use adam::Moments;
use rmsprop::RmsProp;
use rule::{Rule, Work};
use serde::{Deserialize, Serialize};
use sgd::Sgd;
use sweep::Sweep;
#[cfg(feature = "burn")]
pub(super) use traced::Written;

pub use number::Number;
pub use rule::Pace;

/// An optimiser and its settings. What is left out has the value that PyTorch gives it, LAMB's timm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam with decoupled weight decay: `torch.optim.AdamW`. Loshchilov and Hutter,
    /// <https://arxiv.org/abs/1711.05101>.
    AdamW {
        /// How much is kept of the first and of the second moment.
        #[serde(default = "adam::betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment.
        #[serde(default = "adam::eps")]
        eps: f64,
        /// What share of each parameter is taken off a step, times the learning rate.
        #[serde(default = "adam::decoupled_decay")]
        weight_decay: f64,
    },
    /// `torch.optim.Adam`, whose decay is part of the gradient. Kingma and Ba, <https://arxiv.org/abs/1412.6980>.
    Adam {
        /// How much is kept of the first and of the second moment.
        #[serde(default = "adam::betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment.
        #[serde(default = "adam::eps")]
        eps: f64,
        /// What share of each parameter is added to its gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Stochastic gradient descent: `torch.optim.SGD`.
    Sgd {
        /// How much of the last step's direction is kept.
        #[serde(default)]
        momentum: f64,
        /// Whether the direction looks a step ahead (Nesterov).
        #[serde(default)]
        nesterov: bool,
        /// What share of each parameter is added to its gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// `torch.optim.RMSprop`.
    RmsProp {
        /// How much is kept of the mean square.
        #[serde(default = "rmsprop::alpha")]
        alpha: f64,
        /// Added to the root of the mean square.
        #[serde(default = "adam::eps")]
        eps: f64,
        /// How much of the last step's direction is kept.
        #[serde(default)]
        momentum: f64,
        /// Whether the mean is taken off, so that the gradient is divided by its deviation.
        #[serde(default)]
        centered: bool,
        /// What share of each parameter is added to its gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// LAMB: Adam whose step is as long, layer by layer, as the layer is large. timm's `Lamb`; You et al.,
    /// <https://arxiv.org/abs/1904.00962>. timm clips the gradients to a global norm of 1 in front of it, which is the
    /// recipe's `clip` here.
    Lamb {
        /// How much is kept of the first and of the second moment.
        #[serde(default = "adam::betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment.
        #[serde(default = "lamb::eps")]
        eps: f64,
        /// What share of each parameter is added to its step.
        #[serde(default = "adam::decoupled_decay")]
        weight_decay: f64,
    },
}

impl Optimizer {
    /// AdamW with PyTorch's defaults.
    pub const ADAMW: Self = Self::AdamW {
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 1e-2,
    };

    /// Its name on the command line and in recipes.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AdamW { .. } => "adamw",
            Self::Adam { .. } => "adam",
            Self::Sgd { .. } => "sgd",
            Self::RmsProp { .. } => "rmsprop",
            Self::Lamb { .. } => "lamb",
        }
    }

    /// The optimiser of that name with its defaults.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "adamw" => Self::ADAMW,
            "adam" => Self::Adam {
                betas: adam::betas(),
                eps: adam::eps(),
                weight_decay: 0.0,
            },
            "sgd" => Self::Sgd {
                momentum: 0.9,
                nesterov: false,
                weight_decay: 0.0,
            },
            "rmsprop" => Self::RmsProp {
                alpha: rmsprop::alpha(),
                eps: adam::eps(),
                momentum: 0.0,
                centered: false,
                weight_decay: 0.0,
            },
            "lamb" => Self::Lamb {
                betas: adam::betas(),
                eps: lamb::eps(),
                weight_decay: 1e-2,
            },
            _ => return None,
        })
    }

    /// Every name that [`named`](Self::named) knows.
    pub const NAMES: [&'static str; 5] = ["adamw", "adam", "sgd", "rmsprop", "lamb"];

    /// The weight decay of parameters that decay.
    pub const fn weight_decay(&self) -> f64 {
        match *self {
            Self::AdamW { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::Sgd { weight_decay, .. }
            | Self::RmsProp { weight_decay, .. }
            | Self::Lamb { weight_decay, .. } => weight_decay,
        }
    }

    /// The same with another weight decay.
    pub const fn with_weight_decay(mut self, decay: f64) -> Self {
        match &mut self {
            Self::AdamW { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::Sgd { weight_decay, .. }
            | Self::RmsProp { weight_decay, .. }
            | Self::Lamb { weight_decay, .. } => *weight_decay = decay,
        }
        self
    }

    /// The same with another momentum; Adam's kin calls it the first beta.
    pub const fn with_momentum(mut self, kept: f64) -> Self {
        match &mut self {
            Self::AdamW { betas, .. } | Self::Adam { betas, .. } | Self::Lamb { betas, .. } => {
                betas[0] = kept;
            }
            Self::Sgd { momentum, .. } | Self::RmsProp { momentum, .. } => *momentum = kept,
        }
        self
    }

    /// What is kept of former steps, by the names of the settings: shares below 1, or nothing of a step would count.
    pub fn shares(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::AdamW { betas, .. } | Self::Adam { betas, .. } | Self::Lamb { betas, .. } => {
                betas.map(|beta| ("betas", beta)).to_vec()
            }
            Self::Sgd { momentum, .. } => vec![("momentum", momentum)],
            Self::RmsProp {
                alpha, momentum, ..
            } => vec![("alpha", alpha), ("momentum", momentum)],
        }
    }

    /// What is kept of each parameter, under PyTorch's names for it.
    pub const fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::AdamW { .. } | Self::Adam { .. } | Self::Lamb { .. } => {
                &["exp_avg", "exp_avg_sq"]
            }
            Self::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::RmsProp { centered: true, .. } => &["square_avg", "grad_avg", "momentum_buffer"],
            Self::RmsProp { .. } => &["square_avg", "momentum_buffer"],
        }
    }

    /// Every name that [`slots`](Self::slots) has.
    pub const SLOTS: &'static [&'static str] = &[
        "exp_avg",
        "exp_avg_sq",
        "grad_avg",
        "momentum_buffer",
        "square_avg",
    ];

    /// Whether the length of a step depends on the whole parameter: it is then worked out as a direction first, and how
    /// far to go along it from the lengths of both.
    pub const fn measures_parameters(&self) -> bool {
        matches!(self, Self::Lamb { .. })
    }

    /// One number a step further: from its value, its gradient and its slots. Of an optimiser that
    /// [measures parameters](Self::measures_parameters), what comes back first is the direction.
    pub fn step<N: Number>(&self, pace: Pace, value: N, gradient: N, slots: &mut [N]) -> N {
        self.apply(
            pace,
            Once {
                value,
                gradient,
                slots,
            },
        )
    }

    /// [`step`](Self::step) for all numbers of a parameter on the processor, in one pass and on all cores.
    pub fn sweep(
        &self,
        pace: Pace,
        values: &mut [f32],
        gradients: &[f32],
        slots: &mut [&mut [f32]],
    ) {
        let sweep = Sweep {
            values,
            gradients,
            slots,
        };
        self.apply(pace, sweep);
    }

    /// [`step`](Self::step) written down: for the values, their gradients and the slots, and, of gradients that are to be
    /// `scaled`, what by. Of an optimiser that [measures parameters](Self::measures_parameters), the direction stands
    /// where the gradient was.
    #[cfg(feature = "burn")]
    pub(crate) fn written(&self, pace: Pace, scaled: bool) -> Written {
        let slots = self.slots().len();
        Written::new(2 + slots, usize::from(scaled), |places| {
            let [value, gradient, rest @ ..] = places else {
                unreachable!("there are a value and a gradient")
            };
            let (slots, scale) = rest.split_at_mut(slots);
            let found = match scale {
                [scale, ..] => gradient.clone().by(scale.clone()),
                [] => gradient.clone(),
            };
            let moved = self.step(pace, value.clone(), found, slots);
            match self.measures_parameters() {
                true => *gradient = moved,
                false => *value = moved,
            }
        })
    }

    /// The second part of a step of an optimiser that [measures parameters](Self::measures_parameters), written down: for
    /// the values, their directions, and, where `pace` has a decay, the squared lengths of both.
    #[cfg(feature = "burn")]
    pub(crate) fn written_along(pace: Pace) -> Written {
        let measured = if pace.decay == 0.0 { 0 } else { 2 };
        Written::new(2, measured, |places| {
            let [value, direction, lengths @ ..] = places else {
                unreachable!("there are a value and a direction")
            };
            let lengths = lengths.as_array().cloned();
            *value = lamb::moved(value.clone(), direction.clone(), pace, lengths);
        })
    }

    /// The second part of a step of an optimiser that [measures parameters](Self::measures_parameters), on the processor:
    /// the values of a parameter moved along their directions.
    pub(crate) fn along(pace: Pace, values: &mut [f32], directions: &[f32]) {
        let square = |numbers: &[f32]| {
            let squares = numbers.iter().map(|&number| f64::from(number).powi(2));
            squares.sum::<f64>() as f32
        };
        let lengths = match pace.decay {
            0.0 => None,
            _ => Some([square(values), square(directions)]),
        };
        for (value, &direction) in values.iter_mut().zip(directions) {
            *value = lamb::moved(*value, direction, pace, lengths);
        }
    }

    /// Hands the rule to who applies it: what to do is decided once, not for each number.
    fn apply<W: Work>(&self, pace: Pace, work: W) -> W::Made {
        match *self {
            Self::AdamW { betas, eps, .. } => {
                let moments = Moments::new(betas, eps, pace);
                work.with(&adam::AdamW { moments, pace })
            }
            Self::Adam { betas, eps, .. } => {
                let moments = Moments::new(betas, eps, pace);
                work.with(&adam::Adam { moments, pace })
            }
            Self::Lamb { betas, eps, .. } => {
                let moments = Moments::new(betas, eps, pace);
                work.with(&lamb::Lamb { moments, pace })
            }
            Self::Sgd {
                momentum, nesterov, ..
            } => {
                let sgd = Sgd {
                    momentum,
                    nesterov,
                    pace,
                };
                match self.slots() {
                    [] => work.with::<0>(&sgd),
                    _ => work.with::<1>(&sgd),
                }
            }
            Self::RmsProp {
                alpha,
                eps,
                momentum,
                centered,
                ..
            } => {
                let rmsprop = RmsProp {
                    alpha,
                    eps,
                    momentum,
                    pace,
                };
                match centered {
                    true => work.with::<3>(&rmsprop),
                    false => work.with::<2>(&rmsprop),
                }
            }
        }
    }
}

/// One number.
struct Once<'a, N> {
    value: N,
    gradient: N,
    slots: &'a mut [N],
}

impl<N: Number> Work for Once<'_, N> {
    type Made = N;

    fn with<const SLOTS: usize>(self, rule: &impl Rule<SLOTS>) -> N {
        match self.slots.as_mut_array() {
            Some(slots) => rule.step(self.value, self.gradient, slots),
            None => unreachable!("a rule of {SLOTS} slots is given others"),
        }
    }
}

/// What gradients are multiplied by so that they are no longer than `longest` together, as
/// `torch.nn.utils.clip_grad_norm_`, written down: for the square of how long they are, in whose place it stands.
#[cfg(feature = "burn")]
pub(super) fn written_clip(longest: f64) -> Written {
    Written::new(1, 0, |places| {
        if let [square] = places {
            let norm = square.clone().root();
            *square = norm.and(1e-6).under(longest as f32).at_most(1.0);
        }
    })
}

/// A moving average of which a share is kept, and what it takes in, written down.
#[cfg(feature = "burn")]
pub(super) fn written_average(kept: f64) -> Written {
    Written::new(2, 0, |places| {
        if let [average, now] = places {
            *average = average.clone().towards(now.clone(), 1.0 - kept);
        }
    })
}

#[cfg(test)]
mod tests;
