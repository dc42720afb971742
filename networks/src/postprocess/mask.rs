//! A class for each pixel, and how people look at it.

use crate::image::{ImageError, RgbImage};

/// The label of a pixel that has no class: not labelled, or not seen by the network.
pub const VOID: u8 = 255;

/// A class for each pixel of a photo, by its place among the classes; [`VOID`] for none. Rows from the top, never
/// empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    labels: Vec<u8>,
}

impl Mask {
    /// A mask of this width and height.
    ///
    /// # Errors
    ///
    /// [`ImageError`] if a side is 0, or `labels` does not hold one label a pixel.
    pub fn new(width: u32, height: u32, labels: Vec<u8>) -> Result<Self, ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { width, height });
        }
        let expected = u128::from(width) * u128::from(height);
        if expected != labels.len() as u128 {
            return Err(ImageError::Length {
                width,
                height,
                channels: 1,
                expected,
                found: labels.len(),
            });
        }
        Ok(Self {
            width,
            height,
            labels,
        })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        [self.width, self.height]
    }

    /// The labels, rows from the top.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// How many pixels have each label.
    pub fn counts(&self) -> [u64; 256] {
        let mut counts = [0; 256];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// The share of each of some classes in the pixels that have one, from 0 to 1; zeros where none has.
    pub fn shares(&self, classes: usize) -> Vec<f64> {
        let counts = self.counts();
        let labelled: u64 = counts[..usize::from(VOID)].iter().sum();
        let share = |class: usize| match counts.get(class) {
            Some(&count) if class != usize::from(VOID) && labelled > 0 => {
                count as f64 / labelled as f64
            }
            _ => 0.0,
        };
        (0..classes).map(share).collect()
    }

    /// The largest label that is a class; nothing where no pixel has one.
    pub fn largest_class(&self) -> Option<u8> {
        let classes = self.labels.iter().filter(|&&label| label != VOID);
        classes.copied().max()
    }

    /// Whether the pixel at this column and row has another label than its neighbour to the right or below.
    fn is_edge(&self, x: usize, y: usize) -> bool {
        let (width, height) = (self.width as usize, self.height as usize);
        let label = self.labels[y * width + x];
        let right = x + 1 < width && self.labels[y * width + x + 1] != label;
        right || (y + 1 < height && self.labels[(y + 1) * width + x] != label)
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({}×{})", self.width, self.height)
    }
}

/// The colour by which a label is shown: the colour map of PASCAL VOC, in which a class's bits are dealt out to red,
/// green and blue from the highest bit down (Everingham et al., the development kit's `VOClabelcolormap`). Class 0
/// is black, 1 dark red, [`VOID`] cream.
pub const fn palette_colour(label: u8) -> [u8; 3] {
    let (mut colour, mut rest, mut shift) = ([0; 3], label, 7);
    while rest > 0 {
        colour[0] |= (rest & 1) << shift;
        colour[1] |= ((rest >> 1) & 1) << shift;
        colour[2] |= ((rest >> 2) & 1) << shift;
        rest >>= 3;
        shift -= 1;
    }
    colour
}

/// The photo under its mask: half of each pixel's colour is its class's, and edges of classes are the class's colour
/// alone. What is void, or of the class `background`, stays as it is.
///
/// # Errors
///
/// [`ImageError::Length`] if photo and mask are not of one size.
pub fn overlay(
    photo: &RgbImage,
    mask: &Mask,
    background: Option<u8>,
) -> Result<RgbImage, ImageError> {
    let [width, height] = mask.size();
    if [photo.width(), photo.height()] != [width, height] {
        return Err(ImageError::Length {
            width,
            height,
            channels: 3,
            expected: 3 * u128::from(width) * u128::from(height),
            found: photo.pixels().len(),
        });
    }
    let mut pixels = photo.pixels().to_vec();
    let (each, _) = pixels.as_chunks_mut::<3>();
    for (place, (pixel, &label)) in each.iter_mut().zip(mask.labels()).enumerate() {
        if label == VOID || Some(label) == background {
            continue;
        }
        let colour = palette_colour(label);
        let (x, y) = (place % width as usize, place / width as usize);
        *pixel = match mask.is_edge(x, y) {
            true => colour,
            false => std::array::from_fn(|channel| {
                ((u16::from(pixel[channel]) + u16::from(colour[channel])) / 2) as u8
            }),
        };
    }
    RgbImage::new(width, height, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_palette_is_vocs() {
        // As in the files of VOC2012's SegmentationClass: background, aeroplane … tvmonitor, void.
        let known = [
            (0, [0, 0, 0]),
            (1, [128, 0, 0]),
            (2, [0, 128, 0]),
            (3, [128, 128, 0]),
            (7, [128, 128, 128]),
            (8, [64, 0, 0]),
            (15, [192, 128, 128]),
            (20, [0, 64, 128]),
            (254, [96, 224, 192]),
            (255, [224, 224, 192]),
        ];
        for (label, colour) in known {
            assert_eq!(palette_colour(label), colour, "{label}");
        }
        let mut all: Vec<_> = (0..=255).map(palette_colour).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn shares_are_of_pixels_that_have_a_class() {
        let mask = Mask::new(4, 2, vec![0, 0, 0, 2, 2, VOID, VOID, VOID]).unwrap();
        assert_eq!(mask.shares(3), [0.6, 0.0, 0.4]);
        assert_eq!(mask.largest_class(), Some(2));
        let void = Mask::new(1, 2, vec![VOID; 2]).unwrap();
        assert_eq!(void.shares(300), vec![0.0; 300]);
        assert_eq!(void.largest_class(), None);
        assert!(Mask::new(2, 2, vec![0; 3]).is_err());
        assert!(Mask::new(0, 2, vec![]).is_err());
    }

    #[test]
    fn an_overlay_is_half_the_photo_with_edges_and_leaves_the_background() {
        let photo = RgbImage::new(3, 2, vec![100; 18]).unwrap();
        let mask = Mask::new(3, 2, vec![0, 1, 1, 0, 1, VOID]).unwrap();
        let seen = overlay(&photo, &mask, Some(0)).unwrap();
        let (pixels, _) = seen.pixels().as_chunks::<3>();
        let (plain, half, full) = ([100; 3], [114, 50, 50], [128, 0, 0]);
        assert_eq!(pixels, [plain, half, full, plain, full, plain]);
        // Without a background, black darkens.
        let all = overlay(&photo, &mask, None).unwrap();
        assert_eq!(all.pixels()[..3], [0, 0, 0]);
        let other = Mask::new(2, 3, vec![0; 6]).unwrap();
        assert!(overlay(&photo, &other, None).is_err());
    }
}
