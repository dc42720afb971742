//! What is known of each network by name: its size, its head's place, the weights people publish.

use thiserror::Error;

use super::classes::Classes;
use super::pretrained::PretrainedWeights;
use crate::graph::{Graph, InitRules, Options, Outputs, Value, sketch};
use crate::head::HeadKind;
pub use crate::head::{HeadSlot, HeadStyle};
use crate::task::Task;

/// A network that Rekindle can build by name.
///
/// What follows from the network itself (parameters, multiply-adds, stages) is not written here but
/// asked of its [`Graph`].
#[derive(Debug, Clone, Copy)]
pub struct Architecture {
    /// torchvision's name, or timm's where torchvision has none.
    pub name: &'static str,
    /// What timm calls it (`timm.create_model`), where torchvision has no such network.
    pub timm: Option<&'static str>,
    /// Other names that mean the same network.
    pub aliases: &'static [&'static str],
    /// The family, as a person would write it.
    pub family: &'static str,
    /// What it answers about a photo.
    pub task: Task,
    /// Side of the square input it was trained for, in pixels.
    pub input_size: usize,
    /// Every side must be a multiple of this many pixels.
    pub input_multiple: usize,
    /// Where the classifier sits and what it does.
    pub head: HeadSlot,
    /// What an untrained network is drawn from.
    pub init: InitRules,
    /// Writes the network down, from the image to the features.
    pub describe: fn(Value) -> Value,
    /// What the names of auxiliary classifiers begin with, which published files hold and few need.
    pub auxiliary: &'static [&'static str],
    /// Whether torchvision builds the auxiliary classifiers for its published weights.
    pub auxiliary_by_default: bool,
    /// Turns a name of an old file into today's.
    pub modern_name: fn(String) -> String,
    /// The published weights, the default first.
    pub weights: &'static [PretrainedWeights],
}

impl Architecture {
    /// What most ImageNet networks share; the rest is said with `..`.
    pub(super) const fn new(
        name: &'static str,
        family: &'static str,
        head: HeadSlot,
        describe: fn(Value) -> Value,
        weights: &'static [PretrainedWeights],
    ) -> Self {
        const fn same(name: String) -> String {
            name
        }
        Self {
            name,
            timm: None,
            aliases: &[],
            family,
            task: Task::Classify,
            input_size: 224,
            input_multiple: 1,
            head,
            init: InitRules::TORCH,
            describe,
            auxiliary: &[],
            auxiliary_by_default: false,
            modern_name: same,
            weights,
        }
    }

    /// A network of timm's, which calls it so.
    pub(super) const fn timm(self, name: &'static str) -> Self {
        Self {
            timm: Some(name),
            ..self
        }
    }

    /// Drawn from these distributions when untrained.
    pub(super) const fn init(self, init: InitRules) -> Self {
        Self { init, ..self }
    }

    /// For this task.
    pub const fn task(self, task: Task) -> Self {
        Self { task, ..self }
    }

    /// With auxiliary classifiers of these names.
    pub(super) const fn auxiliary(
        self,
        auxiliary: &'static [&'static str],
        auxiliary_by_default: bool,
    ) -> Self {
        Self {
            auxiliary,
            auxiliary_by_default,
            ..self
        }
    }

    /// For photos of any aspect, of so many pixels on the shorter side.
    pub(super) const fn whole_photos(self, input_size: usize) -> Self {
        Self { input_size, ..self }
    }

    /// The backbone as data, for images `[C, H, W]`.
    ///
    /// # Errors
    ///
    /// When the network cannot take such images: the error says what it can take.
    pub fn graph(&self, image: [usize; 3], options: &Options) -> Result<Graph, UnsupportedInput> {
        self.graph_with(image, options, |image| image, Outputs::from)
    }

    /// The whole network as data, with its own head for so many classes.
    ///
    /// # Errors
    ///
    /// As [`graph`](Self::graph).
    pub fn whole_graph(
        &self,
        image: [usize; 3],
        options: &Options,
        classes: usize,
    ) -> Result<Graph, UnsupportedInput> {
        let slot = self.head.for_options(options);
        let head = |x: Value| HeadKind::Original.describe(slot, x, classes);
        self.graph_with(image, options, |image| image, head)
    }

    /// The network with whatever `before` writes in front of it and `then` behind what it puts out:
    /// an adapter of channels, a head.
    ///
    /// # Errors
    ///
    /// As [`graph`](Self::graph).
    pub fn graph_with(
        &self,
        image: [usize; 3],
        options: &Options,
        before: impl FnOnce(Value) -> Value,
        then: impl FnOnce(Value) -> Outputs,
    ) -> Result<Graph, UnsupportedInput> {
        let [_, height, width] = image;
        let is_possible = |side: usize| {
            (1..=MOST_PIXELS).contains(&side) && side.is_multiple_of(self.input_multiple)
        };
        let sketched = match is_possible(height) && is_possible(width) {
            true => sketch(image, options, |image| then((self.describe)(before(image)))).ok(),
            false => None,
        };
        sketched.ok_or_else(|| UnsupportedInput {
            architecture: self.name,
            height,
            width,
            min_input: self.min_input_with(options),
            multiple: self.input_multiple,
        })
    }

    /// The classes of the published weights.
    pub fn classes(&self) -> Classes {
        let default = self.weights.first();
        default.map_or(Classes::ImageNet, |weights| weights.classes)
    }

    /// What torchvision builds for its published weights.
    fn default_options(&self) -> Options {
        Options {
            auxiliary: self.auxiliary_by_default.then(|| self.classes().count()),
            ..Options::default()
        }
    }

    /// The backbone as data at the size it was trained for, with the auxiliary classifiers that
    /// torchvision builds by default.
    pub fn published_graph(&self) -> Graph {
        self.published(self.graph(self.published_image(), &self.default_options()))
    }

    /// The same with the head of the published weights.
    pub fn published_whole_graph(&self) -> Graph {
        let options = self.default_options();
        let classes = self.classes().count();
        self.published(self.whole_graph(self.published_image(), &options, classes))
    }

    fn published_image(&self) -> [usize; 3] {
        [3, self.input_size, self.input_size]
    }

    fn published(&self, graph: Result<Graph, UnsupportedInput>) -> Graph {
        graph.unwrap_or_else(|error| panic!("{} at its own size: {error}", self.name))
    }

    /// Learnable numbers with the head of the published weights.
    pub fn params(&self) -> u64 {
        self.published_whole_graph().parameter_count() as u64
    }

    /// How many of [`params`](Self::params) are those of auxiliary classifiers, which only help in training.
    pub fn auxiliary_params(&self) -> u64 {
        let classes = self.classes().count();
        let alone = self.whole_graph(self.published_image(), &Options::default(), classes);
        self.params() - self.published(alone).parameter_count() as u64
    }

    /// Multiply-adds of one forward pass with the head of the published weights at
    /// [`Architecture::input_size`], as torchvision states them: its networks for segmentation compute their
    /// auxiliary answers whenever they have the classifier for them, its other networks in training only.
    pub fn macs(&self) -> u64 {
        let graph = self.published_whole_graph();
        match self.task {
            Task::Segment => graph.nodes().iter().map(|node| graph.node_macs(node)).sum(),
            Task::Classify | Task::MultiLabel | Task::Regress => graph.macs(),
        }
    }

    /// Length of the pooled feature vector.
    pub fn features(&self) -> usize {
        self.published_graph().features()
    }

    /// The smallest side of a square image that it can take, in pixels.
    pub fn min_input(&self) -> usize {
        self.min_input_with(&Options::default())
    }

    fn min_input_with(&self, options: &Options) -> usize {
        let step = self.input_multiple;
        let fits = |steps: usize| {
            let side = steps * step;
            sketch([3, side, side], options, self.describe).is_ok()
        };
        // If a network takes a size, it takes all that are larger.
        let (mut too_small, mut enough) = (0, self.input_size.div_ceil(step));
        while enough - too_small > 1 {
            let middle = too_small.midpoint(enough);
            match fits(middle) {
                true => enough = middle,
                false => too_small = middle,
            }
        }
        enough * step
    }
}

/// The longest side of an image that networks are written down for, in pixels. No memory holds the maps of a
/// larger one, and here all that is counted of them still fits into 64 bits.
pub const MOST_PIXELS: usize = 1 << 14;

/// Classes of the weights that are published.
pub const IMAGENET_CLASSES: usize = 1000;

/// An input size that a network cannot take.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "{architecture} cannot take images of {height}×{width} pixels: {}",
    self.what_it_takes()
)]
pub struct UnsupportedInput {
    architecture: &'static str,
    height: usize,
    width: usize,
    min_input: usize,
    multiple: usize,
}

impl UnsupportedInput {
    /// The smallest side of a square image that the network can take, in pixels.
    pub fn smallest(&self) -> usize {
        self.min_input
    }

    fn what_it_takes(&self) -> String {
        let least = match self.multiple {
            1 => format!("each side must be at least {}", self.min_input),
            n => format!(
                "each side must be a multiple of {n}, and at least {}",
                self.min_input
            ),
        };
        match self.height.max(self.width) > MOST_PIXELS {
            true => format!("{least} and at most {MOST_PIXELS}"),
            false => least,
        }
    }
}
