//! Buffers that are used again: fresh memory costs more than most of what is done in it.

use rekindle_cpu::Lines;

/// Buffers that are free. What they hold together with those that are lent stays near the most that was ever lent at
/// once: memory that fits nobody goes back before more is asked for.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// The shortest first.
    free: Vec<Lines>,
    /// Numbers of the free ones.
    idle: usize,
    /// Numbers of those that are lent,
    lent: usize,
    /// and the most that ever were.
    most: usize,
}

impl Pool {
    /// A buffer of so many numbers or some more, which mean nothing.
    pub(super) fn take(&mut self, count: usize) -> Lines {
        let at = self.free.partition_point(|buffer| buffer.len() < count);
        // One more than twice as long will be wanted for something else.
        let fits = |buffer: &Lines| buffer.len() - count <= count;
        let buffer = match self.free.get(at) {
            Some(buffer) if fits(buffer) => {
                let buffer = self.free.remove(at);
                self.idle -= buffer.len();
                buffer
            }
            _ => {
                self.make_room(count);
                Lines::zeros(count)
            }
        };
        self.lent += buffer.len();
        self.most = self.most.max(self.lent);
        buffer
    }

    /// Lets the longest free buffers go until so many more numbers fit into what was held at most.
    fn make_room(&mut self, count: usize) {
        let held = self.most.max(self.lent + count);
        while self.idle + self.lent + count > held {
            let Some(longest) = self.free.pop() else {
                break;
            };
            self.idle -= longest.len();
        }
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: Lines) {
        if buffer.is_empty() {
            return;
        }
        self.lent = self.lent.saturating_sub(buffer.len());
        self.idle += buffer.len();
        let at = self
            .free
            .partition_point(|other| other.len() < buffer.len());
        self.free.insert(at, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_near_what_is_needed_at_once() {
        let mut pool = Pool::default();
        for _ in 0..3 {
            for count in [1 << 10, 1 << 12, 3 << 11, 1 << 13] {
                let buffer = pool.take(count);
                assert!(buffer.len() >= count);
                pool.give(buffer);
            }
        }
        assert_eq!((pool.lent, pool.most), (0, 1 << 13));
        assert!(pool.idle <= 1 << 13, "{}", pool.idle);
        // The same one again.
        let first = pool.take(1 << 13);
        let place = first.as_ptr();
        pool.give(first);
        assert_eq!(pool.take(1 << 13).as_ptr(), place);
    }
}
