//! What attention is made of: windows and positions.

use super::{Attention, Neighbourhood};

/// How many windows a map `[H, W, C]` (or a sequence `[T, C]`) falls into, and the positions in each.
pub(super) fn windows(attention: &Attention, shape: &[usize]) -> (usize, usize) {
    let (rows, columns) = (shape[0], if shape.len() == 3 { shape[1] } else { 1 });
    match attention.neighbourhood {
        Neighbourhood::All => (1, rows * columns),
        Neighbourhood::Window { side, .. } | Neighbourhood::Block { side } => {
            (rows.div_ceil(side) * columns.div_ceil(side), side * side)
        }
        Neighbourhood::Grid { side } => (rows * columns / (side * side), side * side),
    }
}

/// How many offsets there are between two of the positions of a square window.
pub(super) fn offsets(positions: usize) -> usize {
    let side = (positions as f64).sqrt().round() as usize;
    (2 * side - 1).pow(2)
}

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
