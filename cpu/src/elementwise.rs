//! What is done to every element by itself.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::activation::{Activation, Block, apply_in_place};
use crate::simd::{Floats, Level, load, load_some, load_up_to, splat, store, store_some, within};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::{View, ViewMut};

/// Multiply-adds in the time that a vector takes to come from memory and go back: what is elementwise
/// waits for memory.
pub(crate) const COST: usize = 4;

/// Rows without gaps are only folded into longer ones if that many come of it: what they are combined with is copied.
const FEWEST_FOLDED: usize = 4;

/// Elements computed at a time, so that a second pass over them finds them in the nearest cache.
const TOGETHER: usize = 4096;

/// Panics unless maps and what is made of them have one shape, and their data.
pub(crate) fn same_shape(a: &View<'_>, b: &ViewMut<'_>) {
    same_shapes(a, &b.as_view());
}

/// Panics unless two maps have one shape, and their data.
pub(crate) fn same_shapes(a: &View<'_>, b: &View<'_>) {
    a.check();
    b.check();
    assert_eq!(
        [a.batch, a.rows, a.columns, a.channels],
        [b.batch, b.rows, b.columns, b.channels],
        "the shapes of input and output"
    );
}

/// Calls `body` with ranges of `rows` that share the work among the cores.
pub(crate) fn in_chunks(rows: usize, width: usize, body: impl Fn(std::ops::Range<usize>) + Sync) {
    let count = chunks(rows, rows * width * COST);
    let block = (TOGETHER / width.max(1)).max(1);
    parallel(count, |index| {
        let mut mine = chunk(rows, 1, index, count);
        while !mine.is_empty() {
            let end = (mine.start + block).min(mine.end);
            body(mine.start..end);
            mine.start = end;
        }
    });
}

/// What is computed from two numbers of each element.
#[derive(Clone, Copy)]
enum Operation {
    /// a + b
    Add,
    /// a · b
    Multiply,
    /// a · the row's one b
    Scale,
    /// a · b + c, where b and c have one row
    Affine,
}

/// An operation over a block of rows.
struct Rows {
    operation: Operation,
    a: *const f32,
    a_pitch: usize,
    b: *const f32,
    b_pitch: usize,
    c: *const f32,
    output: *mut f32,
    output_pitch: usize,
    rows: usize,
    width: usize,
    low: f32,
    high: f32,
}

impl Rows {
    #[inline(always)]
    fn each<S: Simd>(&self, of: impl Fn(Floats<S>, usize, usize, usize) -> Floats<S>) {
        let lanes = S::lanes32();
        let (low, high) = (splat::<S>(self.low), splat::<S>(self.high));
        for row in 0..self.rows {
            // SAFETY: whoever made the block vouches for its rows.
            unsafe {
                let a = self.a.add(row * self.a_pitch);
                let output = self.output.add(row * self.output_pitch);
                let mut at = 0;
                while at + lanes <= self.width {
                    let value = of(load(a.add(at)), row, at, lanes);
                    store(output.add(at), within(value, low, high));
                    at += lanes;
                }
                if at < self.width {
                    let rest = self.width - at;
                    let value = of(load_some(a.add(at), rest), row, at, rest);
                    store_some(output.add(at), within(value, low, high), rest);
                }
            }
        }
    }
}

impl WithSimd for Rows {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (b, c, pitch) = (self.b, self.c, self.b_pitch);
        // SAFETY: whoever made the block vouches for its rows.
        unsafe {
            match self.operation {
                Operation::Add => self.each::<S>(
                    #[inline(always)]
                    |a, row, at, count| a + load_up_to(b.add(row * pitch + at), count),
                ),
                Operation::Multiply => self.each::<S>(
                    #[inline(always)]
                    |a, row, at, count| a * load_up_to(b.add(row * pitch + at), count),
                ),
                Operation::Scale => self.each::<S>(
                    #[inline(always)]
                    |a, row, _, _| a * splat(*b.add(row * pitch)),
                ),
                Operation::Affine => self.each::<S>(
                    #[inline(always)]
                    |a, _, at, count| {
                        a.mul_add(load_up_to(b.add(at), count), load_up_to(c.add(at), count))
                    },
                ),
            }
        }
    }
}

/// One operation over whole views; `b_row` says where the row of `b` for a pixel begins.
pub(crate) struct Whole<'a> {
    operation: Operation,
    input: View<'a>,
    b: &'a [f32],
    b_pitch: usize,
    c: &'a [f32],
    activation: Activation,
}

impl<'a> Whole<'a> {
    /// input · gate, where the row of `gate` for the next pixel is `gate_pitch` further.
    pub(crate) fn product(input: View<'a>, gate: &'a [f32], gate_pitch: usize) -> Self {
        Self {
            operation: Operation::Multiply,
            input,
            b: gate,
            b_pitch: gate_pitch,
            c: &[],
            activation: Activation::None,
        }
    }

    /// input · gate, with one number of `gate` for each pixel, `gate_pitch` apart.
    pub(crate) fn scaled(input: View<'a>, gate: &'a [f32], gate_pitch: usize) -> Self {
        Self {
            operation: Operation::Scale,
            ..Self::product(input, gate, gate_pitch)
        }
    }

    /// activation(input · scale + shift), with a scale and a shift for each channel.
    pub(crate) fn affine(
        input: View<'a>,
        scale: &'a [f32],
        shift: &'a [f32],
        activation: Activation,
    ) -> Self {
        Self {
            operation: Operation::Affine,
            input,
            b: scale,
            b_pitch: 0,
            c: shift,
            activation,
        }
    }

    /// Runs it over the pixels `pixels`, which read `b` from its row `b_row`.
    pub(crate) fn run(
        &self,
        output: &mut ViewMut<'_>,
        pixels: std::ops::Range<usize>,
        b_row: usize,
    ) {
        let pitch = output.pitch;
        let to = Output::new(output.data);
        in_chunks(pixels.len(), self.input.channels, |mine| {
            let first = pixels.start + mine.start;
            // SAFETY: the chunks are disjoint pixels of the output.
            unsafe { self.block(to, pitch, first, mine.len(), b_row + mine.start) };
        });
    }

    /// Runs it over `pixels` pixels from the pixel `first` on, on this thread.
    ///
    /// # Safety
    /// The input and the output must have these pixels, and nobody else may use the output's.
    pub(crate) unsafe fn block(
        &self,
        output: Output,
        output_pitch: usize,
        first: usize,
        pixels: usize,
        b_row: usize,
    ) {
        let channels = self.input.channels;
        let dense = self.input.is_dense() && output_pitch == channels;
        let b = &self.b[b_row * self.b_pitch..];
        let block = |first: usize, rows, width, b: &[f32], c: &[f32]| {
            // SAFETY: the caller's.
            unsafe { self.rows(output, output_pitch, first, rows, width, b, c) }
        };
        let whole = matches!(self.operation, Operation::Add | Operation::Multiply);
        if dense && whole && self.b_pitch == channels {
            // Rows without gaps are one long row, if nothing is different from row to row.
            block(first, 1, pixels * channels, b, self.c);
            return;
        }
        // Not in a page, whose code is to be small.
        let fold = match dense && self.b_pitch == 0 && !cfg!(target_family = "wasm") {
            true => whole_vectors(channels, Level::best().lanes()),
            false => 1,
        };
        let folded = pixels / fold;
        if fold == 1 || folded < FEWEST_FOLDED {
            block(first, pixels, channels, b, self.c);
            return;
        }
        // As many rows together as fill whole vectors, beside as many copies of what they are combined with.
        with_scratch(2 * fold * channels, |copies| {
            let (wide_b, wide_c) = copies.split_at_mut(fold * channels);
            repeat(&b[..channels], wide_b);
            repeat(self.c, wide_c);
            block(first, folded, fold * channels, wide_b, wide_c);
        });
        if pixels > folded * fold {
            let done = folded * fold;
            block(first + done, pixels - done, channels, b, self.c);
        }
    }

    /// Runs it over `rows` rows of `width` elements from the pixel `first` on, with these `b` and `c`.
    ///
    /// # Safety
    /// As above.
    #[allow(clippy::too_many_arguments)]
    unsafe fn rows(
        &self,
        output: Output,
        output_pitch: usize,
        first: usize,
        rows: usize,
        width: usize,
        b: &[f32],
        c: &[f32],
    ) {
        let level = Level::best();
        let bounds = self.activation.bounds();
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        // Rows that are wider than a pixel lie without gaps.
        let wide = |pitch: usize| pitch.max(width);
        let target = output.at(first * output_pitch);
        level.run(Rows {
            operation: self.operation,
            a: self.input.data[first * self.input.pitch..].as_ptr(),
            a_pitch: wide(self.input.pitch),
            b: b.as_ptr(),
            b_pitch: self.b_pitch,
            c: c.as_ptr(),
            output: target,
            output_pitch: wide(output_pitch),
            rows,
            width,
            low,
            high,
        });
        if bounds.is_none() {
            // SAFETY: what was just written.
            unsafe {
                apply_in_place(
                    level,
                    self.activation,
                    target,
                    wide(output_pitch),
                    rows,
                    width,
                );
            }
        }
    }
}

/// How many rows of `channels` together are whole vectors.
pub(crate) fn whole_vectors(channels: usize, lanes: usize) -> usize {
    // Lanes are a power of two.
    lanes >> channels.trailing_zeros().min(lanes.trailing_zeros())
}

/// Fills `to` with copies of `row`, if there is one.
fn repeat(row: &[f32], to: &mut [f32]) {
    if !row.is_empty() {
        let copies = to.chunks_exact_mut(row.len());
        copies.for_each(|to| to.copy_from_slice(row));
    }
}

/// output = activation(input)
///
/// # Panics
/// If the shapes differ.
pub fn activate(activation: Activation, input: View<'_>, output: ViewMut<'_>) {
    same_shape(&input, &output);
    let channels = input.channels;
    if channels == 0 {
        return;
    }
    let level = Level::best();
    let pitch = output.pitch;
    let dense = input.is_dense() && pitch == channels;
    let pixels = output.pixels();
    let to = Output::new(output.data);
    in_chunks(pixels, channels, |mine| {
        let (rows, width) = if dense {
            (1, mine.len() * channels)
        } else {
            (mine.len(), channels)
        };
        level.run(Block {
            activation,
            input: input.data[mine.start * input.pitch..].as_ptr(),
            input_pitch: input.pitch,
            output: to.at(mine.start * pitch),
            output_pitch: pitch,
            rows,
            width,
        });
    });
}

/// Applies an elementwise function where the numbers are.
pub fn activate_in_place(activation: Activation, data: &mut [f32]) {
    if activation == Activation::None || data.is_empty() {
        return;
    }
    let level = Level::best();
    let length = data.len();
    let to = Output::new(data);
    let count = chunks(length, length * COST);
    parallel(count, |index| {
        let mine = chunk(length, 16, index, count);
        // SAFETY: the chunks are disjoint parts of the slice.
        unsafe {
            apply_in_place(level, activation, to.at(mine.start), 0, 1, mine.len());
        }
    });
}

/// output = activation(a + b)
///
/// # Panics
/// If the shapes differ.
pub fn add(a: View<'_>, b: View<'_>, activation: Activation, mut output: ViewMut<'_>) {
    same_shape(&a, &output);
    same_shape(&b, &output);
    if a.channels == 0 {
        return;
    }
    let whole = Whole {
        operation: Operation::Add,
        input: a,
        b: b.data,
        b_pitch: b.pitch,
        c: &[],
        activation,
    };
    whole.run(&mut output, 0..a.pixels(), 0);
}

/// What a gate has numbers for.
pub(crate) enum GateShape {
    /// `[N, H, W, C]`
    Elements,
    /// `[N, H, W, 1]`
    Pixels,
    /// `[N, 1, 1, C]`
    Channels,
}

impl GateShape {
    /// The gate's of some maps; panics if it is none.
    pub(crate) fn of(maps: &View<'_>, gate: &View<'_>) -> Self {
        let shape = [gate.batch, gate.rows, gate.columns, gate.channels];
        let all = [maps.batch, maps.rows, maps.columns, maps.channels];
        if shape == all {
            Self::Elements
        } else if shape == [all[0], all[1], all[2], 1] {
            Self::Pixels
        } else {
            assert_eq!(shape, [all[0], 1, 1, all[3]], "the gate of maps {all:?}");
            Self::Channels
        }
    }
}

/// output = input · gate, where the gate is `[N, 1, 1, C]`, `[N, H, W, 1]` or of the input's shape.
///
/// # Panics
/// If it is neither, or the input's shape is not the output's.
pub fn gate(input: View<'_>, gate: View<'_>, mut output: ViewMut<'_>) {
    same_shape(&input, &output);
    gate.check();
    if input.channels == 0 || input.pixels() == 0 {
        return;
    }
    match GateShape::of(&input, &gate) {
        GateShape::Elements => {
            let whole = Whole::product(input, gate.data, gate.pitch);
            whole.run(&mut output, 0..input.pixels(), 0);
        }
        GateShape::Pixels => {
            let whole = Whole::scaled(input, gate.data, gate.pitch);
            whole.run(&mut output, 0..input.pixels(), 0);
        }
        GateShape::Channels => {
            let area = input.rows * input.columns;
            for map in 0..input.batch {
                let row = &gate.data[map * gate.pitch..][..gate.channels];
                let whole = Whole::product(input, row, 0);
                whole.run(&mut output, map * area..(map + 1) * area, 0);
            }
        }
    }
}

/// output = activation(input · scale + shift), with a scale and a shift for each channel.
///
/// # Panics
/// If there are not as many as channels, or the shapes differ.
pub fn affine(
    input: View<'_>,
    scale: &[f32],
    shift: &[f32],
    activation: Activation,
    mut output: ViewMut<'_>,
) {
    same_shape(&input, &output);
    assert_eq!(scale.len(), input.channels, "scales");
    assert_eq!(shift.len(), input.channels, "shifts");
    if input.channels == 0 {
        return;
    }
    let whole = Whole::affine(input, scale, shift, activation);
    whole.run(&mut output, 0..input.pixels(), 0);
}

/// output = input, between views of different pitches.
///
/// # Panics
/// If the shapes differ.
pub fn copy(input: View<'_>, output: ViewMut<'_>) {
    same_shape(&input, &output);
    let channels = input.channels;
    if channels == 0 {
        return;
    }
    let pitch = output.pitch;
    let pixels = output.pixels();
    let to = Output::new(output.data);
    let dense = input.is_dense() && pitch == channels;
    let count = chunks(pixels, pixels * channels);
    parallel(count, |index| {
        let mine = chunk(pixels, 1, index, count);
        // Pixels without gaps are one long one.
        let (pixels, length) = match dense {
            true => (
                mine.start..mine.end.min(mine.start + 1),
                mine.len() * channels,
            ),
            false => (mine, channels),
        };
        for pixel in pixels {
            // SAFETY: each pixel is written by one chunk, and lies within the view.
            let to = unsafe { std::slice::from_raw_parts_mut(to.at(pixel * pitch), length) };
            to.copy_from_slice(&input.data[pixel * input.pitch..][..length]);
        }
    });
}

/// 8-bit RGB `[N, H, W, 3]` to (byte / 255 - mean) / deviation.
///
/// # Panics
/// If the lengths differ or are no multiple of three.
pub fn normalise(pixels: &[u8], mean: [f32; 3], deviation: [f32; 3], output: &mut [f32]) {
    assert_eq!(pixels.len(), output.len(), "lengths of input and output");
    assert_eq!(pixels.len() % 3, 0, "three bytes to a pixel");
    /// Three channels, as often as it takes to fill whole vectors.
    const PATTERN: usize = 48;
    let scale: [f32; PATTERN] = std::array::from_fn(|at| 1.0 / (255.0 * deviation[at % 3]));
    let shift: [f32; PATTERN] = std::array::from_fn(|at| -mean[at % 3] / deviation[at % 3]);
    let count = chunks(pixels.len() / 3, pixels.len());
    let total = pixels.len() / 3;
    let to = Output::new(output);
    parallel(count, |index| {
        let mine = chunk(total, 16, index, count);
        let from = &pixels[mine.start * 3..mine.end * 3];
        // SAFETY: the chunks are disjoint parts of the slice.
        let to = unsafe { std::slice::from_raw_parts_mut(to.at(mine.start * 3), from.len()) };
        // Not `mul_add`: out here, without the instruction, that is a call.
        for (to, from) in to.chunks_mut(PATTERN).zip(from.chunks(PATTERN)) {
            for (at, (to, &from)) in to.iter_mut().zip(from).enumerate() {
                *to = f32::from(from) * scale[at] + shift[at];
            }
        }
    });
}
