//! Weight files: whole, and each layer of them behind the layers that would stop nearly every mutation.

use rekindle_networks::weights::{WeightFile, WeightFormat};

use crate::is_plain;

/// What a legacy file begins with: its magic number and its version.
pub(crate) const LEGACY_HEAD: &[u8] =
    b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.\x80\x02M\xE9\x03.";

/// The pickle that describes the system which wrote a legacy file: an empty dictionary.
const SYSTEM: &[u8] = b"\x80\x02}.";

/// What a zip archive begins with.
pub(crate) const ZIP_HEAD: &[u8] = b"PK\x03\x04";

/// The most numbers that are converted of one file: tensors may share a storage or repeat a number, so that all of
/// them can be far more than the file, and a run would spend its time on copying.
const MOST_NUMBERS: usize = 1 << 16;

/// Any weight file: the format is told from the bytes.
pub fn weights(bytes: &[u8]) {
    let file = match WeightFile::parse(bytes) {
        Ok(file) => file,
        Err(error) => {
            is_plain(&error);
            assert!(!error.help().is_empty());
            return;
        }
    };
    let mut numbers = MOST_NUMBERS;
    for (name, view) in file.tensors() {
        assert!(file.get(name).is_some());
        // No more comes out than can have gone in, but for small tensors that repeat a number.
        assert!(view.len() <= bytes.len().max(1 << 16), "{name}");
        assert_eq!(
            view.shape().contains(&0),
            view.is_empty(),
            "{name}: {:?}",
            view.shape()
        );
        let Some(left) = numbers.checked_sub(view.len()) else {
            continue;
        };
        numbers = left;
        match view.to_f32() {
            Ok(values) => assert_eq!(values.len(), view.len(), "{name}"),
            Err(error) => is_plain(&error),
        }
    }
}

/// A safetensors file of this header; what follows the first zero byte is its data.
pub fn safetensors(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == 0);
    let header = &bytes[..end.unwrap_or(bytes.len())];
    let data = end.map_or(&[][..], |end| &bytes[end + 1..]);
    weights(&crate::safetensors_file(header, data));
}

/// A zip archive as `torch.save` writes it, from behind the mark that it begins with.
pub fn zip(bytes: &[u8]) {
    weights(&[ZIP_HEAD, bytes].concat());
}

/// A legacy file, from the pickle that describes the system.
pub fn legacy(bytes: &[u8]) {
    weights(&[LEGACY_HEAD, bytes].concat());
}

/// The pickle of a checkpoint, and what follows it in a legacy file.
pub fn pickle(bytes: &[u8]) {
    let file = [LEGACY_HEAD, SYSTEM, bytes].concat();
    if let Ok(file) = WeightFile::parse(&file) {
        assert_eq!(file.format(), WeightFormat::TorchLegacy);
    }
    weights(&file);
}
