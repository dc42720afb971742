//! Rows of numbers where they lie: all of a table's, or some in any order.

use std::ops::Range;

/// Rows of one length: all of a table's, or those that a list names. Nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    table: &'a [f32],
    width: usize,
    which: Option<&'a [u32]>,
}

impl<'a> Rows<'a> {
    /// All rows of a table, `[N, width]`, row-major. A last, incomplete one is none.
    pub fn all(width: usize, table: &'a [f32]) -> Self {
        Self {
            table,
            width,
            which: None,
        }
    }

    /// The rows of a table whose numbers are listed, in that order.
    pub fn some(width: usize, table: &'a [f32], which: &'a [u32]) -> Self {
        Self {
            table,
            width,
            which: Some(which),
        }
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self.which {
            Some(which) => which.len(),
            None => self.table.len() / self.width.max(1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline(always)]
    pub fn row(&self, number: usize) -> &'a [f32] {
        let place = match self.which {
            Some(which) => which[number] as usize,
            None => number,
        };
        &self.table[place * self.width..][..self.width]
    }

    /// The rows of a range.
    ///
    /// # Panics
    /// If it ends behind the last row.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        match self.which {
            Some(which) => Self::some(self.width, self.table, &which[range]),
            None => {
                let numbers = range.start * self.width..range.end * self.width;
                Self::all(self.width, &self.table[numbers])
            }
        }
    }

    /// The rows, one after the other.
    pub fn iter(self) -> impl Iterator<Item = &'a [f32]> {
        (0..self.len()).map(move |number| self.row(number))
    }
}
