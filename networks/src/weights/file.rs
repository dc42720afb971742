//! One face for every kind of weight file: named tensors, views of the file's bytes.
//!
//! Whatever the format, opening a file costs memory in proportion to its index, never to a number
//! written in it: tensors stay borrowed views of the file's bytes until
//! [`to_f32`](TensorView::to_f32) copies one, and each view is proved to lie inside its storage first.

use std::collections::BTreeMap;

use super::error::WeightsError;
use super::names::{beginnings, behind};
use super::parts::{self, TensorDict};
use super::view::TensorView;
use crate::sorting::gathered;

/// The layouts of weight files that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// A safetensors file: a JSON header, then the tensors' bytes.
    Safetensors,
    /// What `torch.save` has written since PyTorch 1.6: a zip archive with a pickle and raw storages.
    TorchZip,
    /// What `torch.save` wrote before: five pickles in a row, then raw storages.
    TorchLegacy,
}

/// A weight file opened over its bytes.
#[derive(Debug, Clone)]
pub struct WeightFile<'a> {
    pub(super) format: WeightFormat,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, TensorView<'a>>,
    /// The key of the dictionary the tensors are from.
    pub(super) part: String,
    /// All dictionaries of tensors in the file.
    pub(super) parts: Vec<TensorDict>,
}

impl<'a> WeightFile<'a> {
    /// The tensors whose names begin with the key and a dot, without them.
    ///
    /// # Errors
    /// [`WeightsError::NoPart`] where no name does.
    pub(super) fn narrowed(mut self, key: &str) -> Result<Self, WeightsError> {
        let rest = self
            .tensors
            .iter()
            .filter_map(|(name, view)| Some((behind(name, key)?.to_owned(), view.clone())));
        let rest: BTreeMap<_, _> = gathered(rest);
        if rest.is_empty() {
            let there = beginnings(self.tensors.keys().map(String::as_str));
            return Err(parts::no_part(key, there));
        }
        self.tensors = rest;
        key.clone_into(&mut self.part);
        Ok(self)
    }

    /// The format the bytes are in.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// The `__metadata__` of a safetensors file; empty for other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The key of the dictionary that the tensors are from; empty where they are the file itself.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// All dictionaries of tensors in the file, the one that is meant when nobody says otherwise first.
    pub fn parts(&self) -> &[TensorDict] {
        &self.parts
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorView<'a>> {
        &self.tensors
    }

    /// The tensor of that exact name.
    pub fn get(&self, name: &str) -> Option<&TensorView<'a>> {
        self.tensors.get(name)
    }
}
