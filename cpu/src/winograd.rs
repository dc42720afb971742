//! Winograd's convolutions by three by three taps: fewer multiplications for more additions.
//!
//! A tile of M × M outputs is made of N × N inputs, N = M + 2. Both and the weights are transformed, and
//! in between there is one matrix product for each of the N² places of a tile. See Lavin and Gray, *Fast
//! Algorithms for Convolutional Neural Networks*, <https://arxiv.org/abs/1509.09308>.

#![allow(unsafe_code)]
// Pointers into the maps, handed to the product.
// Loops with bounds that the compiler unrolls, so that a line stays in registers.
#![allow(clippy::needless_range_loop)]

use macerator::{Simd, WithSimd};

use crate::activation::{Activation, apply_in_place};
use crate::gemm::{Packed, Product, RowsOf};
use crate::geometry::{ConvGeometry, Filters};
use crate::simd::{Floats, Level, load, splat, store, within};
use crate::threads::{Output, chunk, chunks, parallel, threads, with_scratch};
use crate::view::{View, ViewMut};

/// The most places of a tile.
const MOST_PLACES: usize = MOST_INPUTS * MOST_INPUTS;

/// Tiles transformed at a time, at most: enough to be worth reading the weights for.
const BLOCK: usize = 48;

/// Channels, of input and of output, from which it pays.
const FEWEST_CHANNELS: usize = 32;

/// Elements between one place's matrix and the next: without, all would fall on the same few lines of
/// the cache.
const GAP: usize = 16;

/// The most inputs of a tile, in a row.
const MOST_INPUTS: usize = 6;

/// The most outputs of a tile, in a row.
const MOST_OUTPUTS: usize = 4;

/// A row or column of a tile, which stays in registers.
type Line<S> = [Floats<S>; MOST_INPUTS];

/// The matrices of an algorithm.
trait Variant {
    /// Outputs of a tile, in a row.
    const OUTPUTS: usize;
    /// Inputs of a tile, in a row.
    const INPUTS: usize;
    /// Transforms three taps, a row or a column: into as many numbers as there are inputs.
    fn weights(taps: [Together; 3]) -> [Together; MOST_INPUTS];

    /// Transforms a row or column of inputs, as many as there are.
    fn input<S: Simd>(x: Line<S>) -> Line<S>;

    /// Transforms a row or column of products to outputs.
    fn output<S: Simd>(x: Line<S>) -> Line<S>;
}

/// F(2 × 2, 3 × 3)
struct Two;

impl Variant for Two {
    const OUTPUTS: usize = 2;
    const INPUTS: usize = 4;

    #[inline(always)]
    fn weights([a, b, c]: [Together; 3]) -> [Together; MOST_INPUTS] {
        let none = [0.0; TOGETHER];
        let outer = zip(a, c, |a, c| 0.5 * (a + c));
        let plus = zip(outer, b, |outer, b| outer + 0.5 * b);
        let minus = zip(outer, b, |outer, b| outer - 0.5 * b);
        [a, plus, minus, c, none, none]
    }

    #[inline(always)]
    fn input<S: Simd>([a, b, c, d, ..]: Line<S>) -> Line<S> {
        let none = splat(0.0);
        [a - c, b + c, c - b, b - d, none, none]
    }

    #[inline(always)]
    fn output<S: Simd>([a, b, c, d, ..]: Line<S>) -> Line<S> {
        let none = splat(0.0);
        [a + b + c, b - c - d, none, none, none, none]
    }
}

/// F(4 × 4, 3 × 3)
struct Four;

impl Variant for Four {
    const OUTPUTS: usize = 4;
    const INPUTS: usize = 6;

    #[inline(always)]
    fn weights([a, b, c]: [Together; 3]) -> [Together; MOST_INPUTS] {
        let near = zip(a, c, |a, c| -(a + c) / 6.0);
        let far = zip(a, c, |a, c| a / 24.0 + c / 6.0);
        [
            a.map(|a| a / 4.0),
            zip(near, b, |near, b| near - b / 6.0),
            zip(near, b, |near, b| near + b / 6.0),
            zip(far, b, |far, b| far + b / 12.0),
            zip(far, b, |far, b| far - b / 12.0),
            c,
        ]
    }

    #[inline(always)]
    fn input<S: Simd>([a, b, c, d, e, f]: Line<S>) -> Line<S> {
        let four = splat::<S>(4.0);
        let two = splat::<S>(2.0);
        let minus_four = splat::<S>(-4.0);
        let minus_five = splat::<S>(-5.0);
        let even = minus_four.mul_add(c, e);
        let odd = minus_four.mul_add(b, d);
        let small = e - c;
        let large = two * (d - b);
        [
            four.mul_add(a, minus_five.mul_add(c, e)),
            even + odd,
            even - odd,
            small + large,
            small - large,
            four.mul_add(b, minus_five.mul_add(d, f)),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>([a, b, c, d, e, f]: Line<S>) -> Line<S> {
        let (sum, difference) = (b + c, b - c);
        let (far_sum, far_difference) = (d + e, d - e);
        let none = splat(0.0);
        [
            a + sum + far_sum,
            splat::<S>(2.0).mul_add(far_difference, difference),
            splat::<S>(4.0).mul_add(far_sum, sum),
            splat::<S>(8.0).mul_add(far_difference, difference) + f,
            none,
            none,
        ]
    }
}

/// Packed weights of a convolution.
#[derive(Debug)]
pub(crate) struct Winograd {
    level: Level,
    geometry: ConvGeometry,
    /// Outputs of a tile, in a row: 2 or 4.
    outputs: usize,
    /// One matrix for each place of a tile.
    places: Vec<Packed>,
    bias: Vec<f32>,
    /// What is read outside the maps.
    zeros: Vec<f32>,
}

/// The outputs of a tile that suit maps of a size, if any.
fn outputs(geometry: &ConvGeometry, size: [usize; 2]) -> Option<usize> {
    let usual = geometry.kernel == [3, 3]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && geometry.groups == 1;
    if !usual || geometry.input.min(geometry.output) < FEWEST_CHANNELS {
        return None;
    }
    let count = [0, 1].map(|axis| (size[axis] + 2 * geometry.padding[axis]).saturating_sub(2));
    let area = count[0] * count[1];
    let tiles = |outputs: usize| count[0].div_ceil(outputs) * count[1].div_ceil(outputs);
    // The transformed weights are four times as large, or less than twice as large: on small maps,
    // reading them takes longer than the multiplications that they save.
    if area >= 20 * 20 && 36 * tiles(4) < 4 * area {
        Some(4)
    } else if area >= 7 * 7 && 16 * tiles(2) < 6 * area {
        Some(2)
    } else {
        None
    }
}

/// Filters whose weights are transformed side by side.
const TOGETHER: usize = 8;

type Together = [f64; TOGETHER];

#[inline(always)]
fn zip(a: Together, b: Together, f: impl Fn(f64, f64) -> f64) -> Together {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

/// The weights of some inputs, transformed.
struct Transform<'a, T> {
    weights: &'a Filters<'a>,
    inputs: std::ops::Range<usize>,
    filters: usize,
    /// One matrix for each place of a tile.
    places: &'a [RowsOf<'a>],
    variant: std::marker::PhantomData<T>,
}

impl<T: Variant> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (inputs, filters) = (T::INPUTS, self.filters);
        with_scratch(inputs * inputs * filters, |rows| {
            for k in self.inputs.clone() {
                for first in (0..filters).step_by(TOGETHER) {
                    self.filters(k, first, rows);
                }
                for (place, row) in self.places.iter().zip(rows.chunks_exact(filters)) {
                    // SAFETY: no two chunks have an input in common.
                    unsafe { place.fill(k, row) };
                }
            }
        });
    }
}

impl<T: Variant> Transform<'_, T> {
    /// Transforms the weights of some filters for an input, to `[places][filters]`.
    #[inline(always)]
    fn filters(&self, k: usize, first: usize, rows: &mut [f32]) {
        let lanes = TOGETHER.min(self.filters - first);
        let taps = self.taps(k, first, lanes);
        let across = [0, 3, 6].map(|row| T::weights([taps[row], taps[row + 1], taps[row + 2]]));
        for x in 0..T::INPUTS {
            let down = T::weights([across[0][x], across[1][x], across[2][x]]);
            for (y, transformed) in down.iter().take(T::INPUTS).enumerate() {
                let at = (y * T::INPUTS + x) * self.filters + first;
                let transformed = transformed.map(|number| number as f32);
                match rows[at..].first_chunk_mut::<TOGETHER>() {
                    Some(to) if lanes == TOGETHER => *to = transformed,
                    _ => rows[at..at + lanes].copy_from_slice(&transformed[..lanes]),
                }
            }
        }
    }

    /// The nine taps of some filters for an input.
    #[inline(always)]
    fn taps(&self, k: usize, first: usize, lanes: usize) -> [Together; 9] {
        let mut taps = [[0.0; TOGETHER]; 9];
        for lane in 0..lanes {
            let output = first + lane;
            let factor = f64::from(self.weights.factor(output));
            let own = self.weights.from(output, k);
            for (tap, &at) in taps.iter_mut().zip(self.weights.taps()) {
                tap[lane] = f64::from(own[at]) * factor;
            }
        }
        taps
    }
}

/// Weights transformed: one matrix for each place of a tile.
fn places<T: Variant>(level: Level, geometry: &ConvGeometry, weights: &Filters<'_>) -> Vec<Packed> {
    let (depth, filters, inputs) = (geometry.input, geometry.output, T::INPUTS);
    let empty = || Packed::zeros(level, 1, depth, filters);
    let mut places: Vec<Packed> = (0..inputs * inputs).map(|_| empty()).collect();
    let rows: Vec<RowsOf<'_>> = places.iter_mut().map(Packed::rows).collect();
    let count = chunks(depth, inputs * inputs * depth * filters);
    parallel(count, |index| {
        level.run(Transform::<T> {
            weights,
            inputs: chunk(depth, 1, index, count),
            filters,
            places: &rows,
            variant: std::marker::PhantomData,
        });
    });
    places
}

impl Winograd {
    /// Whether it is faster for maps of a size than reading the maps as they are.
    pub(crate) fn suits(geometry: &ConvGeometry, size: [usize; 2]) -> bool {
        outputs(geometry, size).is_some()
    }

    /// Whether its weights are packed as they would be for maps of a size.
    pub(crate) fn is_for(&self, geometry: &ConvGeometry, size: [usize; 2]) -> bool {
        outputs(geometry, size) == Some(self.outputs)
    }

    /// Packs weights of three by three taps.
    pub(crate) fn new(
        level: Level,
        geometry: ConvGeometry,
        weights: &Filters<'_>,
        bias: &[f32],
        size: [usize; 2],
    ) -> Self {
        let outputs = outputs(&geometry, size).unwrap_or(4);
        let places = match outputs {
            4 => places::<Four>(level, &geometry, weights),
            _ => places::<Two>(level, &geometry, weights),
        };
        let bias = match bias {
            [] => vec![0.0; geometry.output],
            bias => bias.to_vec(),
        };
        Self {
            level,
            geometry,
            outputs,
            places,
            bias,
            zeros: vec![0.0; geometry.input],
        }
    }

    /// Multiply-adds of the products for one image: one matrix for each place of a tile.
    pub(crate) fn multiply_adds(&self, [rows, columns]: [usize; 2]) -> u64 {
        let tiles = rows.div_ceil(self.outputs) * columns.div_ceil(self.outputs);
        (tiles * self.places.len() * self.geometry.input * self.geometry.output) as u64
    }

    /// The convolution; the shapes have been checked.
    pub(crate) fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        let rows = output.rows.div_ceil(self.outputs);
        let columns = output.columns.div_ceil(self.outputs);
        let tiles = output.batch * rows * columns;
        let blocks = tiles.div_ceil(BLOCK).next_multiple_of(threads()).min(tiles);
        let (residual, residual_pitch) = match &residual {
            Some(residual) => (residual.data.as_ptr(), residual.pitch),
            None => (std::ptr::null(), 0),
        };
        let work = Work {
            layer: self,
            input,
            residual: Output::reading(residual),
            residual_pitch,
            out_rows: output.rows,
            out_columns: output.columns,
            output_pitch: output.pitch,
            output: Output::new(output.data),
            rows,
            columns,
            activation,
        };
        parallel(blocks, |index| work.block(chunk(tiles, 1, index, blocks)));
    }
}

/// One run of a layer.
#[derive(Clone, Copy)]
struct Work<'a> {
    layer: &'a Winograd,
    input: View<'a>,
    residual: Output,
    residual_pitch: usize,
    out_rows: usize,
    out_columns: usize,
    output: Output,
    output_pitch: usize,
    /// Tiles of a map, down and across.
    rows: usize,
    columns: usize,
    activation: Activation,
}

/// Tiles and their transformed numbers: `[places][tiles][channels]`, with a gap between places.
struct Side<'a> {
    work: Work<'a>,
    tiles: std::ops::Range<usize>,
    data: *mut f32,
    step: usize,
}

struct Inputs<'a>(Side<'a>);
struct Outputs<'a>(Side<'a>);

impl Work<'_> {
    /// Computes some tiles.
    fn block(&self, tiles: std::ops::Range<usize>) {
        let layer = self.layer;
        let (depth, width) = (layer.geometry.input, layer.geometry.output);
        let count = tiles.len();
        let places = layer.places.len();
        let [input_step, output_step] = [depth, width].map(|n| count * n + GAP);
        with_scratch(places * (input_step + output_step), |scratch| {
            let (inputs, outputs) = scratch.split_at_mut(places * input_step);
            let (inputs, outputs) = (inputs.as_mut_ptr(), outputs.as_mut_ptr());
            let side = |data, step| Side {
                work: *self,
                tiles: tiles.clone(),
                data,
                step,
            };
            layer.level.run(Inputs(side(inputs, input_step)));
            let mut pointers: Vec<*const f32> = Vec::with_capacity(count);
            for (place, packed) in layer.places.iter().enumerate() {
                let start = inputs.wrapping_add(place * input_step);
                pointers.clear();
                pointers
                    .extend((0..count).map(|tile| start.wrapping_add(tile * depth).cast_const()));
                let product = Product {
                    pointers: &pointers,
                    rows: count,
                    start: std::ptr::null(),
                    start_pitch: 0,
                    output: outputs.wrapping_add(place * output_step),
                    output_pitch: width,
                    activation: Activation::None,
                };
                // SAFETY: the buffers hold `count` rows for every place.
                unsafe { packed.multiply(&product, 0..packed.panels()) };
            }
            layer.level.run(Outputs(side(outputs, output_step)));
        });
    }

    /// The map of a tile, and the row and column of its first output.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let size = self.layer.outputs;
        let line = tile / self.columns;
        (
            line / self.rows,
            line % self.rows * size,
            tile % self.columns * size,
        )
    }
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        if self.0.work.layer.outputs == 4 {
            self.all::<S, Four>();
        } else {
            self.all::<S, Two>();
        }
    }
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        if self.0.work.layer.outputs == 4 {
            self.all::<S, Four>();
        } else {
            self.all::<S, Two>();
        }
    }
}

impl Inputs<'_> {
    #[inline(always)]
    fn all<S: Simd, V: Variant>(&self) {
        let Side {
            work,
            tiles,
            data,
            step,
        } = &self.0;
        let lanes = S::lanes32();
        let channels = work.layer.geometry.input;
        let padding = work.layer.geometry.padding;
        let input = &work.input;
        let mut pointers = [work.layer.zeros.as_ptr(); MOST_PLACES];
        for (index, tile) in tiles.clone().enumerate() {
            let (map, y, x) = work.place(tile);
            for row in 0..V::INPUTS {
                let from_row = (y + row).wrapping_sub(padding[0]);
                for column in 0..V::INPUTS {
                    let from_column = (x + column).wrapping_sub(padding[1]);
                    let inside = from_row < input.rows && from_column < input.columns;
                    pointers[row * V::INPUTS + column] = if inside {
                        let pixel = (map * input.rows + from_row) * input.columns + from_column;
                        input.data.as_ptr().wrapping_add(pixel * input.pitch)
                    } else {
                        work.layer.zeros.as_ptr()
                    };
                }
            }
            let to = data.wrapping_add(index * channels);
            let mut between = [splat::<S>(0.0); MOST_PLACES];
            let mut channel = 0;
            loop {
                // SAFETY: the pointers lead to a pixel's channels or as many zeros; the buffer has a
                // row of channels for every tile and place.
                unsafe {
                    for column in 0..V::INPUTS {
                        let mut line = [splat::<S>(0.0); MOST_INPUTS];
                        for row in 0..MOST_INPUTS {
                            if row < V::INPUTS {
                                line[row] = load(pointers[row * V::INPUTS + column].add(channel));
                            }
                        }
                        let line = V::input::<S>(line);
                        for row in 0..MOST_INPUTS {
                            if row < V::INPUTS {
                                between[row * MOST_INPUTS + column] = line[row];
                            }
                        }
                    }
                    let mut to = to.add(channel);
                    for row in 0..V::INPUTS {
                        let mut line = [splat::<S>(0.0); MOST_INPUTS];
                        line.copy_from_slice(&between[row * MOST_INPUTS..][..MOST_INPUTS]);
                        let line = V::input::<S>(line);
                        for column in 0..MOST_INPUTS {
                            if column < V::INPUTS {
                                store(to, line[column]);
                                to = to.wrapping_add(*step);
                            }
                        }
                    }
                }
                if channel + lanes >= channels {
                    break;
                }
                // The last vector overlaps the one before it where the channels do not fill it.
                channel = (channel + lanes).min(channels - lanes);
            }
        }
    }
}

impl Outputs<'_> {
    #[inline(always)]
    fn all<S: Simd, V: Variant>(&self) {
        let work = &self.0.work;
        let bounds = work.activation.bounds();
        for (index, tile) in self.0.tiles.clone().enumerate() {
            let (map, y, x) = work.place(tile);
            let rows = V::OUTPUTS.min(work.out_rows - y);
            let columns = V::OUTPUTS.min(work.out_columns - x);
            let pixel = (map * work.out_rows + y) * work.out_columns + x;
            self.tile::<S, V>(index, pixel, rows, columns);
            if bounds.is_some() {
                continue;
            }
            for row in 0..rows {
                let first = (pixel + row * work.out_columns) * work.output_pitch;
                // SAFETY: what was just written.
                unsafe {
                    apply_in_place(
                        work.layer.level,
                        work.activation,
                        work.output.at(first),
                        work.output_pitch,
                        columns,
                        work.layer.geometry.output,
                    );
                }
            }
        }
    }

    /// Transforms one tile, and writes as much of it as there is.
    #[inline(always)]
    fn tile<S: Simd, V: Variant>(&self, index: usize, pixel: usize, rows: usize, columns: usize) {
        let Side {
            work, data, step, ..
        } = &self.0;
        let lanes = S::lanes32();
        let channels = work.layer.geometry.output;
        let bounds = work.activation.bounds();
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (splat::<S>(low), splat::<S>(high));
        let from = data.wrapping_add(index * channels);
        let mut between = [splat::<S>(0.0); MOST_OUTPUTS * MOST_INPUTS];
        let mut channel = 0;
        loop {
            // SAFETY: the buffer has a row of channels for every tile and place; the outputs are
            // this chunk's.
            unsafe {
                let bias = load::<S>(work.layer.bias.as_ptr().add(channel));
                let from = from.add(channel);
                for column in 0..V::INPUTS {
                    let mut line = [splat::<S>(0.0); MOST_INPUTS];
                    for row in 0..MOST_INPUTS {
                        if row < V::INPUTS {
                            line[row] = load(from.add((row * V::INPUTS + column) * step));
                        }
                    }
                    let line = V::output::<S>(line);
                    for row in 0..MOST_OUTPUTS {
                        if row < V::OUTPUTS {
                            between[row * MOST_INPUTS + column] = line[row];
                        }
                    }
                }
                for row in 0..rows {
                    let mut line = [splat::<S>(0.0); MOST_INPUTS];
                    line.copy_from_slice(&between[row * MOST_INPUTS..][..MOST_INPUTS]);
                    let line = V::output::<S>(line);
                    let first = pixel + row * work.out_columns;
                    for column in 0..MOST_OUTPUTS {
                        if column < columns {
                            let mut value = line[column] + bias;
                            if !work.residual.is_null() {
                                let at = (first + column) * work.residual_pitch + channel;
                                value += load::<S>(work.residual.at(at));
                            }
                            let at = (first + column) * work.output_pitch + channel;
                            store(work.output.at(at), within(value, low, high));
                        }
                    }
                }
            }
            if channel + lanes >= channels {
                break;
            }
            channel = (channel + lanes).min(channels - lanes);
        }
    }
}
