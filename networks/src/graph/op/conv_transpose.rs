//! Transposed convolutions.

use super::{Exported, Operation, Site, Title, maps};
use crate::graph::{LayerId, LayerSpec};
use crate::onnx::Attribute::{Int, Ints};
use crate::onnx::{Name, OnnxError, Writer};

/// A two-dimensional transposed convolution (`torch.nn.ConvTranspose2d`): the gradient of a convolution's input,
/// taken as a layer. Each input pixel adds its window of weights to the output.
///
/// Its weight is `[input channels, filters / groups, rows, columns]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConvTranspose {
    /// Channels it puts out.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Output pixels from one window to the next, per axis.
    pub stride: [usize; 2],
    /// Output pixels cut off at either end of each axis.
    pub padding: [usize; 2],
    /// Output pixels added at the far end of each axis, since several input sizes of the convolution behind it share
    /// an output size. Less than the stride or less than the dilation, as PyTorch demands.
    pub output_padding: [usize; 2],
    /// Distance between the kernel's elements, per axis.
    pub dilation: [usize; 2],
    /// Input and output channels are split into so many groups that do not see each other.
    pub groups: usize,
    /// Whether a number per filter is added.
    pub bias: bool,
}

impl ConvTranspose {
    /// A square kernel with PyTorch's defaults, but without a bias: stride 1, nothing cut off.
    pub const fn new(filters: usize, kernel: usize) -> Self {
        Self::rectangle(filters, [kernel, kernel])
    }

    /// The same with a kernel of any shape.
    pub const fn rectangle(filters: usize, kernel: [usize; 2]) -> Self {
        Self {
            filters,
            kernel,
            stride: [1, 1],
            padding: [0, 0],
            output_padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
            bias: false,
        }
    }

    /// With this step along both axes.
    pub const fn stride(self, stride: usize) -> Self {
        Self {
            stride: [stride, stride],
            ..self
        }
    }

    /// With so many pixels cut off on every side.
    pub const fn padding(self, padding: usize) -> Self {
        Self {
            padding: [padding, padding],
            ..self
        }
    }

    /// With so many pixels more below and to the right.
    pub const fn output_padding(self, output_padding: usize) -> Self {
        Self {
            output_padding: [output_padding, output_padding],
            ..self
        }
    }

    /// With this distance between the kernel's elements.
    pub const fn dilation(self, dilation: usize) -> Self {
        Self {
            dilation: [dilation, dilation],
            ..self
        }
    }

    /// In so many groups.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With a bias.
    pub const fn bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// Rows and columns that come out of maps of so many; `None` where there are none to come in, or where the
    /// padding cuts off everything.
    pub fn outputs(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let reach = self.dilation[axis] * (self.kernel[axis].checked_sub(1)?) + 1;
            let steps = input[axis].checked_sub(1)?.checked_mul(self.stride[axis])?;
            let whole = steps.checked_add(reach + self.output_padding[axis])?;
            whole
                .checked_sub(2 * self.padding[axis])
                .filter(|&outputs| outputs > 0)
        };
        Some([along(0)?, along(1)?])
    }
}

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
