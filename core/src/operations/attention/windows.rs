//! How maps are cut into the windows that attention works in, as lists of positions.

use crate::graph::{Neighbourhood, shift_mask};
use crate::program::Shape;

/// A map cut into windows.
pub(super) struct Cut {
    /// Windows of an image.
    pub windows: usize,
    /// Positions in each.
    pub tokens: usize,
    /// For each position of each window, the map's position that stands there; `None` for the border
    /// of zeros. Missing where the windows are the map.
    pub gather: Option<Vec<Option<u32>>>,
    /// The way back: for each position of the map, where it went.
    pub scatter: Option<Vec<Option<u32>>>,
    /// Keeps apart what a shift brought together, `[windows, tokens, tokens]`.
    pub mask: Option<Vec<f32>>,
}

/// Which row and column of the map stand at a row and column of the windows laid side by side.
type Source = Box<dyn Fn(usize, usize) -> [usize; 2]>;

/// Cuts a map of this shape.
pub(super) fn cut(neighbourhood: Neighbourhood, shape: Shape) -> Cut {
    let Shape {
        rows: height,
        columns: width,
        ..
    } = shape;
    let mut mask = None;
    let (side, down, across, source): (_, _, _, Source) = match neighbourhood {
        Neighbourhood::All => {
            return Cut {
                windows: 1,
                tokens: shape.positions(),
                gather: None,
                scatter: None,
                mask: None,
            };
        }
        Neighbourhood::Block { side } => (
            side,
            height / side,
            width / side,
            Box::new(|row, column| [row, column]),
        ),
        Neighbourhood::Grid { side } => {
            let (down, across) = (height / side, width / side);
            // Position (a, b) of grid (r, c) is row a·down + r, column b·across + c.
            let spread = move |at: usize, count: usize| at % side * count + at / side;
            (
                side,
                down,
                across,
                Box::new(move |row, column| [spread(row, down), spread(column, across)]),
            )
        }
        Neighbourhood::Window { side, shift } => {
            let (down, across) = (height.div_ceil(side), width.div_ceil(side));
            let full = [down * side, across * side];
            // A single window has nowhere to shift to.
            let shifts = full.map(|length| if side >= length { 0 } else { shift });
            mask = (shifts != [0, 0]).then(|| shift_mask(full, side, shifts));
            (
                side,
                down,
                across,
                Box::new(move |row, column| {
                    [(row + shifts[0]) % full[0], (column + shifts[1]) % full[1]]
                }),
            )
        }
    };
    let (windows, tokens) = (down * across, side * side);
    let mut gather = Vec::with_capacity(windows * tokens);
    let mut scatter = vec![None; shape.positions()];
    for window in 0..windows {
        for token in 0..tokens {
            let row = window / across * side + token / side;
            let column = window % across * side + token % side;
            let [row, column] = source(row, column);
            let position = (row < height && column < width).then(|| row * width + column);
            if let Some(position) = position {
                scatter[position] = Some(gather.len() as u32);
            }
            gather.push(position.map(|position| position as u32));
        }
    }
    Cut {
        windows,
        tokens,
        gather: Some(gather),
        scatter: Some(scatter),
        mask,
    }
}
