//! The matrix products of one evaluation, in `f64` on one thread, laid out so that the compiler
//! makes SIMD of them: wasm's and x86's baseline have registers of two doubles.

/// `ln Σ exp`, without overflow.
pub(super) fn log_sum_exp(logits: &[f64]) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    highest
        + logits
            .iter()
            .map(|logit| (logit - highest).exp())
            .sum::<f64>()
            .ln()
}

/// `out[i, k] = rows[i] · weights[k]`, two rows and two weights at a time, so that each value
/// loaded is used twice.
pub(super) fn products(rows: &[f64], weights: &[f64], stride: usize, out: &mut [f64]) {
    let classes = weights.len() / stride;
    for (rows, out) in rows.chunks(2 * stride).zip(out.chunks_mut(2 * classes)) {
        for (pair, weights) in weights.chunks(2 * stride).enumerate() {
            let class = 2 * pair;
            match (rows.len() / stride, weights.len() / stride) {
                (2, 2) => {
                    let tile = dots::<2, 2>(rows, weights, stride);
                    out[class..class + 2].copy_from_slice(&tile[0]);
                    out[classes + class..classes + class + 2].copy_from_slice(&tile[1]);
                }
                (2, _) => {
                    let tile = dots::<2, 1>(rows, weights, stride);
                    out[class] = tile[0][0];
                    out[classes + class] = tile[1][0];
                }
                (_, 2) => {
                    out[class..class + 2].copy_from_slice(&dots::<1, 2>(rows, weights, stride)[0]);
                }
                _ => out[class] = dots::<1, 1>(rows, weights, stride)[0][0],
            }
        }
    }
}

/// The inner products of `R` rows with `C` weights. Each sum is added up in the same order whatever
/// the tile, so an image's logits do not depend on its neighbours.
fn dots<const R: usize, const C: usize>(
    rows: &[f64],
    weights: &[f64],
    stride: usize,
) -> [[f64; C]; R] {
    const WIDTH: usize = 4;
    let blocks = stride / WIDTH;
    let row: [_; R] = std::array::from_fn(|r| &rows[r * stride..].as_chunks().0[..blocks]);
    let weight: [_; C] = std::array::from_fn(|c| &weights[c * stride..].as_chunks().0[..blocks]);
    let mut sums = [[[0.0; WIDTH]; C]; R];
    for block in 0..blocks {
        for r in 0..R {
            for c in 0..C {
                let (x, w): (&[f64; WIDTH], &[f64; WIDTH]) = (&row[r][block], &weight[c][block]);
                for lane in 0..WIDTH {
                    sums[r][c][lane] += x[lane] * w[lane];
                }
            }
        }
    }
    sums.map(|row| row.map(|lanes| (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])))
}

/// `gradient[k] += Σ_i residual[i, k] · rows[i]`, four rows at a time, a stretch of features at a
/// time, so that the rows stay in the first-level cache while all classes use them.
pub(super) fn add_products(rows: &[f64], residual: &[f64], stride: usize, gradient: &mut [f64]) {
    const STRETCH: usize = 512;
    let classes = gradient.len() / stride;
    for (rows, residual) in rows.chunks(4 * stride).zip(residual.chunks(4 * classes)) {
        for start in (0..stride).step_by(STRETCH) {
            let width = STRETCH.min(stride - start);
            let stretch = |row: usize| &rows[row * stride + start..][..width];
            for class in 0..classes {
                let target = &mut gradient[class * stride + start..][..width];
                let factor = |row: usize| residual[row * classes + class];
                if rows.len() == 4 * stride {
                    add_weighted::<4>(
                        target,
                        std::array::from_fn(stretch),
                        std::array::from_fn(factor),
                    );
                } else {
                    for row in 0..rows.len() / stride {
                        add_weighted(target, [stretch(row)], [factor(row)]);
                    }
                }
            }
        }
    }
}

/// `target += Σ_r factors[r] · rows[r]`.
fn add_weighted<const R: usize>(target: &mut [f64], rows: [&[f64]; R], factors: [f64; R]) {
    let width = target.len();
    let rows = rows.map(|row| &row[..width]);
    for at in 0..width {
        let mut sum = target[at];
        for r in 0..R {
            sum += factors[r] * rows[r][at];
        }
        target[at] = sum;
    }
}
