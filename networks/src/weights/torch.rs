//! Files written by `torch.save`: the zip archive of today and the row of pickles before PyTorch 1.6.
//!
//! Both hold one pickle that describes the tensors, and beside it the storages' raw bytes. The
//! layouts are those of PyTorch's `torch/serialization.py`.

mod archive;

use std::collections::BTreeMap;

use super::error::{WeightsError, shown};
use super::file::{WeightFile, WeightFormat};
use super::foreign;
use super::parts::{self, TensorDict};
use super::pickle::{Element, Pickle, StorageSpec, Value};
use super::view::TensorView;

/// `0x1950a86a20f9469cfc6c`, with which a legacy file begins.
const LEGACY_MAGIC: &[u8] = &[0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19];

/// The only version of the legacy layout there ever was.
const LEGACY_PROTOCOL: i64 = 1001;

/// Opens a zip archive and takes the dictionary of that key, or the one that is meant.
pub(super) fn parse_zip<'a>(
    bytes: &'a [u8],
    key: Option<&str>,
) -> Result<WeightFile<'a>, WeightsError> {
    // By the names alone: what others write may be compressed or damaged, and is named all the same.
    if let Ok(names) = archive::names(bytes)
        && let Some(error) = foreign::refuse_zip(names.iter().copied())
    {
        return Err(error);
    }
    let entries = archive::entries(bytes)?;
    let Some((prefix, description)) = entries
        .iter()
        .find_map(|(name, entry)| Some((name.strip_suffix("data.pkl")?, entry)))
    else {
        return Err(WeightsError::unsupported(
            "a zip archive without `data.pkl`",
        ));
    };
    let content = |name: &str| {
        let entry = entries.get(format!("{prefix}{name}").as_str());
        entry.map(|entry| entry.content)
    };
    // Absent before PyTorch 2.1, when all files were little-endian.
    if content("byteorder").is_some_and(|order| order != b"little") {
        return Err(WeightsError::unsupported("a file of big-endian numbers"));
    }
    let start = description.start;
    let pickle = Pickle::parse(&bytes[..start + description.content.len()], start)?;
    let (tensors, part, parts) = state_dict(&pickle, key, start, |storage| {
        content(&format!("data/{}", storage.key)).ok_or_else(|| missing(storage, start))
    })?;
    Ok(WeightFile {
        format: WeightFormat::TorchZip,
        metadata: BTreeMap::new(),
        tensors,
        part,
        parts,
    })
}

/// Opens a legacy file: magic number, version, system, object, storage keys, then the storages.
pub(super) fn parse_legacy<'a>(
    bytes: &'a [u8],
    key: Option<&str>,
) -> Result<WeightFile<'a>, WeightsError> {
    // Other pickles go on in ways of their own (joblib's with arrays between the instructions).
    let head = &bytes[..bytes.len().min(64)];
    let is_ours = head
        .windows(LEGACY_MAGIC.len())
        .any(|at| at == LEGACY_MAGIC);
    let magic = match Pickle::parse(bytes, 0) {
        Err(error @ WeightsError::Refused { .. }) => return Err(error),
        Err(error) if is_ours => return Err(error),
        Ok(magic) if matches!(magic.root(), Value::Long(digits) if *digits == LEGACY_MAGIC) => {
            magic
        }
        _ => return Err(foreign::refuse_pickle()),
    };
    let version = Pickle::parse(bytes, magic.end)?;
    if !matches!(version.root(), Value::Int(LEGACY_PROTOCOL)) {
        return Err(WeightsError::unsupported(
            "this version of PyTorch's legacy format",
        ));
    }
    let system = Pickle::parse(bytes, version.end)?;
    let big_endian = match system.root() {
        Value::Dict(entries) => {
            matches!(
                system.entry(entries, "little_endian"),
                Some(Value::Bool(false))
            )
        }
        _ => {
            return Err(WeightsError::corrupt(
                "no description of the system",
                version.end,
            ));
        }
    };
    if big_endian {
        return Err(WeightsError::unsupported("a file of big-endian numbers"));
    }
    let object = Pickle::parse(bytes, system.end)?;
    let keys = Pickle::parse(bytes, object.end)?;
    let storages = legacy_storages(bytes, &object, &keys)?;
    let (tensors, part, parts) = state_dict(&object, key, system.end, |storage| {
        storages
            .get(storage.key)
            .copied()
            .ok_or_else(|| missing(storage, object.end))
    })?;
    Ok(WeightFile {
        format: WeightFormat::TorchLegacy,
        metadata: BTreeMap::new(),
        tensors,
        part,
        parts,
    })
}

/// The storages of a legacy file, by key: each is its length in elements, then its bytes.
fn legacy_storages<'a>(
    bytes: &'a [u8],
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
) -> Result<BTreeMap<&'a str, &'a [u8]>, WeightsError> {
    let mut specs: BTreeMap<&str, &StorageSpec<'_>> = BTreeMap::new();
    for spec in &object.storages {
        let first = *specs.entry(spec.key).or_insert(spec);
        if (first.element, first.len) != (spec.element, spec.len) {
            let what = format!("storage `{}` is described in two ways", shown(spec.key));
            return Err(WeightsError::corrupt(what, object.end));
        }
    }
    let Value::List(order) = keys.root() else {
        return Err(WeightsError::corrupt(
            "the storages' keys are not a list",
            object.end,
        ));
    };
    let mut storages = BTreeMap::new();
    let mut at = keys.end;
    for &key in order {
        let spec = match keys.value(key) {
            Value::Str(key) => specs.get(key).copied(),
            _ => None,
        };
        let Some(spec) = spec else {
            return Err(WeightsError::corrupt("a storage that no tensor uses", at));
        };
        let truncated = || WeightsError::Truncated {
            what: format!("the end of storage `{}`", shown(spec.key)),
            // Its length comes first.
            at: spec
                .element
                .size()
                .saturating_mul(spec.len)
                .saturating_add(at + 8),
            len: bytes.len(),
        };
        let (len, rest) = bytes[at..].split_first_chunk::<8>().ok_or_else(truncated)?;
        if usize::try_from(u64::from_le_bytes(*len)) != Ok(spec.len) {
            let what = format!(
                "storage `{}` is announced with two lengths",
                shown(spec.key)
            );
            return Err(WeightsError::corrupt(what, at));
        }
        let size = spec.len.checked_mul(spec.element.size());
        let content = size
            .and_then(|size| rest.get(..size))
            .ok_or_else(truncated)?;
        at += 8 + content.len();
        if storages.insert(spec.key, content).is_some() {
            let what = format!("storage `{}` is there twice", shown(spec.key));
            return Err(WeightsError::corrupt(what, at));
        }
    }
    Ok(storages)
}

fn missing(storage: &StorageSpec<'_>, at: usize) -> WeightsError {
    WeightsError::corrupt(format!("storage `{}` is missing", shown(storage.key)), at)
}

/// Tensors by name, the key of the dictionary they were found in, and all dictionaries there are.
type Found<'a> = (BTreeMap<String, TensorView<'a>>, String, Vec<TensorDict>);

/// Lays the tensors of the dictionary of that key, or of the one that is meant, over their storages, whose
/// bytes `storage_bytes` finds.
fn state_dict<'a>(
    pickle: &Pickle<'_>,
    key: Option<&str>,
    at: usize,
    storage_bytes: impl Fn(&StorageSpec<'_>) -> Result<&'a [u8], WeightsError>,
) -> Result<Found<'a>, WeightsError> {
    let mut dictionaries = parts::dictionaries(pickle)?;
    let networks = dictionaries.iter().filter(|found| !found.is_small);
    let parts: Vec<TensorDict> = networks.map(|found| found.part.clone()).collect();
    let (entries, part) = match (key, dictionaries.first_mut()) {
        (_, None) => {
            return Err(match pickle.class_of(pickle.root()) {
                Some(class) => WeightsError::WholeObject { class },
                None => WeightsError::unsupported(format!(
                    "a PyTorch file that holds {} and no dictionary of named tensors",
                    parts::described(pickle.root())
                )),
            });
        }
        (None, Some(first)) => (std::mem::take(&mut first.tensors), first.part.key.clone()),
        (Some(key), Some(_)) => (parts::choose(&dictionaries, key)?, key.to_owned()),
    };
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        let tensor = match pickle.value(value) {
            Value::Tensor(tensor) => tensor,
            strange => {
                let class = pickle.class_of(strange).unwrap_or_default();
                let what = format!("a tensor made by {class}");
                return Err(WeightsError::unsupported(what));
            }
        };
        let corrupt =
            |what: &str| WeightsError::corrupt(format!("tensor `{}`: {what}", shown(&name)), at);
        let storage = &pickle.storages[tensor.storage];
        let dtype = match storage.element {
            Element::Known(dtype) => dtype,
            Element::Strange(kind, _) => {
                let what = format!("a tensor of torch.{kind}");
                return Err(WeightsError::unsupported(what));
            }
        };
        let content = storage_elements(storage, storage_bytes(storage)?)
            .ok_or_else(|| corrupt("its storage is shorter than announced"))?;
        let shape = pickle.extents(tensor.shape).map_err(corrupt)?;
        let strides = pickle.extents(tensor.strides).map_err(corrupt)?;
        let view =
            TensorView::new(dtype, shape, strides, tensor.offset, content).map_err(corrupt)?;
        tensors.insert(name, view);
    }
    Ok((tensors, part, parts))
}

/// The bytes of a storage, or of the part of it that is meant.
fn storage_elements<'a>(storage: &StorageSpec<'_>, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let size = storage.element.size();
    let whole = bytes.get(..storage.len.checked_mul(size)?)?;
    let Some((first, len)) = storage.part else {
        return Some(whole);
    };
    whole
        .get(first.checked_mul(size)?..)?
        .get(..len.checked_mul(size)?)
}
