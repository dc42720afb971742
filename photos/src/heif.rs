//! HEIC and AVIF through libheif, where it was built in (feature `heif`).

use libheif_rs::{
    ColorSpace, HeifContext, HeifError, HeifErrorCode, HeifErrorSubCode, ImageHandle, LibHeif,
    RgbChroma,
};
use rekindle_networks::image::RgbImage;

use super::picture::{Picture, picture_of, picture_over_white};
use super::{Limits, PhotoProblem};

/// A file whose header has been read and found acceptable.
pub(super) struct Heif {
    handle: ImageHandle,
    memory: u64,
}

impl Heif {
    /// Reads the header of the primary picture.
    pub(super) fn open(bytes: &[u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let mut context = HeifContext::read_from_bytes(bytes).map_err(problem)?;
        // Photos are decoded side by side already.
        context.set_max_decoding_threads(0);
        let handle = context.primary_image_handle().map_err(problem)?;
        let (width, height) = (u64::from(handle.width()), u64::from(handle.height()));
        // Planes of up to 16 bits a sample, their copies in 8 bits and when turned, and the result.
        let memory = width.saturating_mul(height).saturating_mul(16);
        limits.admit(width, height, memory)?;
        Ok(Self { handle, memory })
    }
}

impl Picture for Heif {
    fn memory(&self) -> u64 {
        self.memory
    }

    /// The picture comes out upright: HEIF tells turns in its own way, which libheif obeys, and EXIF's orientation
    /// does not count.
    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        let has_alpha = self.handle.has_alpha_channel();
        let (chroma, channels) = match has_alpha {
            true => (RgbChroma::Rgba, 4),
            false => (RgbChroma::Rgb, 3),
        };
        let decoded = LibHeif::new()
            .decode(&self.handle, ColorSpace::Rgb(chroma), None)
            .map_err(problem)?;
        let corrupt = |why: &str| PhotoProblem::Corrupt(format!("HEIF: {why}"));
        let plane = decoded.planes().interleaved;
        let plane = plane.ok_or_else(|| corrupt("no pixels"))?;
        let row = plane.width as usize * channels;
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(row * plane.height as usize)
            .map_err(|_| PhotoProblem::OutOfMemory)?;
        for line in plane
            .data
            .chunks(plane.stride.max(1))
            .take(plane.height as usize)
        {
            pixels.extend(
                line.get(..row)
                    .ok_or_else(|| corrupt("a row is too short"))?,
            );
        }
        match has_alpha {
            true => picture_over_white(plane.width, plane.height, &pixels),
            false => picture_of(plane.width, plane.height, pixels),
        }
    }
}

fn problem(error: HeifError) -> PhotoProblem {
    match (error.code, error.sub_code) {
        (_, HeifErrorSubCode::EndOfData) => PhotoProblem::Truncated,
        (_, HeifErrorSubCode::SecurityLimitExceeded)
        | (HeifErrorCode::MemoryAllocationError, _) => PhotoProblem::OutOfMemory,
        (
            HeifErrorCode::UnsupportedFileType
            | HeifErrorCode::UnsupportedFeature
            | HeifErrorCode::PluginLoadingError,
            _,
        ) => PhotoProblem::Unsupported("this kind of HEIC or AVIF picture".into()),
        _ => PhotoProblem::Corrupt("HEIF: the boxes or the coded picture make no sense".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// One entry of the file that `tests/parity/make_heif_fixtures.py` writes.
    #[derive(serde::Deserialize)]
    struct Expected {
        file: String,
        width: u32,
        height: u32,
        tolerance: u8,
        rgb: String,
    }

    #[test]
    fn heic_and_avif_look_as_pillow_sees_them_and_cut_ones_are_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heif");
        let text = fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: Vec<Expected> = serde_json::from_str(&text).unwrap();
        assert!(expected.len() >= 6);
        for entry in expected {
            let Expected {
                file,
                width,
                height,
                tolerance,
                rgb,
            } = entry;
            let bytes = fs::read(folder.join(&file)).unwrap();
            let decode = |bytes: &[u8]| Box::new(Heif::open(bytes, &Limits::default())?).decode();
            let image = decode(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!((image.width(), image.height()), (width, height), "{file}");
            let truth = (0..rgb.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&rgb[at..at + 2], 16));
            let worst = image
                .pixels()
                .iter()
                .zip(truth)
                .map(|(a, b)| a.abs_diff(b.unwrap()));
            let worst = worst.max().unwrap_or(0);
            assert!(
                worst <= tolerance,
                "{file}: off by {worst}, allowed {tolerance}"
            );
            for len in (0..bytes.len()).step_by(7) {
                if decode(&bytes[..len]).is_ok_and(|cut| cut != image) {
                    panic!("{file} cut to {len} of {} bytes", bytes.len());
                }
            }
            let few = Limits {
                max_memory: 16,
                ..Limits::default()
            };
            assert_eq!(
                Heif::open(&bytes, &few).err().map(|e| e.kind()),
                Some("too_large")
            );
        }
    }
}
