//! Random rectangles: the part of a photo that is seen, the part of a picture that is erased.

use crate::preprocess::view::CropBox;
use crate::random::Random;

/// torchvision tries so often to find a rectangle that fits.
const TRIES: usize = 10;

/// A number spread evenly between the two ends.
pub(super) fn between([low, high]: [f64; 2], random: &mut Random) -> f64 {
    low + (high - low) * f64::from(random.uniform())
}

/// `RandomResizedCrop.get_params` of torchvision: ten tries at an area and proportion (width to height) that fit
/// into the photo, then the largest central part with an allowed proportion.
pub(super) fn crop(
    [width, height]: [u32; 2],
    scale: [f64; 2],
    ratio: [f64; 2],
    random: &mut Random,
) -> CropBox {
    let (full_width, full_height) = (f64::from(width), f64::from(height));
    let log_ratio = ratio.map(f64::ln);
    for _ in 0..TRIES {
        let area = full_width * full_height * between(scale, random);
        let ratio = between(log_ratio, random).exp();
        let crop_width = (area * ratio).sqrt().round_ties_even();
        let crop_height = (area / ratio).sqrt().round_ties_even();
        let fits = |crop: f64, full: f64| 0.0 < crop && crop <= full;
        if fits(crop_width, full_width) && fits(crop_height, full_height) {
            return placed(
                [width, height],
                [crop_width as u32, crop_height as u32],
                random,
            );
        }
    }

    let [narrowest, widest] = ratio;
    let proportion = full_width / full_height;
    let (crop_width, crop_height) = if proportion < narrowest {
        (width, (full_width / narrowest).round_ties_even() as u32)
    } else if proportion > widest {
        ((full_height * widest).round_ties_even() as u32, height)
    } else {
        (width, height)
    };
    // A photo one pixel wide and a tall, narrow ratio round to nothing; one pixel is the least.
    let (crop_width, crop_height) = (crop_width.clamp(1, width), crop_height.clamp(1, height));
    CropBox {
        left: (width - crop_width) / 2,
        top: (height - crop_height) / 2,
        width: crop_width,
        height: crop_height,
    }
}

/// `RandomErasing.get_params` of torchvision: ten tries at an area and proportion (height to width) that are less
/// than the picture both ways; `None` if none is, or if it rounds to nothing.
pub(super) fn erased(
    [width, height]: [u32; 2],
    scale: [f64; 2],
    ratio: [f64; 2],
    random: &mut Random,
) -> Option<CropBox> {
    let (full_width, full_height) = (f64::from(width), f64::from(height));
    let log_ratio = ratio.map(f64::ln);
    for _ in 0..TRIES {
        let area = full_width * full_height * between(scale, random);
        let ratio = between(log_ratio, random).exp();
        let high = (area * ratio).sqrt().round_ties_even();
        let wide = (area / ratio).sqrt().round_ties_even();
        if high < full_height && wide < full_width {
            let area = placed([width, height], [wide as u32, high as u32], random);
            return (area.width > 0 && area.height > 0).then_some(area);
        }
    }
    None
}

/// A rectangle of this size at any place in a picture that holds it, each as likely.
fn placed(
    [width, height]: [u32; 2],
    [part_width, part_height]: [u32; 2],
    random: &mut Random,
) -> CropBox {
    let top = random.below((height - part_height) as usize + 1) as u32;
    let left = random.below((width - part_width) as usize + 1) as u32;
    CropBox {
        left,
        top,
        width: part_width,
        height: part_height,
    }
}
