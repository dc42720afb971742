//! PNG (third edition), as Pillow reads it: the default picture of a file, animated or not. The chunks are walked
//! here, so that what a file is, and where it is damaged, can be told; the crate `png` decodes.

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use png::{Decoder, DecodingError, Transformations};
use rekindle_networks::image::RgbImage;

use super::colour::{eight_bits, picture_of_samples};
use super::picture::{Picture, zeroed};
use super::{Limits, PhotoProblem, exif};

/// What the decoder may hold beside the picture and its rows, in bytes: a palette, the window of the compression.
const WORKING_MEMORY: usize = 64 << 20;

/// A file whose header has been read and found acceptable.
pub(super) struct Png<'a> {
    bytes: &'a [u8],
    memory: u64,
    header: Header,
    orientation: Orientation,
}

impl<'a> Png<'a> {
    /// Walks the chunks of a file.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let mut header = None;
        let mut has_colour_key = false;
        let mut orientation = None;
        let (mut is_before_picture, mut is_ended) = (true, false);
        for chunk in Chunks::new(bytes) {
            let body = chunk.body;
            match (&chunk.name, &header) {
                (b"IHDR", None) if !chunk.is_sound() => return Err(corrupt(chunk.doubt())),
                (b"IHDR", None) => header = Some(Header::parse(body)?),
                (b"CgBI", None) => {
                    return Err(unsupported(
                        "a PNG in Apple's own variant (CgBI), as iPhone apps hold it,",
                    ));
                }
                (_, None) => return Err(corrupt("the header is not the first chunk")),
                // The decoder relies on it.
                (b"PLTE", _) if is_before_picture && !body.len().is_multiple_of(3) => {
                    let len = body.len();
                    return Err(corrupt(format!(
                        "a palette of {len} bytes, which are no triples"
                    )));
                }
                (b"tRNS", _) => has_colour_key = true,
                (b"IDAT", _) => is_before_picture = false,
                (b"IEND", _) => {
                    is_ended = true;
                    break;
                }
                // Before the picture or behind it.
                (b"eXIf", _) if chunk.is_sound() => {
                    orientation.get_or_insert_with(|| exif::orientation(body));
                }
                _ => {}
            }
        }
        let header = header.ok_or(PhotoProblem::Truncated)?;
        let memory = header.memory(has_colour_key);
        let (width, height) = header.size;
        limits.admit(u64::from(width), u64::from(height), memory)?;
        // What is cut off may be how the picture has to be turned.
        if !is_ended {
            return Err(PhotoProblem::Truncated);
        }
        Ok(Self {
            bytes,
            memory,
            header,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
        })
    }

    /// Width and height.
    pub(super) fn size(&self) -> (u32, u32) {
        self.header.size
    }

    /// The numbers that are stored for the pixels, a byte each, where they are one number below 256: places in a
    /// palette, or grey. Where they are colours, the numbers that `number_of` has for all of them.
    pub(super) fn numbers(
        &self,
        number_of: impl Fn([u8; 3]) -> Option<u8>,
    ) -> Result<Vec<u8>, PhotoProblem> {
        let bits = usize::from(self.header.bits);
        match (self.header.kind, bits) {
            (0 | 3, _) | (2, 8) => {}
            (4, _) => return Err(unsupported("a mask in grey and alpha")),
            _ => return Err(unsupported("a mask in colours without a palette")),
        }
        let (_, stored) = self.samples(Transformations::IDENTITY)?;
        if bits == 8 && self.header.kind != 2 {
            return Ok(stored);
        }
        let (width, height) = (self.header.size.0 as usize, self.header.size.1 as usize);
        let mut numbers = zeroed(width * height)?;
        if bits == 8 {
            let (colours, _) = stored.as_chunks();
            for (number, colour) in numbers.iter_mut().zip(colours) {
                *number = number_of(*colour)
                    .ok_or_else(|| unsupported("a mask in colours that are not VOC's palette"))?;
            }
            return Ok(numbers);
        }
        if bits == 16 {
            let (wide, _) = stored.as_chunks();
            for (number, wide) in numbers.iter_mut().zip(wide) {
                *number = u8::try_from(u16::from_be_bytes(*wide))
                    .map_err(|_| unsupported("a mask with numbers beyond 255"))?;
            }
            return Ok(numbers);
        }
        // Several to a byte, the first in the highest bits; each row begins with a byte of its own.
        let (each, most) = (8 / bits, (1_u8 << bits) - 1);
        let rows = stored.chunks_exact(width.div_ceil(each));
        for (row, numbers) in rows.zip(numbers.chunks_exact_mut(width)) {
            for (column, number) in numbers.iter_mut().enumerate() {
                *number = row[column / each] >> (8 - bits * (column % each + 1)) & most;
            }
        }
        Ok(numbers)
    }

    /// The samples of the picture, and how many there are of a pixel.
    fn samples(&self, transformations: Transformations) -> Result<(usize, Vec<u8>), PhotoProblem> {
        let mut reader = Cursor::new(self.bytes);
        let decoded = samples(&mut reader, self.header.size, transformations);
        let stopped = usize::try_from(reader.position()).unwrap_or(usize::MAX);
        decoded.map_err(|stop| match stop {
            Stop::Told(problem) => problem,
            Stop::Decoder(DecodingError::IoError(error))
                if error.kind() == ErrorKind::UnexpectedEof =>
            {
                PhotoProblem::Truncated
            }
            Stop::Decoder(DecodingError::LimitsExceeded) => unsupported(format!(
                "a PNG that takes more than {} MiB beside its picture",
                WORKING_MEMORY >> 20
            )),
            Stop::Decoder(_) => corrupt(self.place(stopped)),
        })
    }

    /// Where in the file a decoder stopped, in words.
    fn place(&self, at: usize) -> String {
        let mut chunks = Chunks::new(self.bytes);
        match chunks.find(|chunk| (chunk.start..chunk.end).contains(&at.saturating_sub(1))) {
            Some(chunk) => chunk.doubt(),
            None => format!("what stands at byte {at} makes no sense"),
        }
    }
}

impl Picture for Png<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn orientation(&self) -> Orientation {
        self.orientation
    }

    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        let (channels, mut samples) = self.samples(Transformations::EXPAND)?;
        if self.header.bits == 16 {
            eight_bits(&mut samples);
        }
        picture_of_samples(self.header.size, channels, samples)
    }
}

/// What keeps a picture from being decoded.
enum Stop {
    /// The decoder's own reason.
    Decoder(DecodingError),
    /// A reason in our words.
    Told(PhotoProblem),
}

impl From<DecodingError> for Stop {
    fn from(error: DecodingError) -> Self {
        Self::Decoder(error)
    }
}

/// The samples of the picture, and how many there are of a pixel; those of 16 bits have the highest byte first.
fn samples(
    reader: &mut Cursor<&[u8]>,
    size: (u32, u32),
    transformations: Transformations,
) -> Result<(usize, Vec<u8>), Stop> {
    let limits = png::Limits {
        // Four rows of the widest pixels.
        bytes: WORKING_MEMORY.saturating_add((size.0 as usize).saturating_mul(4 * 8)),
    };
    let mut decoder = Decoder::new_with_limits(reader, limits);
    decoder.set_transformations(transformations);
    // Metadata are no reason to refuse a picture that is whole.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info()?;
    let len = reader.output_buffer_size();
    let len = len.ok_or(Stop::Told(PhotoProblem::OutOfMemory))?;
    let mut samples = zeroed(len).map_err(Stop::Told)?;
    let frame = reader.next_frame(&mut samples)?;
    if (frame.width, frame.height) != size {
        let why = "the first frame has another size than the picture";
        return Err(Stop::Told(corrupt(why)));
    }
    Ok((frame.color_type.samples(), samples))
}

/// What the header chunk says.
struct Header {
    size: (u32, u32),
    bits: u8,
    /// Bit 0: a palette, bit 1: colour, bit 2: alpha.
    kind: u8,
}

impl Header {
    fn parse(body: &[u8]) -> Result<Self, PhotoProblem> {
        let &[
            w3,
            w2,
            w1,
            w0,
            h3,
            h2,
            h1,
            h0,
            bits,
            kind,
            compression,
            filter,
            interlace,
        ] = body
        else {
            let len = body.len();
            return Err(corrupt(format!("a header of {len} bytes")));
        };
        let is_known = match kind {
            0 => matches!(bits, 1 | 2 | 4 | 8 | 16),
            3 => matches!(bits, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(bits, 8 | 16),
            _ => false,
        };
        if !is_known {
            return Err(corrupt(format!("colours of kind {kind} in {bits} bits")));
        }
        let methods = [
            ("compression", compression, 0),
            ("filter", filter, 0),
            ("interlace", interlace, 1),
        ];
        for (what, method, last) in methods {
            if method > last {
                return Err(unsupported(format!("a PNG with {what} method {method}")));
            }
        }
        Ok(Self {
            size: (
                u32::from_be_bytes([w3, w2, w1, w0]),
                u32::from_be_bytes([h3, h2, h1, h0]),
            ),
            bits,
            kind,
        })
    }

    /// Bytes that decoding holds at its height: the samples, and what is made of them, or their turned copy.
    fn memory(&self, has_colour_key: bool) -> u64 {
        let (width, height) = self.size;
        let pixels = u64::from(width).saturating_mul(u64::from(height));
        let is_grey = self.kind & 2 == 0;
        let has_alpha = has_colour_key || self.kind & 4 != 0;
        let channels = if is_grey { 1 } else { 3 } + u64::from(has_alpha);
        let stored = channels * if self.bits == 16 { 2 } else { 1 };
        let made = if is_grey && has_alpha { 7 } else { 3 };
        pixels.saturating_mul(stored + made)
    }
}

/// One chunk of a file.
struct Chunk<'a> {
    name: [u8; 4],
    /// Where it begins, with its length.
    start: usize,
    /// Where it ends, behind its checksum.
    end: usize,
    body: &'a [u8],
    /// Name and body, which the checksum is of.
    named: &'a [u8],
    checksum: u32,
}

impl Chunk<'_> {
    /// What is wrong with it, if it is what stopped the decoder.
    fn doubt(&self) -> String {
        let name = String::from_utf8_lossy(&self.name);
        let name: String = name.chars().flat_map(char::escape_debug).collect();
        let what = match self.is_sound() {
            true => "makes no sense",
            false => "does not fit its checksum",
        };
        format!("the chunk {name} at byte {} {what}", self.start)
    }

    /// Whether it fits its checksum.
    fn is_sound(&self) -> bool {
        let mut crc = flate2::Crc::new();
        crc.update(self.named);
        crc.sum() == self.checksum
    }
}

/// The chunks of a file, up to the last that is whole.
struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 8 } // behind the signature
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let start = self.at;
        let head = self.bytes.get(start..)?.first_chunk::<8>()?;
        let &[a, b, c, d, n0, n1, n2, n3] = head;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = start.checked_add(12)?.checked_add(len)?;
        let whole = self.bytes.get(start..end)?;
        let (named, sum) = whole[4..].split_last_chunk::<4>()?;
        self.at = end;
        Some(Chunk {
            name: [n0, n1, n2, n3],
            start,
            end,
            body: &named[4..],
            named,
            checksum: u32::from_be_bytes(*sum),
        })
    }
}

fn corrupt(why: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Corrupt(format!("PNG: {}", why.into()))
}

fn unsupported(what: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Unsupported(what.into())
}

#[cfg(test)]
mod tests {
    use crate::{Limits, decode_bytes};

    /// Found by fuzzing: png 0.18 panics on it. The chunk's checksum is right.
    const ODD_PALETTE: &[u8] = include_bytes!("../../fuzz/findings/png/palette_that_is_no_triples");

    #[test]
    fn a_palette_that_is_no_triples_is_damaged() {
        let told = decode_bytes(ODD_PALETTE, &Limits::default()).unwrap_err();
        assert_eq!(told.kind(), "corrupt");
        assert!(told.to_string().contains("palette of 49 bytes"), "{told}");
    }

    #[test]
    fn damage_is_told_by_its_chunk_and_its_place() {
        let whole = include_bytes!("../tests/fixtures/rgb.png");
        let at = whole.windows(4).position(|name| name == b"IDAT").unwrap();
        let mut damaged = whole.to_vec();
        damaged[at + 9] ^= 0x55;
        let told = decode_bytes(&damaged, &Limits::default()).unwrap_err();
        assert_eq!(told.kind(), "corrupt");
        let place = format!("chunk IDAT at byte {}", at - 4);
        assert!(told.to_string().contains(&place), "{told}");
    }
}
