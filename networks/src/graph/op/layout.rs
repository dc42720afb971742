//! Axes in another order.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::Int;
use crate::onnx::{Name, OnnxError, Writer};

/// `[C, H, W]` to `[H, W, C]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelsLast;

impl Operation for ChannelsLast {
    fn title(&self) -> Title {
        Title::Module("Permute")
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
        Ok(vec![rows, columns, channels])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for ChannelsLast {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(writer.transpose(inputs[0], &[0, 2, 3, 1]))
    }
}

/// `[H, W, C]` to `[C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelsFirst;

impl Operation for ChannelsFirst {
    fn title(&self) -> Title {
        Title::Module("Permute")
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
        Ok(vec![channels, rows, columns])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for ChannelsFirst {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(writer.transpose(inputs[0], &[0, 3, 1, 2]))
    }
}

/// Everything in a row, as PyTorch flattens it: channel by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Flatten;

impl Operation for Flatten {
    fn title(&self) -> Title {
        Title::Function("Flatten")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        Ok(vec![inputs[0].iter().product()])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Flatten {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(writer.op("Flatten", &[inputs[0]], &[Int("axis", 1)]))
    }
}
