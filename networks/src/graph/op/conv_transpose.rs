//! Transposed convolutions.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::{Int, Ints};
use crate::onnx::{Name, OnnxError, Writer};

use crate::graph::geometry::ConvTranspose;

/// A transposed convolution over maps `[C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TransposedConvolution {
    /// Its geometry.
    pub conv: ConvTranspose,
    /// Its weight and bias.
    pub layer: LayerId,
}

impl Operation for TransposedConvolution {
    fn title(&self) -> Title {
        Title::Module("ConvTranspose2d")
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
        let conv = &self.conv;
        let groups = conv.groups.max(1);
        if !channels.is_multiple_of(groups) || !conv.filters.is_multiple_of(groups) {
            return Err("needs channels that divide into its groups");
        }
        if (0..2)
            .any(|axis| conv.output_padding[axis] >= conv.stride[axis].max(conv.dilation[axis]))
        {
            return Err("pads its output by its stride and its dilation or more");
        }
        let outputs = self.conv.outputs([rows, columns]);
        let [rows, columns] = outputs.ok_or("cuts off all that it makes")?;
        Ok(vec![self.conv.filters, rows, columns])
    }

    fn multiply_adds(&self, site: &Site) -> u64 {
        let pixels: usize = site.inputs[0].iter().product();
        let [rows, columns] = self.conv.kernel;
        (pixels * self.conv.filters / self.conv.groups * rows * columns) as u64
    }
}

impl Exported for TransposedConvolution {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let conv = &self.conv;
        let both = |pair: [usize; 2]| pair.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let [rows, columns] = conv.padding;
        let attributes = [
            Ints("kernel_shape", both(conv.kernel)),
            Ints("strides", both(conv.stride)),
            Ints(
                "pads",
                [rows, columns, rows, columns].map(|n| n as i64).to_vec(),
            ),
            Ints("output_padding", both(conv.output_padding)),
            Ints("dilations", both(conv.dilation)),
            Int("group", conv.groups as i64),
        ];
        let weight = writer.state(&site.parameter(self.layer, 0))?;
        if !conv.bias {
            return Ok(writer.op("ConvTranspose", &[inputs[0], &weight], &attributes));
        }
        let bias = writer.state(&site.parameter(self.layer, 1))?;
        Ok(writer.op("ConvTranspose", &[inputs[0], &weight, &bias], &attributes))
    }
}
