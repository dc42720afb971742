//! Elementwise functions.

use super::operation::{Exported, Operation, Site, Title};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::Float;
use crate::onnx::{Name, OnnxError, Writer};

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonlinearity {
    /// max(0, x)
    Relu,
    /// min(max(0, x), 6)
    Relu6,
    /// x · sigmoid(x)
    Silu,
    /// x · relu6(x + 3) / 6
    HardSwish,
    /// relu6(x + 3) / 6
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x · Φ(x), by the error function
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Nonlinearity {
    /// PyTorch's name for the module.
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::Relu => "ReLU",
            Self::Relu6 => "ReLU6",
            Self::Silu => "SiLU",
            Self::HardSwish => "Hardswish",
            Self::HardSigmoid => "Hardsigmoid",
            Self::Sigmoid => "Sigmoid",
            Self::Gelu => "GELU",
            Self::Tanh => "Tanh",
        }
    }
}

/// An elementwise function at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Activate(pub Nonlinearity);

impl Operation for Activate {
    fn title(&self) -> Title {
        Title::Module(self.0.torch_name())
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

impl Exported for Activate {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let x = inputs[0];
        Ok(match self.0 {
            Nonlinearity::Relu => writer.op("Relu", &[x], &[]),
            Nonlinearity::Relu6 => {
                let low = writer.floats("low", &[], &[0.0]);
                let high = writer.floats("high", &[], &[6.0]);
                writer.op("Clip", &[x, &low, &high], &[])
            }
            Nonlinearity::Sigmoid => writer.op("Sigmoid", &[x], &[]),
            Nonlinearity::Silu => {
                let gate = writer.op("Sigmoid", &[x], &[]);
                writer.op("Mul", &[x, &gate], &[])
            }
            Nonlinearity::HardSigmoid => {
                let attributes = [Float("alpha", 1.0 / 6.0), Float("beta", 0.5)];
                writer.op("HardSigmoid", &[x], &attributes)
            }
            Nonlinearity::HardSwish => writer.op("HardSwish", &[x], &[]),
            Nonlinearity::Gelu => writer.op("Gelu", &[x], &[]),
            Nonlinearity::Tanh => writer.op("Tanh", &[x], &[]),
        })
    }
}
