//! Photos to a network's input: cut out, resized, mirrored, normalised, in one pass on the adapter.
//!
//! The bytes travel as they are, four a pixel, or never leave the adapter at all ([`Frame`](super::Frame)). On
//! the processor [`Preset`] itself does it, which is Pillow's arithmetic to the bit; the kernel computes its
//! weights in floats and may differ by one level in 255.

mod on_adapters;

use burn::tensor::{Device, Tensor, TensorData};

pub use on_adapters::of_frame;

use crate::image::RgbImage;
use crate::preprocess::{Placement, Preset, View};

/// A batch of pictures as a network takes it: `(byte / 255 − mean) / std`.
///
/// # Shapes
///
/// - pictures: all of one width and height, as [`Preset::crop_pixels`] makes them
/// - returns: `[N, 3, height, width]`
pub fn normalise(pictures: &[RgbImage], preset: &Preset, device: &Device) -> Tensor<4> {
    let size = pictures.first().map_or([preset.side(); 2], size);
    if on_adapters::does(device) {
        return on_adapters::of_pictures(pictures, size, preset, device);
    }
    let values = pictures
        .iter()
        .flat_map(|picture| preset.normalise(picture));
    upload(values.collect(), pictures.len(), size, device)
}

/// A batch of views of whole photos as a network takes it.
///
/// # Shapes
///
/// - photos: the network sees them all at one width and height; every preset with a crop sees to that, of others
///   [`Placement::size`] tells
/// - returns: `[N, 3, height, width]`, an image for each photo with its view
pub fn views(photos: &[(&RgbImage, View)], preset: &Preset, device: &Device) -> Tensor<4> {
    let seen = photos.first();
    let seen = seen.map(|(photo, view)| Placement::new(preset, size(photo), view).size);
    let seen = seen.unwrap_or([preset.side(); 2]);
    if on_adapters::does(device)
        && let Some(batch) = on_adapters::of_views(photos, seen, preset, device)
    {
        return batch;
    }
    let values = photos
        .iter()
        .flat_map(|(photo, view)| preset.apply_view(photo, view));
    upload(values.collect(), photos.len(), seen, device)
}

/// Width and height.
fn size(picture: &RgbImage) -> [u32; 2] {
    [picture.width(), picture.height()]
}

fn upload(values: Vec<f32>, images: usize, size: [u32; 2], device: &Device) -> Tensor<4> {
    let [width, height] = size.map(|side| side as usize);
    Tensor::from_data(TensorData::new(values, [images, 3, height, width]), device)
}
