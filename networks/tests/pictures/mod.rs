//! The pictures that fixtures start from: files, and noise that both sides draw.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::path::Path;

use rekindle_networks::image::RgbImage;
use rekindle_networks::random::Random;
use serde::Deserialize;

/// Where a picture comes from.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A file of `fixtures/preprocess`.
    File(String),
    /// Values drawn from SplitMix64, `levels` of them, evenly spread.
    Noise {
        width: u32,
        height: u32,
        seed: u64,
        levels: u32,
    },
}

impl Source {
    pub fn load(&self) -> RgbImage {
        match self {
            Source::File(name) => load(name),
            &Source::Noise {
                width,
                height,
                seed,
                levels,
            } => {
                let mut random = Random::new(seed);
                let mut byte = || (random.next_u64() >> 56) as u32;
                let value = |byte: u32| (byte * levels / 256 * (255 / (levels - 1))) as u8;
                let pixels = (0..width * height * 3).map(|_| value(byte())).collect();
                RgbImage::new(width, height, pixels).unwrap()
            }
        }
    }
}

/// The folder of all fixtures.
pub fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

/// A picture of `fixtures/preprocess`.
pub fn load(name: &str) -> RgbImage {
    let path = fixtures().join("preprocess").join(name);
    let picture = image::open(path).unwrap().into_rgb8();
    RgbImage::new(picture.width(), picture.height(), picture.into_raw()).unwrap()
}
