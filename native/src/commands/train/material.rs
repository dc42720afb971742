//! What a training works on.

use rekindle_core::model::Model;
use rekindle_core::train::{FeatureCache, Groups};

use crate::models::Origin;

/// What a head learns from, and how it is divided.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    pub model: &'a Model,
    /// Where its numbers are from.
    pub origin: &'a Origin,
    pub cache: &'a FeatureCache,
    pub groups: &'a Groups,
    /// What each photo's content says: what is drawn, and in which order photos are learnt from, follows from it
    /// and not from the files' names.
    pub contents: &'a [u64],
}
