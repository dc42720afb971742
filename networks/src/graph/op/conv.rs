//! Convolutions.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerKind, LayerSpec};
use crate::onnx::Attribute::{Int, Ints};
use crate::onnx::{Name, OnnxError, Writer};

use crate::graph::geometry::Conv;

/// A convolution over maps `[C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Its geometry.
    pub conv: Conv,
    /// Its weight and bias.
    pub layer: LayerId,
}

impl Operation for Convolution {
    fn title(&self) -> Title {
        Title::Module("Conv2d")
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
        let groups = self.conv.groups.max(1);
        if !channels.is_multiple_of(groups) || !self.conv.filters.is_multiple_of(groups) {
            return Err("needs channels that divide into its groups");
        }
        let outputs = self.conv.outputs([rows, columns]);
        let [rows, columns] = outputs.ok_or("needs a larger input than its kernel")?;
        Ok(vec![self.conv.filters, rows, columns])
    }

    fn multiply_adds(&self, site: &Site) -> u64 {
        match site.layers[self.layer.0].kind {
            LayerKind::Conv { input, .. } => {
                let [rows, columns] = self.conv.kernel;
                site.count() * (rows * columns * input / self.conv.groups) as u64
            }
            _ => 0,
        }
    }
}

impl Exported for Convolution {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let conv = &self.conv;
        let [rows, columns] = conv.padding_of([site.inputs[0][1], site.inputs[0][2]]);
        let pads = [rows.0, columns.0, rows.1, columns.1];
        let both = |pair: [usize; 2]| pair.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let attributes = [
            Ints("kernel_shape", both(conv.kernel)),
            Ints("strides", both(conv.stride)),
            Ints("pads", pads.iter().map(|&n| n as i64).collect()),
            Ints("dilations", both(conv.dilation)),
            Int("group", conv.groups as i64),
        ];
        let weight = writer.state(&site.parameter(self.layer, 0))?;
        if !conv.bias {
            return Ok(writer.op("Conv", &[inputs[0], &weight], &attributes));
        }
        let bias = writer.state(&site.parameter(self.layer, 1))?;
        Ok(writer.op("Conv", &[inputs[0], &weight, &bias], &attributes))
    }
}
