//! Photos to a network's input: cut out, resized, mirrored, normalised, in one pass on the adapter.
//!
//! The bytes travel as they are, four a pixel, or never leave the adapter at all ([`Frame`](super::Frame)). The
//! processor's telling is [`Preset`] itself, which is Pillow's arithmetic to the bit; the kernel computes its
//! weights in floats and may differ by one level in 255.

mod on_adapters;

use burn::tensor::{Device, Tensor, TensorData};

pub use on_adapters::of_frame;

use crate::image::RgbImage;
use crate::preprocess::{Preset, View};

/// A batch of square crops as a network takes it: `(byte / 255 − mean) / std`.
///
/// # Shapes
///
/// - crops: all of them `preset.crop()` pixels square
/// - returns: `[N, 3, crop, crop]`
pub fn normalise(crops: &[RgbImage], preset: &Preset, device: &Device) -> Tensor<4> {
    if on_adapters::does(device) {
        return on_adapters::of_crops(crops, preset, device);
    }
    let values = crops.iter().flat_map(|crop| preset.normalise(crop));
    upload(values.collect(), crops.len(), preset, device)
}

/// A batch of views of whole photos as a network takes it.
///
/// # Shapes
///
/// Returns `[N, 3, crop, crop]`, an image for each photo with its view.
pub fn views(photos: &[(&RgbImage, View)], preset: &Preset, device: &Device) -> Tensor<4> {
    if on_adapters::does(device)
        && let Some(batch) = on_adapters::of_views(photos, preset, device)
    {
        return batch;
    }
    let values = photos
        .iter()
        .flat_map(|(photo, view)| preset.apply_view(photo, view));
    upload(values.collect(), photos.len(), preset, device)
}

fn upload(values: Vec<f32>, images: usize, preset: &Preset, device: &Device) -> Tensor<4> {
    let side = preset.crop() as usize;
    Tensor::from_data(TensorData::new(values, [images, 3, side, side]), device)
}
