//! Rekindle's core: re-light a pretrained vision model on your own photos, on any GPU or none.
//!
//! The pipeline is the floor plan; data flows one way, and nothing on the left knows what is on its
//! right:
//!
//! ```text
//! photo → preprocess → backbone → neck → head → postprocess → answer
//! ```
//!
//! A backbone is written down as data, a [`graph`] of steps, from which follows how it runs and
//! whatever else is asked of it.
//! Around the line stand the things that act on it: [`weights`] fill it, [`train`] changes it,
//! [`inspect`] looks into it, [`compiled`] and `kernels` make it fast, [`device`] is where it runs, and a [`model`] is all of it together.
//!
//! The crate is pure: no files, clock, threads, network or printing, and every read from a device is
//! async. The same code runs natively and in a browser.
//!
//! The feature `burn` (on by default) brings [Burn](https://burn.dev): graphics adapters, networks run step by
//! step and trained, two-layer heads. What is left without it is small and compiles in seconds: frozen
//! networks on the processor, and linear heads.

pub mod backbone;
pub mod compiled;
pub mod device;
pub mod graph;
pub mod head;
pub mod image;
pub mod inspect;
#[cfg(feature = "burn")]
pub mod kernels;
pub mod model;
#[cfg(feature = "burn")]
pub mod neck;
pub mod postprocess;
pub mod preprocess;
pub mod random;
pub mod train;
pub mod weights;
