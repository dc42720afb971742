//! Self-attention over short sequences, a block of queries at a time.

#![allow(unsafe_code)] // Hands pointers to the product.

use macerator::{Simd, WithSimd};

use crate::activation::{Activation, exp};
use crate::gemm::{BLOCK, Packed, Product};
use crate::simd::{Floats, Level, MOST_LANES, load, load_some, splat, store};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};

/// Self-attention of `windows` sequences of `tokens`, from a packed projection.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    /// Sequences that do not see one another.
    pub windows: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub depth: usize,
    /// How a token's projection is laid out: `[heads][3][depth]`, or else `[3][heads][depth]`.
    pub per_head: bool,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Swin v2: queries and keys are scaled to length one, and scores multiplied by a factor per head
    /// instead of `scale`.
    pub cosine: Option<&'a [f32]>,
    /// `[heads, tokens, tokens]`, added to the scores.
    pub bias: Option<&'a [f32]>,
    /// `[mask_windows, tokens, tokens]`, added to the scores: window w uses w mod `mask_windows`.
    pub mask: Option<&'a [f32]>,
    /// Windows of the mask.
    pub mask_windows: usize,
}

/// The shortest length that a query or key is divided by.
pub(crate) const SHORTEST: f32 = 1e-12;

/// Scores that are computed before they are used: they stay in the second-level cache.
const SCORES: usize = 24 * 1024;

/// Turns scores into e^(score - the row's largest), and gives what each row adds up to.
pub(crate) struct Softmax<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) pitch: usize,
    pub(crate) tokens: usize,
    /// What each row is multiplied by.
    pub(crate) scales: &'a [f32],
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) mask: Option<&'a [f32]>,
    pub(crate) sums: &'a mut [f32],
}

impl Softmax<'_> {
    /// A vector of what is added to scores, of which `count` are wanted; the other lanes are whatever
    /// comes next.
    #[inline(always)]
    fn added<S: Simd>(from: &[f32], at: usize, count: usize) -> Floats<S> {
        // SAFETY: as many elements as are read are there.
        unsafe {
            let start = from.as_ptr().add(at);
            if at + S::lanes32() <= from.len() {
                load(start)
            } else {
                load_some(start, count)
            }
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const BIAS: bool, const MASK: bool>(self) {
        let lanes = S::lanes32();
        let (bias, mask) = (self.bias.unwrap_or(&[]), self.mask.unwrap_or(&[]));
        let last = (self.tokens - 1) / lanes * lanes;
        // Lanes beyond the last token: scores that come to nothing.
        let mut nothing = [0.0f32; MOST_LANES];
        nothing[self.tokens - last..].fill(f32::NEG_INFINITY);
        // SAFETY: the buffer holds a vector.
        let nothing = unsafe { load::<S>(nothing.as_ptr()) };
        for (row, (&scale, total)) in self.scales.iter().zip(self.sums).enumerate() {
            let scores = self.scores[row * self.pitch..][..last + lanes].as_mut_ptr();
            let scale = splat::<S>(scale);
            let mut most = splat::<S>(f32::NEG_INFINITY);
            // SAFETY: a row of scores is whole vectors, which is what the slice above has checked.
            unsafe {
                for at in (0..=last).step_by(lanes) {
                    let count = lanes.min(self.tokens - at);
                    let mut score = load::<S>(scores.add(at)) * scale;
                    if BIAS {
                        score += Self::added::<S>(bias, row * self.tokens + at, count);
                    }
                    if MASK {
                        score += Self::added::<S>(mask, row * self.tokens + at, count);
                    }
                    if at == last {
                        score += nothing;
                    }
                    store(scores.add(at), score);
                    most = most.max(score);
                }
                let mut lane = [0.0f32; MOST_LANES];
                store(lane.as_mut_ptr(), most);
                let largest = lane[..lanes]
                    .iter()
                    .fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                // Finite, so that no NaN comes of a row that is masked by infinity all over.
                let largest = splat::<S>(largest.max(f32::MIN));
                let mut sum = splat::<S>(0.0);
                for at in (0..=last).step_by(lanes) {
                    let power = exp(load::<S>(scores.add(at)) - largest);
                    store(scores.add(at), power);
                    sum += power;
                }
                *total = sum.reduce_add();
            }
        }
    }
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match (self.bias.is_some(), self.mask.is_some()) {
            (false, false) => self.rows::<S, false, false>(),
            (true, false) => self.rows::<S, true, false>(),
            (false, true) => self.rows::<S, false, true>(),
            (true, true) => self.rows::<S, true, true>(),
        }
    }
}

impl AttentionShape<'_> {
    /// Where the query, key or value (0, 1, 2) of a head begins within a token.
    pub(crate) fn part(&self, head: usize, part: usize) -> usize {
        if self.per_head {
            (head * 3 + part) * self.depth
        } else {
            (part * self.heads + head) * self.depth
        }
    }

    /// The bias and the mask of a head of a window.
    pub(crate) fn added(&self, window: usize, head: usize) -> [Option<&[f32]>; 2] {
        let square = self.tokens * self.tokens;
        [
            self.bias.map(|bias| &bias[head * square..][..square]),
            self.mask
                .map(|mask| &mask[window % self.mask_windows * square..][..square]),
        ]
    }

    /// Queries whose scores are computed at a time, when so many numbers lie between one's and the next's.
    pub(crate) fn block(&self, pitch: usize) -> usize {
        (SCORES / pitch).clamp(1, BLOCK).min(self.tokens)
    }

    pub(crate) fn check(&self, qkv: &[f32], output: &[f32]) {
        let width = self.heads * self.depth;
        let tokens = self.windows * self.tokens;
        assert_eq!(qkv.len(), tokens * 3 * width, "length of the projection");
        assert_eq!(output.len(), tokens * width, "length of the output");
        let square = self.tokens * self.tokens;
        if let Some(cosine) = self.cosine {
            assert_eq!(cosine.len(), self.heads, "a factor per head");
        }
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), self.heads * square, "length of the bias");
        }
        if let Some(mask) = self.mask {
            assert!(self.mask_windows > 0, "a mask without windows");
            assert_eq!(mask.len(), self.mask_windows * square, "length of the mask");
        }
    }
}

/// One core's buffers.
struct Head {
    level: Level,
    keys: Packed,
    values: Packed,
    pitch: usize,
    block: usize,
}

/// What a query or key is multiplied by to have length one.
pub(crate) fn inverse_length(vector: &[f32]) -> f32 {
    let square: f32 = vector.iter().map(|x| x * x).sum();
    1.0 / square.sqrt().max(SHORTEST)
}

impl Head {
    fn new(level: Level, shape: &AttentionShape<'_>) -> Self {
        let pitch = shape.tokens.next_multiple_of(level.lanes());
        Self {
            level,
            keys: Packed::zeros(level, 1, shape.depth, pitch),
            values: Packed::zeros(level, 1, shape.tokens, shape.depth),
            pitch,
            block: shape.block(pitch),
        }
    }

    /// Floats of scratch memory that it needs.
    fn scratch(&self) -> usize {
        self.block * (self.pitch + 2)
    }

    /// One head of one window.
    fn run(
        &mut self,
        shape: &AttentionShape<'_>,
        qkv: &[f32],
        output: Output,
        unit: usize,
        scratch: &mut [f32],
    ) {
        let (window, head) = (unit / shape.heads, unit % shape.heads);
        let (tokens, depth) = (shape.tokens, shape.depth);
        let width = shape.heads * depth;
        let token = |token: usize, part: usize| {
            &qkv[(window * tokens + token) * 3 * width + shape.part(head, part)..][..depth]
        };
        self.keys.fill_columns(tokens, |key| {
            let key = token(key, 1);
            let factor = shape.cosine.map_or(1.0, |_| inverse_length(key));
            (key, factor)
        });
        self.values.fill_rows(|value| token(value, 2));
        let [bias, mask] = shape.added(window, head);
        let (scores, rest) = scratch.split_at_mut(self.block * self.pitch);
        let (scales, sums) = rest.split_at_mut(self.block);
        let mut pointers: Vec<*const f32> = Vec::with_capacity(self.block);
        let blocks = tokens.div_ceil(self.block);
        for block in 0..blocks {
            let rows = chunk(tokens, 1, block, blocks);
            pointers.clear();
            pointers.extend(rows.clone().map(|row| token(row, 0).as_ptr()));
            // SAFETY: the rows are queries; the scores have room for a block's rows.
            unsafe { product(&self.keys, &pointers, scores.as_mut_ptr(), self.pitch) };
            for (scale, row) in scales.iter_mut().zip(rows.clone()) {
                *scale = match shape.cosine {
                    Some(factors) => factors[head] * inverse_length(token(row, 0)),
                    None => shape.scale,
                };
            }
            let elements = rows.start * tokens..rows.end * tokens;
            let bias = bias.map(|bias| &bias[elements.clone()]);
            let mask = mask.map(|mask| &mask[elements]);
            self.level.run(Softmax {
                scores,
                pitch: self.pitch,
                tokens,
                scales: &scales[..rows.len()],
                bias,
                mask,
                sums: &mut sums[..rows.len()],
            });
            pointers.clear();
            pointers.extend((0..rows.len()).map(|row| scores[row * self.pitch..].as_ptr()));
            let first = (window * tokens + rows.start) * width + head * depth;
            // SAFETY: the rows are scores; these rows and channels of the output are this unit's.
            unsafe { product(&self.values, &pointers, output.at(first), width) };
            for (row, sum) in sums[..rows.len()].iter().enumerate() {
                let scale = 1.0 / sum;
                // SAFETY: as above.
                let to = unsafe {
                    std::slice::from_raw_parts_mut(output.at(first + row * width), depth)
                };
                for value in to {
                    *value *= scale;
                }
            }
        }
    }
}

/// The rows that pointers lead to times a packed matrix.
///
/// # Safety
/// As [`Packed::multiply`].
pub(crate) unsafe fn product(
    packed: &Packed,
    pointers: &[*const f32],
    output: *mut f32,
    output_pitch: usize,
) {
    let product = Product {
        pointers,
        rows: pointers.len(),
        start: std::ptr::null(),
        start_pitch: 0,
        output,
        output_pitch,
        activation: Activation::None,
    };
    // SAFETY: the caller's.
    unsafe { packed.multiply(&product, 0..packed.panels()) }
}

/// softmax(scale · q kᵀ + bias + mask) v for every window and head, from `qkv`
/// `[windows, tokens, 3 · heads · depth]` to `output` `[windows, tokens, heads · depth]`.
///
/// # Panics
/// If a length does not fit the shape.
pub fn attention(shape: &AttentionShape<'_>, qkv: &[f32], output: &mut [f32]) {
    shape.check(qkv, output);
    if output.is_empty() {
        return;
    }
    let level = Level::best();
    let units = shape.windows * shape.heads;
    let cost = 2 * units * shape.tokens * shape.tokens * shape.depth;
    let count = chunks(units, cost);
    let output = Output::new(output);
    parallel(count, |index| {
        let mut head = Head::new(level, shape);
        with_scratch(head.scratch(), |scratch| {
            for unit in chunk(units, 1, index, count) {
                head.run(shape, qkv, output, unit, scratch);
            }
        });
    });
}
