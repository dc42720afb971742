//! All that decides a fine-tuning, as data: it is written into the run folder and read from there again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mixing::Mixing;
use super::optimizer::Optimizer;
use super::order::Sampler;
use super::rates::Rates;
use super::schedule::{Schedule, Warmup};
use crate::class_weights::ClassWeights;
use crate::preprocess::AugmentRecipe;

/// How much of a network is tuned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Tune {
    /// The head alone, solved to the optimum.
    #[default]
    Head,
    /// The head, then the last stages that hold blocks, so many, and all that stands behind them.
    Last(usize),
    /// The head, then everything.
    Full,
    /// The head, then stage after stage from the last to the first.
    Gradual,
    /// Everything, from the family's own initialisation.
    Scratch,
}

impl Tune {
    /// The stages that `last` tunes where no number is given.
    pub const USUAL_LAST: usize = 2;

    /// Whether there is anything to tune beyond the head.
    pub fn is_head(self) -> bool {
        self == Self::Head
    }
}

impl fmt::Display for Tune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("head"),
            Self::Last(Self::USUAL_LAST) => f.write_str("last"),
            Self::Last(count) => write!(f, "last:{count}"),
            Self::Full => f.write_str("full"),
            Self::Gradual => f.write_str("gradual"),
            Self::Scratch => f.write_str("scratch"),
        }
    }
}

/// A word that names no way to tune.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way to tune: say head, last, last:N (N at least 1), full, gradual or scratch")]
pub struct UnknownTune(String);

impl FromStr for Tune {
    type Err = UnknownTune;

    fn from_str(text: &str) -> Result<Self, UnknownTune> {
        Ok(match text {
            "head" => Self::Head,
            "last" => Self::Last(Self::USUAL_LAST),
            "full" => Self::Full,
            "gradual" => Self::Gradual,
            "scratch" => Self::Scratch,
            _ => {
                let count = text.strip_prefix("last:").and_then(|n| n.parse().ok());
                match count {
                    Some(count @ 1..) => Self::Last(count),
                    _ => return Err(UnknownTune(text.to_owned())),
                }
            }
        })
    }
}

impl TryFrom<String> for Tune {
    type Error = UnknownTune;

    fn try_from(text: String) -> Result<Self, UnknownTune> {
        text.parse()
    }
}

impl From<Tune> for String {
    fn from(tune: Tune) -> Self {
        tune.to_string()
    }
}

/// Whether the running statistics of batch norms follow the batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormMode {
    /// They do where the network starts from nothing and batches have at least
    /// [`LEAST_BATCH`](Self::LEAST_BATCH) images; pretrained statistics are kept.
    #[default]
    Auto,
    /// They do wherever something trains.
    Train,
    /// They are kept.
    Frozen,
}

impl NormMode {
    /// The images whose statistics are worth having.
    pub const LEAST_BATCH: usize = 16;

    /// Whether statistics follow the batches in a training like this.
    pub fn follows(self, tune: Tune, batch: usize) -> bool {
        match self {
            Self::Auto => tune == Tune::Scratch && batch >= Self::LEAST_BATCH,
            Self::Train => true,
            Self::Frozen => false,
        }
    }
}

/// A moving average of all numbers: timm's `ModelEmaV3`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// How much of it stays at each step, at most.
    pub decay: f64,
    /// Whether less stays in the first steps: `1 − (1 + step)^(−2/3)`.
    #[serde(default = "yes")]
    pub warmup: bool,
}

const fn yes() -> bool {
    true
}

impl Average {
    /// How much of the average stays at a step, counted from 1.
    pub fn kept(&self, step: u64) -> f64 {
        const POWER: f64 = 2.0 / 3.0;
        match step.saturating_sub(1) {
            0 => 0.0,
            step if self.warmup => {
                let grown = 1.0 - (1.0 + step as f64).powf(-POWER);
                grown.clamp(0.0, self.decay)
            }
            _ => self.decay,
        }
    }
}

/// Which network a training leaves behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The best of the head alone and the epochs behind it, on the photos held back.
    #[default]
    Best,
    /// That of the best epoch, even if the head alone was better.
    Tuned,
    /// That of the last epoch.
    Last,
}

/// One phase of a training, where the recipe lists them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRecipe {
    /// What trains, in the words of `--unfreeze`: `head`, `layer4`, `all`.
    pub train: Vec<String>,
    /// Passes over the photos.
    pub epochs: usize,
    /// The learning rate; the recipe's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
}

/// All that decides a fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// How much of the network is tuned.
    pub tune: Tune,
    /// Passes over the photos, all phases together.
    pub epochs: usize,
    /// Photos a step.
    pub batch: usize,
    /// In how many parts a step's photos go through the network, one after the other.
    pub accumulate: usize,
    /// The learning rate: the highest that a part of the network without a rate of its own comes to.
    pub lr: f64,
    /// Of which share every step is multiplied by the schedule.
    pub schedule: Schedule,
    /// A slow start in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// Rates of parts of the network.
    #[serde(default)]
    pub rates: Rates,
    /// The greatest norm of all gradients together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// The share of certainty that is spread over all classes.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Mixing of images.
    #[serde(default)]
    pub mixing: Mixing,
    /// A moving average of the numbers, which is what is measured and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<Average>,
    /// The share of features dropped before the head; the network's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// The share of blocks left out, at the network's end; the network's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stochastic_depth: Option<f64>,
    /// What batch norms' running statistics do.
    #[serde(default)]
    pub bn: NormMode,
    /// Whether batch norms' factors and summands train with what surrounds them.
    #[serde(default = "yes")]
    pub bn_affine: bool,
    /// How much each class counts.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// In which order photos are shown.
    #[serde(default)]
    pub sampler: Sampler,
    /// The epochs without a better one after which a phase ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Which network is left.
    #[serde(default)]
    pub keep: Keep,
    /// Whether the best three epochs are averaged as long as that helps: a greedy soup.
    #[serde(default)]
    pub soup: bool,
    /// How photos are changed at random.
    #[serde(default)]
    pub augment: AugmentRecipe,
    /// Augmented views of each photo that are computed once, where what stands before the first stage that trains is
    /// cached.
    pub views: usize,
    /// Parts that do not train.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Parts that train all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfreeze: Vec<String>,
    /// The phases, where they are listed; `epochs` and the way to tune are then theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseRecipe>,
}

impl Recipe {
    /// The most photos that a step may have.
    pub const MOST_BATCH: usize = 8192;

    /// What is done where nobody says otherwise.
    pub fn of(tune: Tune) -> Self {
        let (epochs, lr) = match tune {
            Tune::Head | Tune::Last(_) => (6, 5e-4),
            Tune::Full => (5, 5e-4),
            Tune::Gradual => (6, 5e-4),
            Tune::Scratch => (30, 1e-3),
        };
        let augment = match tune {
            Tune::Scratch => AugmentRecipe::standard(),
            _ => AugmentRecipe::flip(),
        };
        Self {
            tune,
            epochs,
            batch: 32,
            accumulate: 1,
            lr,
            schedule: Schedule::PYTORCH,
            warmup: None,
            optimizer: Optimizer::ADAMW,
            rates: Rates::default(),
            clip: None,
            label_smoothing: 0.0,
            mixing: Mixing::default(),
            ema: None,
            dropout: None,
            stochastic_depth: None,
            bn: NormMode::Auto,
            bn_affine: true,
            class_weights: ClassWeights::None,
            sampler: Sampler::Shuffled,
            patience: None,
            keep: Keep::Best,
            soup: false,
            augment,
            views: 8,
            freeze: Vec::new(),
            unfreeze: Vec::new(),
            phases: Vec::new(),
        }
    }

    /// What makes no sense in a recipe.
    ///
    /// # Errors
    ///
    /// The first field whose value cannot be, with what it may be.
    pub fn check(&self) -> Result<(), RecipeError> {
        let within = |field, value: f64, least: f64, below: f64, help| match value >= least
            && value < below
        {
            true => Ok(()),
            false => Err(RecipeError {
                field,
                value: value.to_string(),
                help,
            }),
        };
        let at_least_one = |field, value: usize| match value {
            0 => Err(RecipeError {
                field,
                value: "0".to_owned(),
                help: "at least 1",
            }),
            _ => Ok(()),
        };
        at_least_one("epochs", self.epochs)?;
        at_least_one("batch", self.batch)?;
        if self.batch > Self::MOST_BATCH {
            return Err(RecipeError {
                field: "batch",
                value: self.batch.to_string(),
                help: "at most 8192",
            });
        }
        at_least_one("accumulate", self.accumulate)?;
        at_least_one("views", self.views)?;
        const LARGE: f64 = 1e6;
        within(
            "lr",
            self.lr,
            f64::MIN_POSITIVE,
            LARGE,
            "a number above 0 and below 1e6",
        )?;
        let decay = self.optimizer.weight_decay();
        within(
            "weight_decay",
            decay,
            0.0,
            LARGE,
            "at least 0 and below 1e6",
        )?;
        let share = "at least 0 and below 1";
        for (field, kept) in self.optimizer.shares() {
            within(field, kept, 0.0, 1.0, share)?;
        }
        within("label_smoothing", self.label_smoothing, 0.0, 1.0, share)?;
        if let Some(dropout) = self.dropout {
            within("dropout", dropout, 0.0, 1.0, share)?;
        }
        if let Some(depth) = self.stochastic_depth {
            within("stochastic_depth", depth, 0.0, 1.0, share)?;
        }
        if let Some(average) = self.ema {
            within("ema", average.decay, 0.0, 1.0, share)?;
        }
        if let Some(clip) = self.clip {
            within(
                "clip",
                clip,
                f64::MIN_POSITIVE,
                f64::MAX,
                "a number above 0",
            )?;
        }
        if let Some(patience) = self.patience {
            at_least_one("patience", patience)?;
        }
        within(
            "mixup",
            self.mixing.mixup,
            0.0,
            LARGE,
            "at least 0 and below 1e6",
        )?;
        within(
            "cutmix",
            self.mixing.cutmix,
            0.0,
            LARGE,
            "at least 0 and below 1e6",
        )?;
        for phase in &self.phases {
            at_least_one("phases.epochs", phase.epochs)?;
            if let Some(rate) = phase.lr {
                within(
                    "phases.lr",
                    rate,
                    f64::MIN_POSITIVE,
                    LARGE,
                    "a number above 0",
                )?;
            }
        }
        Ok(())
    }
}

/// A value that a recipe cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}; it must be {help}")]
pub struct RecipeError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub help: &'static str,
}
