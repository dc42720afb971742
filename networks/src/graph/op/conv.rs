//! Convolutions.

use super::{Exported, Operation, Site, Title, maps};
use crate::graph::{LayerId, LayerKind, LayerSpec};
use crate::onnx::Attribute::{Int, Ints};
use crate::onnx::{Name, OnnxError, Writer};

/// A two-dimensional convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Channels it puts out.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step between outputs, per axis.
    pub stride: [usize; 2],
    /// What surrounds the input.
    pub padding: Padding,
    /// Distance between the kernel's elements, per axis.
    pub dilation: [usize; 2],
    /// Input and output channels are split into so many groups that do not see each other.
    pub groups: usize,
    /// Whether a number per filter is added.
    pub bias: bool,
}

/// What surrounds a convolution's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// So many zeros on either side of each axis.
    Symmetric([usize; 2]),
    /// TensorFlow's: as many as it takes for `⌈input / stride⌉` outputs, the odd one at the end.
    Same,
}

impl Conv {
    /// A square kernel as torchvision builds most of them: stride 1, padding that keeps the size, no
    /// bias because a batch norm follows.
    pub const fn new(filters: usize, kernel: usize) -> Self {
        Self::rectangle(filters, [kernel, kernel])
    }

    /// The same with a kernel of any shape.
    pub const fn rectangle(filters: usize, kernel: [usize; 2]) -> Self {
        Self {
            filters,
            kernel,
            stride: [1, 1],
            padding: Padding::Symmetric([(kernel[0] - 1) / 2, (kernel[1] - 1) / 2]),
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

    /// With so many zeros on every side.
    pub const fn padding(self, padding: usize) -> Self {
        Self {
            padding: Padding::Symmetric([padding, padding]),
            ..self
        }
    }

    /// Padded as TensorFlow does.
    pub const fn same(self) -> Self {
        Self {
            padding: Padding::Same,
            ..self
        }
    }

    /// Zeros before and after each axis of maps of this height and width.
    pub fn padding_of(&self, size: [usize; 2]) -> [(usize, usize); 2] {
        match self.padding {
            Padding::Symmetric(padding) => padding.map(|padding| (padding, padding)),
            Padding::Same => [0, 1].map(|axis| {
                let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
                let outputs = size[axis].div_ceil(self.stride[axis]);
                let total = ((outputs - 1) * self.stride[axis] + reach).saturating_sub(size[axis]);
                (total / 2, total - total / 2)
            }),
        }
    }

    /// With so many positions from one element of the kernel to the next, and padding that keeps the size.
    pub const fn dilation(self, dilation: usize) -> Self {
        Self {
            padding: Padding::Symmetric([
                dilation * ((self.kernel[0] - 1) / 2),
                dilation * ((self.kernel[1] - 1) / 2),
            ]),
            dilation: [dilation, dilation],
            ..self
        }
    }

    /// Outputs along each axis of maps of this height and width; `None` where the kernel does not fit.
    pub fn outputs(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| match self.padding {
            Padding::Same => Some(size[axis].div_ceil(self.stride[axis])),
            Padding::Symmetric(padding) => {
                let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
                let span = (size[axis] + 2 * padding[axis]).checked_sub(reach)?;
                Some(span / self.stride[axis] + 1)
            }
        };
        Some([along(0)?, along(1)?])
    }

    /// In so many groups.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With a bias.
    pub const fn bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

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
        let [_, rows, columns] = maps(inputs[0])?;
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
