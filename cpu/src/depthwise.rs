//! Depthwise convolutions: every channel by itself, a vector of channels at a time.

#![allow(unsafe_code)] // Loads and stores through pointers.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::activation::{Activation, apply_in_place};
use crate::geometry::{ConvGeometry, Filters};
use crate::simd::{Level, load, splat, store, within};
use crate::threads::{Output, chunk, chunks, parallel};
use crate::view::{View, ViewMut};

/// Outputs computed side by side, whose windows overlap. Seven divides the sizes of maps of most
/// networks; four is for the others.
const MANY: usize = 7;
const FEW: usize = 4;

/// Packed weights of a depthwise convolution.
#[derive(Debug)]
pub(crate) struct Depthwise {
    level: Level,
    geometry: ConvGeometry,
    /// `[taps][channels]`
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// What the outputs of some lines are made of.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    layer: &'a Depthwise,
    /// The first pixel of the maps, of which only what these lines read need be there.
    input: Output,
    /// Rows and columns of a map.
    size: [usize; 2],
    pitch: usize,
    residual: Output,
    residual_pitch: usize,
    output: Output,
    output_pitch: usize,
    out_rows: usize,
    out_columns: usize,
    from: usize,
    to: usize,
    activation: Activation,
    low: f32,
    high: f32,
    kernel: LineKernel,
}

/// The taps of a window that lie within the map.
struct Window {
    /// The first pixel read, from the start of the data.
    input: *const f32,
    /// The weights of the first tap.
    weights: *const f32,
    rows: usize,
    columns: usize,
}

/// Weights of channels that do not see one another, times their factors, as `[taps][channels]`.
pub(crate) fn pack(geometry: &ConvGeometry, weights: &Filters<'_>) -> Vec<f32> {
    let channels = geometry.output;
    let mut packed = vec![0.0; geometry.taps() * channels];
    for channel in 0..channels {
        let (own, factor) = (weights.from(channel, 0), weights.factor(channel));
        for (tap, &at) in weights.taps().iter().enumerate() {
            packed[tap * channels + channel] = own[at] * factor;
        }
    }
    packed
}

impl Depthwise {
    /// Whether a convolution is depthwise.
    pub(crate) fn suits(geometry: &ConvGeometry) -> bool {
        geometry.groups > 1
            && geometry.groups == geometry.input
            && geometry.groups == geometry.output
    }

    /// Packs weights `[channels, 1, kernel rows, kernel columns]`.
    pub(crate) fn new(
        level: Level,
        geometry: ConvGeometry,
        weights: &Filters<'_>,
        bias: &[f32],
    ) -> Self {
        let bias = match bias {
            [] => vec![0.0; geometry.output],
            bias => bias.to_vec(),
        };
        Self {
            level,
            geometry,
            weights: pack(&geometry, weights),
            bias,
        }
    }

    /// The convolution; the shapes have been checked.
    pub(crate) fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        let lines = output.batch * output.rows;
        let cost = output.pixels() * self.geometry.output * self.geometry.taps();
        let count = chunks(lines, cost);
        let all = self.lines(input, residual, activation, output);
        parallel(count, |index| {
            // SAFETY: the maps are whole, and each line is one chunk's.
            unsafe { all.compute(all.input, chunk(lines, 1, index, count)) };
        });
    }

    /// The shape.
    pub(crate) fn geometry(&self) -> &ConvGeometry {
        &self.geometry
    }

    /// What all lines are made of.
    pub(crate) fn lines<'a>(
        &'a self,
        input: View<'a>,
        residual: Option<View<'a>>,
        activation: Activation,
        output: ViewMut<'a>,
    ) -> Lines<'a> {
        let (low, high) = (activation.bounds()).unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (residual, residual_pitch) = match residual {
            Some(residual) => (residual.data.as_ptr(), residual.pitch),
            None => (std::ptr::null(), 0),
        };
        let find = Find(&self.geometry, output.columns);
        Lines {
            layer: self,
            input: Output::reading(input.data.as_ptr()),
            size: [input.rows, input.columns],
            pitch: input.pitch,
            residual: Output::reading(residual),
            residual_pitch,
            output_pitch: output.pitch,
            out_rows: output.rows,
            out_columns: output.columns,
            output: Output::new(output.data),
            from: 0,
            to: 0,
            activation,
            low,
            high,
            kernel: self.level.run(find),
        }
    }
}

/// Computes some lines. Each is a function of its own: a browser then compiles those that are used, and
/// small ones sooner than one that has everything in it.
type LineKernel = unsafe fn(&Lines<'_>);

/// Finds the code for lines like these.
struct Find<'a>(&'a ConvGeometry, usize);

impl WithSimd for Find<'_> {
    type Output = LineKernel;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> LineKernel {
        let Self(geometry, out_columns) = self;
        let wide = geometry.output >= S::lanes32() && out_columns >= FEW;
        let wasted = |columns: usize| out_columns.next_multiple_of(columns);
        let many = out_columns >= MANY && wasted(MANY) <= wasted(FEW);
        match (geometry.kernel[1], geometry.stride[1], geometry.dilation[1]) {
            (3, 1, 1) if wide && many => tiled::<S, 3, 1, MANY>,
            (3, 1, 1) if wide => tiled::<S, 3, 1, FEW>,
            (3, 2, 1) if wide => tiled::<S, 3, 2, FEW>,
            (5, 1, 1) if wide && many => tiled::<S, 5, 1, MANY>,
            (5, 1, 1) if wide => tiled::<S, 5, 1, FEW>,
            (5, 2, 1) if wide => tiled::<S, 5, 2, FEW>,
            (7, 1, 1) if wide && many => tiled::<S, 7, 1, MANY>,
            (7, 1, 1) if wide => tiled::<S, 7, 1, FEW>,
            _ => one_by_one::<S>,
        }
    }
}

/// Kernels `WIDTH` columns wide, `COLUMNS` outputs at a time, for the instructions `S`, which the processor
/// must have.
unsafe fn tiled<S: Simd, const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize>(
    lines: &Lines<'_>,
) {
    struct Run<'a, const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize>(&'a Lines<'a>);
    impl<const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize> WithSimd
        for Run<'_, WIDTH, STRIDE, COLUMNS>
    {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self) {
            for line in self.0.from..self.0.to {
                self.0.line::<S, WIDTH, STRIDE, COLUMNS>(line);
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { S::vectorize(Run::<WIDTH, STRIDE, COLUMNS>(lines)) }
}

/// Kernels of any shape, for the instructions `S`, which the processor must have.
unsafe fn one_by_one<S: Simd>(lines: &Lines<'_>) {
    struct Run<'a>(&'a Lines<'a>);
    impl WithSimd for Run<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self) {
            for line in self.0.from..self.0.to {
                for x in 0..self.0.out_columns {
                    self.0.single::<S>(line, x);
                }
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { S::vectorize(Run(lines)) }
}

impl Lines<'_> {
    /// Computes some lines from maps that begin at `input`.
    ///
    /// # Safety
    /// The pixels that these lines read must be there, and nobody else may write to the lines meanwhile.
    pub(crate) unsafe fn compute(&self, input: Output, lines: Range<usize>) {
        for line in lines {
            let one = Lines {
                input,
                from: line,
                to: line + 1,
                ..*self
            };
            // SAFETY: the level is one that this processor has.
            unsafe { (self.kernel)(&one) };
            if self.activation.bounds().is_none() {
                let start = line * self.out_columns * self.output_pitch;
                // SAFETY: the line that was just written.
                unsafe {
                    apply_in_place(
                        self.layer.level,
                        self.activation,
                        self.output.at(start),
                        self.output_pitch,
                        self.out_columns,
                        self.layer.geometry.output,
                    );
                }
            }
        }
    }

    /// One line of outputs.
    #[inline(always)]
    fn line<S: Simd, const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize>(
        &self,
        line: usize,
    ) {
        let mut x = 0;
        loop {
            self.several::<S, WIDTH, STRIDE, COLUMNS>(line, x);
            if x + COLUMNS >= self.out_columns {
                break;
            }
            // The last tile overlaps the one before it where they do not fill the line.
            x = (x + COLUMNS).min(self.out_columns - COLUMNS);
        }
    }

    /// The part of an output's window that lies within the map.
    #[inline(always)]
    fn window(&self, line: usize, x: usize) -> Window {
        let geometry = &self.layer.geometry;
        let (map, y) = (line / self.out_rows, line % self.out_rows);
        let (first_y, last_y, row) = geometry.clip(0, y, self.size[0]);
        let (first_x, last_x, column) = geometry.clip(1, x, self.size[1]);
        let pixel = (map * self.size[0])
            .wrapping_add(row)
            .wrapping_mul(self.size[1])
            .wrapping_add(column);
        let tap = first_y * geometry.kernel[1] + first_x;
        Window {
            input: self.input.at(pixel.wrapping_mul(self.pitch)),
            weights: (self.layer.weights.as_ptr()).wrapping_add(tap * geometry.output),
            rows: last_y - first_y,
            columns: last_x - first_x,
        }
    }

    /// Neighbouring outputs.
    #[inline(always)]
    fn several<S: Simd, const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize>(
        &self,
        line: usize,
        x: usize,
    ) {
        let lanes = S::lanes32();
        let geometry = &self.layer.geometry;
        let channels = geometry.output;
        // Rows are clipped once; of the columns, those outside the map are passed over one by one.
        let (first, last, row) = geometry.clip(0, line % self.out_rows, self.size[0]);
        let (map, pitch) = (line / self.out_rows, self.pitch);
        let line_of_map = (map * self.size[0]).wrapping_add(row);
        let pixel = (line_of_map.wrapping_mul(self.size[1])).wrapping_add(x * STRIDE);
        let from = (self.input).at(pixel.wrapping_sub(geometry.padding[1]).wrapping_mul(pitch));
        let outside = geometry.padding[1].saturating_sub(x * STRIDE);
        let end = (self.size[1] + geometry.padding[1]).saturating_sub(x * STRIDE);
        let inside = end.saturating_sub(outside);
        let taps_from = (self.layer.weights.as_ptr()).wrapping_add(first * WIDTH * channels);
        let row_step = geometry.dilation[0] * self.size[1] * pitch;
        let pixel = line * self.out_columns + x;
        let output = self.output.at(pixel * self.output_pitch);
        let residual = self.residual.at(pixel * self.residual_pitch);
        let low = splat::<S>(self.low);
        let high = splat::<S>(self.high);
        let mut channel = 0;
        loop {
            // SAFETY: what is read lies within the input, and the outputs are this chunk's.
            unsafe {
                let bias = load::<S>(self.layer.bias.as_ptr().add(channel));
                let mut sums = [bias; COLUMNS];
                let mut input = from.wrapping_add(channel);
                let mut weights = taps_from.wrapping_add(channel);
                for _ in first..last {
                    let mut taps = [splat::<S>(0.0); WIDTH];
                    for (t, tap) in taps.iter_mut().enumerate() {
                        *tap = load::<S>(weights.add(t * channels));
                    }
                    for at in 0..(COLUMNS - 1) * STRIDE + WIDTH {
                        if at.wrapping_sub(outside) >= inside {
                            continue;
                        }
                        let value = load::<S>(input.wrapping_add(at * pitch));
                        for (c, sum) in sums.iter_mut().enumerate() {
                            if at >= c * STRIDE && at - c * STRIDE < WIDTH {
                                *sum = value.mul_add(taps[at - c * STRIDE], *sum);
                            }
                        }
                    }
                    input = input.wrapping_add(row_step);
                    weights = weights.wrapping_add(WIDTH * channels);
                }
                for (c, sum) in sums.iter_mut().enumerate() {
                    if !self.residual.is_null() {
                        *sum += load::<S>(residual.add(c * self.residual_pitch + channel));
                    }
                    let to = output.add(c * self.output_pitch + channel);
                    store(to, within(*sum, low, high));
                }
            }
            if channel + lanes >= channels {
                break;
            }
            // The last vector overlaps the one before it where the channels do not fill it.
            channel = (channel + lanes).min(channels - lanes);
        }
    }

    /// Any one output.
    #[inline(always)]
    fn single<S: Simd>(&self, line: usize, x: usize) {
        let lanes = S::lanes32();
        let geometry = &self.layer.geometry;
        let channels = geometry.output;
        let window = self.window(line, x);
        let step = geometry.dilation[1] * self.pitch;
        let row_step = geometry.dilation[0] * self.size[1] * self.pitch;
        let pixel = line * self.out_columns + x;
        let output = self.output.at(pixel * self.output_pitch);
        let residual = self.residual.at(pixel * self.residual_pitch);
        let mut channel = 0;
        // SAFETY: the clipped window lies within the input, and the output is this chunk's.
        unsafe {
            if channels < lanes {
                while channel < channels {
                    let mut sum = *self.layer.bias.as_ptr().add(channel);
                    for row in 0..window.rows {
                        for column in 0..window.columns {
                            let at = row * row_step + column * step + channel;
                            let tap = (row * geometry.kernel[1] + column) * channels + channel;
                            sum += *window.input.add(at) * *window.weights.add(tap);
                        }
                    }
                    if !self.residual.is_null() {
                        sum += *residual.add(channel);
                    }
                    // Not `max` and `min`, which would make a number of NaN.
                    *output.add(channel) = match sum {
                        _ if sum < self.low => self.low,
                        _ if sum > self.high => self.high,
                        _ => sum,
                    };
                    channel += 1;
                }
                return;
            }
            loop {
                let mut sum = load::<S>(self.layer.bias.as_ptr().add(channel));
                for row in 0..window.rows {
                    let mut input = window.input.wrapping_add(row * row_step + channel);
                    let skipped = row * geometry.kernel[1] * channels + channel;
                    let mut weights = window.weights.wrapping_add(skipped);
                    for _ in 0..window.columns {
                        sum = load::<S>(input).mul_add(load(weights), sum);
                        input = input.wrapping_add(step);
                        weights = weights.wrapping_add(channels);
                    }
                }
                if !self.residual.is_null() {
                    sum += load::<S>(residual.add(channel));
                }
                let sum = within(sum, splat(self.low), splat(self.high));
                store(output.add(channel), sum);
                if channel + lanes >= channels {
                    break;
                }
                channel = (channel + lanes).min(channels - lanes);
            }
        }
    }
}
