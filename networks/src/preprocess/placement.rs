//! Where the pixels that a network sees lie in a photo: which part of it is resized to what, and what of that
//! falls where in the network's picture; and back, for what the network says of places.

use super::preset::{MAX_SIDE, Preset};
use super::resize::{Side, Span, vertical_first};
use super::view::View;

/// Where a view of a photo lies in it, and where in the network's picture.
///
/// Points are pairs of x and y in pixels from the upper left corner, so that the middle of the first pixel is
/// `[0.5, 0.5]`; a photo's points are those of the upright photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Width and height of the network's picture.
    pub size: [u32; 2],
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
                let whole = preset.side();
                let side = |start: u32, length| Side {
                    source: Span {
                        start: u64::from(start),
                        length,
                    },
                    resized: u64::from(whole),
                    window: Span {
                        start: 0,
                        length: whole,
                    },
                };
                Self {
                    size: [whole; 2],
                    columns: side(area.left, area.width),
                    rows: side(area.top, area.height),
                    before: [0, 0],
                    mirror: flip,
                }
            }
        }
    }

    /// torchvision's `Resize` of the shorter side, and `CenterCrop` where there is a crop.
    fn centred(preset: &Preset, width: u32, height: u32) -> Self {
        let (short, long) = (u64::from(width.min(height)), u64::from(width.max(height)));
        let resize = u64::from(preset.resize);
        let resized_long = resize * long / short;
        let resized = match width <= height {
            true => [resize, resized_long],
            false => [resized_long, resize],
        };
        let size = resized.map(|resized| match preset.crop {
            Some(crop) => crop,
            None => u32::try_from(resized).unwrap_or(MAX_SIDE).min(MAX_SIDE),
        });
        let horizontal = CentreCrop::new(resized[0], size[0]);
        let vertical = CentreCrop::new(resized[1], size[1]);
        let side = |length, resized, crop: CentreCrop| Side {
            source: Span { start: 0, length },
            resized,
            window: crop.window,
        };
        Self {
            size,
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

    /// Where a point of the network's picture lies in the photo; outside it for points of what is filled up with
    /// black.
    pub fn to_photo(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [left, above] = self.before.map(f64::from);
        let x = match self.mirror {
            true => f64::from(self.size[0]) - x,
            false => x,
        };
        let back = |side: Side, place: f64, before: f64| {
            let scale = f64::from(side.source.length) / side.resized as f64;
            side.source.start as f64 + (place - before + side.window.start as f64) * scale
        };
        [back(self.columns, x, left), back(self.rows, y, above)]
    }

    /// Where a point of the photo lies in the network's picture; outside it for points that the network does not
    /// see.
    pub fn to_seen(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [left, above] = self.before.map(f64::from);
        let forth = |side: Side, place: f64, before: f64| {
            let scale = side.resized as f64 / f64::from(side.source.length);
            (place - side.source.start as f64) * scale - side.window.start as f64 + before
        };
        let (x, y) = (forth(self.columns, x, left), forth(self.rows, y, above));
        match self.mirror {
            true => [f64::from(self.size[0]) - x, y],
            false => [x, y],
        }
    }

    /// The part of the network's picture that shows the photo, as its first column and row, and those behind its
    /// last.
    pub fn shown(&self) -> ([u32; 2], [u32; 2]) {
        let [left, above] = self.before;
        let (columns, rows) = (self.columns.window.length, self.rows.window.length);
        ([left, above], [left + columns, above + rows])
    }

    /// Lays the resized window onto a black picture of the network's size.
    pub(super) fn pad(&self, seen: Vec<u8>) -> Vec<u8> {
        let (columns, rows) = (self.columns.window.length, self.rows.window.length);
        if [columns, rows] == self.size {
            return seen;
        }
        let bytes = |pixels: u32| pixels as usize * 3;
        let [width, height] = self.size;
        let mut picture = vec![0; bytes(width) * height as usize];
        let [left, above] = self.before;
        let kept = picture.chunks_exact_mut(bytes(width)).skip(above as usize);
        for (to, from) in kept.zip(seen.chunks_exact(bytes(columns))) {
            to[bytes(left)..][..from.len()].copy_from_slice(from);
        }
        picture
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::RgbImage;
    use crate::preprocess::CropBox;

    fn close(found: [f64; 2], expected: [f64; 2]) {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn points_of_whole_photos_are_scaled_by_the_shorter_side() {
        // 500×375 becomes 693×520.
        let seen = Preset::SEGMENTATION.placement([500, 375]);
        close(seen.to_seen([0.0, 0.0]), [0.0, 0.0]);
        close(seen.to_seen([500.0, 375.0]), [693.0, 520.0]);
        close(seen.to_photo([346.5, 130.0]), [250.0, 93.75]);
        assert_eq!(seen.shown(), ([0, 0], [693, 520]));
    }

    #[test]
    fn points_of_crops_and_of_their_black_borders_are_found_again() {
        // 300×200 becomes 384×256, of which columns 80 to 304 and rows 16 to 240 are seen.
        let seen = Preset::IMAGENET.placement([300, 200]);
        close(seen.to_photo([0.0, 0.0]), [80.0 * 300.0 / 384.0, 12.5]);
        close(seen.to_seen([150.0, 100.0]), [112.0, 112.0]);
        // 40×20 becomes 20×10 in the middle of a square of 32.
        let preset = Preset {
            resize: 10,
            crop: Some(32),
            ..Preset::IMAGENET
        };
        let seen = preset.placement([40, 20]);
        assert_eq!(seen.shown(), ([6, 11], [26, 21]));
        close(seen.to_photo([6.0, 11.0]), [0.0, 0.0]);
        close(seen.to_photo([26.0, 21.0]), [40.0, 20.0]);
        close(seen.to_photo([0.0, 0.0]), [-12.0, -22.0]);
    }

    #[test]
    fn a_mirrored_view_shows_a_mark_where_its_points_say() {
        // A white pixel in a black photo, found again as the brightest of what the network sees.
        let (width, height, mark) = (31_u32, 17_u32, [22_u32, 9_u32]);
        let mut pixels = vec![0; (width * height * 3) as usize];
        let first = ((mark[1] * width + mark[0]) * 3) as usize;
        pixels[first..first + 3].fill(255);
        let photo = RgbImage::new(width, height, pixels).unwrap();
        let preset = Preset {
            resize: 32,
            crop: Some(28),
            ..Preset::IMAGENET
        };
        let area = CropBox {
            left: 5,
            top: 3,
            width: 24,
            height: 12,
        };
        let views = [false, true].map(|flip| View::Cropped { area, flip });
        for (preset, view) in [
            (preset, View::Plain),
            (preset.without_crop(), View::Plain),
            (preset, views[0]),
            (preset, views[1]),
            (preset.without_crop(), views[1]),
        ] {
            let placed = Placement::new(&preset, [width, height], &view);
            let seen = preset.view_pixels(&photo, &view);
            assert_eq!([seen.width(), seen.height()], placed.size);
            let brightness = |place: usize| seen.pixels()[3 * place];
            let places = 0..(seen.width() * seen.height()) as usize;
            let brightest = places.max_by_key(|&place| brightness(place)).unwrap() as u32;
            let [x, y] = [brightest % seen.width(), brightest / seen.width()];
            let point = [x, y].map(|place| f64::from(place) + 0.5);
            let found = placed.to_photo(point);
            for (found, mark) in found.into_iter().zip(mark) {
                assert!(
                    (found - f64::from(mark) - 0.5).abs() <= 0.5,
                    "{found} {mark}"
                );
            }
            close(placed.to_seen(found), point);
        }
    }
}
