//! Work that is done a piece at a time, counted in multiply-adds.

/// Multiply-adds of a piece of work.
pub(super) const PIECE: usize = 30_000_000;
/// Multiply-adds that the kernels do while a number is read and changed by other code.
pub(super) const PLAIN: usize = 8;

/// Multiply-adds that a piece may still do.
pub(super) struct Work(usize);

impl Work {
    /// A piece that has all its work before it.
    pub(super) fn piece() -> Self {
        Self(PIECE)
    }

    pub(super) fn is_left(&self) -> bool {
        self.0 > 0
    }

    pub(super) fn spend(&mut self, multiply_adds: usize) {
        self.0 = self.0.saturating_sub(multiply_adds);
    }
}
