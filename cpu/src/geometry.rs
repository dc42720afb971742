//! What a convolution does to the shape of maps, and its weights as they come.

/// What a convolution does to the shape of maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvGeometry {
    /// Channels of the maps read.
    pub input: usize,
    /// Channels of the maps written.
    pub output: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Pixels from one output to the next, down and across.
    pub stride: [usize; 2],
    /// Zeros above and to the left; what is missing below and to the right follows from the output's
    /// size.
    pub padding: [usize; 2],
    /// Pixels from one tap to the next, down and across.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see one another.
    pub groups: usize,
}

impl ConvGeometry {
    /// A linear layer: one tap.
    pub fn pointwise(input: usize, output: usize) -> Self {
        Self {
            input,
            output,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// On one axis, the taps of output `at` that lie within a map of a size, from and to, and where
    /// the first of them reads.
    pub(crate) fn clip(&self, axis: usize, at: usize, size: usize) -> (usize, usize, usize) {
        let (dilation, padding) = (self.dilation[axis], self.padding[axis]);
        let start = at * self.stride[axis];
        let last = (size + padding).saturating_sub(start).div_ceil(dilation);
        let last = last.min(self.kernel[axis]);
        let first = padding.saturating_sub(start).div_ceil(dilation).min(last);
        (
            first,
            last,
            (start + first * dilation).wrapping_sub(padding),
        )
    }

    /// Panics unless the numbers make sense together.
    pub(crate) fn check(&self) {
        assert!(
            self.groups > 0
                && self.input.is_multiple_of(self.groups)
                && self.output.is_multiple_of(self.groups),
            "{} groups do not divide {} and {} channels",
            self.groups,
            self.input,
            self.output
        );
        assert!(
            self.kernel
                .iter()
                .chain(&self.stride)
                .chain(&self.dilation)
                .all(|&n| n > 0),
            "kernel, stride and dilation are at least 1: {self:?}"
        );
    }
}

/// A layer's weights as they come.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[output, input / groups, kernel rows, kernel columns]`, or `[output, input]`.
    pub numbers: &'a [f32],
    /// What the numbers of each output are multiplied by; empty if by nothing.
    pub factors: &'a [f32],
}

impl<'a> From<&'a [f32]> for Weights<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Self {
            numbers,
            factors: &[],
        }
    }
}

/// A layer's weights where they lie, in whichever order.
#[derive(Clone, Debug)]
pub(crate) struct Filters<'a> {
    numbers: &'a [f32],
    factors: &'a [f32],
    /// Outputs of a group.
    width: usize,
    /// From one group to the next, from one of its outputs to the next, and from one of its inputs.
    steps: [usize; 3],
    /// Where the taps lie.
    taps: Vec<usize>,
}

impl<'a> Filters<'a> {
    /// Weights `[output, input / groups, kernel rows, kernel columns]`.
    pub(crate) fn new(weights: Weights<'a>, geometry: &ConvGeometry) -> Self {
        let (each, depth) = (geometry.taps(), geometry.input / geometry.groups);
        let width = geometry.output / geometry.groups;
        Self {
            numbers: weights.numbers,
            factors: weights.factors,
            width,
            steps: [width * depth * each, depth * each, each],
            taps: (0..each).collect(),
        }
    }

    /// Some taps of weights `[input, output / groups, kernel rows, kernel columns]`.
    pub(crate) fn turned(weights: Weights<'a>, geometry: &ConvGeometry, taps: Vec<usize>) -> Self {
        let (each, depth) = (geometry.taps(), geometry.input / geometry.groups);
        let width = geometry.output / geometry.groups;
        Self {
            numbers: weights.numbers,
            factors: weights.factors,
            width,
            steps: [depth * width * each, each, width * each],
            taps,
        }
    }

    /// The factor of an output.
    pub(crate) fn factor(&self, output: usize) -> f32 {
        self.factors.get(output).copied().unwrap_or(1.0)
    }

    /// The numbers from those of an output and an input of its group on, without the factor: the taps are where
    /// [`Filters::taps`] says.
    #[inline(always)]
    pub(crate) fn from(&self, output: usize, k: usize) -> &'a [f32] {
        let [of_group, of_output, of_input] = self.steps;
        let (group, output) = (output / self.width, output % self.width);
        &self.numbers[group * of_group + output * of_output + k * of_input..]
    }

    /// Where the taps lie.
    pub(crate) fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// A weight times its factor.
    #[inline(always)]
    pub(crate) fn weight(&self, output: usize, k: usize, tap: usize) -> f32 {
        self.from(output, k)[self.taps[tap]] * self.factor(output)
    }

    /// Elements from one output of a group to the next.
    pub(crate) fn output_step(&self) -> usize {
        self.steps[1]
    }

    /// Whether all numbers of an output lie together, `[inputs of the group][taps]`.
    pub(crate) fn has_whole_outputs(&self) -> bool {
        self.steps[2] == self.taps.len() && self.taps.iter().copied().eq(0..self.taps.len())
    }
}
