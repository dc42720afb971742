//! The networks other people pretrained, each an ordered list of stages.
//!
//! A backbone turns images into maps, tokens or features; what happens after it (pooling, the head) is the
//! business of [`crate::head`]. The one idea that carries freezing, caching,
//! feature maps and discriminative rates is that every backbone is a list of named [`Stage`]s, each
//! of which can run alone: nobody writes those per architecture.
//!
//! A family is a file here that writes its members down as [`crate::graph`]s, and a table of them.

mod alexnet;
mod architecture;
mod classes;
mod convnext;
mod deeplab;
mod densenet;
mod efficientnet;
mod efficientnet_lite;
mod fcn;
mod fcos;
mod fpn;
mod inception;
mod lraspp;
mod maxvit;
mod mnasnet;
mod mobilenet;
mod mobilenet_v4;
mod parts;
mod position;
mod pretrained;
mod published;
mod registry;
mod regnet;
mod resnet;
mod shufflenet;
mod squeezenet;
mod swin;
mod vgg;
mod vit;

pub use architecture::{
    Architecture, HeadSlot, HeadStyle, IMAGENET_CLASSES, MOST_PIXELS, UnsupportedInput,
};
pub use classes::Classes;
pub use position::{interpolate_position_embedding, interpolate_relative_bias};
pub use pretrained::{Accuracy, Figure, License, PretrainedWeights};
pub use registry::{ARCHITECTURES, RAW, UnknownArchitecture, architectures, find, raw};

pub use crate::graph::Stage;
