//! The structure of a JPEG file: where the first picture ends, what its headers say, whether the decoder
//! can take it, and the file as the decoder takes it.

use std::borrow::Cow;
use std::ops::Range;

use image::metadata::Orientation;

use super::problem::{corrupt, unsupported};
use crate::error::PhotoProblem;
use crate::exif;

pub(super) const SOI: u8 = 0xd8;
pub(super) const EOI: u8 = 0xd9;
pub(super) const SOS: u8 = 0xda;
pub(super) const DQT: u8 = 0xdb;
const APP1: u8 = 0xe1;
const JPEG_LS: u8 = 0xf7;

/// Scans of one picture, however small. Encoders make about ten; a file of thousands of empty ones would keep a
/// decoder busy for minutes.
pub(super) const MOST_SCANS: usize = 256;

/// Scans of one picture, however large: libjpeg's own script for four inks has 18.
const ORDINARY_SCANS: usize = 24;

/// Pixels times scans, beyond the ordinary ones: each scan goes over the whole picture, even if it holds nothing.
/// A phone's 108 megapixels may have 37 scans. (What libjpeg-turbo's programs take as `-maxscans`, by size.)
const MOST_WORK: u64 = 4_000_000_000;

/// One marker of a file, with its segment.
pub(super) struct Segment {
    pub(super) code: u8,
    /// Where the marker begins.
    pub(super) start: usize,
    /// What the segment holds behind its length.
    pub(super) body: Range<usize>,
    /// Where the next marker is to be looked for: behind the segment, and behind the entropy-coded data of
    /// a scan.
    pub(super) end: usize,
}

/// The segments of the first picture in a file, up to its end-of-image marker.
///
/// Phones put further pictures behind it (previews, gain maps), cameras now and then stray bytes between
/// the segments. Both are harmless, and passed over.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 } // behind the start-of-image marker, which the sniffer has seen
    }

    /// The next segment; the last is the end-of-image marker.
    ///
    /// # Errors
    /// [`PhotoProblem::Truncated`] if the file ends before.
    pub(super) fn next(&mut self) -> Result<Segment, PhotoProblem> {
        loop {
            let bytes = self.bytes;
            let rest = bytes.get(self.at..).ok_or(PhotoProblem::Truncated)?;
            let stray = rest.iter().position(|&b| b == 0xff);
            let start = self.at + stray.ok_or(PhotoProblem::Truncated)?;
            let fill = bytes[start..].iter().position(|&b| b != 0xff);
            let code_at = start + fill.ok_or(PhotoProblem::Truncated)?;
            let code = bytes[code_at];
            self.at = code_at + 1;
            match code {
                // A stuffed zero is a stray 0xff, the others are markers without a body.
                0x00 | 0x01 | SOI | 0xd0..=0xd7 => continue,
                EOI => {
                    let end = self.at;
                    let body = end..end;
                    return Ok(Segment {
                        code,
                        start,
                        body,
                        end,
                    });
                }
                _ => {}
            }
            let length = bytes
                .get(self.at..self.at + 2)
                .ok_or(PhotoProblem::Truncated)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            let body = self.at + 2..self.at + length;
            if body.end > bytes.len() {
                return Err(PhotoProblem::Truncated);
            }
            self.at = body.end;
            if code == SOS {
                self.at = end_of_scan(bytes, self.at).ok_or(PhotoProblem::Truncated)?;
            }
            let end = self.at;
            return Ok(Segment {
                code,
                start,
                body,
                end,
            });
        }
    }
}

/// Where the entropy-coded data that begins at `from` ends: at the first marker that does not
/// belong to it.
fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let data = bytes.get(from..)?;
    data.windows(2)
        .position(|w| w[0] == 0xff && !matches!(w[1], 0x00 | 0xff | 0xd0..=0xd7))
        .map(|offset| from + offset)
}

/// One colour component of a frame.
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) across: u8,
    pub(super) down: u8,
    /// Slot of its quantisation table.
    pub(super) slot: u8,
    /// That table when its first scan began, as it stands in the file: one byte of precision and slot, and
    /// the numbers.
    table: Option<Range<usize>>,
    is_coded: bool,
}

/// What the frame header says.
pub(super) struct Frame {
    /// The marker: which process of coding.
    code: u8,
    precision: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: Vec<Component>,
}

impl Frame {
    fn parse(code: u8, body: &[u8]) -> Result<Self, PhotoProblem> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = body else {
            return Err(corrupt("the frame header is too short"));
        };
        let listed = rest.chunks_exact(3).take(usize::from(count));
        let components: Vec<_> = listed
            .map(|c| Component {
                id: c[0],
                across: c[1] >> 4,
                down: c[1] & 15,
                slot: c[2],
                table: None,
                is_coded: false,
            })
            .collect();
        if components.len() != usize::from(count) {
            return Err(corrupt("the frame header is too short"));
        }
        Ok(Self {
            code,
            precision,
            width: u16::from_be_bytes([w1, w0]),
            height: u16::from_be_bytes([h1, h0]),
            components,
        })
    }

    fn is_lossless(&self) -> bool {
        matches!(self.code, 0xc3 | 0xcb)
    }

    fn is_progressive(&self) -> bool {
        matches!(self.code, 0xc2 | 0xca)
    }

    /// The finest sampling of any component, across and down.
    pub(super) fn finest(&self) -> (u8, u8) {
        let across = self.components.iter().map(|c| c.across).max();
        let down = self.components.iter().map(|c| c.down).max();
        (across.unwrap_or(1), down.unwrap_or(1))
    }

    /// Blocks of 8×8 samples, at least.
    fn blocks(&self) -> u64 {
        let (across, down) = self.finest();
        let blocks = |side: u16, factor: u8, finest: u8| {
            (u64::from(side) * u64::from(factor)).div_ceil(8 * u64::from(finest))
        };
        self.components
            .iter()
            .map(|c| blocks(self.width, c.across, across) * blocks(self.height, c.down, down))
            .sum()
    }

    /// Whether the decoder can do it, and do it right.
    fn check(&self) -> Result<(), PhotoProblem> {
        match self.code {
            0xc0..=0xc3 | 0xc9..=0xcb => {}
            0xc8 => return Err(unsupported("a JPEG of a reserved kind")),
            _ => return Err(unsupported("a hierarchical JPEG")),
        }
        if self.precision != 8 {
            let bits = self.precision;
            return Err(unsupported(format!("a JPEG with {bits} bits a sample")));
        }
        if self.width == 0 || self.components.is_empty() {
            return Err(corrupt("a frame without pixels"));
        }
        if self.height == 0 {
            return Err(unsupported(
                "a JPEG that tells its height after its picture",
            ));
        }
        if !matches!(self.components.len(), 1 | 3 | 4) {
            let count = self.components.len();
            return Err(unsupported(format!(
                "a JPEG with {count} colour components"
            )));
        }
        let sampling = |c: &Component| (1..=4).contains(&c.across) && (1..=4).contains(&c.down);
        if !self.components.iter().all(sampling) {
            return Err(corrupt("sampling factors that are none"));
        }
        let (across, down) = self.finest();
        let fits = |c: &Component| across.is_multiple_of(c.across) && down.is_multiple_of(c.down);
        let first = &self.components[0];
        if !self.components.iter().all(fits) || (first.across, first.down) != (across, down) {
            let factors: Vec<_> = self
                .components
                .iter()
                .map(|c| format!("{}×{}", c.across, c.down))
                .collect();
            let factors = factors.join(", ");
            return Err(unsupported(format!("a JPEG with subsampling {factors}")));
        }
        if !self.components.iter().all(|c| c.is_coded) {
            return Err(corrupt("a colour component is missing"));
        }
        Ok(())
    }

    /// Whether black is stored with fewer samples than the finest ink.
    pub(super) fn has_coarse_black(&self) -> bool {
        let finest = self.finest();
        self.components
            .get(3)
            .is_some_and(|c| (c.across, c.down) != finest)
    }

    /// Whether the file is long enough for its picture: a block of sequential Huffman coding takes two
    /// bits at least. So what cannot be there is refused before memory is taken for it.
    pub(super) fn can_be_whole(&self, outline: &Outline) -> bool {
        !matches!(self.code, 0xc0 | 0xc1) || outline.coded * 8 >= 2 * self.blocks()
    }

    /// Bytes that decoding holds at its height: planes of samples, what is upsampled, coefficients where
    /// the whole picture's are kept, the result; or the result and its turned copy.
    pub(super) fn memory(&self, outline: &Outline) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let (across, down) = self.finest();
        let finest = u64::from(across.max(1)) * u64::from(down.max(1));
        let samples: u64 = self
            .components
            .iter()
            .map(|c| u64::from(c.across) * u64::from(c.down))
            .sum();
        let planes = pixels.saturating_mul(samples).div_ceil(finest);
        let count = self.components.len() as u64;
        let is_subsampled = samples != finest * count;
        let mut height = planes + if is_subsampled { 2 * pixels } else { 0 };
        if self.is_progressive() {
            height += 2 * planes + planes / 64;
        }
        if outline.in_parts || self.has_coarse_black() {
            height += 4 * planes;
        }
        if self.is_lossless() {
            height += 2 * planes;
        }
        height += pixels * if count == 4 { 7 } else { 3 };
        let turned = if outline.orientation == Orientation::NoTransforms {
            3
        } else {
            6
        };
        height.max(turned * pixels)
    }
}

/// What a walk along the segments tells.
pub(super) struct Outline {
    frame: Option<Frame>,
    pub(super) orientation: Orientation,
    scans: usize,
    /// Bytes of entropy-coded data.
    coded: u64,
    /// Whether scans of a sequential Huffman file hold some of several components.
    pub(super) in_parts: bool,
    /// Whether scans of a sequential Huffman file hold one or some of several components.
    pub(super) is_split: bool,
    /// Whether there is anything between segments, or markers where none belong.
    has_strays: bool,
    /// Whether quantisation tables come after the first scan.
    has_late_tables: bool,
    /// Where the first picture ends.
    end: usize,
}

impl Outline {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, PhotoProblem> {
        let mut outline = Self {
            frame: None,
            orientation: Orientation::NoTransforms,
            scans: 0,
            coded: 0,
            in_parts: false,
            is_split: false,
            has_strays: false,
            has_late_tables: false,
            end: 2,
        };
        let mut tables: [Option<Range<usize>>; 4] = [const { None }; 4];
        let mut has_exif = false;
        let mut segments = Segments::new(bytes);
        loop {
            let segment = segments.next()?;
            outline.has_strays |= segment.start != outline.end;
            outline.end = segment.end;
            let body = &bytes[segment.body.clone()];
            match segment.code {
                EOI => return Ok(outline),
                APP1 if !has_exif && body.starts_with(b"Exif\0") => {
                    has_exif = true;
                    outline.orientation = exif::orientation(body);
                }
                DQT => {
                    outline.has_late_tables |= outline.scans > 0;
                    for table in quantisation_tables(bytes, segment.body) {
                        let slot = usize::from(bytes[table.start] & 15);
                        if let Some(place) = tables.get_mut(slot) {
                            *place = Some(table);
                        }
                    }
                }
                SOS => {
                    outline.coded += (segment.end - segment.body.end) as u64;
                    outline.scan(body, &tables)?;
                }
                code @ (0xc0..=0xcf | JPEG_LS) if !matches!(code, 0xc4 | 0xcc) => {
                    if outline.frame.is_some() {
                        return Err(corrupt("two frames"));
                    }
                    // Its scans cannot be walked as others are: they hold what are markers elsewhere.
                    if code == JPEG_LS {
                        return Err(unsupported("a JPEG-LS picture"));
                    }
                    outline.frame = Some(Frame::parse(code, body)?);
                }
                _ => {}
            }
        }
    }

    /// The frame header, of a kind that can be decoded.
    ///
    /// # Errors
    /// What it is, where it cannot; damage, where there is none.
    pub(super) fn frame(&self) -> Result<&Frame, PhotoProblem> {
        let frame = self.frame.as_ref().ok_or_else(|| corrupt("no frame"))?;
        frame.check()?;
        Ok(frame)
    }

    /// Whether going over a picture of this size, scan by scan, is a matter of seconds.
    ///
    /// # Errors
    /// [`PhotoProblem::TooManyScans`] if it is not.
    pub(super) fn check_scans(&self, (width, height): (u32, u32)) -> Result<(), PhotoProblem> {
        let pixels = u64::from(width) * u64::from(height);
        let most = usize::try_from(MOST_WORK / pixels.max(1)).unwrap_or(MOST_SCANS);
        let allowed = most.clamp(ORDINARY_SCANS, MOST_SCANS);
        if self.scans <= allowed {
            return Ok(());
        }
        Err(PhotoProblem::TooManyScans {
            width,
            height,
            scans: self.scans,
            allowed,
        })
    }

    /// Takes note of the header of a scan.
    fn scan(
        &mut self,
        body: &[u8],
        tables: &[Option<Range<usize>>; 4],
    ) -> Result<(), PhotoProblem> {
        self.scans += 1;
        let Some(frame) = &mut self.frame else {
            return Err(corrupt("a scan before the frame"));
        };
        let (&count, rest) = body.split_first().ok_or_else(|| corrupt("an empty scan"))?;
        let all = frame.components.len();
        let is_huffman_sequential = matches!(frame.code, 0xc0 | 0xc1);
        let is_split = is_huffman_sequential && usize::from(count) < all;
        self.is_split |= is_split;
        self.in_parts |= is_split && count > 1;
        for entry in rest.chunks_exact(2).take(usize::from(count)) {
            for component in frame.components.iter_mut().filter(|c| c.id == entry[0]) {
                if !component.is_coded {
                    let table = tables.get(usize::from(component.slot));
                    component.table = table.cloned().flatten();
                }
                component.is_coded = true;
            }
        }
        Ok(())
    }

    /// The first picture as the decoder takes it.
    pub(super) fn mended<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, PhotoProblem> {
        if !self.has_strays && !self.has_late_tables {
            return Ok(Cow::Borrowed(&bytes[..self.end]));
        }
        let mut mended = Vec::new();
        mended
            .try_reserve_exact(self.end + 1024)
            .map_err(|_| PhotoProblem::OutOfMemory)?;
        mended.extend([0xff, SOI]);
        let mut segments = Segments::new(bytes);
        loop {
            let segment = segments.next()?;
            let whole = &bytes[segment.start..segment.end];
            match (segment.code, &self.frame) {
                // Each component gets a slot of its own, with the table that it was begun with.
                (DQT, _) if self.has_late_tables => {}
                (code, Some(frame)) if self.has_late_tables && code == frame.code => {
                    for (slot, component) in frame.components.iter().enumerate() {
                        let Some(table) = component.table.clone() else {
                            return Err(corrupt("a quantisation table is missing"));
                        };
                        let length = 2 + table.len() as u16;
                        mended.extend([0xff, DQT]);
                        mended.extend(length.to_be_bytes());
                        mended.push(bytes[table.start] & 0xf0 | slot as u8);
                        mended.extend(&bytes[table.start + 1..table.end]);
                    }
                    let first = mended.len() + (segment.body.start - segment.start) + 6;
                    mended.extend(whole);
                    for slot in 0..frame.components.len() {
                        mended[first + 3 * slot + 2] = slot as u8;
                    }
                }
                _ => mended.extend(whole),
            }
            if segment.code == EOI {
                return Ok(Cow::Owned(mended));
            }
        }
    }
}

/// Where the tables of a DQT segment lie, each with its byte of precision and slot.
fn quantisation_tables(bytes: &[u8], body: Range<usize>) -> Vec<Range<usize>> {
    let mut tables = Vec::new();
    let mut at = body.start;
    while at < body.end {
        let end = at + if bytes[at] >> 4 == 0 { 65 } else { 129 };
        if end > body.end {
            break;
        }
        tables.push(at..end);
        at = end;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\0\x01\0\x01\x01\x01\x11\0";
    const SCAN: &[u8] = b"\xff\xda\x00\x08\x01\x01\0\0\x3f\0\x12\xff\x00\x34\xff\xd0\x56\xff\xd9";

    pub(super) fn mended(file: &[u8]) -> Result<Cow<'_, [u8]>, PhotoProblem> {
        Outline::of(file)?.mended(file)
    }

    #[test]
    fn the_first_picture_ends_at_its_own_marker_and_loses_stray_bytes() {
        let plain = [HEADER, SCAN].concat();
        let file = [&plain[..], b"\xff\xd8 another"].concat();
        assert!(matches!(mended(&file), Ok(Cow::Borrowed(b)) if b == plain));
        for stray in [&b"\0\0junk"[..], b"\xff\xd3", b"\xff\0\xff\x01"] {
            let file = [HEADER, stray, SCAN].concat();
            assert!(matches!(mended(&file), Ok(Cow::Owned(b)) if b == plain));
        }
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_cut_off() {
        let file = [HEADER, SCAN].concat();
        for len in 2..file.len() {
            let outline = Outline::of(&file[..len]);
            assert!(matches!(outline, Err(PhotoProblem::Truncated)), "{len}");
        }
    }
}
