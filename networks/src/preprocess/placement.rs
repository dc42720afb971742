//! Where the pixels that a network sees lie in a photo: which part of it is resized to what, and what of that
//! falls where in the network's square.

use super::resize::{Side, Span, vertical_first};
use super::{Preset, View};

/// Where a view of a photo lies in it, and where in the network's square.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// From left to right.
    pub columns: Side,
    /// From top to bottom.
    pub rows: Side,
    /// Black pixels to the left and above, if the crop is larger than the resized photo.
    pub before: [u32; 2],
    /// Whether left and right are exchanged.
    pub mirror: bool,
}

impl Placement {
    /// Of a photo of this width and height.
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

    /// Whether rows are put together before columns, as Pillow does it.
    pub fn is_vertical_first(&self) -> bool {
        vertical_first(self.columns, self.rows)
    }

    /// Lays the resized window onto a black square of side `crop`.
    pub(super) fn pad(&self, seen: Vec<u8>, crop: u32) -> Vec<u8> {
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
