//! What a model is compiled to: made at the first question, kept for the others.

use std::sync::{Arc, OnceLock};

use super::cut::Cut;
use super::ready::Compiled;
use super::sizes::Sizes;
use crate::compiled::Precision;
use crate::device::DeviceError;

/// What a model has been compiled to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Frozen {
    precision: Precision,
    pub features: Arc<OnceLock<Compiled>>,
    pub logits: Arc<OnceLock<Compiled>>,
    /// To the logits, for pictures of some sizes.
    pub sizes: Sizes,
    /// To the inner value that was asked for last.
    pub cut: Cut,
}

impl Frozen {
    /// What stays true under another head.
    pub fn without_head(&self) -> Self {
        Self {
            precision: self.precision,
            features: Arc::clone(&self.features),
            logits: Arc::default(),
            sizes: Sizes::default(),
            cut: Cut::default(),
        }
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Nothing compiled yet, for this precision.
    pub fn of(precision: Precision) -> Self {
        Self {
            precision,
            ..Self::default()
        }
    }
}

/// What `kept` holds, or else what is made now.
pub(super) fn compiled(
    kept: &OnceLock<Compiled>,
    make: impl FnOnce() -> Result<Compiled, DeviceError>,
) -> Result<&Compiled, DeviceError> {
    match kept.get() {
        Some(compiled) => Ok(compiled),
        None => {
            let compiled = make()?;
            Ok(kept.get_or_init(|| compiled))
        }
    }
}
