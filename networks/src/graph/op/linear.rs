//! Linear maps.

use super::operation::{Exported, Operation, Site, Title};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// A linear map of the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Its weight and bias.
    pub layer: LayerId,
}

impl Operation for Linear {
    fn title(&self) -> Title {
        Title::Module("Linear")
    }

    fn layers(&self) -> Vec<LayerId> {
        vec![self.layer]
    }

    fn shape(&self, inputs: &[&[usize]], layers: &[LayerSpec]) -> Result<Vec<usize>, &'static str> {
        let mut shape = inputs[0].to_vec();
        match (shape.last_mut(), layers[self.layer.0].projection()) {
            (Some(last), Some([input, output])) if *last == input => *last = output,
            _ => return Err("takes vectors of another length"),
        }
        Ok(shape)
    }

    fn multiply_adds(&self, site: &Site) -> u64 {
        let width = site.output.last().copied().unwrap_or(1);
        let positions = site.count() / width.max(1) as u64;
        site.layers[self.layer.0].multiply_adds_at(positions)
    }
}

impl Exported for Linear {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let spec = &site.layers[self.layer.0];
        let names = spec.parameters();
        let weight = spec.tensor("weight");
        let (_, numbers) = writer.values(&weight)?;
        let bias = match names.get(1) {
            Some((name, _)) => Some(writer.values(name)?.1),
            None => None,
        };
        writer.projected(inputs[0], &weight, numbers, bias)
    }
}
