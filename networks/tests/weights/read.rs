//! What PyTorch and safetensors wrote is read as they read it; cut or changed files are survived.

use std::collections::BTreeMap;

use rekindle_networks::weights::{Dtype, WeightFile, WeightFormat, WeightsError};
use safetensors::SafeTensors;

use crate::read_all;

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../fixtures/weights/", $name)))),*]
    };
}

/// Files that hold tensors; the part of the name before `_` or `.` says which.
const SOUND: &[(&str, &[u8])] = fixtures![
    "block_zip.pth",
    "block_legacy.pth",
    "layouts_zip.pth",
    "layouts_legacy.pth",
    "dtypes_legacy.pth",
    "dtypes.safetensors",
    "checkpoint_zip.pth",
    "checkpoint_legacy.pth",
    "unchecked_zip.pth",
];

/// Files that must be refused.
const UNSOUND: &[(&str, &[u8])] = fixtures![
    "hostile_zip.pth",
    "hostile_legacy.pth",
    "hostile.pkl",
    "sparse_legacy.pth",
    "complex_legacy.pth",
    "expanded_legacy.pth",
];

fn fixture(name: &str) -> &'static [u8] {
    SOUND
        .iter()
        .chain(UNSOUND)
        .find(|(n, _)| *n == name)
        .unwrap()
        .1
}

#[derive(serde::Deserialize)]
pub struct Expected {
    dtype: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The tensors of the files whose names begin so.
pub fn expected(kind: &str) -> BTreeMap<String, Expected> {
    let all = include_str!("../fixtures/weights/expected.json");
    let mut all: BTreeMap<String, BTreeMap<String, Expected>> = serde_json::from_str(all).unwrap();
    all.remove(kind).unwrap()
}

fn dtype_of(name: &str) -> Dtype {
    match name {
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float32" => Dtype::F32,
        "float64" => Dtype::F64,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        other => panic!("{other}"),
    }
}

#[test]
fn every_file_reads_as_pytorch_reads_it() {
    let expected: BTreeMap<String, BTreeMap<String, Expected>> =
        serde_json::from_str(include_str!("../fixtures/weights/expected.json")).unwrap();
    for (file, bytes) in SOUND {
        let read = WeightFile::parse(bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
        let expected = &expected[file.split(['_', '.']).next().unwrap()];
        assert!(
            read.tensors().keys().eq(expected.keys()),
            "{file}: other names"
        );
        for (name, truth) in expected {
            let view = read.get(name).unwrap();
            assert_eq!(view.dtype(), dtype_of(&truth.dtype), "{file}: {name}");
            assert_eq!(view.shape(), truth.shape, "{file}: {name}");
            assert_eq!(view.len(), truth.values.len(), "{file}: {name}");
            assert_eq!(view.to_f32().unwrap(), truth.values, "{file}: {name}");
        }
    }
}

#[test]
fn the_format_is_recognised_by_content() {
    for (file, bytes) in SOUND {
        let format = match *file {
            _ if file.ends_with("_zip.pth") => WeightFormat::TorchZip,
            _ if file.ends_with("_legacy.pth") => WeightFormat::TorchLegacy,
            _ => WeightFormat::Safetensors,
        };
        assert_eq!(WeightFile::parse(bytes).unwrap().format(), format, "{file}");
    }
    let read = WeightFile::parse(fixture("dtypes.safetensors")).unwrap();
    assert_eq!(
        read.metadata().get("kind").map(String::as_str),
        Some("fixture")
    );
}

#[test]
fn a_pickle_that_would_run_a_command_is_refused_by_name() {
    for file in ["hostile_zip.pth", "hostile_legacy.pth", "hostile.pkl"] {
        let error = WeightFile::parse(fixture(file)).unwrap_err();
        assert!(
            matches!(&error, WeightsError::Refused { what } if what == "`posix.system`"),
            "{error}"
        );
    }
}

#[test]
fn tensors_of_kinds_not_read_are_named() {
    let says = |file: &str| WeightFile::parse(fixture(file)).unwrap_err().to_string();
    assert!(says("sparse_legacy.pth").contains("_rebuild_sparse_tensor"));
    assert!(says("complex_legacy.pth").contains("ComplexFloatStorage"));
    assert!(says("expanded_legacy.pth").contains("repeats the elements"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for (file, bytes) in SOUND.iter().chain(UNSOUND) {
        for len in 0..bytes.len() {
            assert!(
                read_all(&bytes[..len]).is_err(),
                "{file} cut to {len} bytes"
            );
        }
    }
}

#[test]
fn no_changed_byte_makes_a_reader_panic() {
    for (_, bytes) in SOUND.iter().chain(UNSOUND) {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                bytes[at] ^= mask;
                let _ = read_all(&bytes);
                bytes[at] ^= mask;
            }
        }
    }
}

#[test]
fn a_changed_value_in_a_zip_fails_its_checksum() {
    let mut bytes = fixture("block_zip.pth").to_vec();
    // 0.1, the first running mean.
    let at = bytes
        .windows(4)
        .position(|four| four == 0.1f32.to_le_bytes())
        .unwrap();
    bytes[at] ^= 1;
    let error = WeightFile::parse(&bytes).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn what_is_not_a_weight_file_is_called_by_its_name() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html><title>Sign in</title>", "web page"),
        (b"\xEF\xBB\xBF<html>", "web page"),
        (b"{\"error\": \"not found\"}", "JSON"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
            "Git LFS",
        ),
        (b"\x1F\x8B\x08\0\0\0\0\0\0\0\0\0", "gzip"),
        (b"\x89PNG\r\n\x1A\n\0\0\0\0", "picture"),
        (b"\xFF\xD8\xFF\xE0\0\0", "picture"),
        (b"\x89HDF\r\n\x1A\n\0", "HDF5"),
        (b"weights", "too short"),
        (b"nothing that anyone would know", "unknown"),
    ];
    for (bytes, word) in cases {
        let error = WeightFile::parse(bytes).unwrap_err();
        assert!(
            matches!(error, WeightsError::NotAWeightFile { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn the_tar_archives_of_the_first_pytorch_are_refused_with_the_reason() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let error = WeightFile::parse(&tar).unwrap_err();
    assert!(error.to_string().contains("tar archive"), "{error}");
}

#[test]
fn headers_of_any_length_are_read_whatever_their_length_looks_like() {
    // 0x0280 to 0x0580 and 0x010280 begin with the bytes of a pickle of protocol 2 to 5.
    for length in [0x0280, 0x0380, 0x0480, 0x0580, 0x1_0280] {
        // Padded with spaces, as the format's own writer aligns its data.
        let mut header = r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.to_owned();
        header.push_str(&" ".repeat(length - header.len()));
        let file = [&(length as u64).to_le_bytes()[..], header.as_bytes(), &[7]].concat();
        let theirs = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(theirs.tensor("w").unwrap().data(), [7]);
        let ours = WeightFile::parse(&file).unwrap();
        assert_eq!(ours.get("w").unwrap().to_f32().unwrap(), [7.0]);
    }
}
