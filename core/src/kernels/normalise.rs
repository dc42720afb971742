//! Packed 8-bit pixels to normalised feature maps.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, FloatDType, TensorMetadata, backend_extension,
};
use burn::tensor::{DType, Device, Int, Shape, Slice, Tensor, TensorData};
use burn_cubecl::Cube;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;

use super::adapter::runs_wgsl;
use super::launch::launch_threads;
use crate::image::RgbImage;
use crate::preprocess::Preset;

/// A batch of square crops as a network takes it: `(byte / 255 − mean) / std`.
///
/// The bytes travel to the device as they are, four a pixel, and become floats there.
///
/// # Shapes
///
/// - crops: all of them `preset.crop()` pixels square
/// - returns: `[N, 3, crop, crop]`
pub fn normalise(crops: &[RgbImage], preset: &Preset, device: &Device) -> Tensor<4> {
    let side = preset.crop() as usize;
    let packed: Vec<i32> = crops
        .iter()
        .flat_map(|crop| crop.pixels().chunks_exact(3))
        .map(|rgb| i32::from_le_bytes([rgb[0], rgb[1], rgb[2], 0]))
        .collect();
    let total = packed.len();
    let pixels =
        Tensor::<3, Int>::from_data(TensorData::new(packed, [crops.len(), side, side]), device);
    let colour = [preset.mean(), preset.std()].concat();
    let colour = Tensor::<1>::from_data(TensorData::new(colour, [6]), device);
    let sizes = vec![(side * side) as i32, total as i32];
    let sizes = Tensor::<1, Int>::from_data(TensorData::new(sizes, [2]), device);
    let maps = <Dispatch as NormaliseOps>::normalise(
        pixels.into_dispatch(),
        colour.into_dispatch(),
        sizes.into_dispatch(),
    );
    Tensor::from_dispatch(maps)
}

/// The operation, for each backend.
///
/// # Shapes
///
/// - pixels: `[N, H, W]`, each red | green << 8 | blue << 16
/// - colour: `[6]`, three means and three standard deviations
/// - sizes: `[2]`, H·W and N·H·W, for the shader
/// - returns: `[N, 3, H, W]`
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait NormaliseOps: Backend {
    fn normalise(
        pixels: IntTensor<Self>,
        colour: FloatTensor<Self>,
        _sizes: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        in_tensor_operations::<Self>(pixels, colour)
    }
}

fn in_tensor_operations<B: Backend>(
    pixels: IntTensor<B>,
    colour: FloatTensor<B>,
) -> FloatTensor<B> {
    let [n, height, width] = pixels.shape().dims();
    let one = |index: usize| {
        let slice = B::float_slice(colour.clone(), &[Slice::from(index..index + 1)]);
        B::float_reshape(slice, Shape::new([1, 1, 1, 1]))
    };
    let channels = (0..3)
        .map(|channel: usize| {
            let shift = 8 * channel as i32;
            let shifted = B::bitwise_right_shift_scalar(pixels.clone(), shift.into());
            let byte = B::bitwise_and_scalar(shifted, 255_i32.into());
            let byte = B::int_into_float(byte, FloatDType::F32);
            let byte = B::float_reshape(byte, Shape::new([n, 1, height, width]));
            let unit = B::float_div_scalar(byte, 255.0_f32.into());
            B::float_div(B::float_sub(unit, one(channel)), one(3 + channel))
        })
        .collect();
    B::float_cat(channels, 1)
}

impl NormaliseOps for Flex {}

impl<B: NormaliseOps, C: CheckpointStrategy> NormaliseOps for Autodiff<B, C> {}

impl NormaliseOps for Cube {
    fn normalise(
        pixels: IntTensor<Self>,
        colour: FloatTensor<Self>,
        sizes: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        if !runs_wgsl(&pixels) {
            return in_tensor_operations::<Self>(pixels, colour);
        }
        let [n, height, width] = pixels.shape().dims();
        let maps = empty_device_contiguous_dtype(
            pixels.client.clone(),
            pixels.device.clone(),
            Shape::new([n, 3, height, width]),
            DType::F32,
        );
        let threads = n * height * width;
        launch_threads(
            rekindle_shaders::NORMALISE,
            threads,
            &[&pixels, &colour, &sizes, &maps],
        );
        maps
    }
}
