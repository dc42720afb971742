//! Gradients on their way back through what is done to every element by itself.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::activation::Activation;
use crate::columns::{AffineSlopes, Slopes, write};
use crate::derivative::{
    Derivative, Gelu, HardSigmoid, HardSwish, Relu, Relu6, Sigmoid, Silu, Tanh,
};
use crate::elementwise::{
    GateShape, Whole, gate as apply_gate, in_chunks, same_shape, same_shapes,
};
use crate::grid::Grid;
use crate::norm::dot;
use crate::simd::{Floats, Level, load, load_some, splat, store, store_some};
use crate::threads::{Output, with_scratch};
use crate::view::{View, ViewMut};

/// What is done to an element of maps with one of others.
#[derive(Clone, Copy)]
enum Operation {
    Through(Activation),
    Add,
    Multiply,
}

/// An operation in place over a block of rows.
struct Rows {
    operation: Operation,
    from: *const f32,
    from_pitch: usize,
    into: *mut f32,
    into_pitch: usize,
    rows: usize,
    width: usize,
}

impl Rows {
    #[inline(always)]
    fn each<S: Simd>(&self, of: impl Fn(Floats<S>, Floats<S>) -> Floats<S>) {
        let lanes = S::lanes32();
        for row in 0..self.rows {
            // SAFETY: whoever made the block vouches for its rows.
            unsafe {
                let from = self.from.add(row * self.from_pitch);
                let into = self.into.add(row * self.into_pitch);
                let mut at = 0;
                while at + lanes <= self.width {
                    let to = into.add(at);
                    store(to, of(load(from.add(at)), load(to)));
                    at += lanes;
                }
                if at < self.width {
                    let (to, rest) = (into.add(at), self.width - at);
                    let value = of(load_some(from.add(at), rest), load_some(to, rest));
                    store_some(to, value, rest);
                }
            }
        }
    }

    #[inline(always)]
    fn through<S: Simd, D: Derivative>(&self) {
        self.each::<S>(
            #[inline(always)]
            |kept, slope| D::through(kept, slope),
        );
    }
}

impl WithSimd for Rows {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.operation {
            Operation::Through(activation) => match activation {
                Activation::None => {}
                Activation::Relu => self.through::<S, Relu>(),
                Activation::Relu6 => self.through::<S, Relu6>(),
                Activation::Silu => self.through::<S, Silu>(),
                Activation::HardSwish => self.through::<S, HardSwish>(),
                Activation::HardSigmoid => self.through::<S, HardSigmoid>(),
                Activation::Sigmoid => self.through::<S, Sigmoid>(),
                Activation::Gelu => self.through::<S, Gelu>(),
                Activation::Tanh => self.through::<S, Tanh>(),
            },
            Operation::Add => self.each::<S>(
                #[inline(always)]
                |from, into| into + from,
            ),
            Operation::Multiply => self.each::<S>(
                #[inline(always)]
                |from, into| into * from,
            ),
        }
    }
}

/// Runs an operation in place over whole views.
fn in_place(operation: Operation, from: View<'_>, into: ViewMut<'_>) {
    same_shape(&from, &into);
    let channels = from.channels;
    if channels == 0 {
        return;
    }
    let level = Level::best();
    let pitch = into.pitch;
    let dense = from.is_dense() && pitch == channels;
    let to = Output::new(into.data);
    in_chunks(from.pixels(), channels, |mine| {
        // Rows without gaps are one long row.
        let (rows, width) = if dense {
            (1, mine.len() * channels)
        } else {
            (mine.len(), channels)
        };
        level.run(Rows {
            operation,
            from: from.data[mine.start * from.pitch..].as_ptr(),
            from_pitch: from.pitch,
            into: to.at(mine.start * pitch),
            into_pitch: pitch,
            rows,
            width,
        });
    });
}

/// slope = slope · activation', the way back through an activation: the gradient of its output becomes that of its
/// input.
///
/// `kept` is the activation's output or its input: see [`Activation::keeps_output`]. Where a function has a kink, its
/// derivative is what PyTorch takes; where `kept` is NaN, so is the gradient.
///
/// # Panics
/// If the shapes differ.
pub fn through(activation: Activation, kept: View<'_>, slope: ViewMut<'_>) {
    if activation == Activation::None {
        same_shape(&kept, &slope);
        return;
    }
    in_place(Operation::Through(activation), kept, slope);
}

/// into = into + from
///
/// # Panics
/// If the shapes differ.
pub fn accumulate(from: View<'_>, into: ViewMut<'_>) {
    in_place(Operation::Add, from, into);
}

/// maps = maps · factors, with a factor for each element: dropout, forwards and backwards.
///
/// # Panics
/// If the shapes differ.
pub fn multiply(factors: View<'_>, maps: ViewMut<'_>) {
    in_place(Operation::Multiply, factors, maps);
}

/// Rows that are multiplied with one number, in place.
struct Scaled {
    rows: usize,
    width: usize,
    pitch: usize,
    data: *mut f32,
    factor: f32,
}

impl WithSimd for Scaled {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let factor = splat::<S>(self.factor);
        let rows = Rows {
            operation: Operation::Multiply,
            from: self.data,
            from_pitch: self.pitch,
            into: self.data,
            into_pitch: self.pitch,
            rows: self.rows,
            width: self.width,
        };
        rows.each::<S>(
            #[inline(always)]
            |_, into| into * factor,
        );
    }
}

/// maps = maps · factors, with a factor for each image: stochastic depth, forwards and backwards.
///
/// # Panics
/// If there are not as many factors as images.
pub fn scale_images(factors: &[f32], maps: ViewMut<'_>) {
    maps.check();
    assert_eq!(factors.len(), maps.batch, "factors of images");
    let (channels, pitch) = (maps.channels, maps.pitch);
    if channels == 0 {
        return;
    }
    let level = Level::best();
    let (pixels, area) = (maps.pixels(), maps.rows * maps.columns);
    let to = Output::new(maps.data);
    in_chunks(pixels, channels, |mut mine| {
        while !mine.is_empty() {
            let image = mine.start / area;
            let end = mine.end.min((image + 1) * area);
            let count = end - mine.start;
            let (rows, width) = if pitch == channels {
                (1, count * channels)
            } else {
                (count, channels)
            };
            level.run(Scaled {
                rows,
                width,
                pitch,
                data: to.at(mine.start * pitch),
                factor: factors[image],
            });
            mine.start = end;
        }
    });
}

/// The gradients of x and of the gate in [`gate`](crate::gate): those of x · gate are `slope`.
///
/// # Shapes
/// The gate's gradient has the gate's shape: `[N, 1, 1, C]`, `[N, H, W, 1]` or that of x.
///
/// # Panics
/// If the gate is neither, or the shapes differ.
pub fn gate_slopes(
    x: View<'_>,
    gate: View<'_>,
    slope: View<'_>,
    mut of_x: Option<ViewMut<'_>>,
    of_gate: Option<ViewMut<'_>>,
) {
    gate.check();
    same_shapes(&x, &slope);
    if let Some(of_x) = &of_x {
        same_shape(&x, of_x);
    }
    if let Some(of_gate) = &of_gate {
        same_shape(&gate, of_gate);
    }
    let shape = GateShape::of(&x, &gate);
    if x.channels == 0 {
        if let (GateShape::Pixels, Some(of_gate)) = (shape, of_gate) {
            fill(of_gate, 0.0);
        }
        return;
    }
    let Some(mut of_gate) = of_gate else {
        if let Some(of_x) = of_x {
            apply_gate(slope, gate, of_x);
        }
        return;
    };
    match shape {
        GateShape::Elements => {
            if let Some(of_x) = of_x {
                apply_gate(slope, gate, of_x);
            }
            apply_gate(slope, x, of_gate);
        }
        GateShape::Pixels => {
            if let Some(of_x) = of_x {
                apply_gate(slope, gate, of_x);
            }
            row_products(x, slope, &mut of_gate);
        }
        GateShape::Channels => channel_gate_slopes(x, gate, slope, of_x.as_mut(), &mut of_gate),
    }
}

fn fill(maps: ViewMut<'_>, value: f32) {
    let (pixels, channels) = (maps.pixels(), maps.channels);
    for pixel in maps.data.chunks_mut(maps.pitch.max(1)).take(pixels) {
        pixel[..channels].fill(value);
    }
}

/// Inner products of the rows of two blocks.
struct Products {
    a: *const f32,
    a_pitch: usize,
    b: *const f32,
    b_pitch: usize,
    rows: usize,
    width: usize,
    to: *mut f32,
    to_pitch: usize,
}

impl WithSimd for Products {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for row in 0..self.rows {
            // SAFETY: whoever made the block vouches for its rows.
            unsafe {
                let a = self.a.add(row * self.a_pitch);
                let b = self.b.add(row * self.b_pitch);
                *self.to.add(row * self.to_pitch) = dot::<S>(a, b, self.width);
            }
        }
    }
}

/// The inner product of every pixel of `a` with that of `b`.
fn row_products(a: View<'_>, b: View<'_>, to: &mut ViewMut<'_>) {
    let (level, pitch) = (Level::best(), to.pitch);
    let to = Output::new(to.data);
    in_chunks(a.pixels(), a.channels, |mine| {
        level.run(Products {
            a: a.data[mine.start * a.pitch..].as_ptr(),
            a_pitch: a.pitch,
            b: b.data[mine.start * b.pitch..].as_ptr(),
            b_pitch: b.pitch,
            rows: mine.len(),
            width: a.channels,
            to: to.at(mine.start * pitch),
            to_pitch: pitch,
        });
    });
}

/// Those of a gate with a number for each channel of an image, in one pass over memory.
fn channel_gate_slopes(
    x: View<'_>,
    gate: View<'_>,
    slope: View<'_>,
    of_x: Option<&mut ViewMut<'_>>,
    of_gate: &mut ViewMut<'_>,
) {
    let area = x.rows * x.columns;
    let slopes = Slopes {
        x,
        slope: Output::reading(slope.data.as_ptr()),
        slope_pitch: slope.pitch,
        output: None,
    };
    let of_x = of_x.map(|of_x| (Output::new(of_x.data), of_x.pitch));
    let grid = Grid::new(area, x.channels, slopes.is_dense());
    let (blocks, room) = (grid.blocks(), 2 * grid.width());
    let zeros = vec![0.0; grid.width()];
    with_scratch(x.batch * blocks * room, |sums| {
        let to = Output::new(sums);
        grid.each(x.batch, |index| {
            let (image, block) = (index / blocks, index % blocks);
            let base = image * area;
            // SAFETY: each block has two rows of its own; slopes are only read, and the block's pixels written.
            unsafe {
                slopes.block(&grid, base, block, &zeros, to.at(index * room));
                if let Some((of_x, pitch)) = of_x {
                    let [whole, left] = grid.pieces(block);
                    let pixels = left.first + left.width / x.channels - whole.first;
                    let row = &gate.data[image * gate.pitch..][..gate.channels];
                    let product = Whole::product(slope, row, 0);
                    product.block(of_x, pitch, base + whole.first, pixels, 0);
                }
            }
        });
        for image in 0..x.batch {
            let sums = &sums[image * blocks * room..][..blocks * room];
            let [_, products] = grid.join(sums);
            let row = &mut of_gate.data[image * of_gate.pitch..][..x.channels];
            write(row, &products, false);
        }
    });
}

/// The gradients of the scales and the shifts in x · scale + shift: Σ slope · x and Σ slope over all pixels.
///
/// That of x is `slope` · scale, which [`affine`](crate::affine) computes with shifts of zero.
///
/// # Panics
/// If the shapes differ, or there are not as many gradients of each kind as channels.
pub fn affine_slopes(x: View<'_>, slope: View<'_>, mut parameters: AffineSlopes<'_>) {
    same_shapes(&x, &slope);
    parameters.check(x.channels);
    if x.channels == 0 {
        return;
    }
    let slopes = Slopes {
        x,
        slope: Output::reading(slope.data.as_ptr()),
        slope_pitch: slope.pitch,
        output: None,
    };
    // SAFETY: the slopes have the shape of x and are only read.
    let [shifts, scales] = unsafe { slopes.sums(&vec![0.0; x.channels]) };
    parameters.write(&scales, &shifts);
}
