//! Maps with other numbers of rows and columns.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::{Ints, Text};
use crate::onnx::{Name, OnnxError, Writer};

/// How maps are resized inside a network: as `torch.nn.functional.interpolate(size=…)` does it, without
/// antialiasing, also where maps shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resample {
    /// The pixel at `⌊place · input / output⌋`, computed in `f32` and rounded as PyTorch rounds it.
    Nearest,
    /// The four pixels around a place, each the more the nearer it is; edges of maps, not centres of their outer
    /// pixels, fall together (`align_corners=False`).
    Bilinear,
}

impl Resample {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nearest, Self::Bilinear];

    /// PyTorch's name for it, the `mode` of `interpolate`.
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
        }
    }
}

/// Maps `[C, H, W]` resized.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// Rows and columns of what comes out.
    pub size: [usize; 2],
    /// Which pixels each is made of.
    pub resample: Resample,
}

impl Operation for Resize {
    fn title(&self) -> Title {
        Title::Function("Resize")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [channels, ..] = maps(inputs[0])?;
        let [rows, columns] = self.size;
        match rows * columns {
            0 => Err("resizes to nothing"),
            _ => Ok(vec![channels, rows, columns]),
        }
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Resize {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let size = writer.ints("size", &self.size.map(|length| length as i64));
        let axes = Ints("axes", vec![2, 3]);
        let attributes = match self.resample {
            Resample::Nearest => [
                axes,
                Text("mode", "nearest"),
                Text("coordinate_transformation_mode", "asymmetric"),
                Text("nearest_mode", "floor"),
            ],
            Resample::Bilinear => [
                axes,
                Text("mode", "linear"),
                Text("coordinate_transformation_mode", "half_pixel"),
                Text("nearest_mode", "floor"),
            ],
        };
        // Neither a region nor scales are given.
        Ok(writer.op("Resize", &[inputs[0], "", "", &size], &attributes))
    }
}
