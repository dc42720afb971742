//! The command line, as clap reads it.

mod cache;
mod labels;
mod lr_find;
mod recommend;
mod shared;
mod tune;
mod values;

use std::ffi::OsStr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rekindle_core::backbone::MOST_PIXELS;
use rekindle_core::device::Preference;
use rekindle_core::head::MAX_HIDDEN;
use rekindle_core::train::ClassWeights;

pub use labels::{LabelArgs, TrainLabelArgs};

use crate::photos::Limits;
pub use cache::CacheArgs;
pub use lr_find::LrFindArgs;
pub use recommend::RecommendArgs;
pub use shared::DataArgs;
pub use shared::{GreyChoice, PhotoArgs, PictureArgs, StartArgs, WeightArgs};
pub use tune::{Divided, ScheduleChoice, TuneArgs};
use values::{MANY, MOST_IMAGES, count, number};

/// Re-light pretrained vision models on your own photos, on any GPU or none.
#[derive(Debug, Parser)]
#[command(
    name = "rekindle",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done, 1 a gate such as --min-accuracy was missed, 2 usage, \
    3 photos or model, 4 device, 5 reading or writing, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// The command line, whose options take what begins with a minus as a number: it is refused by what reads it,
/// which says what it takes.
pub fn command() -> clap::Command {
    // `REKINDLE_EPOCHS` is what `--epochs` is, where that is not given.
    let environment = |argument: clap::Arg| match (argument.get_long(), argument.get_action()) {
        (Some(long), clap::ArgAction::Set | clap::ArgAction::Append | clap::ArgAction::SetTrue)
            if !argument.is_global_set() =>
        {
            let name = format!("REKINDLE_{}", long.replace('-', "_").to_uppercase());
            argument.env(name).hide_env(true)
        }
        _ => argument,
    };
    command_alone().mut_subcommand("train", |command| command.mut_args(environment))
}

/// The same without what the environment says: for a command that was given at another time.
pub fn command_alone() -> clap::Command {
    let numbers = |argument: clap::Arg| {
        let is_value = argument.get_action().takes_values() && !argument.is_positional();
        argument.allow_negative_numbers(is_value)
    };
    Cli::command()
        .mut_args(numbers)
        .mut_subcommands(|command| command.mut_args(numbers))
        .mut_subcommand("recommend", recommend::without_other_tasks)
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where to compute (train, lr-find, recommend, predict, evaluate, compare, bench, doctor): auto, cpu, gpu, gpu:N or
    /// software.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    #[arg(value_parser = |text: &str| text.parse::<Preference>().map_err(|e| e.to_string()))]
    pub device: Preference,
    /// How a network's numbers are kept on a graphics adapter while it answers (predict, evaluate,
    /// compare, bench); sums are taken in 32 bits.
    #[arg(long, global = true, value_enum, default_value_t = PrecisionChoice::Full)]
    pub precision: PrecisionChoice,
    /// Print results as JSON on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Never download anything.
    #[arg(long, global = true)]
    pub offline: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a classifier on a folder of photos, one folder a class: a new head, or with --tune more of the network.
    Train(TrainArgs),
    /// Find a learning rate for a tuning: try rates from 1e-7 to 10 and draw the loss.
    LrFind(LrFindArgs),
    /// Say which network to train, and how much of it: measure candidates on a folder of photos within a budget of
    /// time, and print the training to run.
    Recommend(RecommendArgs),
    /// Say what is on photos.
    Predict(PredictArgs),
    /// Measure a model on a folder of photos.
    #[command(visible_alias = "eval")]
    Evaluate(EvaluateArgs),
    /// List the networks there are.
    Models,
    /// Show what a model is made of, layer by layer.
    Summary(SummaryArgs),
    /// Make a run again and say what came out different.
    Replay(ReplayArgs),
    /// Draw a model, stage by stage, as SVG.
    Diagram(DiagramArgs),
    /// Write a model as an ONNX file.
    Export(ExportArgs),
    /// Show networks side by side: size, work, accuracy, and speed and memory on this device.
    Compare(CompareArgs),
    /// Measure how fast a network answers on this device. A network that is given by name gets random numbers, on
    /// which speed does not depend, unless --weights names others.
    Bench(BenchArgs),
    /// Look at this machine: devices, what they can do, whether they compute correctly.
    Doctor(DoctorArgs),
    /// Show the web page on this machine.
    Serve(ServeArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Command {
    /// Bounds on the photos that the command reads.
    pub fn limits(&self) -> Limits {
        let photos = match self {
            Self::Train(args) => args.photos,
            Self::LrFind(args) => args.photos,
            Self::Recommend(args) => args.photos,
            Self::Predict(args) => args.photos,
            Self::Evaluate(args) => args.photos,
            _ => PhotoArgs::default(),
        };
        Limits::with_max_pixels(photos.max_pixels)
    }
}

/// Augmented views of a photo, at most: the crops of one photo are in memory together.
const MOST_VIEWS: u32 = 1_000;

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The folder: one folder of photos a class, with or without train/, val/ and test/ above them. Not needed with
    /// --resume.
    #[arg(required_unless_present = "resume")]
    pub dir: Option<PathBuf>,
    /// What it starts from.
    #[command(flatten)]
    pub start: StartArgs,
    /// The new head.
    #[arg(long, value_enum, default_value_t = HeadChoice::Linear)]
    pub head: HeadChoice,
    /// Measure by k-fold cross-validation, the head alone or a way to tune; the model is then trained on all photos.
    #[arg(long, value_name = "K", value_parser = count(2, MANY))]
    pub folds: Option<usize>,
    /// Share of the photos held back to measure the accuracy, where the folder has no val/ and there
    /// are no folds; 0.2 when not given.
    #[arg(long, value_name = "SHARE", value_parser = number("0.2"))]
    pub split: Option<f64>,
    /// Augmented views of each photo, beside the plain one: a head learns from 1 + N views of every
    /// photo. They follow from the seed and the photo's content, whatever its name.
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = count(0, MOST_VIEWS))]
    pub views: u32,
    /// How much each class counts: none (when not given), or auto to make up for rare classes.
    #[arg(long, value_enum)]
    pub class_weights: Option<ClassWeightChoice>,
    /// Linear head: inverse strength of the penalty, scikit-learn's C. Chosen from the features when
    /// not given.
    #[arg(long, value_name = "C", value_parser = number("0.1"))]
    pub c: Option<f64>,
    /// Passes over the photos, of a tuning or of a two-layer head. When not given: 6 of --tune last and gradual, 5 of
    /// full, 30 of scratch and of a two-layer head.
    #[arg(long, value_parser = count(1, MANY))]
    pub epochs: Option<usize>,
    /// Photos a step, likewise; 32 when not given.
    #[arg(long, value_parser = count(1, MOST_IMAGES))]
    pub batch: Option<usize>,
    /// Learning rate, likewise. When not given: 5e-4 of --tune last, gradual and full, 1e-3 of scratch and of a two-layer
    /// head.
    #[arg(long, value_parser = number("0.001"))]
    pub lr: Option<f64>,
    /// Weight decay, likewise; 0.01 when not given.
    #[arg(long, value_parser = number("0.01"))]
    pub weight_decay: Option<f64>,
    /// Two-layer head: width of the hidden layer; twice the features when not given.
    #[arg(long, value_parser = count(1, MAX_HIDDEN))]
    pub hidden: Option<usize>,
    /// Share of a two-layer head's hidden activations that are dropped (0.5 when not given); with a linear head, of
    /// the features while the network is tuned.
    #[arg(long, value_parser = number("0.5"))]
    pub dropout: Option<f64>,
    /// How more than the head is tuned.
    #[command(flatten)]
    pub tuning: TuneArgs,
    /// End with exit code 1 when the measured accuracy is below this.
    #[arg(long, value_name = "SHARE", value_parser = number("0.9"))]
    pub min_accuracy: Option<f64>,
}

impl Deref for TrainArgs {
    type Target = StartArgs;

    fn deref(&self) -> &StartArgs {
        &self.start
    }
}

impl DerefMut for TrainArgs {
    fn deref_mut(&mut self) -> &mut StartArgs {
        &mut self.start
    }
}

impl TrainArgs {
    /// The folder of photos.
    pub fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(""))
    }

    /// A training with no option given.
    ///
    /// # Errors
    ///
    /// None that is known: clap's, should it not take a folder.
    pub fn plain(dir: &Path) -> Result<Self, clap::Error> {
        let words: [&OsStr; 4] = [
            "rekindle".as_ref(),
            "train".as_ref(),
            "--".as_ref(),
            dir.as_ref(),
        ];
        match Cli::try_parse_from(words)?.command {
            Command::Train(args) => Ok(args),
            _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
        }
    }
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The run's folder, such as runs/NAME.
    pub run: PathBuf,
}

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A model file, or the name of a network for the classes that it was published with.
    pub model: String,
    /// Photos, or folders of them.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// The network's weights, when it is given by name.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Which photos are read.
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// How many classes to show of a photo, the best or the largest first: 5 when not given, or, of a network
    /// that segments, all that the photo has.
    #[arg(long, short = 'k', value_parser = count(1, MANY))]
    pub top: Option<usize>,
    /// Networks that segment: write pictures into this folder, of each photo NAME.mask.png (a palette PNG, a
    /// pixel's number being its class) and NAME.overlay.png (the photo under its classes' colours), NAME-2 for a
    /// second photo of one name. Nothing there is overwritten.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Fail on photos that cannot be read instead of skipping them.
    #[arg(long)]
    pub strict: bool,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A model file, or the name of a network.
    pub model: String,
    /// The folder: one folder of photos a class, with or without test/, val/ and train/ above them. For a network
    /// that segments: JPEGImages/ and SegmentationClass/ as PASCAL VOC has them, or images/ and masks/.
    pub dir: PathBuf,
    /// The network's weights, when it is given by name. A head for other classes than ImageNet's is taken
    /// to be for the folder's, in the order of their names.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Which photos are read.
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// Which part of a divided folder to measure on: test/ when not given, else val/, else train/. With PASCAL
    /// VOC's lists, those in ImageSets/Segmentation/: val.txt when not given; all for every photo that has a mask.
    #[arg(long, value_enum, value_name = "PART")]
    pub split: Option<PartChoice>,
    /// Fail on photos that cannot be read instead of skipping them.
    #[arg(long)]
    pub strict: bool,
    /// End with exit code 1 when the accuracy is below this.
    #[arg(long, value_name = "SHARE", value_parser = number("0.9"))]
    pub min_accuracy: Option<f64>,
    /// What says what is on the photos, if not their folders.
    #[command(flatten)]
    pub labels: LabelArgs,
}

/// The parts of a divided folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartChoice {
    /// Photos to learn from.
    Train,
    /// Photos to compare trainings on.
    Val,
    /// Photos kept for the end.
    Test,
    /// All of them.
    All,
}

/// A network to look into, and which of it trains.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A model file, or the name of a network.
    pub model: String,
    /// Size of the images, as HEIGHTxWIDTH or one number; the model's own when not given.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub input: Option<[usize; 2]>,
    /// Look at the network with a new head for so many classes.
    #[arg(long, value_name = "N", value_parser = count(1, MOST_CLASSES))]
    pub classes: Option<usize>,
    /// Look at it without the hidden layers between the features and the classifier.
    #[arg(long)]
    pub bare: bool,
    /// Parts that do not train: all, backbone, head, adapter, stages, what parameters' names begin with, or patterns
    /// such as '*.bias'.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub freeze: Vec<String>,
    /// Parts that train all the same.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub unfreeze: Vec<String>,
}

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// What to look into.
    #[command(flatten)]
    pub inspect: InspectArgs,
    /// Images a batch, for the sizes in memory.
    #[arg(long, default_value_t = 1, value_parser = count(1, MOST_IMAGES))]
    pub batch: usize,
    /// List the stages instead of the layers.
    #[arg(long, conflicts_with = "parameters")]
    pub stages: bool,
    /// List the parameters' names and shapes instead of the layers.
    #[arg(long)]
    pub parameters: bool,
}

/// Arguments of `diagram`.
#[derive(Debug, Args)]
pub struct DiagramArgs {
    /// What to draw.
    #[command(flatten)]
    pub inspect: InspectArgs,
    /// The file to write; the network's name and `.svg` when not given.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A model file, or the name of a network.
    pub model: String,
    /// The network's weights, when it is given by name.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Write ONNX; the only format there is.
    #[arg(long, required = true)]
    pub onnx: bool,
    /// Size of the images that the file takes, as HEIGHTxWIDTH or one number; the model's own when not given. A
    /// network that segments sees whole photos: a photo of 640×480 pixels as 520x693.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub input: Option<[usize; 2]>,
    /// The file to write; the name of the run, of the file or of the network and `.onnx` when not given.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Names of networks, or model files.
    #[arg(required = true)]
    pub models: Vec<String>,
    /// Do not measure speed and memory.
    #[arg(long)]
    pub no_measure: bool,
    /// Images a pass.
    #[arg(long, default_value_t = 1, value_parser = count(1, MOST_IMAGES))]
    pub batch: usize,
    /// Passes to take the median of.
    #[arg(long, default_value_t = 5, value_parser = count(1, MANY))]
    pub runs: usize,
}

/// Most classes that a head is looked at with.
const MOST_CLASSES: usize = 65_536;

/// `32`, or `32x48` for 32 rows of 48 pixels.
fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let number = |text: &str| match text.trim().parse::<usize>() {
        Ok(number) if (1..=MOST_PIXELS).contains(&number) => Ok(number),
        _ => Err(format!(
            "'{text}' is no number of pixels from 1 to {MOST_PIXELS}"
        )),
    };
    match text.split_once(['x', '×']) {
        Some((height, width)) => Ok([number(height)?, number(width)?]),
        None => number(text).map(|side| [side, side]),
    }
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A model file, or the name of a network.
    pub model: String,
    /// The network's weights, when it is given by name; random ones unless they are named: speed does not depend on
    /// them.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Photos a pass.
    #[arg(long, default_value_t = 1, value_parser = count(1, MOST_IMAGES))]
    pub batch: usize,
    /// Passes to take the median of.
    #[arg(long, default_value_t = 10, value_parser = count(1, MANY))]
    pub runs: usize,
    /// Also measure whole training steps: forward, backward, SGD with momentum.
    #[arg(long)]
    pub train: bool,
    /// Whether batch norms take the statistics of the batch in those steps.
    #[arg(long, value_enum, default_value_t = NormSteps::Train)]
    pub bn: NormSteps,
    /// Keep little of those steps' way through the network, and compute again what their way back needs, on the processor.
    #[arg(long)]
    pub recompute: bool,
    /// Also measure each layer.
    #[arg(long)]
    pub layers: bool,
    /// Whose kernels run: ours, or Burn's own, step by step and in 32 bits.
    #[arg(long, value_enum, default_value_t = KernelChoice::Ours)]
    pub kernels: KernelChoice,
}

/// What batch norms go by in measured steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NormSteps {
    /// The statistics of the batch.
    Train,
    /// Their running statistics, which stay; factors and summands are trained.
    Frozen,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// List which kernel does each layer of this network on the chosen device instead.
    #[arg(long, value_name = "NETWORK", num_args = 0..=1, default_missing_value = "resnet18")]
    pub kernels: Option<String>,
    /// The class of adapter to list for, whatever there is here.
    #[arg(long, value_enum, requires = "kernels")]
    pub tier: Option<TierChoice>,
    /// Photos a pass that an adapter's kernels are listed for; 1 when not given.
    #[arg(long, requires = "kernels", value_parser = count(1, MOST_IMAGES))]
    pub batch: Option<usize>,
    /// List what a training step launches on the chosen device, and the bytes it is given: one step is taken, with
    /// numbers drawn at random.
    #[arg(long, requires = "kernels", conflicts_with = "tier")]
    pub train: bool,
}

/// The widths of numbers on an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionChoice {
    /// 32 bits.
    Full,
    /// 16 bits: half the memory, for adapters with WebGPU's shader-f16.
    Half,
}

impl PrecisionChoice {
    /// The word that stands for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Half => "half",
        }
    }
}

/// The classes of adapters that kernels are tiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TierChoice {
    /// The processor, not an adapter.
    Cpu,
    /// Software that emulates an adapter.
    Software,
    /// WebGPU's default limits: phones.
    Baseline,
    /// Integrated and desktop GPUs.
    Roomy,
    /// The same with 16-bit floats and subgroups.
    Full,
}

/// The kernels there are for graphics adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KernelChoice {
    /// Rekindle's.
    Ours,
    /// Those that come with Burn.
    Burn,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The built page; `dist` beside the checkout or the program when not given.
    pub dir: Option<PathBuf>,
    /// The port on 127.0.0.1; 0 for any free one.
    #[arg(long, short, default_value_t = 8080, value_parser = count(0, u16::MAX))]
    pub port: u16,
}

/// The heads there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeadChoice {
    /// One layer, solved to the optimum.
    Linear,
    /// Two layers with batch norm and dropout, trained by AdamW.
    Mlp,
}

/// How classes are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClassWeightChoice {
    /// Every photo counts the same.
    None,
    /// Every class counts the same.
    #[value(alias = "balanced")]
    Auto,
}

impl ClassWeightChoice {
    /// The weights that it stands for.
    pub const fn weights(self) -> ClassWeights {
        match self {
            Self::None => ClassWeights::None,
            Self::Auto => ClassWeights::Balanced,
        }
    }
}
