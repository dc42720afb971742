//! What is written is what the format's own reader reads, the same bytes each time.

use std::collections::BTreeMap;

use half::f16;
use rekindle_networks::weights::{
    Dtype, StateDict, StorageDtype, Tensors, WeightFile, WeightsError, state_dict,
    write_safetensors,
};
use safetensors::SafeTensors;

fn tensors() -> Tensors {
    let named = |name: &str, shape: &[usize], values: &[f32]| {
        (name.to_owned(), (shape.to_vec(), values.to_vec().into()))
    };
    BTreeMap::from([
        named("fc.weight", &[2, 3], &[0.1, -2.5, 3e-7, 65504.0, -0.0, 1.0]),
        named("bn.scalar", &[], &[7.0]),
        named("a \"quoted\"\nname", &[1], &[0.5]),
        named("empty", &[0, 4], &[]),
        named("conv1.weight", &[3, 1, 1, 1], &[1.0, 2.0, 3.0]),
    ])
}

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([(
        "rekindle".into(),
        r#"{"format":1,"classes":["süß","b\"c"]}"#.into(),
    )])
}

#[test]
fn the_formats_own_reader_reads_what_is_written() {
    let bytes =
        write_safetensors(&state_dict([&tensors()]), &metadata(), StorageDtype::F32).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), tensors().len());
    for (name, (shape, values)) in tensors() {
        let view = read.tensor(&name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F32);
        assert_eq!(view.shape(), shape);
        let stored: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(view.data(), stored, "{name}");
    }
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(
        header.metadata().clone().unwrap(),
        metadata().into_iter().collect()
    );
}

#[test]
fn half_precision_is_rounded_to_nearest() {
    let bytes =
        write_safetensors(&state_dict([&tensors()]), &metadata(), StorageDtype::F16).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    for (name, (_, values)) in tensors() {
        let view = read.tensor(&name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F16);
        let rounded: Vec<u8> = values
            .iter()
            .flat_map(|&value| f16::from_f32(value).to_le_bytes())
            .collect();
        assert_eq!(view.data(), rounded, "{name}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let bytes =
        write_safetensors(&state_dict([&tensors()]), &metadata(), StorageDtype::F32).unwrap();
    let read = WeightFile::parse(&bytes).unwrap();
    assert_eq!(read.metadata(), &metadata());
    assert!(read.tensors().keys().eq(tensors().keys()));
    for (name, (shape, values)) in tensors() {
        let view = read.get(&name).unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F32, shape.as_slice()));
        assert_eq!(view.to_f32().unwrap(), values[..]);
    }
}

#[test]
fn names_are_in_order_and_the_data_is_aligned() {
    let bytes =
        write_safetensors(&state_dict([&tensors()]), &metadata(), StorageDtype::F32).unwrap();
    assert_eq!(
        bytes,
        write_safetensors(&state_dict([&tensors()]), &metadata(), StorageDtype::F32).unwrap()
    );
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(header_len % 8, 0);
    let header = std::str::from_utf8(&bytes[8..8 + header_len]).unwrap();
    let place = |name: &str| header.find(&format!("\"{name}\":")).unwrap();
    let order = [
        "__metadata__",
        "bn.scalar",
        "conv1.weight",
        "empty",
        "fc.weight",
    ]
    .map(place);
    assert!(order.is_sorted(), "{header}");
}

#[test]
fn a_file_of_nothing_is_a_file() {
    let bytes = write_safetensors(&StateDict::new(), &BTreeMap::new(), StorageDtype::F32).unwrap();
    assert!(SafeTensors::deserialize(&bytes).unwrap().is_empty());
    assert!(WeightFile::parse(&bytes).unwrap().tensors().is_empty());
}

#[test]
fn what_cannot_be_stored_is_refused_by_name() {
    let refused = |name: &str, shape: &[usize], values: &[f32], dtype| {
        let tensors = Tensors::from([(name.to_owned(), (shape.to_vec(), values.to_vec().into()))]);
        match write_safetensors(&state_dict([&tensors]), &BTreeMap::new(), dtype) {
            Err(WeightsError::Unwritable { name: told, why }) => {
                assert_eq!(told, name);
                why
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(refused("w", &[2, 2], &[1.0], StorageDtype::F32).contains("shape"));
    assert!(refused("w", &[1; 9], &[1.0], StorageDtype::F32).contains("dimensions"));
    assert!(refused("__metadata__", &[1], &[1.0], StorageDtype::F32).contains("reserved"));
    assert!(refused("w", &[1], &[65520.0], StorageDtype::F16).contains("65520"));
    // Infinity itself is a value like any other.
    let tensors = Tensors::from([("w".into(), (vec![1], vec![f32::INFINITY].into()))]);
    assert!(
        write_safetensors(&state_dict([&tensors]), &BTreeMap::new(), StorageDtype::F16).is_ok()
    );
}
