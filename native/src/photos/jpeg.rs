//! JPEG, strictly.
//!
//! The `image` crate asks its JPEG decoder to be lenient, as browsers are: what is missing of a
//! file becomes grey. For a training set that is poison, so zune-jpeg is called directly in its
//! strict mode, and the structure of the file is walked first: strict mode alone overlooks an end
//! within the last row of blocks.

use std::borrow::Cow;

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Limits, PhotoProblem};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// A JPEG whose header has been read and found acceptable.
pub(super) struct Jpeg<'a> {
    bytes: Cow<'a, [u8]>,
    options: DecoderOptions,
    grey: bool,
    /// Width and height in pixels, as stored.
    pub(super) size: (u32, u32),
    /// How the stored picture has to be turned.
    pub(super) orientation: Orientation,
}

impl<'a> Jpeg<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let bytes = first_picture(bytes)?;
        let side = limits.max_side as usize;
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(side)
            .set_max_height(side);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes[..]), options);
        decoder.decode_headers().map_err(problem)?;
        let (width, height) = decoder
            .dimensions()
            .ok_or_else(|| PhotoProblem::Corrupt("no frame".into()))?;
        limits.check(width as u64, height as u64)?;

        // Grey stays grey until the end; CMYK and YCCK come out as RGB, read as Adobe writes them
        // (inverted), which is also what Pillow assumes.
        let grey = match decoder.input_colorspace() {
            Some(ColorSpace::Luma) => true,
            Some(ColorSpace::RGB | ColorSpace::YCbCr | ColorSpace::CMYK | ColorSpace::YCCK) => {
                false
            }
            other => {
                let colours = other.map_or("unknown".into(), |c| format!("{c:?}"));
                return Err(PhotoProblem::Unsupported(format!(
                    "JPEG with {colours} colours"
                )));
            }
        };
        let orientation = decoder
            .exif()
            .and_then(|exif| Orientation::from_exif_chunk(exif))
            .unwrap_or(Orientation::NoTransforms);
        let out = if grey {
            ColorSpace::Luma
        } else {
            ColorSpace::RGB
        };
        let options = options.jpeg_set_out_colorspace(out);
        // JPEG sides are 16-bit numbers.
        let size = (width as u32, height as u32);
        Ok(Self {
            bytes,
            options,
            grey,
            size,
            orientation,
        })
    }

    /// Decodes the picture to 8-bit RGB, not yet turned.
    pub(super) fn decode(self) -> Result<Vec<u8>, PhotoProblem> {
        let pixels = self.size.0 as usize * self.size.1 as usize;
        let mut out = zeroed(if self.grey { pixels } else { pixels * 3 })?;
        let mut decoder =
            JpegDecoder::new_with_options(ZCursor::new(&self.bytes[..]), self.options);
        decoder.decode_into(&mut out).map_err(problem)?;
        if self.grey {
            out = out.into_iter().flat_map(|level| [level; 3]).collect();
        }
        Ok(out)
    }
}

/// A buffer of zeros, or an error where the allocator would abort.
fn zeroed(len: usize) -> Result<Vec<u8>, PhotoProblem> {
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(len)
        .map_err(|_| PhotoProblem::OutOfMemory)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

fn problem(error: DecodeErrors) -> PhotoProblem {
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => PhotoProblem::Truncated,
        DecodeErrors::LargeDimensions(side) => PhotoProblem::TooLarge {
            width: side as u64,
            height: side as u64,
        },
        DecodeErrors::Unsupported(scheme) => {
            PhotoProblem::Unsupported(format!("this kind of JPEG ({scheme:?})"))
        }
        DecodeErrors::FormatStatic("Premature end of buffer") => PhotoProblem::Truncated,
        other => PhotoProblem::Corrupt(format!("{other:?}")),
    }
}

/// The bytes of the first picture of a JPEG file, from its start to its end-of-image marker.
///
/// Phones put further pictures behind it (previews, gain maps), cameras now and then stray bytes
/// between the segments of the header. Both are harmless, and both would trip the strict decoder,
/// so they are left out.
///
/// # Errors
/// [`PhotoProblem::Truncated`] if the file ends before the marker.
fn first_picture(bytes: &[u8]) -> Result<Cow<'_, [u8]>, PhotoProblem> {
    let mut clean: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = 2; // after the start-of-image marker, which the sniffer has seen
    loop {
        let stray = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff));
        let marker_at = at + stray.ok_or(PhotoProblem::Truncated)?;
        if marker_at > at {
            clean
                .get_or_insert_default()
                .extend_from_slice(&bytes[copied..at]);
            copied = marker_at;
        }
        let fill = bytes[marker_at..].iter().position(|&b| b != 0xff);
        let code_at = marker_at + fill.ok_or(PhotoProblem::Truncated)?;
        at = code_at + 1;
        match bytes[code_at] {
            EOI => break,
            // A stuffed zero is a stray 0xff, the others are markers without a body.
            0x00 | 0x01 | SOI | 0xd0..=0xd7 => continue,
            code => {
                let length = bytes.get(at..at + 2).ok_or(PhotoProblem::Truncated)?;
                at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                if code == SOS {
                    at = end_of_scan(bytes, at).ok_or(PhotoProblem::Truncated)?;
                }
            }
        }
    }
    Ok(match clean {
        None => Cow::Borrowed(&bytes[..at]),
        Some(mut clean) => {
            clean.extend_from_slice(&bytes[copied..at]);
            Cow::Owned(clean)
        }
    })
}

/// Where the entropy-coded data that begins at `from` ends: at the first marker that does not
/// belong to it.
fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let data = bytes.get(from..)?;
    data.windows(2)
        .position(|w| w[0] == 0xff && !matches!(w[1], 0x00 | 0xff | 0xd0..=0xd7))
        .map(|offset| from + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_picture_ends_at_its_own_marker_and_loses_stray_bytes() {
        let header = b"\xff\xd8\xff\xe0\x00\x04ab";
        let scan = b"\xff\xda\x00\x03\x00\x12\xff\x00\x34\xff\xd0\x56\xff\xd9";
        let plain = [&header[..], scan].concat();
        let file = [&plain[..], b"\xff\xd8 another"].concat();
        assert!(matches!(first_picture(&file), Ok(Cow::Borrowed(b)) if b == plain));
        let file = [&header[..], b"\0\0junk", scan].concat();
        assert!(matches!(first_picture(&file), Ok(Cow::Owned(b)) if b == plain));
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_cut_off() {
        let file =
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xda\x00\x03\x00\x12\xff\x00\x34\xff\xd0\x56\xff\xd9";
        for len in 2..file.len() {
            assert!(
                matches!(first_picture(&file[..len]), Err(PhotoProblem::Truncated)),
                "{len}"
            );
        }
    }
}
