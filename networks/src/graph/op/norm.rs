//! Norms: what comes in, less its mean and divided by its deviation, times a learnt factor plus a learnt summand.

use super::{Operation, Site, Title, maps};
use crate::graph::{LayerId, LayerKind, LayerSpec};
use crate::onnx::Attribute::{Float, Int};
use crate::onnx::{Name, OnnxError, Writer};

/// Batch norm over channels.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// Its parameters and running statistics.
    pub layer: LayerId,
}

impl Operation for BatchNorm {
    fn title(&self) -> Title {
        Title::Module("BatchNorm2d")
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

    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let spec = &site.layers[self.layer.0];
        let epsilon = match spec.kind {
            LayerKind::BatchNorm { norm, .. } => norm.epsilon,
            _ => 1e-5,
        };
        let weight = writer.state(&spec.tensor("weight"))?;
        let bias = writer.state(&spec.tensor("bias"))?;
        let mean = writer.state(&spec.tensor("running_mean"))?;
        let variance = writer.state(&spec.tensor("running_var"))?;
        let inputs = [inputs[0], &weight, &bias, &mean, &variance];
        let epsilon = Float("epsilon", epsilon as f32);
        Ok(writer.op("BatchNormalization", &inputs, &[epsilon]))
    }
}

/// Layer norm over the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// Its parameters.
    pub layer: LayerId,
}

impl Operation for LayerNorm {
    fn title(&self) -> Title {
        Title::Module("LayerNorm")
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

    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        layer_norm(self.layer, site, inputs[0], writer)
    }
}

/// Layer norm over the channels of maps `[C, H, W]`, at each position.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelLayerNorm {
    /// Its parameters.
    pub layer: LayerId,
}

impl Operation for ChannelLayerNorm {
    fn title(&self) -> Title {
        Title::Module("LayerNorm2d")
    }

    fn layers(&self) -> Vec<LayerId> {
        vec![self.layer]
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

    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let last = writer.transpose(inputs[0], &[0, 2, 3, 1]);
        let normed = layer_norm(self.layer, site, &last, writer)?;
        Ok(writer.transpose(&normed, &[0, 3, 1, 2]))
    }
}

fn layer_norm(
    layer: LayerId,
    site: &Site,
    x: &str,
    writer: &mut Writer,
) -> Result<Name, OnnxError> {
    let epsilon = match site.layers[layer.0].kind {
        LayerKind::LayerNorm { epsilon, .. } => epsilon,
        _ => 1e-5,
    };
    let weight = writer.state(&site.parameter(layer, 0))?;
    let bias = writer.state(&site.parameter(layer, 1))?;
    let attributes = [Int("axis", -1), Float("epsilon", epsilon as f32)];
    Ok(writer.op("LayerNormalization", &[x, &weight, &bias], &attributes))
}
