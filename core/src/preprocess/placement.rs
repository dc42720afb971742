//! Where the pixels that a network sees lie in a photo: which part of it is resized to what, and what of that
//! falls where in the network's square.

use super::resize::{Side, Span};
use super::{Preset, View};
#[cfg(feature = "burn")]
use {super::resize::vertical_first, rekindle_shaders::PixelView};

/// A view of a photo.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    pub columns: Side,
    pub rows: Side,
    /// Black pixels to the left and above, if the crop is larger than the resized photo.
    before: [u32; 2],
    pub mirror: bool,
}

/// A photo among others on an adapter.
#[cfg(feature = "burn")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PhotoAt {
    /// Where its first pixel lies.
    pub first: u32,
    /// From one row to the next.
    pub pitch: u32,
    /// Width and height.
    pub size: [u32; 2],
}

impl Placement {
    pub fn new(preset: &Preset, [width, height]: [u32; 2], view: &View) -> Self {
        match *view {
            View::Plain => Self::centred(preset, width, height),
            View::Cropped { area, flip } => {
                let area = area.within(width, height);
                let side = |start: u32, length| Side {
                    source: Span {
                        start: u64::from(start),
                        length,
                    },
                    resized: u64::from(preset.crop),
                    window: Span {
                        start: 0,
                        length: preset.crop,
                    },
                };
                Self {
                    columns: side(area.left, area.width),
                    rows: side(area.top, area.height),
                    before: [0, 0],
                    mirror: flip,
                }
            }
        }
    }

    /// torchvision's `Resize` of the shorter side, and `CenterCrop`.
    fn centred(preset: &Preset, width: u32, height: u32) -> Self {
        let (short, long) = (u64::from(width.min(height)), u64::from(width.max(height)));
        let resize = u64::from(preset.resize);
        let resized_long = resize * long / short;
        let resized = match width <= height {
            true => [resize, resized_long],
            false => [resized_long, resize],
        };
        let [horizontal, vertical] = resized.map(|resized| CentreCrop::new(resized, preset.crop));
        let side = |length, resized, crop: CentreCrop| Side {
            source: Span { start: 0, length },
            resized,
            window: crop.window,
        };
        Self {
            columns: side(width, resized[0], horizontal),
            rows: side(height, resized[1], vertical),
            before: [horizontal.before, vertical.before],
            mirror: false,
        }
    }

    /// Lays the resized window onto a black square of side `crop`.
    pub fn pad(&self, seen: Vec<u8>, crop: u32) -> Vec<u8> {
        let (columns, rows) = (self.columns.window.length, self.rows.window.length);
        if columns == crop && rows == crop {
            return seen;
        }
        let bytes = |pixels: u32| pixels as usize * 3;
        let mut square = vec![0; bytes(crop) * crop as usize];
        let [left, above] = self.before;
        let kept = square.chunks_exact_mut(bytes(crop)).skip(above as usize);
        for (to, from) in kept.zip(seen.chunks_exact(bytes(columns))) {
            to[bytes(left)..][..from.len()].copy_from_slice(from);
        }
        square
    }

    /// For the kernel, whose numbers have 32 bits.
    #[cfg(feature = "burn")]
    pub fn on_adapters(&self, photo: PhotoAt, grey: bool) -> Option<PixelView> {
        let sides = [self.columns, self.rows];
        let [width, height] = sides.map(|side| {
            let most = (2 * side.resized).checked_add(1)?;
            let fits = most.checked_mul(u64::from(side.source.length))? <= u64::from(u32::MAX);
            let window = i32::try_from(side.window.start).ok()?;
            fits.then_some((side.source.length, side.resized as u32, window))
        });
        let ((width, resized_width, left), (height, resized_height, top)) = (width?, height?);
        let [source_left, source_top] = sides.map(|side| side.source.start as u32);
        let view = PixelView::plain(
            photo.first,
            photo.pitch,
            [source_left, source_top, width, height],
            [resized_width, resized_height],
            [left - self.before[0] as i32, top - self.before[1] as i32],
        );
        Some(PixelView {
            mirror: self.mirror,
            vertical_first: vertical_first(self.columns, self.rows),
            grey,
            ..view
        })
    }
}

/// Where torchvision's `CenterCrop` falls along one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CentreCrop {
    /// The resized photo's pixels that are kept.
    window: Span,
    /// Black pixels before them, if the crop is larger than the photo.
    before: u32,
}

impl CentreCrop {
    fn new(resized: u64, crop: u32) -> Self {
        match u32::try_from(resized) {
            Ok(length) if length < crop => Self {
                window: Span { start: 0, length },
                before: (crop - length) / 2,
            },
            _ => {
                let surplus = resized - u64::from(crop);
                let half = surplus / 2;
                // Python rounds halves to the even neighbour, and torchvision relies on Python.
                let start = half + (surplus & half & 1);
                Self {
                    window: Span {
                        start,
                        length: crop,
                    },
                    before: 0,
                }
            }
        }
    }
}
