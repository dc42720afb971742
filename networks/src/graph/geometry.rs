//! How the windows of convolutions lie over maps.

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
