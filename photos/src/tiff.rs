//! TIFF (version 6.0, its technical notes, and BigTIFF), as Pillow reads it: the first picture of a file
//! in strips or tiles, grey, RGB, palette or CMYK, whole numbers of 1 to 16 bits, not compressed or by
//! PackBits, LZW, Deflate, Zstandard or JPEG. Everything else is refused by its name.

use std::io::Read;
use std::ops::Range;

use image::metadata::Orientation;
use rekindle_networks::image::RgbImage;

use super::colour::ink_over;
use super::foreign::Foreign;
use super::ifd::Directory;
use super::jpeg;
use super::picture::{Picture, picture_of, picture_over_white, zeroed};
use super::{Limits, PhotoProblem, exif};

/// Tags, by their names in the specification.
mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const IMAGE_WIDTH: u16 = 256;
    pub const IMAGE_LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOUR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const SUB_IFDS: u16 = 330;
    pub const JPEG_TABLES: u16 = 347;
    pub const DNG_VERSION: u16 = 50_706;
}

/// A file whose header has been read and found acceptable.
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    directory: Directory<'a>,
    colours: Colours,
    alpha: Alpha,
    compression: Compression,
    has_predictor: bool,
    has_reversed_bits: bool,
    /// Bits a sample: 1, 2, 4, 8 or 16.
    bits: usize,
    /// Samples a pixel, alpha and what is passed over included.
    samples: usize,
    is_planar: bool,
    /// Width and height of a strip or tile.
    chunk: (usize, usize),
    is_tiled: bool,
    offsets: Vec<i64>,
    counts: Vec<i64>,
    memory: u64,
    /// Width and height in pixels, as stored.
    size: (u32, u32),
    orientation: Orientation,
}

/// What the first samples of a pixel mean.
enum Colours {
    Grey {
        is_inverted: bool,
    },
    Rgb,
    /// Red, green and blue of each index.
    Palette(Vec<[u8; 3]>),
    Cmyk,
    /// Luma and chroma, which JPEG turns to RGB by itself.
    YCbCrInJpeg,
}

/// What the sample behind the colours means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alpha {
    None,
    Straight,
    Premultiplied,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
    Jpeg,
}

fn unsupported(what: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Unsupported(what.into())
}

fn corrupt(why: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Corrupt(format!("TIFF: {}", why.into()))
}

impl<'a> Tiff<'a> {
    /// Reads the first directory.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let directory = Directory::first(bytes).ok_or(PhotoProblem::Truncated)?;
        // The first picture of a raw file is a small preview.
        let is_preview = directory
            .integer(tag::NEW_SUBFILE_TYPE)
            .is_some_and(|t| t & 1 == 1);
        let has_more = directory.integer(tag::SUB_IFDS).is_some();
        if directory.raw(tag::DNG_VERSION).is_some() || (is_preview && has_more) {
            return Err(PhotoProblem::Foreign(Foreign::CameraRaw));
        }
        let number = |tag: u16, usual: i64| directory.integer(tag).unwrap_or(usual);
        let side = |tag: u16| {
            let side = directory.integer(tag).ok_or(PhotoProblem::Truncated)?;
            u32::try_from(side).map_err(|_| corrupt(format!("a side of {side} pixels")))
        };
        let (width, height) = (side(tag::IMAGE_WIDTH)?, side(tag::IMAGE_LENGTH)?);

        let compression = compression(number(tag::COMPRESSION, 1))?;
        let samples = usize::try_from(number(tag::SAMPLES_PER_PIXEL, 1)).unwrap_or(0);
        if !(1..=16).contains(&samples) {
            return Err(unsupported(format!(
                "a TIFF with {samples} samples a pixel"
            )));
        }
        let bits = bits(&directory)?;
        let colours = colours(&directory, compression, bits)?;
        let needed = colours.channels();
        if samples < needed {
            return Err(corrupt(format!("{samples} of {needed} samples a pixel")));
        }
        let alpha = alpha(&directory, samples - needed, &colours);

        let is_tiled = directory.integer(tag::TILE_OFFSETS).is_some();
        let (offsets, counts, chunk) = if is_tiled {
            let sides = (side(tag::TILE_WIDTH)?, side(tag::TILE_LENGTH)?);
            (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS, sides)
        } else {
            let rows = number(tag::ROWS_PER_STRIP, i64::MAX);
            let rows = rows.clamp(0, i64::from(height)) as u32;
            (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS, (width, rows))
        };
        let pixels = u64::from(width) * u64::from(height);
        let chunk_pixels = u64::from(chunk.0) * u64::from(chunk.1);
        // What is kept of all samples, 8 bits each; the strip or tile at hand; and the picture.
        let kept = pixels.saturating_mul(samples as u64);
        let at_hand = chunk_pixels.saturating_mul(samples as u64) * if bits == 16 { 2 } else { 1 };
        let rgba = if alpha == Alpha::None { 3 } else { 7 };
        let memory = kept
            .saturating_add(at_hand.saturating_mul(2))
            .saturating_add(pixels.saturating_mul(rgba));
        limits.admit(u64::from(width), u64::from(height), memory)?;
        // A tile may be larger than a small picture, within reason.
        if chunk_pixels == 0 || chunk_pixels > 4 * pixels + (1 << 22) {
            return Err(corrupt(format!("tiles of {}×{} pixels", chunk.0, chunk.1)));
        }
        let orientation = exif::orientation(bytes);
        let predictor = number(tag::PREDICTOR, 1);
        let can_predict = matches!(
            compression,
            Compression::Lzw | Compression::Deflate | Compression::Zstd
        );
        if can_predict && (!(1..=2).contains(&predictor) || (predictor == 2 && bits < 8)) {
            return Err(unsupported(format!("a TIFF with predictor {predictor}")));
        }
        Ok(Self {
            bytes,
            colours,
            alpha,
            compression,
            has_predictor: can_predict && predictor == 2,
            has_reversed_bits: number(tag::FILL_ORDER, 1) == 2,
            bits,
            samples,
            is_planar: samples > 1 && number(tag::PLANAR, 1) == 2,
            chunk: (chunk.0 as usize, chunk.1 as usize),
            is_tiled,
            offsets: directory.integers(offsets).ok_or(PhotoProblem::Truncated)?,
            counts: directory.integers(counts).unwrap_or_default(),
            directory,
            memory,
            size: (width, height),
            orientation,
        })
    }

    /// The samples of all pixels, 8 bits each.
    fn samples(&self) -> Result<Vec<u8>, PhotoProblem> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let mut kept = zeroed(width * height * self.samples)?;
        let across = width.div_ceil(self.chunk.0);
        let down = height.div_ceil(self.chunk.1);
        let planes = if self.is_planar { self.samples } else { 1 };
        if self.offsets.len() < across * down * planes {
            return Err(PhotoProblem::Truncated);
        }
        let in_chunk = if self.is_planar { 1 } else { self.samples };
        for plane in 0..planes {
            for (row, column) in (0..down).flat_map(|y| (0..across).map(move |x| (y, x))) {
                let number = (plane * down + row) * across + column;
                let (left, top) = (column * self.chunk.0, row * self.chunk.1);
                let shown = (
                    self.chunk.0.min(width - left),
                    self.chunk.1.min(height - top),
                );
                // Tiles are whole at the edges, the last strip is not.
                let stored = if self.is_tiled { self.chunk } else { shown };
                let data = self.chunk_data(number, stored, in_chunk)?;
                let row_len = (stored.0 * in_chunk * self.bits).div_ceil(8);
                for y in 0..shown.1 {
                    let from = &data[y * row_len..(y + 1) * row_len];
                    let at = ((top + y) * width + left) * self.samples + plane;
                    let to = &mut kept[at..];
                    if self.is_planar {
                        self.unpack(from, shown.0, to.iter_mut().step_by(self.samples));
                    } else {
                        self.unpack(from, shown.0 * in_chunk, to.iter_mut());
                    }
                }
            }
        }
        Ok(kept)
    }

    /// The samples of one strip or tile, as they lie in memory: rows of whole bytes, 16 bits with the
    /// highest byte first.
    fn chunk_data(
        &self,
        number: usize,
        (width, height): (usize, usize),
        samples: usize,
    ) -> Result<Vec<u8>, PhotoProblem> {
        let row_len = (width * samples * self.bits).div_ceil(8);
        let wanted = row_len * height;
        let start = usize::try_from(self.offsets[number]).map_err(|_| PhotoProblem::Truncated)?;
        let rest = self.bytes.get(start..).ok_or(PhotoProblem::Truncated)?;
        // Where the lengths are missing, the data tell by themselves where they end.
        let count = match self.counts.get(number) {
            Some(&count) if count > 0 => usize::try_from(count).unwrap_or(usize::MAX),
            _ => rest.len(),
        };
        // Strips may share their data, and data may decode to nothing: no strip is worth more than what an
        // encoder would have written for it, or a small file takes for ever.
        let most = wanted.saturating_mul(4).saturating_add(16 << 10);
        let stored = rest
            .get(..count.min(rest.len()).min(most))
            .unwrap_or_default();
        let reversed: Vec<u8>;
        let stored = if self.has_reversed_bits && self.compression != Compression::Jpeg {
            reversed = stored.iter().map(|byte| byte.reverse_bits()).collect();
            &reversed
        } else {
            stored
        };
        let nonsense = || {
            let part = if self.is_tiled { "tile" } else { "strip" };
            corrupt(format!("{part} {number} makes no sense"))
        };
        let unread = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => PhotoProblem::Truncated,
            _ => nonsense(),
        };
        let mut data = match self.compression {
            Compression::None => stored.get(..wanted.min(stored.len())).map(<[u8]>::to_vec),
            Compression::PackBits => Some(pack_bits(stored, wanted)),
            Compression::Lzw => Some(lzw(stored, wanted).ok_or_else(nonsense)?),
            Compression::Deflate => {
                let reader = flate2::read::ZlibDecoder::new(stored);
                Some(all_of(reader, wanted).map_err(unread)?)
            }
            Compression::Zstd => {
                let reader = ruzstd::decoding::StreamingDecoder::new(stored);
                let reader = reader.map_err(|_| nonsense())?;
                Some(all_of(reader, wanted).map_err(unread)?)
            }
            Compression::Jpeg => {
                let transform = matches!(self.colours, Colours::YCbCrInJpeg);
                let tables = self.directory.raw(tag::JPEG_TABLES);
                Some(jpeg::samples(
                    tables,
                    stored,
                    &jpeg::Place {
                        size: (width, height),
                        samples,
                        is_ycbcr: transform,
                        whole: self.size,
                    },
                )?)
            }
        }
        .unwrap_or_default();
        if data.len() < wanted {
            return Err(PhotoProblem::Truncated);
        }
        if self.bits == 16 && !self.directory.is_big_endian() {
            data.as_chunks_mut::<2>()
                .0
                .iter_mut()
                .for_each(|pair| pair.reverse());
        }
        if self.has_predictor {
            for row in data.chunks_exact_mut(row_len) {
                undo_predictor(row, samples, self.bits);
            }
        }
        Ok(data)
    }

    /// One row of `count` samples to 8 bits each; indices of a palette stay as they are.
    fn unpack<'b>(&self, row: &[u8], count: usize, to: impl Iterator<Item = &'b mut u8>) {
        let bits = self.bits;
        let scale = match self.colours {
            Colours::Palette(_) => 1,
            _ => 255 / ((1_u32 << bits.min(8)) - 1),
        };
        for (at, to) in (0..count).zip(to) {
            *to = match bits {
                8 => row[at],
                16 => {
                    let wide = u32::from(u16::from_be_bytes([row[2 * at], row[2 * at + 1]]));
                    ((wide * 255 + 32_767) / 65_535) as u8
                }
                _ => {
                    let bit = at * bits;
                    let value = row[bit / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1);
                    (u32::from(value) * scale) as u8
                }
            };
        }
    }

    /// Samples to a picture.
    fn picture(&self, kept: Vec<u8>) -> Result<RgbImage, PhotoProblem> {
        let (width, height) = self.size;
        let is_rgb = matches!(self.colours, Colours::Rgb | Colours::YCbCrInJpeg);
        if is_rgb && self.samples == 3 {
            return picture_of(width, height, kept);
        }
        let channels = self.colours.channels();
        let has_alpha = self.alpha != Alpha::None;
        let pixels = width as usize * height as usize;
        let mut out = zeroed(pixels * if has_alpha { 4 } else { 3 })?;
        let step = if has_alpha { 4 } else { 3 };
        for (to, from) in out
            .chunks_exact_mut(step)
            .zip(kept.chunks_exact(self.samples))
        {
            let mut colour = self.colours.rgb(from);
            if has_alpha {
                let alpha = from[channels];
                if self.alpha == Alpha::Premultiplied {
                    colour = colour.map(|level| undo_alpha(level, alpha));
                }
                to[3] = alpha;
            }
            to[..3].copy_from_slice(&colour);
        }
        drop(kept);
        if has_alpha {
            picture_over_white(width, height, &out)
        } else {
            picture_of(width, height, out)
        }
    }
}

impl Picture for Tiff<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn orientation(&self) -> Orientation {
        self.orientation
    }

    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        self.picture(self.samples()?)
    }
}

impl Colours {
    /// Samples a pixel that tell the colour.
    fn channels(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCrInJpeg => 3,
            Self::Cmyk => 4,
        }
    }

    fn rgb(&self, samples: &[u8]) -> [u8; 3] {
        match self {
            Self::Grey { is_inverted: false } => [samples[0]; 3],
            Self::Grey { is_inverted: true } => [255 - samples[0]; 3],
            // An index beyond the palette is black, as in Pillow.
            Self::Palette(colours) => colours
                .get(usize::from(samples[0]))
                .copied()
                .unwrap_or_default(),
            Self::Rgb | Self::YCbCrInJpeg => [samples[0], samples[1], samples[2]],
            Self::Cmyk => {
                [samples[0], samples[1], samples[2]].map(|ink| ink_over(ink, 255 - samples[3]))
            }
        }
    }
}

/// The compression of this number.
fn compression(number: i64) -> Result<Compression, PhotoProblem> {
    let name = match number {
        1 => return Ok(Compression::None),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32_946 => return Ok(Compression::Deflate),
        32_773 => return Ok(Compression::PackBits),
        50_000 => return Ok(Compression::Zstd),
        2..=4 => "CCITT fax".to_owned(),
        6 => "old-style JPEG".to_owned(),
        34_712 | 33_003..=33_005 => "JPEG 2000".to_owned(),
        34_887 => "LERC".to_owned(),
        34_925 => "LZMA".to_owned(),
        34_933 => "PNG".to_owned(),
        34_934 => "JPEG XR".to_owned(),
        50_001 => "WebP".to_owned(),
        50_002 | 52_546 => "JPEG XL".to_owned(),
        number => format!("unknown (number {number})"),
    };
    Err(unsupported(format!("a TIFF with {name} compression")))
}

/// Bits a sample, the same for all samples.
fn bits(directory: &Directory) -> Result<usize, PhotoProblem> {
    let formats = directory.integers(tag::SAMPLE_FORMAT).unwrap_or_default();
    let what = match formats.iter().find(|format| !matches!(format, 1 | 4)) {
        None => None,
        Some(2) => Some("signed numbers"),
        Some(3) => Some("floating-point numbers, which have no black and white of their own,"),
        Some(_) => Some("complex numbers"),
    };
    if let Some(what) = what {
        return Err(unsupported(format!("a TIFF of {what}")));
    }
    let bits = directory.integers(tag::BITS_PER_SAMPLE).unwrap_or(vec![1]);
    let first = bits.first().copied().unwrap_or(1);
    if bits.iter().any(|&other| other != first) {
        return Err(unsupported("a TIFF with samples of different widths"));
    }
    match first {
        1 | 2 | 4 | 8 | 16 => Ok(first as usize),
        _ => Err(unsupported(format!("a TIFF with {first} bits a sample"))),
    }
}

/// What the samples mean.
fn colours(
    directory: &Directory,
    compression: Compression,
    bits: usize,
) -> Result<Colours, PhotoProblem> {
    if compression == Compression::Jpeg && bits != 8 {
        return Err(unsupported(format!(
            "a TIFF with JPEG of {bits} bits a sample"
        )));
    }
    let colours = match directory.integer(tag::PHOTOMETRIC).unwrap_or(0) {
        0 => Colours::Grey { is_inverted: true },
        1 => Colours::Grey { is_inverted: false },
        2 => Colours::Rgb,
        3 if bits <= 8 => {
            let map = directory.integers(tag::COLOUR_MAP);
            let map = map.ok_or_else(|| corrupt("a palette is missing"))?;
            let count = map.len() / 3;
            // 16 bits a level, of which Pillow keeps the upper eight.
            let level = |at: usize| (map[at] >> 8) as u8;
            let colour = |n: usize| [level(n), level(count + n), level(2 * count + n)];
            Colours::Palette((0..count.min(256)).map(colour).collect())
        }
        3 => return Err(unsupported(format!("a TIFF with a palette of {bits} bits"))),
        5 => Colours::Cmyk,
        6 if compression == Compression::Jpeg => Colours::YCbCrInJpeg,
        6 => return Err(unsupported("a TIFF in YCbCr colours without JPEG")),
        8..=10 => return Err(unsupported("a TIFF in Lab colours")),
        32_803 | 34_892 => return Err(PhotoProblem::Foreign(Foreign::CameraRaw)),
        number => return Err(unsupported(format!("a TIFF with colours of kind {number}"))),
    };
    let is_narrow = matches!(colours, Colours::Grey { .. } | Colours::Palette(_));
    if bits < 8 && !is_narrow {
        return Err(unsupported(format!(
            "a TIFF with colours of {bits} bits a sample"
        )));
    }
    Ok(colours)
}

/// What the samples behind the colours mean.
fn alpha(directory: &Directory, extra: usize, colours: &Colours) -> Alpha {
    if extra == 0 {
        return Alpha::None;
    }
    match directory.integer(tag::EXTRA_SAMPLES) {
        Some(1) => Alpha::Premultiplied,
        Some(2) => Alpha::Straight,
        Some(0) => Alpha::None,
        // A fourth sample that nobody explains is alpha, as Pillow takes it.
        _ if matches!(colours, Colours::Rgb) => Alpha::Straight,
        _ => Alpha::None,
    }
}

/// A level before alpha was multiplied in, as Pillow rounds it.
fn undo_alpha(level: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => level,
        _ => (u32::from(level) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// Adds up what horizontal differencing left.
fn undo_predictor(row: &mut [u8], samples: usize, bits: usize) {
    if bits == 8 {
        for at in samples..row.len() {
            row[at] = row[at].wrapping_add(row[at - samples]);
        }
        return;
    }
    let (row, _) = row.as_chunks_mut::<2>();
    for at in samples..row.len() {
        let sum = u16::from_be_bytes(row[at]).wrapping_add(u16::from_be_bytes(row[at - samples]));
        row[at] = sum.to_be_bytes();
    }
}

/// At most `wanted` bytes of what `reader` gives.
fn all_of(reader: impl Read, wanted: usize) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    reader.take(wanted as u64).read_to_end(&mut data)?;
    Ok(data)
}

/// At most `wanted` bytes, or fewer where there are no more; nothing for codes that make no sense.
fn lzw(stored: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let mut decoder = weezl::decode::Configuration::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
        .with_yield_on_full_buffer(true)
        .build();
    let mut data = Vec::new();
    let mut rest = stored;
    let mut buffer = vec![0; wanted.clamp(1, 1 << 16)];
    while data.len() < wanted {
        let room = buffer.len().min(wanted - data.len());
        let step = decoder.decode_bytes(rest, &mut buffer[..room]);
        data.extend(&buffer[..step.consumed_out]);
        rest = &rest[step.consumed_in..];
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(_) => return None,
        }
    }
    Some(data)
}

fn pack_bits(stored: &[u8], wanted: usize) -> Vec<u8> {
    let mut data = Vec::new();
    let mut rest = stored;
    while let ([control, tail @ ..], true) = (rest, data.len() < wanted) {
        let run: Range<usize>;
        match *control as i8 {
            -128 => run = 0..0,
            count @ 0.. => {
                run = 0..(count as usize + 1).min(tail.len());
                data.extend(&tail[run.clone()]);
            }
            count => {
                let Some(&byte) = tail.first() else { break };
                data.extend(std::iter::repeat_n(
                    byte,
                    1 + usize::from(count.unsigned_abs()),
                ));
                run = 0..1;
            }
        }
        rest = &tail[run.end..];
    }
    data.truncate(wanted);
    data
}
