//! Transposed convolutions: for each phase of the stride an ordinary one, with the taps that meet it. Most depthwise
//! ones have code of their own.

#![allow(unsafe_code)] // The lines of an output are written in parallel.

use std::ops::Range;

use crate::activation::Activation;
use crate::conv::Conv;
use crate::depthwise_transposed::DepthwiseTransposed;
use crate::elementwise::{activate, add};
use crate::geometry::{ConvGeometry, Filters, Weights};
use crate::simd::Level;
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::{View, ViewMut};

/// A transposed convolution's weights, packed.
///
/// Output pixels that lie a stride apart meet the same taps of the kernel: together they are the output of an
/// ordinary convolution of stride one. So there are as many convolutions as rows times columns of the stride, and no
/// multiplication with the zeros that would otherwise stand between the input's pixels.
#[derive(Debug)]
pub struct ConvTranspose {
    geometry: ConvGeometry,
    bias: Vec<f32>,
    /// Row by row of the stride.
    phases: Vec<Phase>,
    /// All phases at once, where there is code for that.
    whole: Option<DepthwiseTransposed>,
}

/// The output pixels of one phase.
#[derive(Debug)]
struct Phase {
    /// Their place within the stride.
    at: [usize; 2],
    /// The convolution; `None` where no tap meets them.
    conv: Option<Conv>,
    /// How many of the convolution's first outputs are left out, because they lie before the first of these.
    skipped: [usize; 2],
}

/// Along one axis: the taps that meet a phase, the last one first.
struct Taps {
    all: Vec<usize>,
    /// Input pixels from one to the next.
    dilation: usize,
    /// Where the first of them reads for the phase's first pixel.
    start: isize,
}

impl Taps {
    /// Those of output pixels `phase`, `phase + stride` and so on.
    fn of(geometry: &ConvGeometry, axis: usize, phase: usize) -> Self {
        let (stride, dilation) = (geometry.stride[axis], geometry.dilation[axis]);
        // An input pixel's tap lands at pixel · stride + tap · dilation, counted with the padding.
        let place = phase + geometry.padding[axis];
        let meets = |tap: &usize| place % stride == tap * dilation % stride;
        let all: Vec<usize> = (0..geometry.kernel[axis]).filter(meets).rev().collect();
        let between = all.windows(2).map(|pair| (pair[0] - pair[1]) * dilation);
        let last = all.first().copied().unwrap_or(0);
        Self {
            dilation: between.map(|pixels| pixels / stride).next().unwrap_or(1),
            // Divides without a rest.
            start: (place as isize - (last * dilation) as isize) / stride as isize,
            all,
        }
    }
}

impl ConvTranspose {
    /// Packs weights `[input, output / groups, kernel rows, kernel columns]`, with a factor for each output if any, and
    /// a bias `[output]`, or an empty one. The geometry's stride is that of the output, its padding what is cut off
    /// above and to the left. `input_size` is the size of the maps that it will see most: it decides the algorithms, but
    /// maps of any size can be run.
    ///
    /// # Panics
    /// If the lengths do not fit the geometry.
    pub fn new(
        geometry: ConvGeometry,
        weights: Weights<'_>,
        bias: &[f32],
        input_size: [usize; 2],
    ) -> Self {
        geometry.check();
        let each = geometry.output / geometry.groups;
        let needed = geometry.input * each * geometry.taps();
        assert_eq!(weights.numbers.len(), needed, "weights of {geometry:?}");
        assert!(
            bias.is_empty() || bias.len() == geometry.output,
            "a bias of {} numbers for {} channels",
            bias.len(),
            geometry.output
        );
        let [rows, columns] = geometry.stride;
        let phases = (0..rows * columns)
            .map(|phase| {
                let at = [phase / columns, phase % columns];
                Phase::new(&geometry, weights, bias, at, input_size)
            })
            .collect();
        let bias = match bias {
            [] => vec![0.0; geometry.output],
            bias => bias.to_vec(),
        };
        let level = Level::best();
        let whole = DepthwiseTransposed::suits(level, &geometry)
            .then(|| DepthwiseTransposed::new(level, geometry, weights, bias.clone()));
        Self {
            geometry,
            bias,
            phases,
            whole,
        }
    }

    /// The shape.
    pub fn geometry(&self) -> &ConvGeometry {
        &self.geometry
    }

    /// One word for listings.
    pub fn algorithm(&self) -> &'static str {
        "transposed"
    }

    /// Multiply-adds that are carried out for one image of so many rows and columns whose output has so many.
    pub fn multiply_adds(&self, input: [usize; 2], output: [usize; 2]) -> u64 {
        let phases = self.phases.iter().map(|phase| {
            let size = phase.size(&self.geometry, output);
            match &phase.conv {
                Some(conv) if !size.contains(&0) => conv.multiply_adds(input, phase.computed(size)),
                _ => 0,
            }
        });
        phases.sum()
    }

    /// output = activation(conv_transpose(input) + bias \[+ residual\]). The output's rows and columns say how many there
    /// are; what lies beyond the last window's reach is the bias alone.
    ///
    /// # Panics
    /// If the views' shapes do not fit together.
    pub fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        input.check();
        output.check();
        assert_eq!(input.channels, self.geometry.input, "channels of the input");
        assert_eq!(
            output.channels, self.geometry.output,
            "channels of the output"
        );
        assert_eq!(input.batch, output.batch, "maps of input and output");
        if let Some(residual) = &residual {
            residual.check();
            assert_eq!(
                [
                    residual.batch,
                    residual.rows,
                    residual.columns,
                    residual.channels
                ],
                [output.batch, output.rows, output.columns, output.channels],
                "the shape of what is added"
            );
        }
        if output.pixels() == 0 || output.channels == 0 {
            return;
        }
        if let Some(whole) = &self.whole {
            return whole.run(input, residual, activation, output);
        }
        // Without a stride the one convolution's output is all of it.
        if let [
            Phase {
                conv: Some(conv),
                skipped: [0, 0],
                ..
            },
        ] = &self.phases[..]
        {
            return conv.run(input, residual, activation, output);
        }
        let to = Target {
            batch: output.batch,
            rows: output.rows,
            columns: output.columns,
            channels: output.channels,
            pitch: output.pitch,
            data: Output::new(output.data),
            residual,
            activation,
        };
        for phase in &self.phases {
            phase.run(&self.geometry, input, &self.bias, &to);
        }
    }
}

impl Phase {
    fn new(
        geometry: &ConvGeometry,
        weights: Weights<'_>,
        bias: &[f32],
        at: [usize; 2],
        input_size: [usize; 2],
    ) -> Self {
        let taps = [0, 1].map(|axis| Taps::of(geometry, axis, at[axis]));
        let inner = ConvGeometry {
            kernel: taps.each_ref().map(|taps| taps.all.len()),
            stride: [1, 1],
            padding: taps.each_ref().map(|taps| (-taps.start).max(0) as usize),
            dilation: taps.each_ref().map(|taps| taps.dilation),
            ..*geometry
        };
        if inner.taps() == 0 {
            return Self {
                at,
                conv: None,
                skipped: [0, 0],
            };
        }
        let columns = geometry.kernel[1];
        let row = |row: &usize| {
            let first = row * columns;
            taps[1].all.iter().map(move |column| first + column)
        };
        let kept = taps[0].all.iter().flat_map(row).collect();
        let filters = Filters::turned(weights, geometry, kept);
        Self {
            at,
            conv: Some(Conv::packed(inner, &filters, bias, input_size)),
            // A padding beyond the taps' reach cuts off outputs of the convolution, too.
            skipped: taps.each_ref().map(|taps| taps.start.max(0) as usize),
        }
    }

    /// How many of the output's rows and columns belong to it.
    fn size(&self, geometry: &ConvGeometry, output: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| {
            let left = output[axis].saturating_sub(self.at[axis]);
            left.div_ceil(geometry.stride[axis])
        })
    }

    /// How many are computed for that.
    fn computed(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| size[axis] + self.skipped[axis])
    }

    fn run(&self, geometry: &ConvGeometry, input: View<'_>, bias: &[f32], to: &Target<'_>) {
        let size = self.size(geometry, [to.rows, to.columns]);
        if size.contains(&0) {
            return;
        }
        let Some(conv) = &self.conv else {
            let line = bias.repeat(size[1]);
            let made = View::new(&line, 1, 1, size[1], bias.len());
            return to.lines(size, self.at, geometry.stride, |_| made);
        };
        let [rows, columns] = self.computed(size);
        let channels = geometry.output;
        with_scratch(input.batch * rows * columns * channels, |made| {
            let view = ViewMut::new(made, input.batch, rows, columns, channels);
            conv.run(input, None, Activation::None, view);
            let made = &*made;
            to.lines(size, self.at, geometry.stride, |line| {
                let (map, row) = (line / size[0], line % size[0] + self.skipped[0]);
                let first = (map * rows + row) * columns + self.skipped[1];
                View::new(&made[first * channels..], 1, 1, size[1], channels)
            });
        });
    }
}

/// Where a phase's pixels go, and what becomes of them there.
struct Target<'a> {
    batch: usize,
    rows: usize,
    columns: usize,
    channels: usize,
    pitch: usize,
    data: Output,
    residual: Option<View<'a>>,
    activation: Activation,
}

impl Target<'_> {
    /// Writes the lines of a phase of `size`: `made` gives each one's numbers.
    fn lines<'m>(
        &self,
        size: [usize; 2],
        at: [usize; 2],
        stride: [usize; 2],
        made: impl Fn(usize) -> View<'m> + Sync,
    ) {
        let lines = self.batch * size[0];
        let count = chunks(lines, lines * size[1] * self.channels);
        parallel(count, |index| {
            for line in chunk(lines, 1, index, count) {
                let row = line / size[0] * self.rows + line % size[0] * stride[0] + at[0];
                let first = row * self.columns + at[1];
                self.line(made(line), first, stride[1]);
            }
        });
    }

    /// Writes a line to every `stride`th pixel from the pixel `first` on.
    fn line(&self, made: View<'_>, first: usize, stride: usize) {
        let reach = |pitch: usize| -> Range<usize> {
            let start = first * pitch;
            start..start + (made.columns - 1) * stride * pitch + self.channels
        };
        let own = reach(self.pitch);
        // SAFETY: the view was checked. Lines of a phase lie in different rows, so that no two at work at the same time
        // have a pixel in common.
        let data = unsafe { std::slice::from_raw_parts_mut(self.data.at(own.start), own.len()) };
        let to = ViewMut {
            data,
            batch: 1,
            rows: 1,
            columns: made.columns,
            channels: self.channels,
            pitch: stride * self.pitch,
        };
        match self.residual {
            Some(residual) => {
                let residual = View {
                    data: &residual.data[reach(residual.pitch)],
                    batch: 1,
                    rows: 1,
                    columns: made.columns,
                    channels: self.channels,
                    pitch: stride * residual.pitch,
                };
                add(made, residual, self.activation, to);
            }
            None => activate(self.activation, made, to),
        }
    }
}
