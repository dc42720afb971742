//! Pictures that go from the browser to the graphics adapter without being read back.

use rekindle_core::device::{OpenDevice, wgpu};
use rekindle_core::kernels::Frame;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{ImageBitmap, VideoFrame};

/// Draws an `ImageBitmap` or a `VideoFrame` into a texture; `None` for anything else, on the processor, and
/// where the picture is larger than the adapter's textures.
pub fn drawn(open: &OpenDevice, source: &JsValue) -> Option<Frame> {
    let (source, width, height) = if let Some(bitmap) = source.dyn_ref::<ImageBitmap>() {
        let source = wgpu::ExternalImageSource::ImageBitmap(bitmap.clone());
        (source, bitmap.width(), bitmap.height())
    } else {
        let video = source.dyn_ref::<VideoFrame>()?;
        let (width, height) = (video.display_width(), video.display_height());
        // The same object once more: a frame's own `clone` makes another, which somebody must close.
        let same = source.clone().unchecked_into();
        (wgpu::ExternalImageSource::VideoFrame(same), width, height)
    };
    let frame = open.frame(width, height)?;
    frame.queue().copy_external_image_to_texture(
        &wgpu::CopyExternalImageSourceInfo {
            source,
            origin: wgpu::Origin2d::ZERO,
            flip_y: false,
        },
        wgpu::CopyExternalImageDestInfo {
            texture: frame.texture(),
            mip_level: 0,
            origin: wgpu::Origin3d::ZERO,
            aspect: wgpu::TextureAspect::All,
            color_space: wgpu::PredefinedColorSpace::Srgb,
            // As canvases hand pixels out.
            premultiplied_alpha: false,
        },
        frame.texture().size(),
    );
    Some(frame)
}
