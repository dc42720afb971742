//! Windows and OS/2 bitmaps, as Pillow reads them: palettes, 16 to 32 bits in any order of the colours, run lengths.

use rekindle_networks::image::RgbImage;

use super::picture::{Picture, picture_of, picture_over_white, zeroed};
use super::{Limits, PhotoProblem};

/// Bytes before the header that tells the size.
const FILE_HEADER: usize = 14;

/// The greatest size of a header, that of version 5.
const LARGEST_HEADER: u32 = 124;

/// Whether a file begins like one: `BM` may begin any text, a bitmap goes on with the size of its header. Files
/// named `.dib` may begin with that.
pub(super) fn is_bmp(head: &[u8]) -> bool {
    let size = |at| number(head, at, 4).unwrap_or(0);
    if head.starts_with(b"BM") {
        return (12..=LARGEST_HEADER).contains(&size(FILE_HEADER));
    }
    matches!(size(0), 40 | 52 | 56 | 108 | LARGEST_HEADER)
        && number(head, 12, 2) == Some(1)
        && matches!(number(head, 14, 2), Some(1 | 2 | 4 | 8 | 16 | 24 | 32))
        && size(16) <= 6
}

/// A number of so many bytes, the lowest first.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + width)?;
    let push = |sum: u32, &byte: &u8| sum << 8 | u32::from(byte);
    Some(bytes.iter().rev().fold(0, push))
}

/// A file whose header has been read and found acceptable.
pub(super) struct Bmp<'a> {
    /// The rows, or their run lengths.
    data: &'a [u8],
    pixels: Pixels,
    /// Whether the first row is the lowest.
    is_upside_down: bool,
    memory: u64,
    size: (u32, u32),
}

/// How pixels are stored.
enum Pixels {
    /// Indices of so many bits each, in rows of whole words.
    Indices { bits: usize, palette: Palette },
    /// Run lengths of indices, of so many bits where they stand for themselves.
    Runs { bits: usize, palette: Palette },
    /// Numbers of so many bytes in which each channel has its place, in rows of whole words.
    Channels {
        bytes: usize,
        colours: [Channel; 3],
        alpha: Option<Channel>,
    },
}

/// Red, green and blue of each index.
type Palette = Vec<[u8; 3]>;

/// Where a channel lies in a pixel's number.
#[derive(Clone, Copy)]
struct Channel {
    shift: u32,
    /// Its greatest value.
    max: u32,
}

impl Channel {
    fn of_mask(mask: u32) -> Result<Self, PhotoProblem> {
        let shift = mask.trailing_zeros() % 32;
        let max = mask >> shift;
        match max & max.wrapping_add(1) {
            0 => Ok(Self { shift, max }),
            _ => Err(unsupported(format!(
                "a BMP with a colour of the bits {mask:#010x}"
            ))),
        }
    }

    /// Which of a pixel's bytes it is, if it is one of them.
    fn byte(self, bytes: usize) -> Option<usize> {
        let place = self.shift as usize / 8;
        (self.max == 255 && self.shift.is_multiple_of(8) && place < bytes).then_some(place)
    }

    /// The level in a pixel's number, of 255, rounded down as Pillow does.
    fn level(self, pixel: u32) -> u8 {
        match self.max {
            0 => 0,
            255 => (pixel >> self.shift) as u8,
            max => (u64::from(pixel >> self.shift & max) * 255 / u64::from(max)) as u8,
        }
    }
}

impl<'a> Bmp<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let before = match bytes.starts_with(b"BM") {
            true => FILE_HEADER,
            false => 0,
        };
        let number = |at: usize, width: usize| {
            number(bytes, before + at, width).ok_or(PhotoProblem::Truncated)
        };
        let header = number(0, 4)?;
        let is_core = header == 12;
        if !is_core && !matches!(header, 16..=64 | 108 | LARGEST_HEADER) {
            return Err(unsupported(format!(
                "a BMP with a header of {header} bytes"
            )));
        }
        // What a short header of OS/2 leaves out is nought.
        let told = |at: usize, width: usize| match at + width <= header as usize {
            true => number(at, width),
            false => Ok(0),
        };
        let (width, height, bits) = match is_core {
            true => (number(4, 2)?, number(6, 2)?, number(10, 2)?),
            false => (number(4, 4)?, number(8, 4)?, number(14, 2)?),
        };
        // A negative height says that the first row is the highest.
        let is_upside_down = is_core || height >> 24 != 0xff;
        let height = if is_upside_down {
            height
        } else {
            height.wrapping_neg()
        };
        let compression = if is_core { 0 } else { told(16, 4)? };
        let mut behind = before + header as usize;

        let masks = match (compression, header) {
            (3 | 4, 64) => return Err(unsupported("a BMP with a compression of OS/2's own")),
            (0..=2, _) => None,
            (3 | 6, 52..) => {
                // A header that goes on has a place for alpha.
                let alpha = if header >= 56 { told(52, 4)? } else { 0 };
                Some([told(40, 4)?, told(44, 4)?, told(48, 4)?, alpha])
            }
            (3 | 6, 40..) => {
                let at = header as usize;
                let alpha = if compression == 6 {
                    number(at + 12, 4)?
                } else {
                    0
                };
                behind += if compression == 6 { 16 } else { 12 };
                Some([
                    number(at, 4)?,
                    number(at + 4, 4)?,
                    number(at + 8, 4)?,
                    alpha,
                ])
            }
            (4, _) => return Err(unsupported("a BMP that holds a JPEG")),
            (5, _) => return Err(unsupported("a BMP that holds a PNG")),
            (number, _) => {
                return Err(unsupported(format!(
                    "a BMP with compression number {number}"
                )));
            }
        };
        let is_run = matches!(compression, 1 | 2);
        let (count, entry) = (told(32, 4)?, if is_core { 3 } else { 4 });
        let count = if count == 0 { 1 << bits.min(8) } else { count };
        let palette_end = behind.saturating_add((count as usize).saturating_mul(entry));
        let pixels = match (bits, masks) {
            (1 | 2 | 4 | 8, None) => {
                let stored = bytes.get(behind..palette_end.min(bytes.len()));
                let entries = stored.unwrap_or_default().chunks_exact(entry).take(256);
                let palette = entries.map(|e| [e[2], e[1], e[0]]).collect();
                let bits = bits as usize;
                match compression {
                    0 => Pixels::Indices { bits, palette },
                    1 if bits == 8 => Pixels::Runs { bits, palette },
                    2 if bits == 4 => Pixels::Runs { bits, palette },
                    _ => return Err(corrupt(format!("run lengths of {bits} bits a pixel"))),
                }
            }
            (16 | 24 | 32, _) if !is_run => channels(bits, masks)?,
            _ => return Err(unsupported(format!("a BMP with {bits} bits a pixel"))),
        };
        let area = u64::from(width).saturating_mul(u64::from(height));
        let held = match &pixels {
            Pixels::Indices { .. } => 3,
            Pixels::Runs { .. } => 4,
            Pixels::Channels { alpha, .. } => 3 + if alpha.is_some() { 4 } else { 0 },
        };
        let memory = area.saturating_mul(held);
        limits.admit(u64::from(width), u64::from(height), memory)?;

        // Some writers forget the palette when they say where the picture begins.
        let start = match bytes.get(10..before) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]) as usize,
            _ => 0,
        };
        let start = match pixels {
            Pixels::Indices { .. } | Pixels::Runs { .. } if start <= behind => palette_end,
            _ if start == 0 => behind,
            _ => start,
        };
        Ok(Self {
            data: bytes.get(start..).ok_or(PhotoProblem::Truncated)?,
            pixels,
            is_upside_down,
            memory,
            size: (width, height),
        })
    }
}

/// Where the channels lie.
fn channels(bits: u32, masks: Option<[u32; 4]>) -> Result<Pixels, PhotoProblem> {
    let [red, green, blue, alpha] = match (bits, masks) {
        (32, Some([0, 0, 0, 0])) => [0x00ff_0000, 0xff00, 0xff, 0xff00_0000],
        // Of 16 bits a fourth channel is passed over, as in Pillow.
        (32, Some(masks)) => masks,
        (_, Some([red, green, blue, _])) => [red, green, blue, 0],
        (16, None) => [0x7c00, 0x03e0, 0x001f, 0],
        (_, None) => [0x00ff_0000, 0xff00, 0xff, 0],
    };
    let alpha = match alpha {
        0 => None,
        mask => Some(Channel::of_mask(mask)?),
    };
    Ok(Pixels::Channels {
        bytes: bits as usize / 8,
        colours: [
            Channel::of_mask(red)?,
            Channel::of_mask(green)?,
            Channel::of_mask(blue)?,
        ],
        alpha,
    })
}

impl Picture for Bmp<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let step = match &self.pixels {
            Pixels::Channels { alpha: Some(_), .. } => 4,
            _ => 3,
        };
        let stored_bits = match &self.pixels {
            Pixels::Indices { bits, .. } => *bits,
            Pixels::Runs { .. } => 8,
            Pixels::Channels { bytes, .. } => 8 * bytes,
        };
        let indices: Vec<u8>;
        let (data, stored_row) = match &self.pixels {
            Pixels::Runs { bits, .. } => {
                indices = runs(self.data, *bits, width, height)?;
                (&indices[..], width)
            }
            _ => (self.data, (width * stored_bits).div_ceil(32) * 4),
        };
        // What a file says must be there before memory is taken for it; the last row may lack its filling.
        let row_len = (width * stored_bits).div_ceil(8);
        if data.len() < stored_row * (height - 1) + row_len {
            return Err(PhotoProblem::Truncated);
        }
        let mut out = zeroed(width * height * step)?;
        for (y, to) in out.chunks_exact_mut(width * step).enumerate() {
            let row = if self.is_upside_down {
                height - 1 - y
            } else {
                y
            };
            let from = &data[row * stored_row..row * stored_row + row_len];
            self.pixels.unpack(from, to, step);
        }
        match step {
            4 => picture_over_white(self.size.0, self.size.1, &out),
            _ => picture_of(self.size.0, self.size.1, out),
        }
    }
}

impl Pixels {
    /// One row.
    fn unpack(&self, from: &[u8], to: &mut [u8], step: usize) {
        match self {
            Self::Indices { palette, .. } | Self::Runs { palette, .. } => {
                let bits = match self {
                    Self::Indices { bits, .. } => *bits,
                    _ => 8,
                };
                for (x, to) in to.chunks_exact_mut(step).enumerate() {
                    let bit = x * bits;
                    let index = from[bit / 8] >> (8 - bits - bit % 8) & (0xff >> (8 - bits));
                    // An index beyond the palette is black, as in Pillow.
                    let colour = palette.get(usize::from(index));
                    to.copy_from_slice(colour.unwrap_or(&[0; 3]));
                }
            }
            Self::Channels {
                bytes,
                colours,
                alpha,
            } => {
                let pixels = from.chunks_exact(*bytes).zip(to.chunks_exact_mut(step));
                let places = colours
                    .iter()
                    .chain(alpha)
                    .map(|channel| channel.byte(*bytes));
                if let Some(places) = places.collect::<Option<Vec<usize>>>() {
                    for (from, to) in pixels {
                        for (to, &place) in to.iter_mut().zip(&places) {
                            *to = from[place];
                        }
                    }
                    return;
                }
                for (from, to) in pixels {
                    let push = |sum: u32, &byte: &u8| sum << 8 | u32::from(byte);
                    let pixel = from.iter().rev().fold(0, push);
                    for (to, channel) in to.iter_mut().zip(colours.iter().chain(alpha)) {
                        *to = channel.level(pixel);
                    }
                }
            }
        }
    }
}

/// The indices of a picture in run lengths, a byte each. What is jumped over, and what is missing behind the code
/// that ends the picture, has index 0.
fn runs(data: &[u8], bits: usize, width: usize, height: usize) -> Result<Vec<u8>, PhotoProblem> {
    let mut indices = zeroed(width * height)?;
    let len = indices.len();
    // How far the picture is known, and which column comes next.
    let (mut at, mut x) = (0, 0);
    let mut codes = data;
    while at < len {
        let &[count, value, ref rest @ ..] = codes else {
            return Err(PhotoProblem::Truncated);
        };
        codes = rest;
        match (count, value) {
            (0, 0) => {
                // A row of which nothing is told is passed over whole.
                let left = if x == 0 {
                    width
                } else {
                    (width - at % width) % width
                };
                (at, x) = (len.min(at + left), 0);
            }
            (0, 1) => return Ok(indices),
            (0, 2) => {
                let &[right, up, ref rest @ ..] = codes else {
                    return Err(PhotoProblem::Truncated);
                };
                codes = rest;
                at = len.min(at + usize::from(right) + usize::from(up) * width);
                x = at % width;
            }
            (0, count) => {
                let stored = (usize::from(count) * bits).div_ceil(8);
                let known = usize::from(count).min(len - at);
                let from = codes.get(..stored).ok_or(PhotoProblem::Truncated)?;
                for (n, to) in indices[at..at + known].iter_mut().enumerate() {
                    *to = index(from, n, bits);
                }
                (at, x) = (at + known, x + usize::from(count));
                // The next code begins at a whole word.
                codes = codes.get(stored + stored % 2..).unwrap_or_default();
            }
            (count, value) => {
                // A run does not reach into the next row.
                let count = usize::from(count)
                    .min(width.saturating_sub(x))
                    .min(len - at);
                for (n, to) in indices[at..at + count].iter_mut().enumerate() {
                    *to = index(&[value], n % (8 / bits), bits);
                }
                (at, x) = (at + count, x + count);
            }
        }
    }
    Ok(indices)
}

/// The index number `n` of 4 or 8 bits, the upper bits first.
fn index(bytes: &[u8], n: usize, bits: usize) -> u8 {
    match (bits, n % 2) {
        (8, _) => bytes[n],
        (_, 0) => bytes[n / 2] >> 4,
        _ => bytes[n / 2] & 0x0f,
    }
}

fn corrupt(why: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Corrupt(format!("BMP: {}", why.into()))
}

fn unsupported(what: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Unsupported(what.into())
}
