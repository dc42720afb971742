//! Views of a photo that a classifier should answer alike, as torchvision makes them.
//!
//! [`AugmentRecipe`] says what may happen, [`Drawn`] what does happen to one photo, [`Operation`] is one thing of it.
//! [`Augmentation`] is the part that cached features are made with: a crop and a flip.

mod area;
mod automatic;
mod blend;
mod drawn;
mod erasing;
mod error;
mod flips;
mod geometry;
mod hue;
mod jitter;
mod operation;
mod recipe;
mod sharpness;
mod spread;
mod staged;
mod tones;
mod turns;
mod views;
mod warp;

pub use automatic::{Automatic, RandAugment};
pub use drawn::Drawn;
pub use erasing::Erasing;
pub use error::AugmentError;
pub(super) use flips::mirror;
pub use jitter::Jitter;
pub use operation::Operation;
pub use recipe::{AugmentRecipe, RandomCrop};
pub use spread::Spread;
pub use staged::{Blend, Deed, Partner, Staged};
pub use turns::{RandomAffine, RandomPerspective, Rotation};
pub use views::{Augmentation, AugmentationError};
pub use warp::{Fill, Filter, Walk};
