//! JPEG, strictly, and to the bit as libjpeg-turbo decodes it, which is what Pillow and with it PyTorch's
//! users see.
//!
//! The decoder is `libjpeg-turbo-rs`. Before it sees a file, the file's structure is walked here: where
//! the first picture ends, how large it claims to be, whether it is of a kind that decoder does. A file
//! that is cut off is refused, because what decoders make up for the missing part would be poison to a
//! training set. What the walk also does is mend what the decoder cannot take and libjpeg can: stray bytes
//! between segments, and quantisation tables that change between scans.

mod coefficients;
mod decoder;
mod outline;
mod problem;

use std::borrow::Cow;

use image::metadata::Orientation;
use libjpeg_turbo_rs::PixelFormat;
use rekindle_networks::image::RgbImage;

use self::decoder::run_decoder;
use self::outline::{EOI, Outline, SOI, Segments};
use self::problem::corrupt;
use super::picture::{Picture, picture_of, zeroed};
use super::{Limits, PhotoProblem};

/// A JPEG whose header has been read and found acceptable.
pub(super) struct Jpeg<'a> {
    bytes: Cow<'a, [u8]>,
    outline: Outline,
    memory: u64,
    /// Width and height in pixels, as stored.
    size: (u32, u32),
}

impl<'a> Jpeg<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let outline = Outline::of(bytes)?;
        let frame = outline.frame()?;
        let (width, height) = (u32::from(frame.width), u32::from(frame.height));
        let memory = frame.memory(&outline);
        limits.admit(u64::from(width), u64::from(height), memory)?;
        outline.check_scans((width, height))?;
        if !frame.can_be_whole(&outline) {
            return Err(PhotoProblem::Truncated);
        }
        Ok(Self {
            memory,
            size: (width, height),
            bytes: outline.mended(bytes)?,
            outline,
        })
    }

    /// The picture in 8-bit RGB, not yet turned.
    fn rgb(&self) -> Result<Vec<u8>, PhotoProblem> {
        let format = match self.outline.frame()?.components.len() {
            4 => PixelFormat::Cmyk,
            _ => PixelFormat::Rgb,
        };
        let pixels = decoded(&self.bytes, &self.outline, format)?;
        if format == PixelFormat::Rgb {
            return Ok(pixels);
        }
        let mut rgb = zeroed(pixels.len() / 4 * 3)?;
        for (rgb, ink) in rgb.chunks_exact_mut(3).zip(pixels.chunks_exact(4)) {
            rgb.copy_from_slice(&adobe_cmyk_to_rgb([ink[0], ink[1], ink[2], ink[3]]));
        }
        Ok(rgb)
    }
}

impl Picture for Jpeg<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn orientation(&self) -> Orientation {
        self.outline.orientation
    }

    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        picture_of(self.size.0, self.size.1, self.rgb()?)
    }
}

/// Decodes a mended file to samples of this format.
///
/// The decoder does not do two things that libjpeg does: scans of sequential Huffman files that hold some of
/// several components, and black that is stored coarser than the other inks. Both go by way of the
/// coefficients, which lose nothing.
fn decoded(bytes: &[u8], outline: &Outline, format: PixelFormat) -> Result<Vec<u8>, PhotoProblem> {
    let frame = outline.frame()?;
    let pixels = usize::from(frame.width) * usize::from(frame.height);
    if frame.has_coarse_black() {
        return coefficients::inks(bytes, outline, pixels);
    }
    if outline.in_parts {
        let whole = coefficients::joined(bytes, frame)?;
        return run_decoder(&coefficients::written(&whole)?, format, pixels);
    }
    run_decoder(bytes, format, pixels)
}

/// What Adobe's programs write, inks inverted, turned to RGB without a colour profile, as Pillow does.
fn adobe_cmyk_to_rgb(inverted: [u8; 4]) -> [u8; 3] {
    let [c, m, y, white] = inverted;
    [c, m, y].map(|ink| super::colour::ink_over(255 - ink, white))
}

/// What a TIFF says of a JPEG in it. It counts, not what the JPEG says.
pub(super) struct Place {
    /// Width and height of the strip or tile, in pixels.
    pub(super) size: (usize, usize),
    /// Samples a pixel.
    pub(super) samples: usize,
    /// Whether three components are luma and chroma, to come out as RGB; otherwise they are left as they are.
    pub(super) is_ycbcr: bool,
    /// Width and height of the whole picture.
    pub(super) whole: (u32, u32),
}

/// The samples of a JPEG inside a TIFF, one byte each, pixel by pixel, or fewer rows. `tables` is a JPEG of its own
/// that holds what all strips share.
pub(super) fn samples(
    tables: Option<&[u8]>,
    stored: &[u8],
    place: &Place,
) -> Result<Vec<u8>, PhotoProblem> {
    let Place { size, samples, .. } = *place;
    let mut file = vec![0xff, SOI];
    if samples > 1 {
        file.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
        file.push(u8::from(place.is_ycbcr));
    }
    for part in [tables.unwrap_or(&[0xff, SOI, 0xff, EOI]), stored] {
        if !part.starts_with(&[0xff, SOI]) {
            return Err(corrupt("none where one belongs in a TIFF"));
        }
        let mut segments = Segments::new(part);
        loop {
            let segment = segments.next()?;
            match segment.code {
                EOI => break,
                0xe0 | 0xee => {}
                _ => file.extend(&part[segment.start..segment.end]),
            }
        }
    }
    file.extend([0xff, EOI]);
    let outline = Outline::of(&file)?;
    let frame = outline.frame()?;
    // Strips may share their data: their scans are as many as if each had all pixels.
    outline.check_scans(place.whole)?;
    let found = (usize::from(frame.width), usize::from(frame.height));
    if frame.components.len() != samples || found.0 != size.0 || found.1 > size.1 {
        return Err(corrupt("another size than that of its place in a TIFF"));
    }
    let format = match samples {
        1 => PixelFormat::Grayscale,
        4 => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    };
    decoded(&outline.mended(&file)?, &outline, format)
}
