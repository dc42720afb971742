//! A network with its numbers, its head, its classes and the way photos must be prepared for it: what a model
//! file holds, and what is made of other people's weight files.

mod card;
mod cause;
mod channels;
mod contents;
mod described;
mod ported;
mod renames;
#[cfg(test)]
mod tests;
mod trained_on;

pub use card::{FORMAT, ModelCard, imagenet_class_of_synset, imagenet_classes};
pub use cause::Cause;
pub use channels::{Channels, port_kernels};
pub use contents::{Contents, METADATA_KEY, ModelError, read_card};
pub use described::whole_graph;
pub use ported::{Purpose, Reading};
pub use trained_on::PhotoHashes;
