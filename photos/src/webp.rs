//! WebP's container: what of a file makes the picture, and how it was held.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::{PhotoProblem, exif};

const HAS_ALPHA: u8 = 0x10;
const IS_ANIMATED: u8 = 0x02;

/// A WebP file without what is not the picture.
pub(super) struct WebP<'a> {
    /// The file as the decoder takes it.
    pub(super) bytes: Cow<'a, [u8]>,
    /// How the stored picture has to be turned.
    pub(super) orientation: Orientation,
}

impl<'a> WebP<'a> {
    /// Walks the chunks of a file. Metadata that are announced and missing, or damaged, are left out:
    /// they are no reason to refuse a picture that is whole.
    ///
    /// # Errors
    /// [`PhotoProblem::Truncated`] if the file ends before its header says, or before the picture does.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, PhotoProblem> {
        let &[_, _, _, _, a, b, c, d, ..] = bytes else {
            return Err(PhotoProblem::Truncated);
        };
        // What is cut off may be how the picture has to be turned.
        let announced = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
        if (bytes.len() as u64) < announced {
            return Err(PhotoProblem::Truncated);
        }
        let mut picture: Vec<&[u8]> = Vec::new();
        let mut orientation = Orientation::NoTransforms;
        let (mut header, mut is_lossless, mut has_alpha, mut has_frames) =
            (None, false, false, false);
        let mut is_whole = false;
        let mut at = 12;
        while let Some(head) = bytes.get(at..at + 8) {
            let name = &head[..4];
            let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let body = bytes.get(at + 8..at.saturating_add(8).saturating_add(size));
            let end = at
                .saturating_add(8)
                .saturating_add(size)
                .saturating_add(size & 1);
            let whole = &bytes[at..end.min(bytes.len())];
            match (name, body) {
                (b"VP8X", Some(body)) if body.len() >= 10 => header = Some(body),
                (b"VP8X" | b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF", None) => {
                    return Err(PhotoProblem::Truncated);
                }
                (b"VP8 " | b"VP8L", Some(_)) if !is_whole => {
                    (is_lossless, is_whole) = (name == b"VP8L", true);
                    picture.push(whole);
                    if header.is_none() {
                        break;
                    }
                }
                (b"ALPH" | b"ANIM", Some(_)) if !is_whole => {
                    has_alpha |= name == b"ALPH";
                    picture.push(whole);
                }
                (b"ANMF", Some(_)) if !has_frames => {
                    // The first frame counts.
                    (has_frames, is_whole) = (true, true);
                    picture.push(whole);
                }
                (b"EXIF", Some(body)) => orientation = exif::orientation(body),
                _ => {}
            }
            at = end;
        }
        if !is_whole {
            return Err(PhotoProblem::Truncated);
        }
        let Some(header) = header else {
            let bytes = Cow::Borrowed(bytes);
            return Ok(Self { bytes, orientation });
        };
        let mut header = header[..10].to_vec();
        let is_animated = has_frames && header[0] & IS_ANIMATED != 0;
        let keep_alpha = header[0] & HAS_ALPHA != 0 && (is_animated || is_lossless || has_alpha);
        header[0] =
            if keep_alpha { HAS_ALPHA } else { 0 } | if is_animated { IS_ANIMATED } else { 0 };
        let header = [b"VP8X\x0a\0\0\0", &header[..]].concat();
        picture.insert(0, &header);
        let bytes = Cow::Owned(written(&picture)?);
        Ok(Self { bytes, orientation })
    }
}

/// A file of these chunks.
fn written(chunks: &[&[u8]]) -> Result<Vec<u8>, PhotoProblem> {
    let len: usize = chunks
        .iter()
        .map(|chunk| chunk.len() + chunk.len() % 2)
        .sum();
    let mut file = Vec::new();
    file.try_reserve_exact(len + 12)
        .map_err(|_| PhotoProblem::OutOfMemory)?;
    file.extend(b"RIFF");
    file.extend((len as u32 + 4).to_le_bytes());
    file.extend(b"WEBP");
    for chunk in chunks {
        file.extend(*chunk);
        // The last chunk of a file may lack its filling.
        file.extend(&[0][..chunk.len() % 2]);
    }
    Ok(file)
}
