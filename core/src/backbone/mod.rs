//! The networks other people pretrained, each an ordered list of stages.
//!
//! A backbone turns images into an [`Activation`]; what happens after it (pooling, the head) is the
//! business of [`crate::neck`] and [`crate::head`]. The one idea that carries freezing, caching,
//! feature maps and discriminative rates is that every backbone is a list of named [`Stage`]s, each
//! of which can run alone: nobody writes those per architecture.

mod architecture;
mod efficientnet_lite;
mod layers;
mod resnet;
mod squeezenet;
mod vit;

pub use architecture::{
    ARCHITECTURES, Architecture, HeadSlot, HeadStyle, License, PretrainedWeights,
    UnknownArchitecture, find,
};
pub use efficientnet_lite::EfficientNetLite;
pub use resnet::{ResNet, ResNetConfig};
pub use squeezenet::{SqueezeNet, SqueezeNetVersion};
pub use vit::{VisionTransformer, VisionTransformerConfig, interpolate_position_embedding};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// One named step of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name people know it by: `layer3`, `blocks.4`, `encoder_layer_11`.
    pub name: String,
    /// Input pixels per output position along each axis, counted from the image.
    pub stride: usize,
    /// Channels (maps) or width (tokens) of what it puts out.
    pub channels: usize,
}

impl Stage {
    pub(crate) fn new(name: impl Into<String>, stride: usize, channels: usize) -> Self {
        Self {
            name: name.into(),
            stride,
            channels,
        }
    }
}

/// What flows between stages.
#[derive(Debug, Clone)]
pub enum Activation {
    /// Feature maps `[N, C, H, W]`; an image batch is one too.
    Map(Tensor<4>),
    /// Token sequences `[N, T, C]`, the class token first.
    Tokens(Tensor<3>),
}

impl Activation {
    /// The feature maps, where that is what this is.
    pub fn into_map(self) -> Option<Tensor<4>> {
        match self {
            Self::Map(map) => Some(map),
            Self::Tokens(_) => None,
        }
    }

    /// The dimensions of the tensor inside.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Map(map) => map.dims().to_vec(),
            Self::Tokens(tokens) => tokens.dims().to_vec(),
        }
    }

    /// All values in row-major order, as a flat tensor.
    pub fn flatten(self) -> Tensor<1> {
        match self {
            Self::Map(map) => map.flatten(0, 3),
            Self::Tokens(tokens) => tokens.flatten(0, 2),
        }
    }
}

/// What a family has to say for itself. [`Backbone`] says it for all of them.
pub(crate) trait Staged {
    /// Its stages, first to last.
    fn stages(&self) -> Vec<Stage>;

    /// Runs stage `index` on what the stage before it put out (the image, for the first).
    ///
    /// # Panics
    ///
    /// When the activation is not of the kind that the stage takes: a mistake of the caller, which
    /// [`Backbone::run`] cannot make for the images it starts from.
    fn run(&self, index: usize, input: Activation) -> Activation;

    /// The stage that the parameter of this (torchvision) name belongs to.
    fn stage_of(&self, name: &str) -> usize;

    /// The name that torchvision (or timm) gives to the parameter at `path`, where Rust's field names
    /// cannot spell it.
    fn torch_name(&self, path: String) -> String {
        path
    }
}

/// Any of the networks, behind one face.
#[derive(Module, Debug)]
pub enum Backbone {
    /// ResNet, ResNeXt and Wide ResNet.
    ResNet(ResNet),
    /// SqueezeNet 1.0 and 1.1.
    SqueezeNet(SqueezeNet),
    /// EfficientNet-Lite.
    EfficientNetLite(EfficientNetLite),
    /// Vision Transformer.
    VisionTransformer(VisionTransformer),
}

macro_rules! each_family {
    ($backbone:expr, $net:ident => $body:expr) => {
        match $backbone {
            Backbone::ResNet($net) => $body,
            Backbone::SqueezeNet($net) => $body,
            Backbone::EfficientNetLite($net) => $body,
            Backbone::VisionTransformer($net) => $body,
        }
    };
}

impl Backbone {
    /// The stages, first to last.
    pub fn stages(&self) -> Vec<Stage> {
        each_family!(self, net => net.stages())
    }

    /// Runs one stage on what the stage before it put out.
    ///
    /// # Panics
    ///
    /// When `index` is not a stage, or the activation is not what that stage takes.
    pub fn run(&self, index: usize, input: Activation) -> Activation {
        each_family!(self, net => net.run(index, input))
    }

    /// Runs every stage.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 3, H, W]`, normalised
    pub fn forward(&self, images: Tensor<4>) -> Activation {
        (0..self.stages().len()).fold(Activation::Map(images), |activation, index| {
            self.run(index, activation)
        })
    }

    /// The stage that the parameter of this (torchvision) name belongs to: what freezing, rates per
    /// stage and summaries ask.
    pub fn stage_of(&self, name: &str) -> usize {
        each_family!(self, net => net.stage_of(name))
    }

    /// What each stage puts out for images of this shape, found by sending zeros through.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 3, H, W]`
    pub fn stage_shapes(&self, images: [usize; 4], device: &Device) -> Vec<Vec<usize>> {
        let mut activation = Activation::Map(Tensor::zeros(images, device));
        (0..self.stages().len())
            .map(|index| {
                activation = self.run(index, activation.clone());
                activation.dims()
            })
            .collect()
    }

    /// The name that torchvision (or timm) gives to the parameter at `path` of this module tree.
    pub fn torch_name(&self, path: String) -> String {
        each_family!(self, net => net.torch_name(path))
    }
}
