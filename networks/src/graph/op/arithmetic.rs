//! Sums, products, factors and summands.

use super::operation::{Exported, Operation, Site, Title};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// The sum of two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Add;

impl Operation for Add {
    fn title(&self) -> Title {
        Title::Function("Add")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        match inputs[0] == inputs[1] {
            true => Ok(inputs[0].to_vec()),
            false => Err("adds values of different shapes"),
        }
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Add {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(writer.op("Add", inputs, &[]))
    }
}

/// Maps times a gate: one number per channel, one for each position, or one for each of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Multiply;

impl Operation for Multiply {
    fn title(&self) -> Title {
        Title::Function("Multiply")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let fits = |(&gate, &length): (&usize, &usize)| gate == 1 || gate == length;
        let is_gate =
            inputs[1].len() == inputs[0].len() && inputs[1].iter().zip(inputs[0]).all(fits);
        match is_gate {
            true => Ok(inputs[0].to_vec()),
            false => Err("takes a gate of other lengths"),
        }
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Multiply {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(writer.op("Mul", inputs, &[]))
    }
}

/// A learnt factor per channel of maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// The factors, `[C, 1, 1]`.
    pub layer: LayerId,
}

impl Operation for Scale {
    fn title(&self) -> Title {
        Title::Function("LayerScale")
    }

    fn layers(&self) -> Vec<LayerId> {
        vec![self.layer]
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        Ok(inputs[0].to_vec())
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Scale {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let factors = writer.state(&site.parameter(self.layer, 0))?;
        Ok(writer.op("Mul", &[inputs[0], &factors], &[]))
    }
}

/// A constant factor and summand per channel of maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// The factors.
    pub scale: Vec<f32>,
    /// The summands.
    pub shift: Vec<f32>,
}

impl Operation for Affine {
    fn title(&self) -> Title {
        Title::Function("Affine")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        Ok(inputs[0].to_vec())
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for Affine {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let channels = [1, self.scale.len(), 1, 1];
        let scale = writer.floats("scale", &channels, &self.scale);
        let shift = writer.floats("shift", &channels, &self.shift);
        let scaled = writer.op("Mul", &[inputs[0], &scale], &[]);
        Ok(writer.op("Add", &[&scaled, &shift], &[]))
    }
}
