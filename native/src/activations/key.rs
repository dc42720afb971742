//! What all rows of a shelf have in common.

use std::fmt;

use rekindle_core::compiled::Precision;
use rekindle_core::device::DeviceError;
use rekindle_core::model::Model;
use rekindle_core::rows::Encoding;
use sha2::{Digest as _, Sha256};

/// SHA-256 over all that a row depends on beside the photo and the view. Shelves go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShelfKey([u8; 32]);

impl ShelfKey {
    /// The shelf of a value of a model's network: the steps that lead to it with their shapes, the numbers of those
    /// steps' layers by name, how photos are prepared, the device and its precision, how numbers are kept, and the
    /// program that computes. Another head, or other numbers behind the value, change nothing.
    ///
    /// # Errors
    ///
    /// When the graph has no such value.
    pub fn of(
        model: &Model,
        value: usize,
        encoding: Encoding,
        program: &str,
    ) -> Result<Self, DeviceError> {
        let graph = model.graph();
        let schedule = graph
            .schedule(&[0], &[value])
            .map_err(DeviceError::execution)?;
        let card = &model.card;
        let precision = match model.precision() {
            Precision::Full => "full",
            Precision::Half => "half",
        };
        let mut hash = Hash(Sha256::new());
        hash.part(b"rekindle activations 1");
        hash.part(program.as_bytes());
        hash.part(format!("{:?}", model.device()).as_bytes());
        hash.part(precision.as_bytes());
        hash.part(encoding.name().as_bytes());
        hash.part(format!("{:?}", card.preset).as_bytes());
        hash.part(format!("{:?}", card.channels).as_bytes());
        hash.part(format!("{:?}", graph.input()).as_bytes());
        let tensors = model.state_dict();
        let mut bytes = Vec::new();
        for &index in schedule.steps() {
            let node = &graph.nodes()[index];
            hash.part(
                format!("{index} {:?} {:?} {:?}", node.op, node.inputs, node.shape).as_bytes(),
            );
            for layer in node.op.layers() {
                let layer = &graph.layers()[layer.0];
                hash.part(format!("{layer:?}").as_bytes());
                for (name, _) in layer.tensors() {
                    hash.part(name.as_bytes());
                    let Some((_, values)) = tensors.get(name.as_str()) else {
                        continue;
                    };
                    bytes.clear();
                    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                    hash.part(&bytes);
                }
            }
        }
        hash.part(&value.to_le_bytes());
        Ok(Self(hash.0.finalize().into()))
    }

    /// Whether a folder's name is that of a shelf.
    pub(super) fn is_one(name: &str) -> bool {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        name.len() == 64 && name.chars().all(is_hex)
    }

    #[cfg(test)]
    pub(super) fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for ShelfKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash of parts, each with its length, so that no two lists of parts look alike.
struct Hash(Sha256);

impl Hash {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}
