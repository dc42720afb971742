//! Safetensors: eight bytes of header length, a JSON header, the tensors' bytes.
//!
//! Read here rather than with the format's own crate, because that one keeps the last of two equal
//! names silently and takes a shape of any length. The rules are the same otherwise: at most
//! 100 MB of header, and tensors that cover the rest of the file without gap or overlap.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::error::{WeightsError, quoted, shown};
use super::file::{WeightFile, WeightFormat};
use super::view::{Dtype, MAX_RANK, TensorView, element_count};
use crate::sorting::sorted;

/// The longest header the format allows.
pub(super) const MAX_HEADER: usize = 100_000_000;

/// The bytes that hold the header's length.
pub(super) const LENGTH_BYTES: usize = 8;

/// The header's key that holds metadata instead of a tensor.
pub(super) const METADATA_KEY: &str = "__metadata__";

/// Opens a safetensors file.
pub(super) fn parse(bytes: &[u8]) -> Result<WeightFile<'_>, WeightsError> {
    let truncated = |what: &str, at| WeightsError::Truncated {
        what: what.into(),
        at,
        len: bytes.len(),
    };
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(truncated("the header's length", 0));
    };
    let too_long = || WeightsError::TooLarge {
        what: "the safetensors header".into(),
        limit: MAX_HEADER,
    };
    let header_len = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| too_long())?;
    if header_len > MAX_HEADER {
        return Err(too_long());
    }
    let Some((header, data)) = rest.split_at_checked(header_len) else {
        return Err(truncated(
            "the end of the header",
            LENGTH_BYTES.saturating_add(header_len),
        ));
    };
    let data_start = LENGTH_BYTES + header_len;
    let header: Header<'_> = serde_json::from_slice(header).map_err(|e| {
        WeightsError::corrupt(format!("the header says: {}", quoted(e)), LENGTH_BYTES)
    })?;

    let by_place = sorted(header.tensors, |(_, a), (_, b)| {
        a.data_offsets.cmp(&b.data_offsets)
    });
    let mut tensors = BTreeMap::new();
    let mut next = 0;
    for (name, info) in by_place {
        WeightsError::check_name(&name)?;
        let (begin, end) = info.data_offsets;
        let corrupt = |what: &str| {
            let at = data_start.saturating_add(next);
            WeightsError::corrupt(format!("tensor `{}`: {what}", shown(&name)), at)
        };
        if begin != next || end < begin {
            return Err(corrupt("its bytes leave a gap or overlap others"));
        }
        let dtype = info.dtype(&name)?;
        let expected = element_count(&info.shape.0).and_then(|n| n.checked_mul(dtype.size()));
        if expected != Some(end - begin) {
            return Err(corrupt("its shape and its bytes disagree"));
        }
        let Some(storage) = data.get(begin..end) else {
            let what = format!("the end of tensor `{}`", shown(&name));
            return Err(truncated(&what, data_start.saturating_add(end)));
        };
        let view = TensorView::contiguous(dtype, info.shape.0, storage).map_err(corrupt)?;
        next = end;
        if tensors.insert(name.to_string(), view).is_some() {
            return Err(WeightsError::corrupt(
                format!("two tensors are named `{}`", shown(&name)),
                LENGTH_BYTES,
            ));
        }
    }
    if next != data.len() {
        return Err(WeightsError::corrupt(
            "bytes that belong to no tensor",
            data_start + next,
        ));
    }
    Ok(WeightFile {
        format: WeightFormat::Safetensors,
        metadata: header.metadata,
        tensors,
        part: String::new(),
        parts: Vec::new(),
    })
}

/// The JSON header.
#[derive(Default)]
struct Header<'a> {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(Cow<'a, str>, TensorInfo<'a>)>,
}

/// One tensor's entry in the header.
#[derive(Deserialize)]
struct TensorInfo<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Shape,
    /// From the end of the header, in bytes.
    data_offsets: (usize, usize),
}

impl TensorInfo<'_> {
    fn dtype(&self, name: &str) -> Result<Dtype, WeightsError> {
        Ok(match &*self.dtype {
            "F64" => Dtype::F64,
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::BF16,
            "I64" => Dtype::I64,
            "I32" => Dtype::I32,
            "I16" => Dtype::I16,
            "I8" => Dtype::I8,
            "U8" => Dtype::U8,
            "BOOL" => Dtype::Bool,
            other => {
                return Err(WeightsError::unsupported(format!(
                    "the element type {} of tensor `{}`",
                    shown(other),
                    shown(name)
                )));
            }
        })
    }
}

/// A shape of at most [`MAX_RANK`] dimensions: `[1,1,1,…]` must not grow as JSON likes.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;
        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a shape of at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(extent) = seq.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.push(extent);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// A JSON string, borrowed from the input unless it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
                let mut header = Header::default();
                let mut seen_metadata = false;
                while let Some(Text(name)) = map.next_key()? {
                    if name != METADATA_KEY {
                        header.tensors.push((name, map.next_value()?));
                        continue;
                    }
                    if seen_metadata {
                        return Err(A::Error::custom("there are two entries of metadata"));
                    }
                    seen_metadata = true;
                    header.metadata = map.next_value()?;
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}
