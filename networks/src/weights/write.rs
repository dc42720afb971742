//! Writing safetensors so that equal tensors make equal bytes.
//!
//! The format's own crate orders tensors by element size and metadata by a hash map's whim. Here
//! the header and the data both follow the tensors' names.

use std::collections::BTreeMap;

use half::f16;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::error::{WeightsError, shown};
use super::safetensors::{LENGTH_BYTES, MAX_HEADER, METADATA_KEY};
use super::tensors::StateDict;
use super::view::{MAX_RANK, element_count};

/// How [`write_safetensors`] stores values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageDtype {
    /// Exactly, four bytes each.
    F32,
    /// Rounded to the nearest half-precision number, two bytes each.
    F16,
}

impl StorageDtype {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// Writes a safetensors file: name → shape and row-major values, all stored as `dtype`.
///
/// # Errors
/// [`WeightsError::Unwritable`] if values and shape differ in number, a shape
/// has more dimensions than are read back, a tensor bears the reserved
/// name `__metadata__`, or a finite value is too large for half precision;
/// [`WeightsError::TooLarge`] if the header would pass the format's 100 MB;
/// [`WeightsError::OutOfMemory`] if there is no room for the file.
pub fn write_safetensors(
    tensors: &StateDict<'_>,
    metadata: &BTreeMap<String, String>,
    dtype: StorageDtype,
) -> Result<Vec<u8>, WeightsError> {
    let mut layout = Layout {
        metadata,
        tensors: Vec::with_capacity(tensors.len()),
    };
    let mut end = 0usize;
    for (name, (shape, values)) in tensors {
        let unwritable = |why: &str| WeightsError::Unwritable {
            name: shown(name),
            why: why.into(),
        };
        if *name == METADATA_KEY {
            return Err(unwritable("the name is reserved"));
        }
        if shape.len() > MAX_RANK {
            return Err(unwritable("it has too many dimensions"));
        }
        if element_count(shape) != Some(values.len()) {
            return Err(unwritable("its shape and its number of values differ"));
        }
        let begin = end;
        end = values
            .len()
            .checked_mul(dtype.size())
            .and_then(|bytes| bytes.checked_add(begin))
            .ok_or(WeightsError::OutOfMemory { bytes: usize::MAX })?;
        let info = TensorInfo {
            dtype: dtype.name(),
            shape,
            data_offsets: (begin, end),
        };
        layout.tensors.push((name, info));
    }

    let mut header = serde_json::to_vec(&layout)
        .map_err(|e| WeightsError::unsupported(format!("a header that is not JSON ({e})")))?;
    // Spaces after the header keep the data aligned for readers that map the file.
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_HEADER {
        return Err(WeightsError::TooLarge {
            what: "the safetensors header".into(),
            limit: MAX_HEADER,
        });
    }

    let total = end.saturating_add(LENGTH_BYTES + header.len());
    let mut file = Vec::new();
    file.try_reserve_exact(total)
        .map_err(|_| WeightsError::OutOfMemory { bytes: total })?;
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(&header);
    for (name, &(_, values)) in tensors {
        match dtype {
            StorageDtype::F32 => file.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            StorageDtype::F16 => {
                for &value in values {
                    let half = f16::from_f32(value);
                    if half.is_infinite() && value.is_finite() {
                        return Err(WeightsError::Unwritable {
                            name: shown(name),
                            why: format!("{value} is too large for half precision"),
                        });
                    }
                    file.extend_from_slice(&half.to_le_bytes());
                }
            }
        }
    }
    Ok(file)
}

/// The header, in the order in which it is written.
struct Layout<'a> {
    metadata: &'a BTreeMap<String, String>,
    tensors: Vec<(&'a str, TensorInfo<'a>)>,
}

#[derive(Serialize)]
struct TensorInfo<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: (usize, usize),
}

impl Serialize for Layout<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA_KEY, self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}
