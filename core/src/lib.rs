//! Rekindle's core: re-light a pretrained vision model on your own photos, on any GPU or none.
//!
//! The pipeline is the floor plan; data flows one way, and nothing on the left knows what is on its
//! right:
//!
//! ```text
//! photo → preprocess → backbone → neck → head → postprocess → answer
//! ```
//!
//! What networks are, and what their files hold, is the business of `rekindle-networks`, whose modules are also
//! found here: a backbone is data, a [`graph`] of steps. This crate puts it on a [`device`]: `network` runs it step
//! by step, [`compiled`] and `kernels` make it fast, [`train`] changes it, and a [`model`] is all of it together.
//!
//! The crate is pure: no files, clock, threads, network or printing, and every read from a device is
//! async. The same code runs natively and in a browser.
//!
//! The feature `burn` (on by default) brings [Burn](https://burn.dev): graphics adapters, networks run step by
//! step and trained so, two-layer heads. What is left without it is small and compiles in seconds: frozen
//! networks and networks in training on the processor, and linear heads.

#[cfg(feature = "burn")]
mod binding;
mod class_weights;
pub mod compiled;
pub mod device;
pub mod differentiated;
#[cfg(feature = "burn")]
pub mod kernels;
mod lower;
pub mod metrics;
pub mod model;
#[cfg(feature = "burn")]
pub mod network;
mod operations;
mod program;
pub mod train;
pub mod tune;

pub use rekindle_networks::{
    backbone, graph, head, image, inspect, parts, postprocess, preprocess, random, rows, task,
    weights,
};
