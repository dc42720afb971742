//! [`super`] on graphics adapters.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_cubecl::Cube;
use rekindle_shaders::{PixelView, Pixels};

use crate::image::RgbImage;
use crate::kernels::adapter::{output_of, tier};
use crate::kernels::frame::Frame;
use crate::kernels::launch::{launch, made_one};
use crate::preprocess::{Interpolation, Placement, Preset, View};

/// A photo among others on an adapter.
#[derive(Debug, Clone, Copy)]
struct PhotoAt {
    /// Where its first pixel lies.
    first: u32,
    /// From one row to the next.
    pitch: u32,
    /// Width and height.
    size: [u32; 2],
}

/// Whether this device prepares photos itself.
pub(super) fn does(device: &Device) -> bool {
    *device != Device::flex() && crate::kernels::are_switched_on()
}

/// Pictures of this width and height.
pub(super) fn of_pictures(
    pictures: &[RgbImage],
    size: [u32; 2],
    preset: &Preset,
    device: &Device,
) -> Tensor<4> {
    let [width, height] = size;
    let each = width * height;
    let whole = [0, 0, width, height];
    let views = (0..pictures.len() as u32)
        .map(|index| PixelView::plain(index * each, width, whole, size, [0; 2]));
    let views: Vec<_> = views.collect();
    prepare(packed(pictures, device), &views, size, preset)
}

/// Views of photos that the network sees at this width and height; `None` if some number is too large for the
/// kernel.
pub(super) fn of_views(
    photos: &[(&RgbImage, View)],
    seen: [u32; 2],
    preset: &Preset,
    device: &Device,
) -> Option<Tensor<4>> {
    let mut first = 0_u32;
    let mut all = Vec::with_capacity(photos.len());
    for (photo, view) in photos {
        let size = [photo.width(), photo.height()];
        let pitch = size[0];
        let photo = PhotoAt { first, pitch, size };
        all.push(placed(&Placement::new(preset, size, view), photo, preset)?);
        first = first.checked_add(size[0].checked_mul(size[1])?)?;
    }
    let pixels = packed(photos.iter().map(|(photo, _)| *photo), device);
    Some(prepare(pixels, &all, seen, preset))
}

/// What a network sees of a picture that lies on the adapter. Nothing is read back; `None` if it is too large
/// for the kernel.
///
/// # Shapes
///
/// Returns `[1, 3, height, width]`.
pub fn of_frame(frame: &Frame, view: &View, preset: &Preset, device: &Device) -> Option<Tensor<4>> {
    let photo = PhotoAt {
        first: 0,
        pitch: frame.pitch(),
        size: frame.size(),
    };
    let seen = Placement::new(preset, photo.size, view);
    let view = placed(&seen, photo, preset)?;
    let length = (photo.pitch * photo.size[1]) as usize;
    let pixels = Tensor::<1, Int>::empty([length], device).into_dispatch();
    let pixels = Dispatch::copied(pixels, frame.clone());
    let pixels = Tensor::from_dispatch(pixels);
    Some(prepare(pixels, &[view], seen.size, preset))
}

/// What is seen of a photo as the kernel reads it; `None` if its numbers are too large for the kernel, which have 32
/// bits (photos of hundreds of megapixels).
fn placed(seen: &Placement, photo: PhotoAt, preset: &Preset) -> Option<PixelView> {
    let sides = [seen.columns, seen.rows];
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
        [left - seen.before[0] as i32, top - seen.before[1] as i32],
    );
    Some(PixelView {
        mirror: seen.mirror,
        vertical_first: seen.is_vertical_first(),
        grey: preset.is_grey(),
        ..view
    })
}

/// All pixels of some photos, one after the other, opaque.
fn packed<'a>(photos: impl IntoIterator<Item = &'a RgbImage>, device: &Device) -> Tensor<1, Int> {
    let packed: Vec<i32> = photos
        .into_iter()
        .flat_map(|photo| photo.pixels().chunks_exact(3))
        .map(|rgb| i32::from_le_bytes([rgb[0], rgb[1], rgb[2], 255]))
        .collect();
    let length = packed.len();
    Tensor::from_data(TensorData::new(packed, [length]), device)
}

fn prepare(
    pixels: Tensor<1, Int>,
    views: &[PixelView],
    [width, height]: [u32; 2],
    preset: &Preset,
) -> Tensor<4> {
    let operation = Pixels {
        batch: views.len() as u32,
        height,
        width,
        bicubic: preset.interpolation() == Interpolation::Bicubic,
        planes: false,
        colours: views.iter().any(PixelView::has_colours),
        mean: preset.mean(),
        std: preset.std(),
    };
    let words: Vec<i32> = views
        .iter()
        .flat_map(PixelView::words)
        .map(u32::cast_signed)
        .collect();
    let length = words.len();
    let words = Tensor::<1, Int>::from_data(TensorData::new(words, [length]), &pixels.device());
    let maps = Dispatch::prepared_pixels(pixels.into_dispatch(), words.into_dispatch(), operation);
    // Channels last in memory, as the kernels after it read them.
    Tensor::<4>::from_dispatch(maps).permute([0, 3, 1, 2])
}

/// The operations. The processor never comes here: its pictures are prepared on the host.
#[backend_extension(Cube, Flex)]
pub(crate) trait PixelOps: Backend {
    /// # Shapes
    ///
    /// - pixels: red | green << 8 | blue << 16 | alpha << 24 each
    /// - views: 16 words each
    /// - returns: `[N, H, W, 3]`
    fn prepared_pixels(
        _pixels: IntTensor<Self>,
        _views: IntTensor<Self>,
        _operation: Pixels,
    ) -> FloatTensor<Self> {
        unreachable!("the processor's pictures are prepared on the host")
    }

    /// A frame's pixels, in this memory.
    fn copied(_pixels: IntTensor<Self>, _frame: Frame) -> IntTensor<Self> {
        unreachable!("frames lie on graphics adapters")
    }
}

impl PixelOps for Flex {}

impl PixelOps for Cube {
    fn prepared_pixels(
        pixels: IntTensor<Self>,
        views: IntTensor<Self>,
        operation: Pixels,
    ) -> FloatTensor<Self> {
        let shape = [operation.batch, operation.height, operation.width, 3];
        let maps = output_of(&pixels, shape.map(|side| side as usize), DType::F32);
        let kernel = made_one(&operation, tier(&pixels), Pixels::kernel);
        launch(&kernel, &[&pixels, &views, &maps]);
        maps
    }

    fn copied(pixels: IntTensor<Self>, frame: Frame) -> IntTensor<Self> {
        frame.copy_into(&pixels);
        pixels
    }
}
