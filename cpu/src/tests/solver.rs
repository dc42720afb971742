use std::sync::Mutex;

use super::{Level, Random};
use crate::{
    Centre, Centred, Matrix, Rows, exact_logits, exact_moments, exact_sums, gram, row_products,
};

/// `Σ_k a[k] · b[k]` in f64, and the sum of the magnitudes: what rounding is measured by.
fn dot(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> (f64, f64) {
    a.zip(b).fold((0.0, 1e-30), |(sum, size), (a, b)| {
        (sum + a * b, size + (a * b).abs())
    })
}

#[test]
fn products_with_a_packed_matrix_are_those_of_f64() {
    let mut random = Random(1);
    for level in Level::all() {
        let _forced = level.force();
        for (rows, depth, columns) in [
            (1, 1, 1),
            (5, 400, 37),
            (2, 33, 400),
            (100, 70, 129),
            (7, 500, 1),
            (200, 9, 16),
        ] {
            let left = random.floats(rows * depth);
            let right = random.floats(columns * depth); // column after column
            let by_columns = Matrix::of_columns(depth, &right);
            let mut by_rows = Matrix::zeros(depth, columns);
            for k in 0..depth {
                let row: Vec<f32> = (0..columns).map(|c| right[c * depth + k]).collect();
                by_rows.set_row(k, &row);
            }
            for matrix in [by_columns, by_rows] {
                let mut output = vec![f32::NAN; rows * columns];
                matrix.multiply(&left, &mut output);
                for r in 0..rows {
                    for c in 0..columns {
                        let wide = |at: &f32| f64::from(*at);
                        let (sum, size) = dot(
                            left[r * depth..][..depth].iter().map(wide),
                            right[c * depth..][..depth].iter().map(wide),
                        );
                        let off = f64::from(output[r * columns + c]) - sum;
                        assert!(
                            off.abs() <= 2e-6 * size,
                            "{level:?} {rows} {depth} {columns}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn inner_products_of_rows_are_symmetric_and_those_of_f64() {
    let mut random = Random(2);
    for level in Level::all() {
        let _forced = level.force();
        for (count, depth) in [(1, 3), (50, 37), (131, 260), (300, 8)] {
            let rows = random.floats(count * depth);
            let products = gram(depth, &rows);
            let row = |n: usize| &rows[n * depth..][..depth];
            let mut one = vec![f32::NAN; count];
            for n in 0..count {
                row_products(&rows, row(n), &mut one);
                for m in 0..count {
                    let wide = |at: &f32| f64::from(*at);
                    let (sum, size) = dot(row(n).iter().map(wide), row(m).iter().map(wide));
                    for found in [products[n * count + m], one[m]] {
                        assert!((f64::from(found) - sum).abs() <= 2e-6 * size);
                    }
                    assert_eq!(products[n * count + m], products[m * count + n]);
                }
            }
        }
    }
}

#[test]
fn exact_products_are_exact_to_the_last_bits_of_f64() {
    let mut random = Random(3);
    for level in Level::all() {
        let _forced = level.force();
        for (count, width, classes) in [(1, 1, 1), (37, 29, 5), (16, 128, 4), (83, 300, 7)] {
            let rows = random.floats(count * width);
            let wide = |values: Vec<f32>| -> Vec<f64> {
                values.into_iter().map(|x| f64::from(x) * 1.1).collect()
            };
            let weights = wide(random.floats(classes * width));
            let factors = wide(random.floats(classes * count));
            let mut logits = vec![f64::NAN; classes * count];
            exact_logits(Rows::all(width, &rows), &weights, &mut logits);
            let start = wide(random.floats(classes * width));
            let mut sums = start.clone();
            exact_sums(Rows::all(width, &rows), &factors, &mut sums);
            for k in 0..classes {
                for n in 0..count {
                    let row = rows[n * width..][..width].iter().map(|x| f64::from(*x));
                    let (sum, size) = dot(row, weights[k * width..][..width].iter().copied());
                    assert!((logits[k * count + n] - sum).abs() <= 1e-14 * size);
                }
                for f in 0..width {
                    let column = (0..count).map(|n| f64::from(rows[n * width + f]));
                    let (sum, size) = dot(column, factors[k * count..][..count].iter().copied());
                    let expected = start[k * width + f] + sum;
                    let off = sums[k * width + f] - expected;
                    assert!(off.abs() <= 1e-14 * (size + expected.abs()));
                }
            }
        }
    }
}

#[test]
fn moments_and_products_of_centred_rows_are_those_of_f64() {
    let mut random = Random(4);
    for level in Level::all() {
        let _forced = level.force();
        for (count, width) in [(1, 1), (2, 300), (45, 37), (100, 8)] {
            let rows: Vec<f32> = random
                .floats(count * width)
                .iter()
                .map(|x| x + 0.7)
                .collect();
            let weights: Vec<f64> = random
                .floats(count)
                .iter()
                .map(|x| f64::from(x.abs()))
                .collect();
            let total: f64 = weights.iter().sum();
            let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
            let (mean, variance) = exact_moments(Rows::all(width, &rows), &shares);
            let centred = |n: usize, f: usize| f64::from(rows[n * width + f]) - mean[f];
            for (f, variance) in variance.iter().enumerate() {
                let sum: f64 = (0..count).map(|n| shares[n] * centred(n, f)).sum();
                assert!(sum.abs() < 1e-14);
                let square: f64 = (0..count).map(|n| shares[n] * centred(n, f).powi(2)).sum();
                assert!((variance - square).abs() < 1e-14 * (1.0 + square));
            }
            // The rest of the products is never read.
            let mut products = gram(width, &rows);
            for n in 0..count {
                products[n * count + n + 1..(n + 1) * count].fill(f32::NAN);
            }
            let matrix = Matrix::of_centred(products, &shares, 2.0);
            let mut unit = vec![0.0; count * count];
            (0..count).for_each(|n| unit[n * count + n] = 1.0);
            let mut found = vec![f32::NAN; count * count];
            matrix.multiply(&unit, &mut found);
            for a in 0..count {
                for b in 0..count {
                    let product: f64 = (0..width).map(|f| centred(a, f) * centred(b, f)).sum();
                    let off = f64::from(found[a * count + b]) - product / 2.0;
                    assert!(off.abs() < 1e-5 * width as f64, "{off}");
                }
            }
        }
    }
}

/// The logits `[K, N]` of centred rows under weights, and the rows' sums with factors `[K, N]`.
fn there_and_back(
    centred: &Centred<'_>,
    weights: &[f32],
    factors: &[f32],
    sums: &mut [f64],
) -> Vec<f32> {
    let count = centred.rows.len();
    let logits = Mutex::new(vec![f32::NAN; factors.len()]);
    let parts = centred.there_and_back(weights, sums, |rows, values, seen: &mut Vec<usize>| {
        for (k, values) in values.chunks_exact_mut(rows.len()).enumerate() {
            let all = k * count + rows.start..k * count + rows.end;
            logits.lock().unwrap()[all.clone()].copy_from_slice(values);
            values.copy_from_slice(&factors[all]);
        }
        seen.extend(rows);
    });
    assert!(parts.into_iter().flatten().eq(0..count));
    logits.into_inner().unwrap()
}

/// Rows, how they are centred, and what they are multiplied by.
struct CentredCase {
    rows: Vec<f32>,
    mean: Vec<f64>,
    step: Vec<f64>,
    weights: Vec<f32>,
    factors: Vec<f32>,
}

impl CentredCase {
    /// Holds both products against f64's, the sums on top of `start`.
    fn check(&self, start: &[f64], case: &str) {
        let (rows, mean, step) = (&self.rows, &self.mean, &self.step);
        let width = mean.len();
        let (count, classes) = (rows.len() / width, start.len() / width);
        let centred = Centred {
            rows: Rows::all(width, rows),
            centre: &Centre::new(mean, step),
        };
        let mut sums = start.to_vec();
        let logits = there_and_back(&centred, &self.weights, &self.factors, &mut sums);
        let value = |n: usize, f: usize| (f64::from(rows[n * width + f]) - mean[f]) * step[f];
        let wide = |at: &f32| f64::from(*at);
        for k in 0..classes {
            for n in 0..count {
                let row = (0..width).map(|f| value(n, f));
                let weights = self.weights[k * width..][..width].iter();
                let (sum, size) = dot(row, weights.map(wide));
                let off = f64::from(logits[k * count + n]) - sum;
                assert!(off.abs() <= 2e-6 * size, "{case}");
            }
            for f in 0..width {
                let column = (0..count).map(|n| value(n, f));
                let factors = self.factors[k * count..][..count].iter();
                let (sum, size) = dot(column, factors.map(wide));
                let off = sums[k * width + f] - start[k * width + f] - sum;
                assert!(off.abs() <= 2e-6 * size, "{case}");
            }
        }
    }
}

#[test]
fn products_of_rows_centred_on_the_way_are_those_of_f64() {
    let mut random = Random(5);
    for level in Level::all() {
        let _forced = level.force();
        let sizes = [
            (1, 1, 1),
            (37, 29, 5),
            (16, 256, 4),
            (83, 600, 7),
            (1100, 40, 3),
        ];
        for (count, width, classes) in sizes {
            let rows: Vec<f32> = random.floats(count * width);
            // Far from zero: in f32 a product before centring would keep little of what is left.
            let rows: Vec<f32> = rows.iter().map(|x| x + 50.0).collect();
            let mean: Vec<f64> = random
                .floats(width)
                .iter()
                .map(|x| 50.0 + 0.1 * f64::from(*x))
                .collect();
            let step: Vec<f64> = random
                .floats(width)
                .iter()
                .map(|x| 1.5 + f64::from(*x))
                .collect();
            let weights = random.floats(classes * width);
            let factors = random.floats(classes * count);
            let start = random.floats(classes * width);
            let start: Vec<f64> = start.into_iter().map(f64::from).collect();
            let case = CentredCase {
                rows,
                mean,
                step,
                weights,
                factors,
            };
            case.check(&start, &format!("{level:?} {count} {width} {classes}"));
        }
    }
}

#[test]
fn rows_whose_numbers_are_near_the_ends_of_the_range_are_centred_on_the_way_as_well() {
    let mut random = Random(7);
    let (count, width, classes) = (37, 29, 5);
    // The first columns vary by 1e-30, the others by 1e30 about a mean of as much.
    let size = |f: usize| if f < 10 { 1e-30f64 } else { 1e30 };
    let rows: Vec<f32> = (0..count * width)
        .map(|at| (size(at % width) * (3.0 + f64::from(random.floats(1)[0]))) as f32)
        .collect();
    let mean: Vec<f64> = (0..width).map(|f| 3.0 * size(f)).collect();
    let step: Vec<f64> = (0..width).map(|f| size(f).recip()).collect();
    let weights = random.floats(classes * width);
    let factors = random.floats(classes * count);
    let case = CentredCase {
        rows,
        mean,
        step,
        weights,
        factors,
    };
    case.check(&vec![0.0; classes * width], "near the ends");
}

#[test]
fn rows_that_are_listed_give_to_the_bit_what_a_copy_of_them_gives() {
    let mut random = Random(6);
    let (width, classes) = (70, 3);
    let table = random.floats(40 * width);
    let which: Vec<u32> = (0..53).map(|at| at * 17 % 40).collect();
    let copy: Vec<f32> = which
        .iter()
        .flat_map(|&row| &table[row as usize * width..][..width])
        .copied()
        .collect();
    let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
    let weights = wide(random.floats(classes * width));
    let factors = wide(random.floats(classes * which.len()));
    let shares = vec![1.0 / which.len() as f64; which.len()];
    let both = [Rows::some(width, &table, &which), Rows::all(width, &copy)];
    let [listed, copied] = both.map(|rows| {
        let (mean, step) = exact_moments(rows, &shares);
        let mut logits = vec![0.0; classes * rows.len()];
        exact_logits(rows, &weights, &mut logits);
        let mut sums = vec![0.0; classes * width];
        exact_sums(rows, &factors, &mut sums);
        let centred = Centred {
            rows,
            centre: &Centre::new(&mean, &step),
        };
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|x| *x as f32).collect() };
        let (weights, factors) = (narrow(&weights), narrow(&factors));
        let mut back = vec![0.0; sums.len()];
        let there = there_and_back(&centred, &weights, &factors, &mut back);
        (mean.clone(), step.clone(), logits, sums, there, back)
    });
    assert_eq!(listed, copied);
    assert_eq!(
        Rows::some(width, &table, &which).part(5..7).row(1),
        &copy[6 * width..][..width]
    );
}
