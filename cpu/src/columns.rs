//! Sums over the pixels of maps for each channel, and what is done to every pixel with numbers for each channel: rows
//! of a matrix, by columns.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::activation::Activation;
use crate::derivative::{Derivative, Identity, Relu, Relu6};
use crate::grid::Grid;
use crate::simd::{Floats, Level, add_to, load_up_to, splat, store_up_to, vectors, within};
use crate::threads::{Output, with_scratch};
use crate::view::View;

/// Rows that are added up before they are added to the sums.
const TOGETHER: usize = 4;

/// Adds what `of` makes of rows at a column to two rows of sums. `of` is given the row, the column, how many
/// columns, and the `centre` there.
///
/// # Safety
/// `width` sums and centres must be there, and what `of` reads.
#[inline(always)]
unsafe fn sum_columns<S: Simd>(
    rows: usize,
    width: usize,
    centre: *const f32,
    sums: [*mut f32; 2],
    of: impl Fn(usize, usize, usize, Floats<S>) -> [Floats<S>; 2],
) {
    let whole = rows / TOGETHER * TOGETHER;
    // SAFETY: the caller's.
    unsafe {
        for row in (0..whole).step_by(TOGETHER) {
            sum_rows::<S, TOGETHER>(row, width, centre, sums, &of);
        }
        for row in whole..rows {
            sum_rows::<S, 1>(row, width, centre, sums, &of);
        }
    }
}

/// That of `R` rows.
///
/// # Safety
/// As above.
#[inline(always)]
unsafe fn sum_rows<S: Simd, const R: usize>(
    row: usize,
    width: usize,
    centre: *const f32,
    sums: [*mut f32; 2],
    of: &impl Fn(usize, usize, usize, Floats<S>) -> [Floats<S>; 2],
) {
    vectors::<S>(
        width,
        #[inline(always)]
        |at, count| {
            // SAFETY: the caller's.
            unsafe {
                let centre = load_up_to::<S>(centre.add(at), count);
                let mut own = [splat::<S>(0.0); 2];
                for r in 0..R {
                    let [a, b] = of(row + r, at, count, centre);
                    own[0] += a;
                    own[1] += b;
                }
                for (sums, own) in sums.iter().zip(own) {
                    add_to(sums.add(at), own, count);
                }
            }
        },
    );
}

/// Adds Σ (x - centre) and Σ (x - centre)² of each column of some rows.
pub(crate) struct Moments {
    pub(crate) x: *const f32,
    /// From one row to the next.
    pub(crate) pitch: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) centre: *const f32,
    pub(crate) sums: [*mut f32; 2],
}

impl WithSimd for Moments {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (x, pitch) = (self.x, self.pitch);
        // SAFETY: whoever made it vouches for its rows.
        unsafe {
            sum_columns::<S>(
                self.rows,
                self.width,
                self.centre,
                self.sums,
                #[inline(always)]
                |row, at, count, centre| {
                    let x = load_up_to::<S>(x.add(row * pitch + at), count) - centre;
                    [x, x * x]
                },
            );
        }
    }
}

/// Adds Σ slope and Σ slope · (x - centre) of each column of some rows, where the slope first goes back through an
/// activation, if there is one, and is written where it was.
pub(crate) struct SlopeSums {
    pub(crate) slope: *mut f32,
    /// From one row to the next.
    pub(crate) slope_pitch: usize,
    pub(crate) x: *const f32,
    pub(crate) x_pitch: usize,
    /// None, Relu or Relu6.
    pub(crate) activation: Activation,
    /// What came out of it.
    pub(crate) kept: *const f32,
    pub(crate) kept_pitch: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) centre: *const f32,
    pub(crate) sums: [*mut f32; 2],
}

impl SlopeSums {
    #[inline(always)]
    fn sum<S: Simd, D: Derivative>(&self) {
        let (x, slope, kept) = (self.x, self.slope, self.kept);
        let (x_pitch, slope_pitch) = (self.x_pitch, self.slope_pitch);
        let kept_pitch = self.kept_pitch;
        // SAFETY: whoever made it vouches for its rows.
        unsafe {
            sum_columns::<S>(
                self.rows,
                self.width,
                self.centre,
                self.sums,
                #[inline(always)]
                |row, at, count, centre| {
                    let to = slope.add(row * slope_pitch + at);
                    let mut slope = load_up_to::<S>(to, count);
                    if !D::SAME {
                        let kept = load_up_to::<S>(kept.add(row * kept_pitch + at), count);
                        slope = D::through(kept, slope);
                        store_up_to(to, slope, count);
                    }
                    let x = load_up_to::<S>(x.add(row * x_pitch + at), count) - centre;
                    [slope, slope * x]
                },
            );
        }
    }
}

impl WithSimd for SlopeSums {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.activation {
            Activation::Relu => self.sum::<S, Relu>(),
            Activation::Relu6 => self.sum::<S, Relu6>(),
            _ => self.sum::<S, Identity>(),
        }
    }
}

/// Gradients of what came out of an activation of something made of `x`.
#[derive(Clone, Copy)]
pub(crate) struct Slopes<'a> {
    pub(crate) x: View<'a>,
    /// The gradients, which are only written where there is an activation.
    pub(crate) slope: Output,
    pub(crate) slope_pitch: usize,
    /// The activation, and what came out of it.
    pub(crate) output: Option<(Activation, View<'a>)>,
}

impl Slopes<'_> {
    /// Whether all pixels lie without gaps.
    pub(crate) fn is_dense(&self) -> bool {
        let output = self.output.is_none_or(|(_, output)| output.is_dense());
        self.x.is_dense() && self.slope_pitch == self.x.channels && output
    }

    /// Σ slope and Σ slope · (x - centre) for each channel, where the slope has gone back through the activation.
    ///
    /// # Safety
    /// The slopes must be there, and nobody else's where there is an activation.
    pub(crate) unsafe fn sums(&self, centre: &[f32]) -> [Vec<f64>; 2] {
        let grid = Grid::new(self.x.pixels(), self.x.channels, self.is_dense());
        let centre = grid.row(|channel| centre[channel]);
        with_scratch(grid.blocks() * 2 * grid.width(), |sums| {
            let to = Output::new(sums);
            // SAFETY: each block has two rows of its own, and its own pixels.
            grid.each(1, |block| unsafe {
                self.block(&grid, 0, block, &centre, to.at(block * 2 * grid.width()));
            });
            grid.join(sums)
        })
    }

    /// The sums of one block of a grid that begins at the pixel `base`: two rows.
    ///
    /// # Safety
    /// As above, and two rows must be writable at `to`.
    pub(crate) unsafe fn block(
        &self,
        grid: &Grid,
        base: usize,
        block: usize,
        centre: &[f32],
        to: *mut f32,
    ) {
        let (level, width) = (Level::best(), grid.width());
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(to, 2 * width) }.fill(0.0);
        let (activation, kept) = match &self.output {
            Some((activation, kept)) => (*activation, kept),
            None => (Activation::None, &self.x),
        };
        for piece in grid.pieces(block) {
            let first = base + piece.first;
            if piece.rows > 0 {
                level.run(SlopeSums {
                    slope: self.slope.at(first * self.slope_pitch),
                    slope_pitch: grid.fold * self.slope_pitch,
                    x: self.x.data[first * self.x.pitch..].as_ptr(),
                    x_pitch: grid.fold * self.x.pitch,
                    activation,
                    kept: kept.data[first * kept.pitch..].as_ptr(),
                    kept_pitch: grid.fold * kept.pitch,
                    rows: piece.rows,
                    width: piece.width,
                    centre: centre.as_ptr(),
                    sums: [to, to.wrapping_add(width)],
                });
            }
        }
    }
}

/// What is added to each element of [`Combine`].
#[derive(Clone, Copy)]
pub(crate) enum Other {
    Nothing,
    /// An element: where the first row begins, and from one row to the next.
    Plain(*const f32, usize),
    /// The same, times a number for each column.
    Scaled(*const f32, usize, *const f32),
}

/// output = (x - centre) · scale + shift + other, kept within bounds, with a centre, a scale and a shift for each
/// column.
pub(crate) struct Combine {
    pub(crate) x: *const f32,
    /// From one row to the next.
    pub(crate) x_pitch: usize,
    pub(crate) other: Other,
    pub(crate) output: *mut f32,
    pub(crate) output_pitch: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) centre: *const f32,
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Combine {
    /// `other` is given what it is added to, the row, the column and how many columns.
    #[inline(always)]
    fn each<S: Simd>(&self, other: impl Fn(Floats<S>, usize, usize, usize) -> Floats<S>) {
        let (low, high) = (splat::<S>(self.low), splat::<S>(self.high));
        for row in 0..self.rows {
            vectors::<S>(
                self.width,
                #[inline(always)]
                |at, count| {
                    // SAFETY: whoever made it vouches for its rows.
                    unsafe {
                        let x = load_up_to::<S>(self.x.add(row * self.x_pitch + at), count);
                        let distance = x - load_up_to::<S>(self.centre.add(at), count);
                        let scale = load_up_to::<S>(self.scale.add(at), count);
                        let shift = load_up_to::<S>(self.shift.add(at), count);
                        let value = other(distance.mul_add(scale, shift), row, at, count);
                        let output = self.output.add(row * self.output_pitch + at);
                        store_up_to(output, within(value, low, high), count);
                    }
                },
            );
        }
    }
}

impl WithSimd for Combine {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        // SAFETY: whoever made it vouches for its rows.
        unsafe {
            match self.other {
                Other::Nothing => self.each::<S>(
                    #[inline(always)]
                    |value, _, _, _| value,
                ),
                Other::Plain(other, pitch) => self.each::<S>(
                    #[inline(always)]
                    |value, row, at, count| value + load_up_to(other.add(row * pitch + at), count),
                ),
                Other::Scaled(other, pitch, scale) => self.each::<S>(
                    #[inline(always)]
                    |value, row, at, count| {
                        let scale = load_up_to(scale.add(at), count);
                        load_up_to::<S>(other.add(row * pitch + at), count).mul_add(scale, value)
                    },
                ),
            }
        }
    }
}

/// The gradients of a scale and a shift for each channel.
#[derive(Debug)]
pub struct AffineSlopes<'a> {
    /// Of the scales (γ of a norm).
    pub of_scale: &'a mut [f32],
    /// Of the shifts (β of a norm).
    pub of_shift: &'a mut [f32],
    /// Whether they are added to what is there, or written over it.
    pub add: bool,
}

impl AffineSlopes<'_> {
    /// Panics unless there is one of each for every channel.
    pub(crate) fn check(&self, channels: usize) {
        assert_eq!(self.of_scale.len(), channels, "gradients of scales");
        assert_eq!(self.of_shift.len(), channels, "gradients of shifts");
    }

    /// Takes them over.
    pub(crate) fn write(&mut self, scales: &[f64], shifts: &[f64]) {
        write(self.of_scale, scales, self.add);
        write(self.of_shift, shifts, self.add);
    }
}

/// Writes sums, or adds them to what is there.
pub(crate) fn write(to: &mut [f32], sums: &[f64], add: bool) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = (*sum + if add { f64::from(*to) } else { 0.0 }) as f32;
    }
}
