//! Networks as data: what they are, what they cost, what their files hold, and how photos are prepared for them.
//!
//! A network is written down once, a [`graph`] of steps, by its family's file in [`backbone`]; a [`head`] is a few
//! more steps behind it. From that text follows whatever is asked of it: [`inspect`] draws, counts and exports it,
//! [`weights`] are matched to it by name and shape, and a [`model`] is all of it together with its numbers.
//!
//! There is no device here and nothing that computes: `rekindle-core` runs, compiles and trains what this crate
//! describes. Like core it is pure: no files, clock, threads, network or printing.

pub mod backbone;
pub mod graph;
pub mod head;
pub mod image;

pub mod inspect;
pub mod model;
mod onnx;
pub mod parts;
pub mod postprocess;
pub mod preprocess;
pub mod random;
pub mod rows;
pub mod sorting;
pub mod task;
pub mod weights;
