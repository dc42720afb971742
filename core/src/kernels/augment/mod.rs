//! Drawn views of photos to a network's input, on the adapter: cut out on the host, resized, changed and normalised
//! there, with the processor's pixels and numbers to the bit. Nothing is read back in between.
//!
//! The division of labour: the host decodes, draws every number, and finds what takes 64-bit floats but is little (the
//! resize's weights, where columns and rows come from, tables of bytes). It hands over the bytes of the part that is
//! seen, and resizes only parts larger than a batch's share of the upload, of which it would copy more than it computes.
//! The adapter goes through the batch once for each pass of the resize and once for each place in the lists of
//! operations, whatever the operations are.

mod on_adapters;
mod words;

use burn::tensor::{Device, Tensor};

use crate::binding::LARGEST_BINDING;
use crate::preprocess::Preset;
use crate::preprocess::augment::Staged;

/// Bytes of photos that are handed over at once: half of what a binding of WebGPU's default limits holds, since between
/// the passes as many again may be needed.
const UPLOADED: usize = LARGEST_BINDING / 2;

/// The bytes that a photo of a batch may have, to be resized on an adapter ([`Preset::stage`]).
pub fn share_of_upload(batch: usize) -> usize {
    UPLOADED / batch.max(1)
}

/// Whether views can be made on this device.
pub fn makes_views(device: &Device) -> bool {
    *device != Device::flex() && super::are_switched_on()
}

/// A batch of views as a network takes it, on a device that [makes views](makes_views).
///
/// # Shapes
///
/// - staged: pictures of one width and height; none gives none
/// - returns: `[N, 3, height, width]`
pub fn made_views(staged: &[Staged], preset: &Preset, device: &Device) -> Tensor<4> {
    let [width, height] = staged
        .first()
        .map_or([preset.side(); 2], |staged| staged.size);
    let numbers = 3 * size_of::<f32>() * width as usize * height as usize;
    let together = (LARGEST_BINDING / numbers).max(1);
    let parts = staged.chunks(together);
    let mut parts: Vec<_> = parts
        .map(|part| on_adapters::made(words::Batch::new(part, preset), device))
        .collect();
    match parts.len() {
        0 => Tensor::empty([0, 3, height as usize, width as usize], device),
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}
