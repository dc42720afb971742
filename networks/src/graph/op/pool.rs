//! Pools: the largest value or the mean of windows, and means over regions.

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::Attribute::{self, Int, Ints};
use crate::onnx::{Name, OnnxError, Writer};

/// A window that slides over maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border on every side, which a maximum never picks and an average counts as zeros.
    pub padding: usize,
    /// Whether windows that hang over the far edge count.
    pub ceil: bool,
}

impl Pool {
    /// Without padding, rounded down.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self {
            kernel,
            stride,
            padding: 0,
            ceil: false,
        }
    }

    /// With a border.
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Rounded up.
    pub const fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// Outputs along an axis of `input` positions, as PyTorch counts them; `None` when the window
    /// does not fit.
    pub fn outputs(&self, input: usize) -> Option<usize> {
        let span = (input + 2 * self.padding) as isize - self.kernel as isize;
        let stride = self.stride as isize;
        if !self.ceil {
            return (span >= 0).then(|| (span / stride) as usize + 1);
        }
        // Rounded up, a window larger than the input still counts once.
        let count = usize::try_from((span + stride - 1).div_euclid(stride) + 1).ok()?;
        if count == 0 {
            return None;
        }
        // A window that would start in the far border is not counted.
        let starts_outside = (count - 1) * self.stride >= input + self.padding;
        Some(if starts_outside { count - 1 } else { count })
    }
}

impl Pool {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>, &'static str> {
        let [channels, rows, columns] = maps(input)?;
        let fits = "needs a larger input than its window";
        let outputs = |input: usize| self.outputs(input).ok_or(fits);
        Ok(vec![channels, outputs(rows)?, outputs(columns)?])
    }

    fn onnx(&self, op: &str, x: &str, more: &[Attribute<'_>], writer: &mut Writer) -> Name {
        let (kernel, stride) = (self.kernel as i64, self.stride as i64);
        let mut attributes = vec![
            Ints("kernel_shape", vec![kernel; 2]),
            Ints("strides", vec![stride; 2]),
            Ints("pads", vec![self.padding as i64; 4]),
            Int("ceil_mode", i64::from(self.ceil)),
        ];
        attributes.extend(more.iter().cloned());
        writer.op(op, &[x], &attributes)
    }
}

/// The largest value of each window.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool(pub Pool);

impl Operation for MaxPool {
    fn title(&self) -> Title {
        Title::Module("MaxPool2d")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        self.0.shape(inputs[0])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for MaxPool {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        Ok(self.0.onnx("MaxPool", inputs[0], &[], writer))
    }
}

/// The mean of each window.
#[derive(Debug, Clone, PartialEq)]
pub struct AvgPool(pub Pool);

impl Operation for AvgPool {
    fn title(&self) -> Title {
        Title::Module("AvgPool2d")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        self.0.shape(inputs[0])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for AvgPool {
    fn onnx(&self, _site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let counted = [Int("count_include_pad", 1)];
        Ok(self.0.onnx("AveragePool", inputs[0], &counted, writer))
    }
}

/// Means over as many regions as there shall be outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptiveAvgPool {
    /// Rows and columns of regions.
    pub size: [usize; 2],
}

impl Operation for AdaptiveAvgPool {
    fn title(&self) -> Title {
        Title::Module("AdaptiveAvgPool2d")
    }

    fn layers(&self) -> Vec<LayerId> {
        Vec::new()
    }

    fn shape(
        &self,
        inputs: &[&[usize]],
        _layers: &[LayerSpec],
    ) -> Result<Vec<usize>, &'static str> {
        let [rows, columns] = self.size;
        Ok(vec![maps(inputs[0])?[0], rows, columns])
    }

    fn multiply_adds(&self, _site: &Site) -> u64 {
        0
    }
}

impl Exported for AdaptiveAvgPool {
    /// The mean over a rectangle is the mean over its rows of the means over its columns: two matrix
    /// products, whatever the sizes.
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        let x = inputs[0];
        let [rows, columns] = self.size;
        let [height, width] = [site.inputs[0][1], site.inputs[0][2]];
        if [rows, columns] == [1, 1] {
            return Ok(writer.op("GlobalAveragePool", &[x], &[]));
        }
        if [rows, columns] == [height, width] {
            return Ok(x.to_owned());
        }
        let means = |from: usize, to: usize| -> Vec<f32> {
            let mut matrix = vec![0.0; to * from];
            for region in 0..to {
                let start = region * from / to;
                let end = ((region + 1) * from).div_ceil(to);
                matrix[region * from + start..region * from + end].fill(1.0 / (end - start) as f32);
            }
            matrix
        };
        let down = writer.floats("row_means", &[rows, height], &means(height, rows));
        // [columns, width] to [width, columns]
        let across = means(width, columns);
        let across: Vec<f32> = (0..across.len())
            .map(|index| across[index % columns * width + index / columns])
            .collect();
        let across = writer.floats("column_means", &[width, columns], &across);
        let x = writer.op("MatMul", &[&down, x], &[]);
        Ok(writer.op("MatMul", &[&x, &across], &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_count_their_outputs_as_pytorch_does() {
        // torch.nn.MaxPool2d(3, 2, ceil_mode=True) on 111 → 55; MaxPool2d(2, 2, ceil_mode=True) on
        // 7 → 4; MaxPool2d(3, 2, 1) on 112 → 56; MaxPool2d(2, 2, 1, ceil_mode=True) on 3 → 2.
        assert_eq!(Pool::new(3, 2).ceil().outputs(111), Some(55));
        assert_eq!(Pool::new(2, 2).ceil().outputs(7), Some(4));
        assert_eq!(Pool::new(3, 2).padding(1).outputs(112), Some(56));
        assert_eq!(Pool::new(2, 2).padding(1).ceil().outputs(3), Some(2));
        assert_eq!(Pool::new(3, 2).outputs(2), None);
        assert_eq!(Pool::new(3, 2).ceil().outputs(2), Some(1));
    }
}
