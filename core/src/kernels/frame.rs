//! A picture on the graphics adapter: a browser's video frame or bitmap that is never read back.

use burn_cubecl::tensor::CubeTensor;
use cubecl::wgpu::wgpu;
use cubecl::wgpu::{AutoCompiler, WgpuServer};

/// Copies between textures and buffers want rows of a multiple of so many bytes.
const ROW_BYTES: u32 = wgpu::COPY_BYTES_PER_ROW_ALIGNMENT;

/// A texture of 8-bit red, green, blue and alpha, to be filled through [`texture`](Self::texture).
#[derive(Debug, Clone)]
pub struct Frame {
    device: wgpu::Device,
    queue: wgpu::Queue,
    texture: wgpu::Texture,
}

impl Frame {
    /// An empty one on the adapter behind a device and its queue; `None` if it is larger than the adapter's
    /// textures.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        width: u32,
        height: u32,
    ) -> Option<Self> {
        let most = device.limits().max_texture_dimension_2d;
        if !(1..=most).contains(&width) || !(1..=most).contains(&height) {
            return None;
        }
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("frame"),
            size: wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            // Browsers draw pictures into it.
            usage: wgpu::TextureUsages::COPY_SRC
                | wgpu::TextureUsages::COPY_DST
                | wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        Some(Self {
            device: device.clone(),
            queue: queue.clone(),
            texture,
        })
    }

    /// What to fill.
    pub fn texture(&self) -> &wgpu::Texture {
        &self.texture
    }

    /// Where to say so.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Width and height.
    pub(super) fn size(&self) -> [u32; 2] {
        [self.texture.width(), self.texture.height()]
    }

    /// Pixels from one row to the next, once they lie in a buffer.
    pub(super) fn pitch(&self) -> u32 {
        (4 * self.texture.width()).next_multiple_of(ROW_BYTES) / 4
    }

    /// Copies the pixels into a tensor of `pitch × height` numbers.
    pub(super) fn copy_into(&self, pixels: &CubeTensor) {
        // What still waits to be handed over was asked for before, and may use this memory.
        let flushed = pixels.client.flush();
        let resource = flushed.and_then(|()| {
            let handle = pixels.handle.clone();
            pixels
                .client
                .get_resource::<WgpuServer<AutoCompiler>>(handle)
        });
        let resource = resource.unwrap_or_else(|error| panic!("the tensor's memory: {error:?}"));
        let memory = resource.resource();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            self.texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &memory.buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: memory.offset,
                    bytes_per_row: Some(4 * self.pitch()),
                    rows_per_image: None,
                },
            },
            self.texture.size(),
        );
        self.queue.submit([encoder.finish()]);
    }
}
