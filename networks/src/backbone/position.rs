//! Learnt positions, carried over to images of another size.

/// Resamples position embeddings to another number of patches, as torchvision's
/// `interpolate_embeddings` does: the class token's stays, the rest is a square map that goes through
/// bicubic interpolation (a = −0.75, corners aligned).
///
/// # Shapes
///
/// - embedding: `[1 + from², width]`, row-major
/// - returns: `[1 + to², width]`
pub fn interpolate_position_embedding(
    embedding: &[f32],
    width: usize,
    from: usize,
    to: usize,
) -> Vec<f32> {
    let (class, patches) = embedding.split_at(width);
    let mut resampled = class.to_vec();
    resampled.extend(bicubic(patches, width, from, to));
    resampled
}

/// Resamples a table of biases by relative position to windows of another size, as the Swin and
/// CoAtNet authors do: a square map of offsets through bicubic interpolation.
///
/// # Shapes
///
/// - table: `[(2·from − 1)², heads]`, row-major
/// - returns: `[(2·to − 1)², heads]`
pub fn interpolate_relative_bias(table: &[f32], heads: usize, from: usize, to: usize) -> Vec<f32> {
    bicubic(table, heads, 2 * from - 1, 2 * to - 1)
}

/// Bicubic interpolation of a square map, corners aligned.
///
/// # Shapes
///
/// - map: `[from², width]`, row-major
/// - returns: `[to², width]`
fn bicubic(map: &[f32], width: usize, from: usize, to: usize) -> Vec<f32> {
    let taps = |target: usize| -> ([usize; 4], [f64; 4]) {
        let position = if to > 1 {
            target as f64 * (from - 1) as f64 / (to - 1) as f64
        } else {
            0.0
        };
        let base = position.floor();
        let t = position - base;
        let at = |offset: isize| (base as isize + offset).clamp(0, from as isize - 1) as usize;
        const A: f64 = -0.75;
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        (
            [at(-1), at(0), at(1), at(2)],
            [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)],
        )
    };
    let mut resampled = Vec::with_capacity(to * to * width);
    for row in 0..to {
        let (rows, row_weights) = taps(row);
        for column in 0..to {
            let (columns, column_weights) = taps(column);
            resampled.extend((0..width).map(|channel| {
                let mut sum = 0.0;
                for (&r, &wr) in rows.iter().zip(&row_weights) {
                    for (&c, &wc) in columns.iter().zip(&column_weights) {
                        sum += wr * wc * f64::from(map[(r * from + c) * width + channel]);
                    }
                }
                sum as f32
            }));
        }
    }
    resampled
}
