//! Weight files: nothing that a damaged or hostile one holds makes the readers panic, run code or take
//! memory, and everything that PyTorch and safetensors write is read as they read it.
//!
//! The files in `fixtures/weights` and the values in `expected.json` come from
//! `tests/parity/make_weight_fixtures.py`, those in `fixtures/weights/foreign` from
//! `tests/parity/make_foreign_fixtures.py`.

#![allow(clippy::unwrap_used)]

mod checkpoints;
mod foreign;
mod hostile;
mod read;
mod write;

use rekindle_networks::weights::{WeightFile, WeightsError};

/// Reads whatever opens, and checks that no more comes out than can have gone in.
fn read_all(bytes: &[u8]) -> Result<(), WeightsError> {
    let file = WeightFile::parse(bytes)?;
    for view in file.tensors().values() {
        assert!(view.len() <= bytes.len().max(1 << 16));
        assert_eq!(view.to_f32()?.len(), view.len());
    }
    Ok(())
}
