//! Options of tuning more of a network than its head.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rekindle_core::preprocess::AugmentRecipe;
use rekindle_core::tune::{
    Average, Better, Keep, NormMode, Optimizer, Parting, Recipe, Sampler, Schedule, Tune, Warmup,
};
use serde::{Deserialize, Serialize};

use super::values::{MANY, count, number};
use crate::size::parse_size;

/// How more than the head is tuned.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Fine-tuning")]
pub struct TuneArgs {
    /// How much of the network is tuned: head (solved to the optimum, the default); last or last:N (the head, then the
    /// last two or N stages that hold blocks); full (the head, then everything); gradual (the head, then stage after
    /// stage); scratch (everything, from nothing).
    #[arg(long, value_name = "HOW", default_value = "head")]
    #[arg(value_parser = |text: &str| text.parse::<Tune>().map_err(|error| error.to_string()))]
    pub tune: Tune,
    /// The optimiser: adamw, adam, sgd (momentum 0.9), rmsprop or lamb.
    #[arg(long, value_name = "NAME", value_parser = Optimizer::NAMES)]
    pub optimizer: Option<String>,
    /// The optimiser's momentum; the first beta of adamw, adam and lamb.
    #[arg(long, value_parser = number("0.9"))]
    pub momentum: Option<f64>,
    /// How the learning rate goes: one-cycle, cosine, step (a tenth at each third), poly, plateau or constant.
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleChoice>,
    /// Share of the steps in which the rate rises from nothing, before any schedule but one-cycle.
    #[arg(long, value_name = "SHARE", value_parser = number("0.1"))]
    pub warmup: Option<f64>,
    /// Each block's rate is this share of the one behind it, as timm has it.
    #[arg(long, value_name = "SHARE", value_parser = number("0.75"))]
    pub layer_decay: Option<f64>,
    /// The rate of a part, as adapter=1e-3 or layer4=2e-4; parts are said as to --freeze. May be given several times.
    #[arg(long, value_name = "PART=RATE", value_delimiter = ',')]
    #[arg(value_parser = parse_rate)]
    pub lr_of: Vec<(String, f64)>,
    /// The greatest norm of all gradients together.
    #[arg(long, value_name = "NORM", value_parser = number("1"))]
    pub clip: Option<f64>,
    /// In how many parts the photos of a step go through the network, to save memory.
    #[arg(long, value_name = "PARTS", value_parser = count(1, MANY))]
    pub accumulate: Option<usize>,
    /// The most memory that a tuning may take, of this process or of a graphics adapter's own, as 4GB: what the machine
    /// or its container has left when not given. Where a step would not fit, its photos go through the network in more
    /// parts.
    #[arg(long, value_name = "SIZE", value_parser = parse_limit)]
    pub memory_limit: Option<u64>,
    /// Keep little of a step's way through the network, and compute again what its way back needs: less memory, and longer
    /// steps. What comes out is the same. On the processor alone.
    #[arg(long)]
    pub recompute: bool,
    /// In how many parts the steps of the run that is made again went through the network.
    #[arg(skip)]
    pub divided: Option<Divided>,
    /// The folder of the run that is made again.
    #[arg(skip)]
    pub replayed: Option<PathBuf>,
    /// The share of certainty that is spread over all classes.
    #[arg(long, value_name = "SHARE", value_parser = number("0.1"))]
    pub label_smoothing: Option<f64>,
    /// Mix photos: the alpha of mixup.
    #[arg(long, value_name = "ALPHA", value_parser = number("0.2"))]
    pub mixup: Option<f64>,
    /// Paste parts of photos into others: the alpha of CutMix.
    #[arg(long, value_name = "ALPHA", value_parser = number("1"))]
    pub cutmix: Option<f64>,
    /// Measure and keep a moving average of the numbers, of which this much stays at each step.
    #[arg(long, value_name = "SHARE", value_parser = number("0.999"))]
    pub ema: Option<f64>,
    /// The share of blocks that is left out in training, at the network's end.
    #[arg(long, value_name = "SHARE", value_parser = number("0.1"))]
    pub stochastic_depth: Option<f64>,
    /// What batch norms' running statistics do: frozen, train (follow the batches), or auto (follow them only from
    /// scratch, with batches of at least 16).
    #[arg(long, value_enum)]
    pub bn: Option<NormChoice>,
    /// Keep batch norms' factors and summands as they are.
    #[arg(long)]
    pub freeze_bn_affine: bool,
    /// Show each class equally often.
    #[arg(long)]
    pub balanced: bool,
    /// How photos are changed at random: none, flip, light, standard, trivial, rand or strong. When not given: standard of
    /// --tune scratch, flip of the others.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(AugmentRecipe::NAMES))]
    pub augment: Option<String>,
    /// End a phase after so many epochs without a better one.
    #[arg(long, value_name = "EPOCHS", value_parser = count(1, MANY))]
    pub patience: Option<usize>,
    /// Which network is left: best (of the head alone and all epochs), tuned (the best epoch, even if the head alone
    /// was better), or last.
    #[arg(long, value_enum)]
    pub keep: Option<KeepChoice>,
    /// Average the best three epochs as long as that helps.
    #[arg(long)]
    pub soup: bool,
    /// Parts that do not train: stages, head, backbone, names or patterns, as `summary` takes them.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub freeze: Vec<String>,
    /// Parts that train all the same.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub unfreeze: Vec<String>,
    /// A recipe: a file such as a run's recipe.toml, or quick, best or phone, which come with Rekindle. What it says
    /// holds unless an option says otherwise, or a variable of the environment such as REKINDLE_EPOCHS.
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Seconds between checkpoints; there is one at each epoch's end, too.
    #[arg(long, value_name = "SECONDS", value_parser = number("60"))]
    pub checkpoint_every: Option<f64>,
    /// Go on with a run that was stopped, from its last checkpoint, with the options it began with: no other option of
    /// `train` is given.
    #[arg(long, value_name = "RUN", conflicts_with = "dir")]
    pub resume: Option<PathBuf>,
    /// Print what happens as JSON lines on stdout while it happens.
    #[arg(long)]
    pub events: bool,
    /// Write TensorBoard's event files into the run's folder `tensorboard`, while it goes on.
    #[arg(long)]
    pub tensorboard: bool,
}

/// In how many parts the steps of a tuning go through the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divided {
    /// Those of each phase.
    pub phases: Vec<usize>,
    /// Where a device without memory made more of them necessary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Parting>,
    /// Those of the trainings of a cross-validation, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Divided>,
}

impl Divided {
    /// Those of a training of the run: of a part of it, or of what the run leaves.
    pub fn of(&self, part: Option<&str>) -> Option<&Self> {
        match part {
            None => Some(self),
            Some(part) => self.parts.get(part),
        }
    }

    /// The same, to be changed; made if there are none.
    pub fn of_mut(&mut self, part: Option<&str>) -> &mut Self {
        match part {
            None => self,
            Some(part) => self.parts.entry(part.to_owned()).or_default(),
        }
    }

    /// The most parts that any step was in.
    pub fn most(&self) -> usize {
        let further = self.further.iter().map(|parting| parting.parts);
        self.phases
            .iter()
            .copied()
            .chain(further)
            .fold(1, usize::max)
    }
}

/// The schedules there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleChoice {
    /// PyTorch's OneCycleLR.
    OneCycle,
    /// Half a cosine, down to nothing.
    Cosine,
    /// A tenth at each third of the epochs.
    Step,
    /// Polynomial, of power 0.9.
    Poly,
    /// A tenth where the loss on held-out photos stays.
    Plateau,
    /// The same rate throughout.
    Constant,
}

/// What batch norms' statistics do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NormChoice {
    /// They follow batches from scratch only.
    Auto,
    /// They follow the batches.
    Train,
    /// They stay.
    Frozen,
}

/// Which network is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeepChoice {
    /// The best of the head alone and all epochs.
    Best,
    /// The best epoch.
    Tuned,
    /// The last epoch.
    Last,
}

/// A size that is something.
pub fn parse_limit(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(bytes @ 1..) => Ok(bytes),
        _ => Err("it must be a size above nothing, as 500MB, 4GB or 1.5GiB".to_owned()),
    }
}

/// `layer4=2e-4`.
fn parse_rate(text: &str) -> Result<(String, f64), String> {
    let said = "it must be a part and its rate, as layer4=2e-4".to_owned();
    let (part, rate) = text.split_once('=').ok_or_else(|| said.clone())?;
    match rate.parse::<f64>() {
        Ok(rate) if rate >= 0.0 && rate.is_finite() && !part.is_empty() => {
            Ok((part.to_owned(), rate))
        }
        _ => Err(said),
    }
}

impl TuneArgs {
    /// Puts what was asked for in the place of what a recipe says.
    pub fn change(&self, recipe: &mut Recipe) {
        // What a file says of the same optimiser holds.
        let other = |name: &&str| *name != recipe.optimizer.name();
        let named = self.optimizer.as_deref().filter(other);
        if let Some(optimizer) = named.and_then(Optimizer::named) {
            recipe.optimizer = optimizer;
        }
        if let Some(momentum) = self.momentum {
            recipe.optimizer = recipe.optimizer.with_momentum(momentum);
        }
        if let Some(choice) = self.schedule {
            recipe.schedule = choice.schedule(recipe.epochs);
        }
        if let Some(share) = self.warmup {
            recipe.warmup = ScheduleChoice::warmup(share);
        }
        if self.layer_decay.is_some() {
            recipe.rates.layer_decay = self.layer_decay;
        }
        recipe.rates.parts.extend(self.lr_of.iter().cloned());
        recipe.clip = self.clip.or(recipe.clip);
        recipe.accumulate = self.accumulate.unwrap_or(recipe.accumulate);
        recipe.label_smoothing = self.label_smoothing.unwrap_or(recipe.label_smoothing);
        recipe.mixing.mixup = self.mixup.unwrap_or(recipe.mixing.mixup);
        recipe.mixing.cutmix = self.cutmix.unwrap_or(recipe.mixing.cutmix);
        if let Some(decay) = self.ema {
            recipe.ema = Some(Average {
                decay,
                warmup: true,
            });
        }
        recipe.stochastic_depth = self.stochastic_depth.or(recipe.stochastic_depth);
        recipe.bn = match self.bn {
            Some(NormChoice::Auto) => NormMode::Auto,
            Some(NormChoice::Train) => NormMode::Train,
            Some(NormChoice::Frozen) => NormMode::Frozen,
            None => recipe.bn,
        };
        recipe.bn_affine &= !self.freeze_bn_affine;
        if self.balanced {
            recipe.sampler = Sampler::Balanced;
        }
        if let Some(Ok(augment)) = self.augment.as_deref().map(AugmentRecipe::named) {
            recipe.augment = augment;
        }
        recipe.patience = self.patience.or(recipe.patience);
        recipe.keep = match self.keep {
            Some(KeepChoice::Best) => Keep::Best,
            Some(KeepChoice::Tuned) => Keep::Tuned,
            Some(KeepChoice::Last) => Keep::Last,
            None => recipe.keep,
        };
        recipe.soup |= self.soup;
        recipe.freeze.extend(self.freeze.iter().cloned());
        recipe.unfreeze.extend(self.unfreeze.iter().cloned());
    }
}

impl ScheduleChoice {
    /// A slow start over that share of the steps; of nothing there is none.
    pub fn warmup(share: f64) -> Option<Warmup> {
        (share > 0.0).then_some(Warmup { share, start: 0.01 })
    }

    /// The schedule, of a training of so many epochs.
    pub fn schedule(self, epochs: usize) -> Schedule {
        match self {
            Self::OneCycle => Schedule::PYTORCH,
            Self::Cosine => Schedule::Cosine { floor: 0.0 },
            Self::Step => Schedule::Step {
                every: epochs.div_ceil(3).max(1),
                gamma: 0.1,
            },
            Self::Poly => Schedule::Polynomial { power: 0.9 },
            Self::Plateau => Schedule::Plateau {
                factor: 0.1,
                patience: 2,
                threshold: 1e-4,
                cooldown: 0,
                floor: 1e-3,
                better: Better::Lower,
            },
            Self::Constant => Schedule::Constant,
        }
    }
}
