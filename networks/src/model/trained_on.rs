//! The photos that a head was trained on, by the beginnings of their hashes: enough to tell whether a photo
//! that it is measured on is one of them.

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sorting::sorted;

/// Bytes that are kept of a photo's hash. Of 10 000 photos and as many others, two agree by chance once in
/// 10¹¹ times.
const BYTES: usize = 8;

/// A set of files, each known by the first eight bytes of its SHA-256. As JSON: one string of hexadecimal
/// digits, 16 a file, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhotoHashes(Vec<[u8; BYTES]>);

impl PhotoHashes {
    /// As many photos as a model file lists: with more, the list would weigh more than what it tells.
    pub const MOST: usize = 10_000;

    /// The set of files with these SHA-256 hashes.
    pub fn new(hashes: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self::of(hashes.into_iter().map(shortened).collect())
    }

    fn of(hashes: Vec<[u8; BYTES]>) -> Self {
        let mut hashes = sorted(hashes, Ord::cmp);
        hashes.dedup();
        Self(hashes)
    }

    /// Whether the file with this SHA-256 is among them.
    pub fn contains(&self, hash: [u8; 32]) -> bool {
        self.0.binary_search(&shortened(hash)).is_ok()
    }

    /// How many there are; copies of a file count once.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn shortened(hash: [u8; 32]) -> [u8; BYTES] {
    let mut short = [0; BYTES];
    short.copy_from_slice(&hash[..BYTES]);
    short
}

impl Serialize for PhotoHashes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * BYTES * self.0.len());
        for byte in self.0.iter().flatten() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for PhotoHashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| digit.to_digit(16).map(|value| value as u8))
            .collect();
        let digits = digits.filter(|digits| digits.len() % (2 * BYTES) == 0);
        let digits = digits.ok_or_else(|| D::Error::custom("the photos' hashes are damaged"))?;
        let hashes = digits
            .chunks_exact(2 * BYTES)
            .map(|chunk| std::array::from_fn(|at| 16 * chunk[2 * at] + chunk[2 * at + 1]));
        Ok(Self::of(hashes.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(first: u8) -> [u8; 32] {
        std::array::from_fn(|at| if at == 0 { first } else { at as u8 })
    }

    #[test]
    fn files_are_found_again_by_eight_bytes_whatever_their_order() {
        let photos = PhotoHashes::new([hash(0xfe), hash(3), hash(3)]);
        assert_eq!(photos.len(), 2);
        assert_eq!(photos, PhotoHashes::new([hash(3), hash(0xfe)]));
        assert!(
            photos.contains(hash(3)) && photos.contains(hash(0xfe)) && !photos.contains(hash(4))
        );
        let text = serde_json::to_string(&photos).unwrap();
        assert_eq!(text, "\"0301020304050607fe01020304050607\"");
        assert_eq!(serde_json::from_str::<PhotoHashes>(&text).unwrap(), photos);
    }

    #[test]
    fn damaged_lists_are_errors() {
        for bad in [
            "\"03\"",
            "\"zz01020304050607\"",
            "7",
            "\"é301020304050607\"",
        ] {
            assert!(serde_json::from_str::<PhotoHashes>(bad).is_err(), "{bad}");
        }
        assert!(
            serde_json::from_str::<PhotoHashes>("\"\"")
                .unwrap()
                .is_empty()
        );
    }
}
