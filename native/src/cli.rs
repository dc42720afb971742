//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rekindle_core::device::Preference;

use crate::runs::RUNS_FOLDER;

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

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where to compute: auto, cpu, gpu, gpu:N or software.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    #[arg(value_parser = |text: &str| text.parse::<Preference>().map_err(|e| e.to_string()))]
    pub device: Preference,
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
    /// Train a new head on a folder of photos, one folder a class.
    Train(TrainArgs),
    /// Say what is on photos.
    Predict(PredictArgs),
    /// Measure a model on a folder of photos.
    #[command(visible_alias = "eval")]
    Evaluate(EvaluateArgs),
    /// List the networks there are.
    Models,
    /// Show what a model is made of.
    Summary(SummaryArgs),
    /// Measure how fast a network answers on this device.
    Bench(BenchArgs),
    /// Look at this machine: devices, what they can do, whether they compute correctly.
    Doctor,
    /// Show the web page on this machine.
    Serve(ServeArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Which pretrained weights to start from.
#[derive(Debug, Clone, Args)]
pub struct WeightArgs {
    /// Weights for the network: a name such as IMAGENET1K_V2, a .pth or .safetensors file, or
    /// `random` for none. The network's default weights when not given.
    #[arg(long, value_name = "WEIGHTS")]
    pub weights: Option<String>,
}

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The folder: one folder of photos a class, with or without train/ and val/ above them.
    pub dir: PathBuf,
    /// The network to start from; see `rekindle models`.
    #[arg(long, short, default_value = "efficientnet_lite0")]
    pub model: String,
    /// Its weights.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// The new head.
    #[arg(long, value_enum, default_value_t = HeadChoice::Linear)]
    pub head: HeadChoice,
    /// Also measure by k-fold cross-validation; the model is then trained on all photos.
    #[arg(long, value_name = "K")]
    pub folds: Option<usize>,
    /// Share of the photos held back to measure the accuracy, where the folder has no val/.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub split: f64,
    /// Seed of everything that is drawn: splits, views, the order of batches.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Augmented views of each photo, beside the plain one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub views: usize,
    /// How much each class counts: none, or auto to make up for rare classes.
    #[arg(long, value_enum, default_value_t = ClassWeightChoice::None)]
    pub class_weights: ClassWeightChoice,
    /// Linear head: inverse strength of the penalty, scikit-learn's C. Chosen from the features when
    /// not given.
    #[arg(long, value_name = "C")]
    pub c: Option<f64>,
    /// Two-layer head: passes over the photos.
    #[arg(long, default_value_t = 30)]
    pub epochs: usize,
    /// Two-layer head: photos a step.
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Two-layer head: learning rate.
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,
    /// Two-layer head: decoupled weight decay.
    #[arg(long, default_value_t = 1e-2)]
    pub weight_decay: f64,
    /// Two-layer head: width of the hidden layer; twice the features when not given.
    #[arg(long)]
    pub hidden: Option<usize>,
    /// Two-layer head: share of hidden activations dropped.
    #[arg(long, default_value_t = 0.5)]
    pub dropout: f64,
    /// Where run folders go.
    #[arg(long, value_name = "DIR", default_value = RUNS_FOLDER)]
    pub out: PathBuf,
    /// Name of the run folder; date, network and head when not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Fail on photos that cannot be read instead of skipping them.
    #[arg(long)]
    pub strict: bool,
    /// End with exit code 1 when the measured accuracy is below this.
    #[arg(long, value_name = "SHARE")]
    pub min_accuracy: Option<f64>,
}

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A model file, or the name of a network for its own ImageNet classes.
    pub model: String,
    /// Photos, or folders of them.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// The network's weights, when it is given by name.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// How many classes to show.
    #[arg(long, short = 'k', default_value_t = 5)]
    pub top: usize,
    /// Fail when any photo cannot be read.
    #[arg(long)]
    pub strict: bool,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A model file.
    pub model: String,
    /// The folder: one folder of photos a class.
    pub dir: PathBuf,
    /// Fail on photos that cannot be read instead of skipping them.
    #[arg(long)]
    pub strict: bool,
    /// End with exit code 1 when the accuracy is below this.
    #[arg(long, value_name = "SHARE")]
    pub min_accuracy: Option<f64>,
}

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// A model file, or the name of a network.
    pub model: String,
    /// The network's weights, when it is given by name.
    #[command(flatten)]
    pub weights: WeightArgs,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A model file, or the name of a network.
    pub model: String,
    /// The network's weights, when it is given by name; speed does not depend on them.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Photos a pass.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Passes to take the median of.
    #[arg(long, default_value_t = 10)]
    pub runs: usize,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The built page; `dist` beside the checkout or the program when not given.
    pub dir: Option<PathBuf>,
    /// The port on 127.0.0.1; 0 for any free one.
    #[arg(long, short, default_value_t = 8080)]
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
