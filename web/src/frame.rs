//! Pictures that go from the browser to the graphics adapter without being read back.

use rekindle_core::device::{OpenDevice, wgpu};
use rekindle_core::kernels::Frame;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::ImageBitmap;

/// Draws an `ImageBitmap` into a texture; `None` for anything else, on the processor, and where the picture is
/// larger than the adapter's textures.
///
/// Not a `VideoFrame`: Chromium may refuse to copy one, and wgpu panics then. A bitmap of the frame never leaves
/// the adapter either.
pub fn drawn(open: &OpenDevice, source: &JsValue) -> Option<Frame> {
    let bitmap = source.dyn_ref::<ImageBitmap>()?;
    let frame = open.frame(bitmap.width(), bitmap.height())?;
    frame.queue().copy_external_image_to_texture(
        &wgpu::CopyExternalImageSourceInfo {
            source: wgpu::ExternalImageSource::ImageBitmap(bitmap.clone()),
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
