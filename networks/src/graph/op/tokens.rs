//! Maps as sequences of tokens, and what transformers do with tokens beside attention.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::Int;
use crate::onnx::{Name, OnnxError, Writer};

/// Length and width of a sequence.
fn sequence(shape: &[usize]) -> Result<[usize; 2], &'static str> {
    shape.try_into().map_err(|_| "takes tokens")
}

/// `[C, H, W]` to `[H·W, C]`, positions in reading order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens;

impl Operation for Tokens {
    fn title(&self) -> Title {
        Title::Function("Tokens")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [channels, rows, columns] = maps(inputs[0])?;
        Ok(vec![rows * columns, channels])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Tokens {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let shape = site.inputs[0];
        let flat = writer.reshape(inputs[0], &[shape[0], shape[1] * shape[2]]);
        Ok(writer.transpose(&flat, &[0, 2, 1]))
    }
}

/// `[T, C]` to `[1 + T, C]`: a learnt token comes first.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassToken {
    /// The token, `[1, 1, C]`.
    pub layer: LayerId,
}

impl Operation for ClassToken {
    fn title(&self) -> Title {
        Title::Function("ClassToken")
    }

    fn layers(&self) -> Vec<LayerId> {
        vec![self.layer]
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [length, width] = sequence(inputs[0])?;
        Ok(vec![length + 1, width])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for ClassToken {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let token = writer.state(&site.parameter(self.layer, 0))?;
        // As many copies as there are images: the batch's length, then [batch, 1, 1].
        let attributes = [Int("start", 0), Int("end", 1)];
        let batch = writer.op("Shape", &[inputs[0]], &attributes);
        let ones = writer.ints("ones", &[1, 1]);
        let shape = writer.op("Concat", &[&batch, &ones], &[Int("axis", 0)]);
        let tokens = writer.op("Expand", &[&token, &shape], &[]);
        Ok(writer.op("Concat", &[&tokens, inputs[0]], &[Int("axis", 1)]))
    }
}

/// `[T, C]` to `[C]`: the first token stands for all.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstToken;

impl Operation for FirstToken {
    fn title(&self) -> Title {
        Title::Function("FirstToken")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [_, width] = sequence(inputs[0])?;
        Ok(vec![width])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for FirstToken {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let zero = writer.scalar("first", 0);
        Ok(writer.op("Gather", &[inputs[0], &zero], &[Int("axis", 1)]))
    }
}

/// Adds a learnt vector to each token.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionEmbedding {
    /// The vectors, `[1, T, C]`.
    pub layer: LayerId,
}

impl Operation for PositionEmbedding {
    fn title(&self) -> Title {
        Title::Function("PositionEmbedding")
    }

    fn layers(&self) -> Vec<LayerId> {
        vec![self.layer]
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        Ok(sequence(inputs[0])?.to_vec())
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for PositionEmbedding {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let positions = writer.state(&site.parameter(self.layer, 0))?;
        Ok(writer.op("Add", &[inputs[0], &positions], &[]))
    }
}

/// `[H, W, C]` to `[⌈H/2⌉, ⌈W/2⌉, 4C]`: the upper left, lower left, upper right and lower right of each two by two
/// positions side by side; a missing last row or column is zero.
#[derive(Debug, Clone, PartialEq)]
pub struct MergePatches;

impl Operation for MergePatches {
    fn title(&self) -> Title {
        Title::Function("PatchMerging")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [rows, columns, channels] = maps(inputs[0])?;
        Ok(vec![rows.div_ceil(2), columns.div_ceil(2), 4 * channels])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for MergePatches {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let shape = site.inputs[0];
        let [height, width, channels] = [shape[0], shape[1], shape[2]];
        let x = writer.pad_maps(inputs[0], height % 2, width % 2);
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        let split = writer.reshape(&x, &[rows, 2, columns, 2, channels]);
        let turned = writer.transpose(&split, &[0, 1, 3, 4, 2, 5]);
        Ok(writer.reshape(&turned, &[rows, columns, 4 * channels]))
    }
}
