//! Channels of maps put together, taken apart and turned around.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::Int;
use crate::onnx::{Name, OnnxError, Writer};

/// Maps `[C, H, W]` side by side along the channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Concat;

impl Operation for Concat {
    fn title(&self) -> Title {
        Title::Function("Concat")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [_, rows, columns] = maps(inputs[0])?;
        let mut channels = 0;
        for input in inputs {
            let [more, height, width] = maps(input)?;
            if [height, width] != [rows, columns] {
                return Err("joins maps of different sizes");
            }
            channels += more;
        }
        Ok(vec![channels, rows, columns])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Concat {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(writer.op("Concat", inputs, &[Int("axis", 1)]))
    }
}

/// A part of the channels of maps `[C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// How many parts.
    pub parts: usize,
    /// Which of them.
    pub index: usize,
}

impl Operation for Chunk {
    fn title(&self) -> Title {
        Title::Function("Chunk")
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
        Ok(vec![channels / self.parts, rows, columns])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Chunk {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let width = site.output[0];
        Ok(writer.slice(inputs[0], 1, self.index * width, (self.index + 1) * width))
    }
}

/// Channels `[groups, n]` of maps turned to `[n, groups]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelShuffle {
    /// The groups.
    pub groups: usize,
}

impl Operation for ChannelShuffle {
    fn title(&self) -> Title {
        Title::Function("ChannelShuffle")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        Ok(maps(inputs[0])?.to_vec())
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for ChannelShuffle {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let shape = site.inputs[0];
        let [channels, rows, columns] = [shape[0], shape[1], shape[2]];
        let groups = self.groups;
        let split = writer.reshape(inputs[0], &[groups, channels / groups, rows * columns]);
        let turned = writer.transpose(&split, &[0, 2, 1, 3]);
        Ok(writer.reshape(&turned, &[channels, rows, columns]))
    }
}
