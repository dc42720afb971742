//! WebP, as Pillow reads it: the picture of a file, or the first of an animation. The container is walked here: what
//! of a file makes the picture, and how it was held; the crate `image-webp` decodes.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image_webp::{DecodingError, WebPDecoder};
use rekindle_networks::image::RgbImage;

use super::colour::picture_of_samples;
use super::picture::{Picture, zeroed};
use super::{Limits, PhotoProblem, exif};

const HAS_ALPHA: u8 = 0x10;
const IS_ANIMATED: u8 = 0x02;

/// A file whose header has been read and found acceptable.
pub(super) struct WebP<'a> {
    decoder: WebPDecoder<Cursor<Cow<'a, [u8]>>>,
    memory: u64,
    orientation: Orientation,
}

impl<'a> WebP<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let Container { bytes, orientation } = Container::open(bytes)?;
        let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(problem)?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (u64::from(width), u64::from(height));
        // What the decoder gives and keeps for itself, and what is made of it.
        let bytes = 4 + if decoder.has_alpha() { 4 + 3 } else { 3 };
        let memory = width.saturating_mul(height).saturating_mul(bytes);
        limits.admit(width, height, memory)?;
        decoder.set_memory_limit(usize::try_from(memory).unwrap_or(usize::MAX));
        Ok(Self {
            decoder,
            memory,
            orientation,
        })
    }
}

impl Picture for WebP<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn orientation(&self) -> Orientation {
        self.orientation
    }

    fn decode(mut self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        let size = self.decoder.dimensions();
        let channels = if self.decoder.has_alpha() { 4 } else { 3 };
        let len = self.decoder.output_buffer_size();
        let mut samples = zeroed(len.ok_or(PhotoProblem::OutOfMemory)?)?;
        self.decoder.read_image(&mut samples).map_err(problem)?;
        drop(self);
        picture_of_samples(size, channels, samples)
    }
}

fn problem(error: DecodingError) -> PhotoProblem {
    let unsupported = |what: String| PhotoProblem::Unsupported(what);
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            PhotoProblem::Truncated
        }
        DecodingError::UnsupportedFeature(_) => {
            unsupported("a WebP that is a later picture of a video".into())
        }
        DecodingError::VersionNumberInvalid(version) => {
            unsupported(format!("a lossless WebP of version {version}"))
        }
        DecodingError::ColorSpaceInvalid(kind) => {
            unsupported(format!("a WebP with colours of kind {kind}"))
        }
        DecodingError::InvalidCompressionMethod => {
            unsupported("a WebP with an unknown compression of its alpha".into())
        }
        DecodingError::MemoryLimitExceeded => PhotoProblem::OutOfMemory,
        DecodingError::ChunkMissing
        | DecodingError::ChunkHeaderInvalid(_)
        | DecodingError::InvalidChunkSize
        | DecodingError::FrameOutsideImage
        | DecodingError::InconsistentImageSizes
        | DecodingError::AlphaChunkSizeMismatch => unfit(),
        _ => PhotoProblem::Corrupt("WebP: the coded picture makes no sense".into()),
    }
}

fn unfit() -> PhotoProblem {
    PhotoProblem::Corrupt("WebP: the parts do not fit together".into())
}

/// A number of three bytes.
fn u24(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

/// Width and height that a chunk of coded picture claims.
fn coded_size(chunk: &[u8]) -> Option<[u32; 2]> {
    match (&chunk[..4], chunk.get(8..)?) {
        (b"VP8 ", &[_, _, _, _, _, _, w0, w1, h0, h1, ..]) => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some([side(w0, w1), side(h0, h1)])
        }
        (b"VP8L", &[_, a, b, c, d, ..]) => {
            let sides = u32::from_le_bytes([a, b, c, d]);
            Some([1 + (sides & 0x3fff), 1 + (sides >> 14 & 0x3fff)])
        }
        _ => None,
    }
}

/// Where a frame of an animation lies on the canvas, if that is what its coded picture says too.
fn frame_place(body: &[u8]) -> Option<[u32; 4]> {
    let head = body.get(..16)?;
    let place = [
        2 * u24(head),
        2 * u24(&head[3..]),
        1 + u24(&head[6..]),
        1 + u24(&head[9..]),
    ];
    let mut at = 16;
    loop {
        let chunk = body.get(at..)?;
        let &[a, b, c, d] = chunk.get(4..8)?.first_chunk()?;
        if let Some(size) = coded_size(chunk) {
            return (size == place[2..]).then_some(place);
        }
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        at = at.checked_add(8)?.checked_add(len)?.checked_add(len & 1)?;
    }
}

/// A file without what is not the picture.
struct Container<'a> {
    /// The file as the decoder takes it.
    bytes: Cow<'a, [u8]>,
    /// How the stored picture has to be turned.
    orientation: Orientation,
}

impl<'a> Container<'a> {
    /// Walks the chunks of a file. Metadata that are announced and missing, or damaged, are left out:
    /// they are no reason to refuse a picture that is whole.
    ///
    /// # Errors
    /// [`PhotoProblem::Truncated`] if the file ends before its header says, or before the picture does.
    fn open(bytes: &'a [u8]) -> Result<Self, PhotoProblem> {
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
        // Where the picture lies on the canvas: left, top, width and height.
        let mut place = None;
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
                    place = coded_size(whole).map(|[width, height]| [0, 0, width, height]);
                    picture.push(whole);
                    if header.is_none() {
                        break;
                    }
                }
                (b"ALPH" | b"ANIM", Some(_)) if !is_whole => {
                    has_alpha |= name == b"ALPH";
                    picture.push(whole);
                }
                (b"ANMF", Some(body)) if !has_frames => {
                    // The first frame counts.
                    (has_frames, is_whole) = (true, true);
                    place = frame_place(body);
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
        // The decoder would make room for whatever size the coded picture claims.
        let canvas = [1 + u24(&header[4..]), 1 + u24(&header[7..])];
        let fits = match place {
            Some([0, 0, width, height]) if !has_frames => [width, height] == canvas,
            Some([left, top, width, height]) => {
                left + width <= canvas[0] && top + height <= canvas[1]
            }
            None => false,
        };
        if !fits {
            return Err(unfit());
        }
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
