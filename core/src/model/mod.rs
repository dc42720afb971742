//! A network with its head, its classes and the way photos must be prepared for it, on a device.

mod answers;
mod cut;
mod frozen;
mod on_device;
mod ready;
mod segment;
mod sizes;
#[cfg(feature = "burn")]
mod steps;
#[cfg(test)]
mod tests;
mod values;

#[cfg(feature = "burn")]
pub use burn::tensor::Tensor;
pub use on_device::Model;
pub use rekindle_networks::model::{
    Cause, Channels, Contents, FORMAT, METADATA_KEY, ModelCard, ModelError, PhotoHashes, Purpose,
    Reading, imagenet_class_of_synset, imagenet_classes, port_kernels, read_card, whole_graph,
};
pub use segment::SegmentError;
