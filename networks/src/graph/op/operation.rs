//! What is asked of every kind of step.

use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// What every kind of step says about itself. There are no defaults: a new kind does not compile before every question
/// is answered.
pub(crate) trait Operation {
    /// What people call it.
    fn title(&self) -> Title;

    /// The layers whose parameters it uses.
    fn layers(&self) -> Vec<LayerId>;

    /// The shape of what it puts out, without the batch; `Err` says what the input should have been, to follow the
    /// step's name.
    fn shape(&self, inputs: &[&[usize]], layers: &[LayerSpec]) -> Result<Vec<usize>, &'static str>;

    /// Multiply-adds for one image: of convolutions, linear maps and attention, as torchvision counts them.
    fn multiply_adds(&self, site: &Site) -> u64;
}

/// How every kind of step is written into an ONNX file. It is a trait of its own, so that programs which write none do
/// not carry it.
pub(crate) trait Exported {
    /// Writes the ONNX operators that say the same, and returns the name of the value that they put out.
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError>;
}

/// What a kind of step is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Title {
    /// PyTorch's name for the module that does this.
    Module(&'static str),
    /// A name of ours for what is a plain function there.
    Function(&'static str),
}

/// Where a step stands in its network: what surrounds it.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// The network's layers.
    pub layers: &'a [LayerSpec],
    /// The shapes of what it takes.
    pub inputs: Vec<&'a [usize]>,
    /// The shape of what it puts out.
    pub output: &'a [usize],
}

impl Site<'_> {
    /// How many numbers it puts out.
    pub fn count(&self) -> u64 {
        self.output.iter().product::<usize>() as u64
    }

    /// The name of a layer's parameter: its weight is the first, its bias the second.
    pub fn parameter(&self, layer: LayerId, index: usize) -> String {
        let parameters = self.layers[layer.0].parameters();
        let name = parameters.into_iter().nth(index);
        name.map_or_else(String::new, |(name, _)| name)
    }
}

/// Channels, rows and columns of maps.
pub(super) fn maps(shape: &[usize]) -> Result<[usize; 3], &'static str> {
    shape.try_into().map_err(|_| "takes maps")
}
