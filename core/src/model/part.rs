//! A part of a model: its numbers on the host, and as modules on the device once somebody asks for those.

use std::sync::{Arc, OnceLock};

use crate::weights::Tensors;

/// The backbone or the head. Who only classifies never needs the module; who trains or runs a network step
/// by step does.
#[derive(Debug, Clone)]
pub(super) struct Part<M> {
    tensors: Arc<Tensors>,
    module: Arc<OnceLock<M>>,
}

impl<M> Part<M> {
    /// A part of these tensors.
    pub fn new(tensors: Tensors) -> Self {
        Self {
            tensors: Arc::new(tensors),
            module: Arc::default(),
        }
    }

    /// Its tensors under their names in the state_dict.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// The module that `make` makes of them, the first time.
    pub fn module(&self, make: impl FnOnce(&Tensors) -> M) -> &M {
        self.module.get_or_init(|| make(&self.tensors))
    }
}
