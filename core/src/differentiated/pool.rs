//! Buffers that are used again: fresh memory costs more than most of what is done in it.

/// Buffers that are free.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// The shortest first.
    free: Vec<Vec<f32>>,
}

impl Pool {
    /// A buffer of so many numbers, which mean nothing.
    pub(super) fn take(&mut self, count: usize) -> Vec<f32> {
        let at = self.free.partition_point(|buffer| buffer.len() < count);
        // One that is much longer will be wanted for something else.
        let fits = |buffer: &Vec<f32>| buffer.len() - count <= count / 4;
        match self.free.get(at) {
            Some(buffer) if fits(buffer) => self.free.remove(at),
            _ => vec![0.0; count],
        }
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: Vec<f32>) {
        if buffer.is_empty() {
            return;
        }
        let at = self
            .free
            .partition_point(|other| other.len() < buffer.len());
        self.free.insert(at, buffer);
    }
}
