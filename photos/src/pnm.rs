//! Portable bitmaps, greymaps and pixmaps (PBM, PGM, PPM; P1 to P6), as Netpbm's manual describes them and
//! Pillow reads them: the first picture of a file, levels scaled from 0 to the file's greatest value.

use std::ops::Range;

use rekindle_networks::image::RgbImage;

use super::picture::{Picture, picture_of, zeroed};
use super::{Limits, PhotoProblem};

/// A file whose header has been read and found acceptable.
pub(super) struct Pnm<'a> {
    bytes: &'a [u8],
    is_text: bool,
    kind: Kind,
    max: u32,
    body: usize,
    memory: u64,
    /// Width and height in pixels.
    size: (u32, u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bitmap,
    Grey,
    Colour,
}

/// Whether a file begins like one: P, a digit, and then white space or a comment before a number. Where the
/// comment is longer than the beginning that was looked at (`goes_on`), it will do.
pub(super) fn is_pnm(head: &[u8], goes_on: bool) -> bool {
    let number = || match Words::new(head, 2).next() {
        Err(PhotoProblem::Truncated) => goes_on && head.contains(&b'#'),
        number => number.is_ok(),
    };
    matches!(head, [b'P', b'1'..=b'6', ..]) && number()
}

impl<'a> Pnm<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        let (is_text, kind) = match bytes.get(1) {
            Some(b'1') => (true, Kind::Bitmap),
            Some(b'2') => (true, Kind::Grey),
            Some(b'3') => (true, Kind::Colour),
            Some(b'4') => (false, Kind::Bitmap),
            Some(b'5') => (false, Kind::Grey),
            _ => (false, Kind::Colour),
        };
        let mut words = Words::new(bytes, 2);
        let (width, height) = (words.next()?, words.next()?);
        let max = if kind == Kind::Bitmap {
            1
        } else {
            words.next()?
        };
        if !(1..=65_535).contains(&max) {
            return Err(corrupt(format!("a greatest value of {max}")));
        }
        let memory = u64::from(width) * u64::from(height) * 3;
        limits.admit(u64::from(width), u64::from(height), memory)?;
        Ok(Self {
            bytes,
            is_text,
            kind,
            max,
            // One white space character stands between the header and the numbers.
            body: words.at + usize::from(!is_text),
            memory,
            size: (width, height),
        })
    }

    /// The picture in 8-bit RGB.
    fn rgb(&self) -> Result<Vec<u8>, PhotoProblem> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let channels = if self.kind == Kind::Colour { 3 } else { 1 };
        // What a file says must be there before memory is taken for it.
        let bytes = self.bytes.get(self.body..).unwrap_or_default();
        let row = match (self.is_text, self.kind) {
            (true, _) => width * channels,
            (false, Kind::Bitmap) => width.div_ceil(8),
            (false, _) => width * channels * if self.max > 255 { 2 } else { 1 },
        };
        if bytes.len() < row.saturating_mul(height) {
            return Err(PhotoProblem::Truncated);
        }
        let mut rgb = zeroed(width * height * 3)?;
        let mut words = Words::new(self.bytes, self.body);
        for (y, line) in rgb.chunks_exact_mut(width * 3).enumerate() {
            let row = &bytes[y * row..(y + 1) * row];
            for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
                let mut level = |channel: usize| -> Result<u8, PhotoProblem> {
                    if self.is_text {
                        return self.told(&mut words);
                    }
                    let at = x * channels + channel;
                    let value = match self.kind {
                        Kind::Bitmap => u32::from(row[x / 8] << (x % 8) < 128),
                        _ if self.max > 255 => {
                            u32::from(u16::from_be_bytes([row[2 * at], row[2 * at + 1]]))
                        }
                        _ => u32::from(row[at]),
                    };
                    Ok(self.scaled(value))
                };
                match self.kind {
                    Kind::Colour => {
                        for (channel, out) in pixel.iter_mut().enumerate() {
                            *out = level(channel)?;
                        }
                    }
                    _ => pixel.fill(level(0)?),
                }
            }
        }
        Ok(rgb)
    }

    /// The next level of a file in text.
    fn told(&self, words: &mut Words) -> Result<u8, PhotoProblem> {
        let value = if self.kind == Kind::Bitmap {
            1 - words.bit()?
        } else {
            words.next()?
        };
        if value > self.max {
            let max = self.max;
            return Err(corrupt(format!(
                "a value of {value} where the greatest is {max}"
            )));
        }
        Ok(self.scaled(value))
    }

    fn scaled(&self, value: u32) -> u8 {
        if self.max == 255 {
            return value as u8;
        }
        let share = f64::from(value.min(self.max)) / f64::from(self.max);
        (share * 255.0).round_ties_even() as u8
    }
}

impl Picture for Pnm<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        picture_of(self.size.0, self.size.1, self.rgb()?)
    }
}

/// Numbers with white space and comments between them.
struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The next byte that is neither white space nor of a comment.
    fn skip(&mut self) -> Result<u8, PhotoProblem> {
        loop {
            match self.bytes.get(self.at).ok_or(PhotoProblem::Truncated)? {
                b'#' => {
                    let rest = &self.bytes[self.at..];
                    let line = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
                    self.at += line.ok_or(PhotoProblem::Truncated)?;
                }
                b' ' | b'\t'..=b'\r' => self.at += 1,
                &byte => return Ok(byte),
            }
        }
    }

    /// The next number.
    fn next(&mut self) -> Result<u32, PhotoProblem> {
        let before = self.at;
        self.skip()?;
        let digits = digits(self.bytes, self.at);
        if digits.is_empty() || self.at == before {
            return Err(corrupt("no number where one belongs"));
        }
        self.at = digits.end;
        let text = str::from_utf8(&self.bytes[digits]).unwrap_or_default();
        text.parse()
            .map_err(|_| corrupt("a number of too many digits"))
    }

    /// The next bit; bits need nothing between them.
    fn bit(&mut self) -> Result<u32, PhotoProblem> {
        let bit = self.skip()?;
        self.at += 1;
        match bit {
            b'0' | b'1' => Ok(u32::from(bit - b'0')),
            _ => Err(corrupt("a bit that is neither 0 nor 1")),
        }
    }
}

fn corrupt(why: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Corrupt(format!("PNM: {}", why.into()))
}

fn digits(bytes: &[u8], from: usize) -> Range<usize> {
    let rest = bytes.get(from..).unwrap_or_default();
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    from..from + len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, PhotoProblem> {
        Pnm::open(bytes, &Limits::default())?.rgb()
    }

    #[test]
    fn levels_are_scaled_and_comments_passed_over() {
        let red = decode(b"P3 # one\n#two\n 1 1\n7\n 7 0\t3").unwrap();
        assert_eq!(red, [255, 0, 109]);
        assert_eq!(decode(b"P1\n2 1\n01").unwrap(), [255, 255, 255, 0, 0, 0]);
        assert_eq!(decode(b"P4 2 1\n\x40").unwrap(), [255, 255, 255, 0, 0, 0]);
        assert_eq!(decode(b"P5 1 1 65535\n\x80\x80").unwrap(), [128; 3]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_apart() {
        let kind = |bytes: &[u8]| decode(bytes).unwrap_err().kind();
        assert_eq!(kind(b"P6 2 2 255\n123"), "truncated");
        assert_eq!(kind(b"P6 2"), "truncated");
        assert_eq!(kind(b"P2 1 1 7 9"), "corrupt");
        assert_eq!(kind(b"P5 1 1 70000 9"), "corrupt");
        assert_eq!(kind(b"P5 0 1 255 9"), "corrupt");
        assert_eq!(kind(b"P6 60000 60000 255\n"), "too_large");
        assert!(is_pnm(b"P6\n# a comment\n4 4\n255\n", false) && is_pnm(b"P5 1 1 1 ", false));
        let begins = |head: &[u8]| is_pnm(head, false);
        assert!(!begins(b"P5 is a class") && !begins(b"P1zza") && !begins(b"P6"));
    }
}
