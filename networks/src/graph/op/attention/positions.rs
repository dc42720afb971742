//! Positions in windows: their offsets from each other, what is added to scores by offset, and what keeps strangers
//! apart.

/// For each pair of positions in a window of `side` × `side`, the row of the bias table: `side⁴`
/// numbers, row-major by (query, key).
pub fn relative_position_index(side: usize) -> Vec<usize> {
    let positions = side * side;
    let mut index = Vec::with_capacity(positions * positions);
    for query in 0..positions {
        for key in 0..positions {
            let rows = query / side + side - 1 - key / side;
            let columns = query % side + side - 1 - key % side;
            index.push(rows * (2 * side - 1) + columns);
        }
    }
    index
}

/// Swin v2's log-spaced offsets for windows of `side`: `[(2·side − 1)², 2]`, row-major.
pub fn log_offsets(side: usize) -> Vec<f32> {
    let reach = side as f32 - 1.0;
    let spaced = |offset: usize| {
        let scaled = (offset as f32 - reach) / reach * 8.0;
        ((scaled.abs() + 1.0).log2() / 3.0).copysign(scaled)
    };
    let offsets = 2 * side - 1;
    (0..offsets * offsets)
        .flat_map(|at| [spaced(at / offsets), spaced(at % offsets)])
        .collect()
}

/// −100 for pairs of positions that a shift brought into one window, 0 for neighbours: `[windows,
/// side², side²]`, row-major.
pub fn shift_mask([height, width]: [usize; 2], side: usize, shifts: [usize; 2]) -> Vec<f32> {
    // torchvision's slices: up to the last window, up to the shift, the rest. Without a shift along
    // an axis its `-0:` takes everything.
    let region = |at: usize, length: usize, shift: usize| match shift {
        0 => 2,
        _ if at < length - side => 0,
        _ if at < length - shift => 1,
        _ => 2,
    };
    let region_at = |row: usize, column: usize| {
        3 * region(row, height, shifts[0]) + region(column, width, shifts[1])
    };
    let (rows, columns, positions) = (height / side, width / side, side * side);
    let mut mask = Vec::with_capacity(rows * columns * positions * positions);
    for window in 0..rows * columns {
        let (top, left) = (window / columns * side, window % columns * side);
        let of = |position: usize| region_at(top + position / side, left + position % side);
        for query in 0..positions {
            for key in 0..positions {
                mask.push(if of(query) == of(key) { 0.0 } else { -100.0 });
            }
        }
    }
    mask
}

/// What a table by offset adds to the scores of each pair of positions, `[heads, positions, positions]`.
///
/// # Shapes
///
/// - table: `[(2·side − 1)², heads]`
pub(super) fn spread(table: &[f32], side: usize, heads: usize) -> Vec<f32> {
    let index = relative_position_index(side);
    let of_head = |head: usize| index.iter().map(move |&row| row * heads + head);
    (0..heads).flat_map(of_head).map(|at| table[at]).collect()
}

/// The table that Swin v2's small perceptron makes of the offsets: a hidden layer with ReLU, an output layer, and
/// 16 times the sigmoid.
///
/// # Shapes
///
/// - hidden: weight `[width, 2]` and bias `[width]`
/// - output: weight `[heads, width]`
/// - returns: `[(2·side − 1)², heads]`
pub(super) fn continuous_table(hidden: [&[f32]; 2], output: &[f32], side: usize) -> Vec<f32> {
    let [weight, bias] = hidden;
    let width = bias.len();
    let mut table = Vec::new();
    for offset in log_offsets(side).chunks_exact(2) {
        let inner: Vec<f64> = (0..width)
            .map(|unit| {
                let [a, b] = [weight[2 * unit], weight[2 * unit + 1]];
                let sum = f64::from(a) * f64::from(offset[0]) + f64::from(b) * f64::from(offset[1]);
                (sum + f64::from(bias[unit])).max(0.0)
            })
            .collect();
        table.extend(output.chunks_exact(width).map(|row| {
            let products = row.iter().zip(&inner).map(|(&w, x)| f64::from(w) * x);
            (16.0 / (1.0 + (-products.sum::<f64>()).exp())) as f32
        }));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_told_apart_by_their_offsets() {
        // torchvision's ShiftedWindowAttention(…, window_size=[2, 2]).relative_position_index
        let expected = [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4];
        assert_eq!(relative_position_index(2), expected);
    }

    #[test]
    fn a_shift_keeps_apart_what_it_brought_together() {
        // 4×4 positions in windows of two, shifted by one: the first window is whole, the last holds
        // four strangers.
        let mask = shift_mask([4, 4], 2, [1, 1]);
        assert!(mask[..16].iter().all(|&m| m == 0.0));
        let strangers = mask[48..].iter().filter(|&&m| m == -100.0).count();
        assert_eq!(strangers, 12);
    }
}
