//! Photos to a network's input, in one pass.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// Crop, antialiased resize as in Pillow, mirroring, brightness, contrast, saturation and
/// normalisation of a batch of photos.
///
/// Buffers: pixels (u32 each: red, green, blue from the lowest byte; photos one after the other),
/// views (16 words an image, see `pixels.wgsl`), result `[batch, height, width, 3]` or
/// `[batch, 3, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixels {
    /// Images.
    pub batch: u32,
    /// Rows of the result.
    pub height: u32,
    /// Columns of the result.
    pub width: u32,
    /// Catmull–Rom instead of the triangle filter.
    pub bicubic: bool,
    /// The result lies plane by plane.
    pub planes: bool,
    /// Some view changes brightness, contrast or saturation.
    pub colours: bool,
    /// What is subtracted from red, green and blue, for values from 0 to 1.
    pub mean: [f32; 3],
    /// What they are divided by after that.
    pub std: [f32; 3],
}

/// One image of the batch, as `pixels.wgsl` reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelView {
    /// Where the photo's first pixel lies in the buffer.
    pub first: u32,
    /// Pixels of a row of the photo.
    pub photo_width: u32,
    /// The part that is seen: left, top, width, height.
    pub part: [u32; 4],
    /// The width and height to which that part is resized.
    pub resized: [u32; 2],
    /// Where the result begins in the resized part: left, top. What lies outside is black.
    pub begin: [i32; 2],
    /// Left and right change places.
    pub mirror: bool,
    /// Columns are resized before rows.
    pub vertical_first: bool,
    /// Colours become their luminance first.
    pub grey: bool,
    /// Factor of all colours.
    pub brightness: f32,
    /// Factor of the distance from `pivot`.
    pub contrast: f32,
    /// The grey that contrast turns about, 0 to 1: the mean luminance in torchvision.
    pub pivot: f32,
    /// Factor of the distance from the pixel's own grey.
    pub saturation: f32,
}

impl PixelView {
    /// A part of a photo, seen as it is: resized to so many pixels, from `begin` on.
    pub fn plain(
        first: u32,
        photo_width: u32,
        part: [u32; 4],
        resized: [u32; 2],
        begin: [i32; 2],
    ) -> Self {
        Self {
            first,
            photo_width,
            part,
            resized,
            begin,
            mirror: false,
            vertical_first: false,
            grey: false,
            brightness: 1.0,
            contrast: 1.0,
            pivot: 0.0,
            saturation: 1.0,
        }
    }

    /// Whether colours are changed.
    pub fn has_colours(&self) -> bool {
        [self.brightness, self.contrast, self.saturation] != [1.0; 3]
    }

    /// The words of the buffer.
    pub fn words(&self) -> [u32; 16] {
        let flags = u32::from(self.mirror)
            | u32::from(self.vertical_first) << 1
            | u32::from(self.grey) << 2;
        let [left, top, width, height] = self.part;
        [
            self.first,
            self.photo_width,
            left,
            top,
            width,
            height,
            self.resized[0],
            self.resized[1],
            self.begin[0].cast_unsigned(),
            self.begin[1].cast_unsigned(),
            flags,
            self.brightness.to_bits(),
            self.contrast.to_bits(),
            self.pivot.to_bits(),
            self.saturation.to_bits(),
            0,
        ]
    }
}

impl Pixels {
    /// The kernel; binds pixels, views, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        const WORKGROUP: u32 = 64;
        let mut text = Text::new(Storage::F32, tier);
        text.bind("pixels", "u32")
            .bind("views", "u32")
            .bind("result", "f32")
            .size_all([
                ("BATCH", self.batch),
                ("HEIGHT", self.height),
                ("WIDTH", self.width),
            ]);
        text.set_f32("SUPPORT", if self.bicubic { 2.0 } else { 1.0 });
        for channel in 0..3 {
            text.set_f32(&format!("MEAN_{channel}"), self.mean[channel]);
            text.set_f32(&format!("STD_{channel}"), self.std[channel]);
        }
        text.flag("bicubic", self.bicubic)
            .flag("planes", self.planes)
            .flag("colours", self.colours);
        text.piece(include_str!("pixels.wgsl"));
        let pixels = self.batch * self.height * self.width;
        let name = format!("pixels_{}x{}x{}", self.batch, self.height, self.width);
        text.kernel(&name, WORKGROUP, pixels.div_ceil(WORKGROUP))
    }
}
