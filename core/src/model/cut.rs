//! A network compiled to one of its inner values.

use std::sync::{Arc, Mutex, PoisonError};

use super::ready::Compiled;
use crate::device::DeviceError;

/// The network compiled to the inner value that was asked for last. One is enough: who trains from a value asks for
/// it many times, and for another only when the frozen part has become shorter.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<Mutex<Option<To>>>);

/// A value, and what puts it out.
type To = (usize, Arc<Compiled>);

impl Cut {
    /// What is compiled to this value, or else what is made now, in the place of the one before it.
    pub(super) fn to(
        &self,
        value: usize,
        make: impl FnOnce() -> Result<Compiled, DeviceError>,
    ) -> Result<Arc<Compiled>, DeviceError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, compiled)) = kept.as_ref().filter(|(known, _)| *known == value) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(make()?);
        *kept = Some((value, Arc::clone(&compiled)));
        Ok(compiled)
    }
}
