//! GIF, as Pillow reads it: the first picture of a file, on a ground of what it calls transparent, or of the
//! palette's first colour. The crate `gif` decodes.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, MemoryLimit};
use rekindle_networks::image::RgbImage;

use super::picture::{Picture, picture_of, zeroed};
use super::{Limits, PhotoProblem};

/// What metadata before a picture may take, in bytes.
const HEADER_MEMORY: u64 = 64 << 20;

/// Bytes of a file before its palette.
const HEADER: usize = 13;

/// A file whose header has been read and found acceptable.
pub(super) struct Gif<'a> {
    decoder: Decoder<Cursor<Cow<'a, [u8]>>>,
    /// Where the first picture lies on the ground: left, top, width and height.
    place: [usize; 4],
    transparent: Option<u8>,
    memory: u64,
    size: (u32, u32),
}

impl<'a> Gif<'a> {
    /// Reads up to the first picture.
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, PhotoProblem> {
        if bytes.len() < HEADER {
            return Err(PhotoProblem::Truncated);
        }
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        let memory = NonZeroU64::new(HEADER_MEMORY.min(limits.max_memory));
        options.set_memory_limit(memory.map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
        let mut decoder = options
            .read_info(Cursor::new(with_palette(bytes)))
            .map_err(problem)?;
        let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
        let frame = decoder.next_frame_info().map_err(problem)?;
        let frame = frame.ok_or_else(|| PhotoProblem::Corrupt("GIF: no picture in it".into()))?;
        let place = [frame.left, frame.top, frame.width, frame.height];
        let transparent = frame.transparent;
        // A picture that reaches over the edge of the screen makes it larger.
        let [left, top, width, height] = place.map(u32::from);
        let size = (screen.0.max(left + width), screen.1.max(top + height));
        let pixels = |(width, height)| u64::from(width) * u64::from(height);
        let memory = 3 * pixels(size) + pixels((width, height));
        limits.admit(u64::from(size.0), u64::from(size.1), memory)?;
        Ok(Self {
            decoder,
            place: place.map(usize::from),
            transparent,
            memory,
            size,
        })
    }
}

impl Picture for Gif<'_> {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn decode(mut self: Box<Self>) -> Result<RgbImage, PhotoProblem> {
        let [left, top, width, height] = self.place;
        let mut indices = zeroed(width * height)?;
        if !indices.is_empty() {
            self.decoder
                .read_into_buffer(&mut indices)
                .map_err(problem)?;
        }
        let palette = self.decoder.palette().map_err(problem)?;
        let colour = |index: u8| {
            let at = 3 * usize::from(index);
            match palette.get(at..at + 3) {
                _ if self.transparent == Some(index) => [255; 3],
                Some(colour) => [colour[0], colour[1], colour[2]],
                // An index beyond the palette is black, as in Pillow.
                None => [0; 3],
            }
        };
        let colours: Vec<[u8; 3]> = (0..=u8::MAX).map(colour).collect();
        let (across, down) = (self.size.0 as usize, self.size.1 as usize);
        let mut rgb = zeroed(3 * across * down)?;
        let ground = colours[usize::from(self.transparent.unwrap_or(0))];
        if (width, height) != (across, down) {
            rgb.as_chunks_mut::<3>().0.fill(ground);
        }
        for (row, from) in indices.chunks_exact(width.max(1)).enumerate() {
            let at = 3 * ((top + row) * across + left);
            let (to, _) = rgb[at..at + 3 * width].as_chunks_mut::<3>();
            for (to, &index) in to.iter_mut().zip(from) {
                *to = colours[usize::from(index)];
            }
        }
        picture_of(self.size.0, self.size.1, rgb)
    }
}

/// The file with a palette of greys if it has none for the pictures without one of their own: their indices are
/// levels, as in Pillow.
fn with_palette(bytes: &[u8]) -> Cow<'_, [u8]> {
    let flags = bytes[10];
    if flags & 0x80 != 0 {
        return Cow::Borrowed(bytes);
    }
    let greys = (0..=u8::MAX).flat_map(|level| [level; 3]);
    let mut file = bytes[..HEADER].to_vec();
    file[10] = flags | 0x87;
    file.extend(greys);
    file.extend(&bytes[HEADER..]);
    Cow::Owned(file)
}

fn problem(error: DecodingError) -> PhotoProblem {
    match error {
        DecodingError::UnexpectedEof => PhotoProblem::Truncated,
        DecodingError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            PhotoProblem::Truncated
        }
        DecodingError::OutOfMemory => PhotoProblem::OutOfMemory,
        DecodingError::MemoryLimit => PhotoProblem::Unsupported(format!(
            "a GIF that takes more than {} MiB before its picture",
            HEADER_MEMORY >> 20
        )),
        DecodingError::LzwError(_) | DecodingError::EndCodeNotFound => {
            PhotoProblem::Corrupt("GIF: the coded indices make no sense".into())
        }
        _ => PhotoProblem::Corrupt("GIF: the blocks make no sense".into()),
    }
}
