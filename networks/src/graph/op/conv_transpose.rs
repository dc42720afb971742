//! Transposed convolutions.

use super::{Exported, Operation, Site, Title, maps};
use crate::graph::convolution::ConvTranspose;
use crate::graph::{LayerId, LayerSpec};
use crate::onnx::Attribute::{Int, Ints};
use crate::onnx::{Name, OnnxError, Writer};

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
        let [_, rows, columns] = maps(inputs[0])?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_counted_as_pytorch_counts_them() {
        // torch.nn.ConvTranspose2d(…)(zeros(1, c, 5, 7)).shape
        let count = |conv: ConvTranspose| conv.outputs([5, 7]);
        assert_eq!(count(ConvTranspose::new(1, 2).stride(2)), Some([10, 14]));
        let odd = ConvTranspose::new(1, 3).stride(2).padding(1);
        assert_eq!(count(odd.clone()), Some([9, 13]));
        assert_eq!(count(odd.output_padding(1)), Some([10, 14]));
        let wide = ConvTranspose::rectangle(1, [3, 4])
            .stride(3)
            .dilation(2)
            .padding(2);
        assert_eq!(count(wide), Some([13, 21]));
        assert_eq!(count(ConvTranspose::new(1, 1).padding(2)), Some([1, 3]));
    }

    #[test]
    fn nothing_comes_out_of_nothing() {
        assert_eq!(ConvTranspose::new(1, 3).outputs([0, 4]), None);
        assert_eq!(ConvTranspose::new(1, 1).padding(2).outputs([4, 9]), None);
    }
}
