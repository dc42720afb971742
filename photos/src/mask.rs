//! Masks as files: PNG pictures whose pixels are classes, as PASCAL VOC keeps them.

use std::path::Path;

use png::{BitDepth, ColorType, Compression, Encoder};
use rekindle_networks::image::RgbImage;
use rekindle_networks::postprocess::{Mask, palette_colour};

use super::guard::guarded;
use super::png::Png;
use super::sniff::{Content, sniff};
use super::{Limits, PhotoError, PhotoProblem, file};

/// Reads the mask at `path`; see [`decode_mask`].
///
/// # Errors
/// Whatever is wrong with the file.
pub fn read_mask(path: &Path, limits: &Limits) -> Result<Mask, PhotoError> {
    let mask = file::read(path, limits).and_then(|bytes| decode_mask(&bytes, limits));
    mask.map_err(|problem| PhotoError::new(path, problem))
}

/// Reads the content of a mask's file: a PNG with a palette, of whose colours only the places count, or in grey, whose
/// numbers are below 256. A pixel's number is its class; 255 is none
/// ([`VOID`](rekindle_networks::postprocess::VOID)). Where a program has written the palette's colours themselves, they
/// are read if all are of VOC's palette ([`palette_colour`]). The picture is taken as it is stored.
///
/// # Errors
/// Whatever is wrong with the file: no PNG, one in other colours, damage.
pub fn decode_mask(bytes: &[u8], limits: &Limits) -> Result<Mask, PhotoProblem> {
    if bytes.is_empty() {
        return Err(PhotoProblem::Empty);
    }
    match sniff(bytes) {
        Content::Image(image::ImageFormat::Png) => {}
        Content::Image(format) => {
            return Err(PhotoProblem::Unsupported(format!("a mask in {format:?}")));
        }
        Content::Foreign(format) => return Err(PhotoProblem::Foreign(format)),
        Content::Other(name) => return Err(PhotoProblem::NotAnImage(name)),
    }
    guarded(|| {
        let png = Png::open(bytes, limits)?;
        let (width, height) = png.size();
        let numbers = png.numbers(label_of)?;
        Mask::new(width, height, numbers)
            .map_err(|error| PhotoProblem::Corrupt(format!("PNG: {error}")))
    })
}

/// The label that has this colour in VOC's palette.
fn label_of(colour: [u8; 3]) -> Option<u8> {
    // The palette deals out a label's bits to red, green and blue in turn, from the highest bit down.
    let bit = |place: u8| colour[usize::from(place % 3)] >> (7 - place / 3) & 1;
    let label = (0..8).map(|place| bit(place) << place).sum();
    (palette_colour(label) == colour).then_some(label)
}

/// A mask as the bytes of a PNG with VOC's palette ([`palette_colour`]), which shows it and from which it is read back
/// as it is.
///
/// # Errors
/// [`PhotoProblem::OutOfMemory`], where there is no room for it.
pub fn encode_mask(mask: &Mask) -> Result<Vec<u8>, PhotoProblem> {
    let palette: Vec<u8> = (0..=u8::MAX).flat_map(palette_colour).collect();
    let size = (mask.width(), mask.height());
    encode(size, ColorType::Indexed, Some(palette), mask.labels())
}

/// A picture as the bytes of a PNG.
///
/// # Errors
/// [`PhotoProblem::OutOfMemory`], where there is no room for it.
pub fn encode_picture(picture: &RgbImage) -> Result<Vec<u8>, PhotoProblem> {
    let size = (picture.width(), picture.height());
    encode(size, ColorType::Rgb, None, picture.pixels())
}

fn encode(
    (width, height): (u32, u32),
    colour: ColorType,
    palette: Option<Vec<u8>>,
    samples: &[u8],
) -> Result<Vec<u8>, PhotoProblem> {
    let mut bytes = Vec::new();
    let written = (|| {
        let mut encoder = Encoder::new(&mut bytes, width, height);
        encoder.set_color(colour);
        encoder.set_depth(BitDepth::Eight);
        if palette.is_none() {
            // Photos of a dozen megapixels take seconds otherwise, and become little smaller.
            encoder.set_compression(Compression::Fast);
        }
        if let Some(palette) = palette {
            encoder.set_palette(palette);
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(samples)?;
        writer.finish()
    })();
    // It is written to memory, and what is written fits its header.
    written.map_err(|_: png::EncodingError| PhotoProblem::OutOfMemory)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use rekindle_networks::postprocess::VOID;

    use super::*;
    use crate::decode_bytes;

    fn decoded(bytes: &[u8]) -> Result<Mask, PhotoProblem> {
        decode_mask(bytes, &Limits::default())
    }

    /// Written by Pillow: `tests/parity/make_mask_goldens.py`.
    const FIXTURES: [(&str, &[u8]); 4] = [
        (
            "palette",
            include_bytes!("../tests/fixtures/masks/palette.png"),
        ),
        ("grey", include_bytes!("../tests/fixtures/masks/grey.png")),
        (
            "palette of 2 bits",
            include_bytes!("../tests/fixtures/masks/palette2.png"),
        ),
        (
            "palette of 4 bits",
            include_bytes!("../tests/fixtures/masks/palette4.png"),
        ),
    ];

    #[test]
    fn masks_that_pillow_wrote_are_read_by_their_numbers() {
        for (name, bytes) in FIXTURES {
            let mask = decoded(bytes).unwrap();
            assert_eq!(mask.size(), [5, 3], "{name}");
            let most = match name {
                "palette of 2 bits" => 4,
                "palette of 4 bits" => 16,
                _ => 256,
            };
            let expected: Vec<u8> = (0..15_u32).map(|place| (place * 37 % most) as u8).collect();
            assert_eq!(mask.labels(), expected, "{name}");
        }
    }

    #[test]
    fn a_mask_comes_back_as_it_was_and_is_seen_in_vocs_colours() {
        let labels: Vec<u8> = (0..=255).collect();
        let mask = Mask::new(16, 16, labels).unwrap();
        let bytes = encode_mask(&mask).unwrap();
        assert_eq!(decoded(&bytes).unwrap(), mask);
        let seen = decode_bytes(&bytes, &Limits::default()).unwrap();
        let colours: Vec<u8> = (0..=VOID).flat_map(palette_colour).collect();
        assert_eq!(seen.pixels(), colours);
        // The colours alone are as good.
        assert_eq!(decoded(&encode_picture(&seen).unwrap()).unwrap(), mask);
        // And a picture as it was.
        let again = decode_bytes(&encode_picture(&seen).unwrap(), &Limits::default());
        assert_eq!(again.unwrap(), seen);
    }

    /// A pixel in grey of 16 bits.
    fn wide(number: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::Sixteen);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&number.to_be_bytes()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn grey_of_16_bits_is_read_by_its_numbers() {
        for number in [0, 7, 255] {
            let mask = decoded(&wide(number)).unwrap();
            assert_eq!(u16::from(mask.labels()[0]), number);
        }
    }

    #[test]
    fn what_is_no_mask_is_refused_in_words() {
        let colours = encode_picture(&RgbImage::new(1, 1, vec![1; 3]).unwrap()).unwrap();
        let jpeg = include_bytes!("../tests/fixtures/grey.jpg");
        let whole = encode_mask(&Mask::new(64, 64, vec![3; 64 * 64]).unwrap()).unwrap();
        for (bytes, words) in [
            (&colours[..], "in colours that are not VOC's palette"),
            (&wide(256)[..], "numbers beyond 255"),
            (&jpeg[..], "a mask in Jpeg"),
            (b"", "empty"),
            (b"{}", "not an image"),
            (&whole[..whole.len() - 20], "cut off"),
        ] {
            let told = decoded(bytes).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
        let small = Limits {
            max_memory: 1000,
            ..Limits::default()
        };
        assert_eq!(decode_mask(&whole, &small).unwrap_err().kind(), "too_large");
    }
}
