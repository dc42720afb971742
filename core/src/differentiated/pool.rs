//! Buffers that are used again: fresh memory costs more than most of what is done in it.

use rekindle_cpu::Lines;

/// Buffers that are free.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// The shortest first.
    free: Vec<Lines>,
}

impl Pool {
    /// A buffer of so many numbers, which mean nothing.
    pub(super) fn take(&mut self, count: usize) -> Lines {
        let at = self.free.partition_point(|buffer| buffer.len() < count);
        // One that is much longer will be wanted for something else.
        let fits = |buffer: &Lines| buffer.len() - count <= count / 4;
        match self.free.get(at) {
            Some(buffer) if fits(buffer) => self.free.remove(at),
            _ => Lines::zeros(count),
        }
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: Lines) {
        if buffer.is_empty() {
            return;
        }
        let at = self
            .free
            .partition_point(|other| other.len() < buffer.len());
        self.free.insert(at, buffer);
    }
}
