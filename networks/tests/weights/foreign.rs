//! Files of other programs are called by their names, with what to do about them.
//!
//! The beginnings of real ones come from `tests/parity/make_foreign_fixtures.py`.

use rekindle_networks::weights::{WeightFile, WeightsError};

use crate::hostile::{stored, zip};

/// What is said of a file, and what to do.
fn told(bytes: &[u8]) -> (String, &'static str) {
    let error = WeightFile::parse(bytes).unwrap_err();
    assert!(
        matches!(error, WeightsError::NotAWeightFile { .. }),
        "{error}"
    );
    (error.to_string(), error.help())
}

#[test]
fn what_other_programs_wrote_is_called_by_its_name() {
    macro_rules! cases {
        ($($name:literal => $words:literal, $help:literal;)+) => {
            [$(($name, &include_bytes!(concat!("../fixtures/weights/foreign/", $name))[..], $words, $help)),+]
        };
    }
    for (name, bytes, words, help) in cases! {
        "model.onnx" => "an ONNX model", "exported from";
        "saved_model.pb" => "a TensorFlow SavedModel", "PyTorch weights";
        "frozen.pb" => "a frozen TensorFlow graph", "PyTorch weights";
        "model.ckpt.index" => "a TensorFlow checkpoint", "PyTorch weights";
        "model.ckpt.meta" => "the graph of a TensorFlow checkpoint", "PyTorch weights";
        "first.ckpt" => "a TensorFlow checkpoint", "PyTorch weights";
        "model.tflite" => "a TensorFlow Lite model", "PyTorch weights";
        "model.h5" => "a Keras file", "PyTorch weights";
        "model.gguf" => "a GGUF file", "language models";
        "arrays.npz" => "NumPy arrays", "torch.from_numpy";
        "array.npy" => "a NumPy array", "torch.from_numpy";
    } {
        let (said, advice) = told(bytes);
        assert!(said.contains(words), "{name}: {said}");
        assert!(advice.contains(help), "{name}: {advice}");
    }
}

#[test]
fn archives_are_told_by_what_is_in_them() {
    let cases: &[(&[&'static str], &str)] = &[
        (
            &[
                "script/data.pkl",
                "script/constants.pkl",
                "script/code/a.py",
            ],
            "a TorchScript program",
        ),
        (
            &["m/models/model.json", "m/data/weights/weight_0"],
            "a program of torch.export",
        ),
        (
            &["metadata.json", "config.json", "model.weights.h5"],
            "a Keras model",
        ),
        (
            &["model/saved_model.pb", "model/variables/variables.index"],
            "a TensorFlow model",
        ),
        (
            &["model.json", "weights.bin", "metadata.json"],
            "a TensorFlow.js model",
        ),
        (&["w.npy"], "NumPy arrays"),
        (&["files/resnet18.pth"], "a zip archive with weights in it"),
        (&["word/document.xml"], "torch.save did not write"),
    ];
    for (names, words) in cases {
        let entries: Vec<_> = names.iter().map(|name| stored(name, b"{}")).collect();
        let (said, _) = told(&zip(&entries, None));
        assert!(said.contains(words), "{names:?}: {said}");
    }
}

#[test]
fn texts_and_archives_are_told_too() {
    let cases: &[(&[u8], &str)] = &[
        (
            b"model_checkpoint_path: \"model.ckpt\"\n",
            "index of a folder of TensorFlow checkpoints",
        ),
        (
            b"{\"format\": \"layers-model\", \"modelTopology\": {}}",
            "a TensorFlow.js model",
        ),
        (
            b"<?xml version=\"1.0\"?><net name=\"m\"><layers></layers></net>",
            "an OpenVINO model",
        ),
        (b"\xFD7zXZ\0\0\0\0\0\0\0", "a compressed archive"),
        (b"RIFF\x10\0\0\0WEBPVP8 \0\0\0\0", "a picture"),
        (b"lmgg\x01\0\0\0\0\0\0\0\0\0\0\0", "GGML"),
        (
            b"\x80\x04\x95\x05\0\0\0\0\0\0\0}.",
            "a pickle that torch.save did not write",
        ),
    ];
    for (bytes, words) in cases {
        let (said, _) = told(bytes);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn no_bytes_make_the_recogniser_panic() {
    let fixtures = [
        &include_bytes!("../fixtures/weights/foreign/model.onnx")[..],
        include_bytes!("../fixtures/weights/foreign/frozen.pb"),
        include_bytes!("../fixtures/weights/foreign/model.ckpt.index"),
        include_bytes!("../fixtures/weights/foreign/arrays.npz"),
    ];
    for bytes in fixtures {
        for len in 0..bytes.len() {
            let _ = WeightFile::parse(&bytes[..len]);
        }
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            for mask in [1, 8, 128, 255] {
                bytes[at] ^= mask;
                let _ = WeightFile::parse(&bytes);
                bytes[at] ^= mask;
            }
        }
    }
}
