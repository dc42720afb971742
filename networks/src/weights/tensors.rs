//! A network's numbers on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::file::all_finite;
use super::names::{FillReport, Misshaped, TensorSource};
use super::{TensorView, WeightFile, WeightsError};

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

/// A weight file whose bytes are kept: whoever [takes](take) from it shares them, where they are as we need
/// them, instead of copying.
pub struct Kept<'a> {
    file: &'a WeightFile<'a>,
    bytes: &'a Arc<Vec<u8>>,
}

impl<'a> Kept<'a> {
    /// What `file` read in these bytes.
    pub fn new(file: &'a WeightFile<'a>, bytes: &'a Arc<Vec<u8>>) -> Self {
        Self { file, bytes }
    }
}

impl TensorSource for Kept<'_> {
    fn names(&self) -> Vec<String> {
        self.file.names()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        self.file.shape(name, wanted)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        self.file.values(name, shape)
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Numbers, WeightsError> {
        let Some(numbers) = self.file.get(name).and_then(TensorView::as_f32) else {
            return self.values(name, shape).map(Numbers::from);
        };
        let start = numbers
            .as_ptr()
            .addr()
            .checked_sub(self.bytes.as_ptr().addr());
        let range = start.map(|start| start..start + size_of_val(numbers));
        Ok(match range {
            Some(range) if range.end <= self.bytes.len() => {
                Numbers(Store::File(Arc::clone(self.bytes), range))
            }
            _ => Numbers::from(numbers.to_vec()),
        })
    }
}

/// The same, looked at where they lie: a PyTorch state_dict, of one part of a network or of several.
pub type StateDict<'a> = BTreeMap<&'a str, (&'a [usize], &'a [f32])>;

/// The tensors of some parts of a network together.
pub fn state_dict<'a>(parts: impl IntoIterator<Item = &'a Tensors>) -> StateDict<'a> {
    let tensors = parts.into_iter().flatten();
    tensors
        .map(|(name, (shape, values))| (name.as_str(), (&shape[..], &values[..])))
        .collect()
}

/// Takes tensors of these names and shapes out of a source. What it does not have, or in another shape,
/// is reported and left out.
///
/// # Errors
///
/// When a tensor that matches by name and shape cannot be read, or holds NaN or an infinity: a network with
/// those gives answers all the same, for comparisons with NaN come out false and a ReLU turns it into zero.
pub fn take(
    wanted: impl IntoIterator<Item = (String, Vec<usize>)>,
    source: &dyn TensorSource,
) -> Result<(Tensors, FillReport), WeightsError> {
    let mut tensors = Tensors::new();
    let mut report = FillReport::default();
    let mut known = BTreeSet::new();
    for (name, expected) in wanted {
        match source.shape(&name, &expected) {
            None => report.missing.push(name.clone()),
            Some(found) if found == expected => {
                let numbers = source.numbers(&name, &expected)?;
                all_finite(&name, &numbers)?;
                tensors.insert(name.clone(), (expected, numbers));
            }
            Some(found) => report.misshaped.push(Misshaped {
                name: name.clone(),
                expected,
                found,
            }),
        }
        known.insert(name);
    }
    report.filled = tensors.len();
    report.finish(source, &known);
    Ok((tensors, report))
}

impl TensorSource for Tensors {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn shape(&self, name: &str, _wanted: &[usize]) -> Option<Vec<usize>> {
        self.get(name).map(|(shape, _)| shape.clone())
    }

    fn values(&self, name: &str, _shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let numbers = self.get(name).map(|(_, numbers)| numbers.to_vec());
        Ok(numbers.unwrap_or_default())
    }
}
