//! Shapes of values as compiled programs have them.

/// The shape of a value for one image, channels last: maps have rows and columns, tokens stand in one
/// row, features at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of maps; one for tokens and features.
    pub rows: usize,
    /// Columns of maps, or tokens.
    pub columns: usize,
    /// Numbers at each position.
    pub channels: usize,
}

impl Shape {
    /// Of a graph's value that is maps `[C, H, W]`, tokens `[T, C]` or features `[F]`.
    pub fn of(shape: &[usize]) -> Self {
        let (rows, columns, channels) = match *shape {
            [channels, rows, columns] => (rows, columns, channels),
            [tokens, channels] => (1, tokens, channels),
            _ => (1, 1, shape.iter().product()),
        };
        Self {
            rows,
            columns,
            channels,
        }
    }

    /// Rows times columns.
    pub fn positions(self) -> usize {
        self.rows * self.columns
    }

    /// All its numbers.
    pub fn numbers(self) -> usize {
        self.positions() * self.channels
    }

    /// The same positions with another number of channels.
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }
}
