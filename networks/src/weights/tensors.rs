//! A network's numbers on the host.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sorting::gathered;

/// Tensors by name: shape, and numbers in row-major order.
pub type Tensors = BTreeMap<String, (Vec<usize>, Numbers)>;

/// The numbers of a tensor: our own, or those of a file, where they lie.
#[derive(Clone)]
pub struct Numbers(Store);

#[derive(Clone)]
enum Store {
    Own(Vec<f32>),
    /// A stretch of a file's bytes: `f32` as this machine has them, aligned as such.
    File(Arc<Vec<u8>>, Range<usize>),
}

impl Numbers {
    /// Those in a stretch of a file's bytes: `f32` as this machine has them, aligned as such.
    pub(super) fn in_file(bytes: &Arc<Vec<u8>>, range: Range<usize>) -> Self {
        Self(Store::File(Arc::clone(bytes), range))
    }
}

impl Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Store::Own(numbers) => numbers,
            Store::File(bytes, range) => bytemuck::cast_slice(&bytes[range.clone()]),
        }
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(numbers: Vec<f32>) -> Self {
        Self(Store::Own(numbers))
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

/// Tensors by name, borrowed: a PyTorch state_dict, of one part of a network or of several.
pub type StateDict<'a> = BTreeMap<&'a str, (&'a [usize], &'a [f32])>;

/// The tensors of some parts of a network together.
pub fn state_dict<'a>(parts: impl IntoIterator<Item = &'a Tensors>) -> StateDict<'a> {
    let tensors = parts.into_iter().flatten();
    gathered(tensors.map(|(name, (shape, values))| (name.as_str(), (&shape[..], &values[..]))))
}
