//! Batch normalisation by the statistics of the batch, forwards and backwards.

#![allow(unsafe_code)] // Loads and stores through pointers.

use crate::activation::{Activation, apply_in_place};
use crate::columns::{AffineSlopes, Combine, Moments, Other, Slopes};
use crate::elementwise::same_shape;
use crate::grid::Grid;
use crate::simd::Level;
use crate::threads::{Output, with_scratch};
use crate::view::{View, ViewMut};

/// What maps are normalised with: (x - mean) / √(variance + epsilon) · gamma + beta, for each channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Means of the batch: see [`moments`].
    pub mean: &'a [f32],
    /// Biased variances of the batch.
    pub variance: &'a [f32],
    /// Factors.
    pub gamma: &'a [f32],
    /// Summands.
    pub beta: &'a [f32],
    /// What is added to the variance.
    pub epsilon: f32,
}

impl BatchNorm<'_> {
    fn check(&self, channels: usize) {
        assert_eq!(self.mean.len(), channels, "means");
        assert_eq!(self.variance.len(), channels, "variances");
        assert_eq!(self.gamma.len(), channels, "gammas");
        assert_eq!(self.beta.len(), channels, "betas");
    }

    /// 1 / √(variance + epsilon)
    fn inverse(&self, channel: usize) -> f64 {
        1.0 / (f64::from(self.variance[channel]) + f64::from(self.epsilon)).sqrt()
    }
}

/// Mean and biased variance of each channel over all positions of all images; NaN where there are none.
///
/// One pass over memory: a block is summed around the mean of its first rows, so nothing cancels where numbers lie
/// far from zero.
///
/// # Panics
/// If there are not as many means and variances as channels.
pub fn moments(x: View<'_>, mean: &mut [f32], variance: &mut [f32]) {
    x.check();
    assert_eq!(mean.len(), x.channels, "means");
    assert_eq!(variance.len(), x.channels, "variances");
    if x.channels == 0 {
        return;
    }
    let grid = Grid::new(x.pixels(), x.channels, x.is_dense());
    with_scratch(grid.blocks() * 3 * grid.width(), |sums| {
        let to = Output::new(sums);
        // SAFETY: each block has three rows of its own.
        grid.each(1, |block| unsafe { block_moments(&x, &grid, block, to) });
        let [means, squares] = grid.join_moments(sums);
        let pixels = x.pixels() as f64;
        for (channel, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
            *mean = if pixels > 0.0 {
                means[channel] as f32
            } else {
                f32::NAN
            };
            *variance = (squares[channel] / pixels) as f32;
        }
    });
}

/// The centre of each column of a block, and the sums of distances and of squared distances from it.
///
/// # Safety
/// The three rows that the block has behind `to` must be there, and nobody else's.
unsafe fn block_moments(x: &View<'_>, grid: &Grid, block: usize, to: Output) {
    let (level, width) = (Level::best(), grid.width());
    let start = block * 3 * width;
    // SAFETY: the caller's.
    let mine = unsafe { std::slice::from_raw_parts_mut(to.at(start), 3 * width) };
    let centre = mine.as_ptr();
    let sums = [to.at(start + width), to.at(start + 2 * width)];
    let sum = |first: usize, rows, width| {
        level.run(Moments {
            x: x.data[first * x.pitch..].as_ptr(),
            pitch: grid.fold * x.pitch,
            rows,
            width,
            centre,
            sums,
        });
    };
    let pieces = grid.pieces(block);
    // Whoever has a row: the rest, too, where it is all.
    let head = pieces[usize::from(pieces[0].rows == 0)];
    // A part of the block that is not too small, so that the mean of all cannot lie many deviations away.
    let rows = head.rows.min((head.rows / 16).max(8));
    mine.fill(0.0);
    sum(head.first, rows, head.width);
    let (centre, rest) = mine.split_at_mut(width);
    for (centre, sum) in centre.iter_mut().zip(rest.iter()) {
        *centre = *sum / rows as f32;
    }
    rest.fill(0.0);
    for piece in pieces {
        if piece.rows > 0 {
            sum(piece.first, piece.rows, piece.width);
        }
    }
}

/// output = activation((x - mean) / √(variance + epsilon) · gamma + beta + residual)
///
/// # Panics
/// If the shapes differ, or there are not as many numbers of each kind as channels.
pub fn batch_norm(
    x: View<'_>,
    norm: &BatchNorm<'_>,
    residual: Option<View<'_>>,
    activation: Activation,
    output: ViewMut<'_>,
) {
    same_shape(&x, &output);
    if let Some(residual) = &residual {
        same_shape(residual, &output);
    }
    norm.check(x.channels);
    if x.channels == 0 {
        return;
    }
    let dense = x.is_dense()
        && output.pitch == output.channels
        && residual.is_none_or(|residual| residual.is_dense());
    let grid = Grid::new(x.pixels(), x.channels, dense);
    let columns = Columns {
        centre: grid.row(|channel| norm.mean[channel]),
        scale: grid.row(|channel| (norm.inverse(channel) * f64::from(norm.gamma[channel])) as f32),
        shift: grid.row(|channel| norm.beta[channel]),
        other: Vec::new(),
    };
    let other = residual.map(|other| (Output::reading(other.data.as_ptr()), other.pitch));
    let to = (Output::new(output.data), output.pitch);
    // SAFETY: all have the same shape.
    unsafe { columns.combine(&grid, x, other, activation, to) };
}

/// Numbers for each column of rows.
struct Columns {
    centre: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// What the other maps are multiplied with, if with anything.
    other: Vec<f32>,
}

impl Columns {
    /// output = activation((x - centre) · scale + shift + other), where the output may be where `other` lies. Both
    /// are given with their pitches.
    ///
    /// # Safety
    /// Both must have the grid's pixels, and nobody else may use the output's.
    unsafe fn combine(
        &self,
        grid: &Grid,
        x: View<'_>,
        other: Option<(Output, usize)>,
        activation: Activation,
        (output, output_pitch): (Output, usize),
    ) {
        let level = Level::best();
        let bounds = activation.bounds();
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let fold = grid.fold;
        let of_piece = |first: usize, rows, width| {
            let output = output.at(first * output_pitch);
            let at_other = |(other, pitch): (Output, usize)| {
                let from = other.at(first * pitch).cast_const();
                if self.other.is_empty() {
                    Other::Plain(from, fold * pitch)
                } else {
                    Other::Scaled(from, fold * pitch, self.other.as_ptr())
                }
            };
            level.run(Combine {
                x: x.data[first * x.pitch..].as_ptr(),
                x_pitch: fold * x.pitch,
                other: other.map_or(Other::Nothing, at_other),
                output,
                output_pitch: fold * output_pitch,
                rows,
                width,
                centre: self.centre.as_ptr(),
                scale: self.scale.as_ptr(),
                shift: self.shift.as_ptr(),
                low,
                high,
            });
            if bounds.is_none() {
                // SAFETY: what was just written.
                unsafe {
                    apply_in_place(level, activation, output, fold * output_pitch, rows, width);
                }
            }
        };
        // From the end: what was summed last is still in the last cache, and what comes next begins at the start.
        let last = grid.blocks().saturating_sub(1);
        grid.each(1, |block| {
            for piece in grid.pieces(last - block) {
                if piece.rows > 0 {
                    of_piece(piece.first, piece.rows, piece.width);
                }
            }
        });
    }
}

/// The gradients of [`batch_norm`], where the statistics are those of the batch and so depend on x, too.
///
/// `slope` is the gradient of what came out, and becomes the gradient of x. With `output`, what came out of the
/// activation (None, Relu or Relu6), it goes back through the activation first. With `of_x`, the gradient of x is
/// written there instead, and `slope` is left as the gradient of the norm's own output: that of the residual.
///
/// # Panics
/// If the shapes differ, there are not as many numbers of each kind as channels, or for other activations.
pub fn batch_norm_slopes(
    x: View<'_>,
    norm: &BatchNorm<'_>,
    output: Option<(Activation, View<'_>)>,
    slope: ViewMut<'_>,
    of_x: Option<ViewMut<'_>>,
    mut parameters: AffineSlopes<'_>,
) {
    same_shape(&x, &slope);
    norm.check(x.channels);
    parameters.check(x.channels);
    if let Some(of_x) = &of_x {
        same_shape(&x, of_x);
    }
    if x.channels == 0 {
        return;
    }
    if let Some((activation, output)) = &output {
        same_shape(output, &slope);
        assert!(
            activation.bounds().is_some(),
            "{activation:?}: call `through` first"
        );
    }
    let pixels = x.pixels() as f64;
    let from = (Output::new(slope.data), slope.pitch);
    let slopes = Slopes {
        x,
        slope: from.0,
        slope_pitch: from.1,
        output: output.filter(|(activation, _)| *activation != Activation::None),
    };
    // SAFETY: the gradients have the shape of x and are borrowed here.
    let [shifts, mut scales] = unsafe { slopes.sums(norm.mean) };
    let channels = scales.iter_mut().enumerate();
    channels.for_each(|(channel, sum)| *sum *= norm.inverse(channel));
    parameters.write(&scales, &shifts);

    let to = of_x.map_or(from, |of_x| (Output::new(of_x.data), of_x.pitch));
    let dense = [x.pitch, from.1, to.1] == [x.channels; 3];
    let grid = Grid::new(x.pixels(), x.channels, dense);
    let factor = |c: usize| norm.inverse(c) * f64::from(norm.gamma[c]);
    let columns = Columns {
        centre: grid.row(|c| norm.mean[c]),
        scale: grid.row(|c| (-factor(c) * norm.inverse(c) * scales[c] / pixels) as f32),
        shift: grid.row(|c| (-factor(c) * shifts[c] / pixels) as f32),
        other: grid.row(|c| factor(c) as f32),
    };
    // SAFETY: all have the same shape; an element is written after it has been read.
    unsafe { columns.combine(&grid, x, Some(from), Activation::None, to) };
}
