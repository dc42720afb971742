//! The gradient of self-attention: scores are computed again, a block of queries at a time.
//!
//! With P = softmax(S): dV = Pᵀ dO; dP = dO Vᵀ; dS = P ∘ (dP - rowsum(dP ∘ P)); dQ = scale · dS K;
//! dK = scale · dSᵀ Q.

#![allow(unsafe_code)] // Hands pointers to the product, and reads and writes vectors through them.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::attention::{AttentionShape, SHORTEST, Softmax, inverse_length, product};
use crate::gemm::Packed;
use crate::simd::{Level, load, splat, store};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::tile::many_registers;

/// Windows whose slopes of the bias are added up in 32 bits.
const LONGEST: usize = 64;

/// Pieces of work that are wanted for however many cores there are, where windows are added up.
const PIECES: usize = 16;

/// Rows of a tile of [`Crossed`], at most.
const MOST_ROWS: usize = 8;

/// output\[m\]\[n\] = Σ left\[k\]\[m\] · right\[k\]\[n\]: a product whose left-hand side lies across.
struct Crossed {
    left: *const f32,
    left_pitch: usize,
    right: *const f32,
    /// Elements from one row of the right-hand side or the output to the next: whole vectors.
    width: usize,
    output: *mut f32,
    depth: usize,
    /// Rows of the output; up to [`MOST_ROWS`] more are read and written.
    rows: usize,
    /// Whether it is added to what is there.
    add: bool,
}

impl WithSimd for Crossed {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let lanes = S::lanes32();
        let vectors = self.width / lanes;
        let mut from = 0;
        while from < vectors {
            let column = from * lanes;
            // SAFETY: whoever made it vouches for the matrices.
            from += unsafe {
                match vectors - from {
                    4.. if many_registers(lanes) => self.columns::<S, 6, 4>(column),
                    3 if many_registers(lanes) => self.columns::<S, 8, 3>(column),
                    2.. if many_registers(lanes) => self.columns::<S, 8, 2>(column),
                    2.. => self.columns::<S, 6, 2>(column),
                    _ => self.columns::<S, 8, 1>(column),
                }
            };
        }
    }
}

impl Crossed {
    /// `VECTORS` vectors of all rows; gives how many vectors they were.
    ///
    /// # Safety
    /// The matrices must be there.
    #[inline(always)]
    unsafe fn columns<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        column: usize,
    ) -> usize {
        let lanes = S::lanes32();
        for row in (0..self.rows).step_by(ROWS) {
            let mut sums = [[splat::<S>(0.0); VECTORS]; ROWS];
            // SAFETY: the caller's.
            unsafe {
                let mut left = self.left.add(row);
                let mut right = self.right.add(column);
                for _ in 0..self.depth {
                    let mut columns = [splat::<S>(0.0); VECTORS];
                    for (v, column) in columns.iter_mut().enumerate() {
                        *column = load::<S>(right.add(v * lanes));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let factor = splat::<S>(*left.add(r));
                        for (sum, column) in sums.iter_mut().zip(columns) {
                            *sum = factor.mul_add(column, *sum);
                        }
                    }
                    left = left.wrapping_add(self.left_pitch);
                    right = right.wrapping_add(self.width);
                }
                for (r, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        let to = self.output.add((row + r) * self.width + column + v * lanes);
                        let before = match self.add {
                            true => load::<S>(to),
                            false => splat(0.0),
                        };
                        store(to, before + *sum);
                    }
                }
            }
        }
        VECTORS
    }
}

/// Turns powers into probabilities, and the slopes of these into the slopes of scores.
struct Backwards<'a> {
    powers: &'a mut [f32],
    slopes: &'a mut [f32],
    pitch: usize,
    /// Whole vectors with something in them, in elements.
    length: usize,
    /// What the rows of powers add up to.
    sums: &'a [f32],
    /// What the slopes of scores are multiplied by.
    scale: f32,
    /// Where they are added up before that, with the same pitch.
    bias: Option<&'a mut [f32]>,
}

impl Backwards<'_> {
    #[inline(always)]
    fn rows<S: Simd, const BIAS: bool>(self) {
        let (lanes, length) = (S::lanes32(), self.length);
        let scale = splat::<S>(self.scale);
        let bias = self.bias.unwrap_or(&mut []);
        for (row, sum) in self.sums.iter().enumerate() {
            let start = row * self.pitch;
            let powers = self.powers[start..][..length].as_mut_ptr();
            let slopes = self.slopes[start..][..length].as_mut_ptr();
            let bias = match BIAS {
                true => bias[start..][..length].as_mut_ptr(),
                false => std::ptr::null_mut(),
            };
            let inverse = splat::<S>(1.0 / sum);
            // SAFETY: the slices above are whole vectors.
            unsafe {
                let mut mean = splat::<S>(0.0);
                for at in (0..length).step_by(lanes) {
                    let probability = load::<S>(powers.add(at)) * inverse;
                    store(powers.add(at), probability);
                    mean = probability.mul_add(load(slopes.add(at)), mean);
                }
                let mean = splat::<S>(mean.reduce_add());
                for at in (0..length).step_by(lanes) {
                    let distance = load::<S>(slopes.add(at)) - mean;
                    let slope = load::<S>(powers.add(at)) * distance;
                    if BIAS {
                        store(bias.add(at), load::<S>(bias.add(at)) + slope);
                    }
                    store(slopes.add(at), slope * scale);
                }
            }
        }
    }
}

impl WithSimd for Backwards<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.bias.is_some() {
            true => self.rows::<S, true>(),
            false => self.rows::<S, false>(),
        }
    }
}

/// One core's buffers.
struct Head<'a> {
    level: Level,
    shape: &'a AttentionShape<'a>,
    /// Keys as columns.
    keys: Packed,
    /// Keys as rows.
    key_rows: Packed,
    /// Values as columns.
    values: Packed,
    /// From one row of scores to the next.
    pitch: usize,
    /// From one row of a head's vectors to the next.
    width: usize,
    block: usize,
    /// What queries and keys are multiplied by first.
    lengths: [Vec<f32>; 2],
}

/// Where the query, key or value (0, 1, 2) of a token of a head is in the projection.
fn place(
    shape: &AttentionShape<'_>,
    [window, head]: [usize; 2],
    token: usize,
    part: usize,
) -> Range<usize> {
    let token = window * shape.tokens + token;
    let start = token * 3 * shape.heads * shape.depth + shape.part(head, part);
    start..start + shape.depth
}

/// Where some rows of a matrix begin.
fn pointers(matrix: &[f32], pitch: usize, rows: Range<usize>) -> Vec<*const f32> {
    rows.map(|row| matrix[row * pitch..].as_ptr()).collect()
}

/// Where a head's slopes go besides those of the projection.
struct Sums<'a> {
    /// Of the bias, with the pitch of scores.
    bias: Option<&'a mut [f32]>,
    /// Of the factor of cosines.
    cosine: f64,
}

impl<'a> Head<'a> {
    fn new(level: Level, shape: &'a AttentionShape<'a>) -> Self {
        let lanes = level.lanes();
        let pitch = shape.tokens.next_multiple_of(lanes);
        Self {
            level,
            shape,
            keys: Packed::zeros(level, 1, shape.depth, pitch),
            key_rows: Packed::zeros(level, 1, shape.tokens, shape.depth),
            values: Packed::zeros(level, 1, shape.depth, pitch),
            pitch,
            width: shape.depth.next_multiple_of(lanes),
            block: shape.block(pitch),
            lengths: [vec![1.0; shape.tokens], vec![1.0; shape.tokens]],
        }
    }

    /// Elements of a block's scores. [`Crossed`] reads past the last.
    fn scores(&self) -> usize {
        self.block * self.pitch + MOST_ROWS
    }

    /// Elements of a head's vectors, with those past the last.
    fn vectors(&self) -> usize {
        (self.shape.tokens + MOST_ROWS) * self.width
    }

    /// Floats of scratch memory that it needs.
    fn scratch(&self) -> usize {
        2 * self.scores() + 5 * self.vectors() + 2 * self.block
    }

    /// Copies the vectors of a head and leaves zeros behind them.
    fn copy<'b>(&self, to: &mut [f32], vector: impl Fn(usize) -> (&'b [f32], f32)) {
        let rows = to.chunks_exact_mut(self.width).take(self.shape.tokens);
        for (token, to) in rows.enumerate() {
            let (from, factor) = vector(token);
            let (own, rest) = to.split_at_mut(from.len());
            for (to, from) in own.iter_mut().zip(from) {
                *to = from * factor;
            }
            rest.fill(0.0);
        }
    }

    /// One head of one window.
    fn run(
        &mut self,
        [qkv, slope]: [&[f32]; 2],
        of_qkv: Output,
        unit: [usize; 2],
        sums: &mut Sums<'_>,
        scratch: &mut [f32],
    ) {
        let (shape, [window, head]) = (self.shape, unit);
        let (tokens, depth, width) = (shape.tokens, shape.depth, self.width);
        let (powers, scratch) = scratch.split_at_mut(self.scores());
        let (slopes, scratch) = scratch.split_at_mut(self.scores());
        let (scales, scratch) = scratch.split_at_mut(self.block);
        let (totals, scratch) = scratch.split_at_mut(self.block);
        let (queries, scratch) = scratch.split_at_mut(self.vectors());
        let (keys, scratch) = scratch.split_at_mut(self.vectors());
        let (mixed, scratch) = scratch.split_at_mut(self.vectors());
        let (of_keys, of_values) = scratch.split_at_mut(self.vectors());
        let part = |token: usize, part: usize| &qkv[place(shape, unit, token, part)];
        if shape.cosine.is_some() {
            for (of, lengths) in self.lengths.iter_mut().enumerate() {
                for (token, length) in lengths.iter_mut().enumerate() {
                    *length = inverse_length(part(token, of));
                }
            }
        }
        self.copy(queries, |token| (part(token, 0), self.lengths[0][token]));
        self.copy(keys, |token| (part(token, 1), self.lengths[1][token]));
        self.copy(mixed, |token| {
            let start = ((window * tokens + token) * shape.heads + head) * depth;
            (&slope[start..][..depth], 1.0)
        });
        let (queries, keys, mixed) = (&*queries, &*keys, &*mixed);
        self.values
            .fill_columns(tokens, |token| (part(token, 2), 1.0));
        self.keys
            .fill_columns(tokens, |token| (&keys[token * width..][..depth], 1.0));
        self.key_rows
            .fill_rows(|token| &keys[token * width..][..depth]);
        scales.fill(shape.cosine.map_or(shape.scale, |factors| factors[head]));
        let [bias, mask] = shape.added(window, head);
        let qkv_pitch = 3 * shape.heads * depth;
        let blocks = tokens.div_ceil(self.block);
        for block in 0..blocks {
            let rows = chunk(tokens, 1, block, blocks);
            // SAFETY: rows of queries and of slopes of what was mixed; there is room for a block's scores.
            unsafe {
                let from = pointers(queries, width, rows.clone());
                product(&self.keys, &from, powers.as_mut_ptr(), self.pitch);
                let from = pointers(mixed, width, rows.clone());
                product(&self.values, &from, slopes.as_mut_ptr(), self.pitch);
            }
            let elements = rows.start * tokens..rows.end * tokens;
            self.level.run(Softmax {
                scores: powers,
                pitch: self.pitch,
                tokens,
                scales: &scales[..rows.len()],
                bias: bias.map(|bias| &bias[elements.clone()]),
                mask: mask.map(|mask| &mask[elements]),
                sums: &mut totals[..rows.len()],
            });
            self.level.run(Backwards {
                powers,
                slopes,
                pitch: self.pitch,
                length: self.pitch,
                sums: &totals[..rows.len()],
                scale: if shape.cosine.is_some() {
                    1.0
                } else {
                    shape.scale
                },
                bias: sums
                    .bias
                    .as_mut()
                    .map(|bias| &mut bias[rows.start * self.pitch..]),
            });
            let first = place(shape, unit, rows.start, 0).start;
            let from = pointers(slopes, self.pitch, 0..rows.len());
            // SAFETY: rows of slopes of scores; these rows and channels of the output are this unit's.
            unsafe { product(&self.key_rows, &from, of_qkv.at(first), qkv_pitch) };
            for (left, right, output) in [
                (&*powers, mixed, of_values.as_mut_ptr()),
                (&*slopes, queries, of_keys.as_mut_ptr()),
            ] {
                self.level.run(Crossed {
                    left: left.as_ptr(),
                    left_pitch: self.pitch,
                    right: right[rows.start * width..].as_ptr(),
                    width,
                    output,
                    depth: rows.len(),
                    rows: tokens,
                    add: block > 0,
                });
            }
        }
        for token in 0..tokens {
            // SAFETY: this unit's part of the output.
            let to = |part: usize| unsafe {
                let at = place(shape, unit, token, part);
                std::slice::from_raw_parts_mut(of_qkv.at(at.start), depth)
            };
            let own = token * width..token * width + depth;
            to(1).copy_from_slice(&of_keys[own.clone()]);
            to(2).copy_from_slice(&of_values[own.clone()]);
            if let Some(factors) = shape.cosine {
                let along = turn(
                    to(0),
                    &queries[own.clone()],
                    factors[head],
                    self.lengths[0][token],
                );
                turn(to(1), &keys[own], factors[head], self.lengths[1][token]);
                sums.cosine += f64::from(along);
            }
        }
    }
}

/// From the slopes of a vector of length one, but for a factor, to those of the vector that was divided by its length;
/// gives how far the slopes point along it.
fn turn(slopes: &mut [f32], unit: &[f32], factor: f32, inverse: f32) -> f32 {
    let along: f32 = slopes
        .iter()
        .zip(unit)
        .map(|(slope, unit)| slope * unit)
        .sum();
    // Shorter ones were divided by a constant.
    let lost = if inverse < 1.0 / SHORTEST { along } else { 0.0 };
    for (slope, unit) in slopes.iter_mut().zip(unit) {
        *slope = (*slope - unit * lost) * factor * inverse;
    }
    along
}

/// The gradient of [`attention`](crate::attention()) with respect to `qkv`, and to the bias and the cosines' factors if
/// they are asked for, from what it read and `slope`, the gradient of what it wrote. Everything is overwritten.
///
/// # Shapes
/// `slope` is `[windows, tokens, heads · depth]`, `of_qkv` as `qkv`, `of_bias` `[heads, tokens, tokens]`, summed over
/// the windows, and `of_cosine` `[heads]`.
///
/// # Panics
/// If a length does not fit the shape, or `of_cosine` is asked for without cosines.
pub fn attention_slopes(
    shape: &AttentionShape<'_>,
    qkv: &[f32],
    slope: &[f32],
    of_qkv: &mut [f32],
    of_bias: Option<&mut [f32]>,
    of_cosine: Option<&mut [f32]>,
) {
    shape.check(qkv, slope);
    let square = shape.tokens * shape.tokens;
    assert_eq!(
        of_qkv.len(),
        qkv.len(),
        "length of the projection's gradient"
    );
    if let Some(of_bias) = &of_bias {
        assert_eq!(
            of_bias.len(),
            shape.heads * square,
            "length of the bias's gradient"
        );
    }
    if let Some(of_cosine) = &of_cosine {
        assert!(
            shape.cosine.is_some(),
            "a gradient of factors that are not there"
        );
        assert_eq!(of_cosine.len(), shape.heads, "a gradient per head");
    }
    let (of_bias, of_cosine) = (of_bias.unwrap_or(&mut []), of_cosine.unwrap_or(&mut []));
    if qkv.is_empty() {
        of_bias.fill(0.0);
        of_cosine.fill(0.0);
        return;
    }
    let level = Level::best();
    let pitch = shape.tokens.next_multiple_of(level.lanes());
    let size = if of_bias.is_empty() {
        0
    } else {
        shape.tokens * pitch
    };
    // Parts of the windows, each of which has sums of its own: how many does not depend on the cores.
    let parts = match of_bias.is_empty() && of_cosine.is_empty() {
        true => shape.windows,
        false => (shape.windows.div_ceil(LONGEST))
            .max(PIECES.div_ceil(shape.heads))
            .min(shape.windows),
    };
    let pieces = shape.heads * parts;
    let of_qkv = Output::new(of_qkv);
    with_scratch(pieces * (size + 1), |added| {
        let (biases, cosines) = added.split_at_mut(pieces * size);
        let (to_biases, to_cosines) = (Output::new(biases), Output::new(cosines));
        let count = chunks(
            pieces,
            5 * shape.windows * shape.heads * square * shape.depth,
        );
        parallel(count, |index| {
            let mut buffers = Head::new(level, shape);
            with_scratch(buffers.scratch(), |scratch| {
                for piece in chunk(pieces, 1, index, count) {
                    // SAFETY: each piece has sums of its own.
                    let bias =
                        unsafe { std::slice::from_raw_parts_mut(to_biases.at(piece * size), size) };
                    bias.fill(0.0);
                    let mut sums = Sums {
                        bias: (size > 0).then_some(bias),
                        cosine: 0.0,
                    };
                    let (head, part) = (piece / parts, piece % parts);
                    for window in chunk(shape.windows, 1, part, parts) {
                        buffers.run([qkv, slope], of_qkv, [window, head], &mut sums, scratch);
                    }
                    // SAFETY: as above.
                    unsafe { *to_cosines.at(piece) = sums.cosine as f32 };
                }
            });
        });
        for (to, parts) in of_cosine.iter_mut().zip(cosines.chunks_exact(parts)) {
            *to = parts.iter().map(|&part| f64::from(part)).sum::<f64>() as f32;
        }
        let rows = Output::new(of_bias);
        let lines = if size > 0 {
            shape.heads * shape.tokens
        } else {
            0
        };
        let count = chunks(lines, lines * pitch * parts);
        let biases = &*biases;
        parallel(count, |index| {
            let mut sums = vec![0.0f64; shape.tokens];
            for line in chunk(lines, 1, index, count) {
                let (head, row) = (line / shape.tokens, line % shape.tokens);
                sums.fill(0.0);
                for part in 0..parts {
                    let from = &biases[(head * parts + part) * size + row * pitch..];
                    for (sum, value) in sums.iter_mut().zip(from) {
                        *sum += f64::from(*value);
                    }
                }
                for (at, sum) in sums.iter().enumerate() {
                    // SAFETY: the line is this chunk's.
                    unsafe { *rows.at(line * shape.tokens + at) = *sum as f32 };
                }
            }
        });
    });
}
