//! How a photo is shown to a network: as at prediction, or a part of it, stretched.

use serde::{Deserialize, Serialize};

/// How one view shows a photo to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The preset's own resize and centre crop, as at prediction.
    Plain,
    /// A part of the photo, stretched to the preset's crop size: torchvision's `resized_crop`,
    /// and after it `hflip` if `flip` is set.
    Cropped {
        /// The part that is seen.
        area: CropBox,
        /// Whether left and right change places.
        flip: bool,
    },
}

/// A rectangle of a photo, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CropBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl CropBox {
    /// The part of this box inside a photo of the given size, at least one pixel.
    pub(super) fn within(self, width: u32, height: u32) -> Self {
        let (left, top) = (self.left.min(width - 1), self.top.min(height - 1));
        Self {
            left,
            top,
            width: self.width.clamp(1, width - left),
            height: self.height.clamp(1, height - top),
        }
    }
}
