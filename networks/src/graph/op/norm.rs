//! Norms: what comes in, less its mean and divided by its deviation, times a learnt factor plus a learnt summand.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerKind, LayerSpec};
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
}

impl Exported for BatchNorm {
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
}

impl Exported for LayerNorm {
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
}

impl Exported for ChannelLayerNorm {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let last = writer.transpose(inputs[0], &[0, 2, 3, 1]);
        let normed = layer_norm(self.layer, site, &last, writer)?;
        Ok(writer.transpose(&normed, &[0, 3, 1, 2]))
    }
}

/// Norm over groups of channels and all positions of maps `[C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNorm {
    /// Its parameters.
    pub layer: LayerId,
    /// How many groups.
    pub groups: usize,
}

impl Operation for GroupNorm {
    fn title(&self) -> Title {
        Title::Module("GroupNorm")
    }

    fn layers(&self) -> Vec<LayerId> {
        vec![self.layer]
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [channels, rows, columns] = maps(inputs[0])?;
        match self.groups > 0 && channels.is_multiple_of(self.groups) {
            true => Ok(vec![channels, rows, columns]),
            false => Err("needs channels that divide into its groups"),
        }
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for GroupNorm {
    /// Before operator set 21 ONNX's group norm has a factor a group; so each group is normalised as an instance.
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let shape = site.inputs[0];
        let epsilon = match site.layers[self.layer.0].kind {
            LayerKind::GroupNorm { epsilon, .. } => epsilon,
            _ => 1e-5,
        };
        let rest = shape.iter().product::<usize>() / self.groups;
        let split = writer.reshape(inputs[0], &[self.groups, rest]);
        let ones = writer.floats("ones", &[self.groups], &vec![1.0; self.groups]);
        let zeros = writer.floats("zeros", &[self.groups], &vec![0.0; self.groups]);
        let epsilon = [Float("epsilon", epsilon as f32)];
        let normed = writer.op("InstanceNormalization", &[&split, &ones, &zeros], &epsilon);
        let normed = writer.reshape(&normed, shape);
        let channels = [1, shape[0], 1, 1];
        let (_, gamma) = writer.values(&site.parameter(self.layer, 0))?;
        let (_, beta) = writer.values(&site.parameter(self.layer, 1))?;
        let gamma = writer.floats("gamma", &channels, gamma);
        let beta = writer.floats("beta", &channels, beta);
        let scaled = writer.op("Mul", &[&normed, &gamma], &[]);
        Ok(writer.op("Add", &[&scaled, &beta], &[]))
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
