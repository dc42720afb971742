//! What is left out at random in training, and lets everything through otherwise.

use super::operation::{Exported, Operation, Site, Title};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// In training, zeroes this share of the values and makes up for it in the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropout {
    /// The share, from 0 to below 1.
    pub share: f64,
}

impl Operation for Dropout {
    fn title(&self) -> Title {
        Title::Module("Dropout")
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

impl Exported for Dropout {
    fn onnx(&self, _site: &Site, inputs: &[&str], _: &mut Writer) -> Result<Name, OnnxError> {
        Ok(inputs[0].to_owned())
    }
}

/// In training, zeroes the residual branches of this share of the images and makes up for it in the others (Huang et
/// al., *Deep Networks with Stochastic Depth*, <https://arxiv.org/abs/1603.09382>; torchvision's mode "row").
#[derive(Debug, Clone, PartialEq)]
pub struct StochasticDepth {
    /// The share, from 0 to below 1.
    pub share: f64,
}

impl Operation for StochasticDepth {
    fn title(&self) -> Title {
        Title::Module("StochasticDepth")
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

impl Exported for StochasticDepth {
    fn onnx(&self, _site: &Site, inputs: &[&str], _: &mut Writer) -> Result<Name, OnnxError> {
        Ok(inputs[0].to_owned())
    }
}
