//! One stretch of memory that is lent in parts: where each part lies is the caller's plan, and that no two lie on one
//! another is checked here.

#![allow(unsafe_code)] // Parts of one memory are written at the same time; they are known to be apart.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::{LINE, Line};

/// Memory that loans lie in. It goes back when the last of them does.
#[derive(Debug)]
struct Memory {
    first: *mut Line,
    lines: Vec<Line>,
    /// Of what is lent, each first line and the line behind its last.
    lent: Mutex<BTreeMap<usize, usize>>,
}

// SAFETY: the lines are reached through loans only, which are apart, each with one owner.
unsafe impl Send for Memory {}
// SAFETY: as above; what a shared `Memory` itself says (how many lines there are) never changes.
unsafe impl Sync for Memory {}

impl Memory {
    fn of(lines: usize) -> Self {
        let mut lines: Vec<Line> = bytemuck::zeroed_vec(lines);
        let first = lines.as_mut_ptr();
        Self {
            first,
            lines,
            lent: Mutex::default(),
        }
    }

    fn lent(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory and which parts of it are lent.
#[derive(Debug)]
pub struct Arena {
    memory: Arc<Memory>,
}

/// Numbers that start at a cache line, in an arena: whoever has it may write them, and nobody else reads them. They can be
/// lent again when it is dropped.
#[derive(Debug)]
pub struct Loan {
    /// Keeps the memory there for as long as somebody can reach it.
    memory: Arc<Memory>,
    first: usize,
    lines: usize,
}

impl Arena {
    /// Room for so many numbers, all 0, of which nothing is lent. What is not written takes no memory.
    pub fn new(numbers: usize) -> Self {
        Self {
            memory: Arc::new(Memory::of(numbers.div_ceil(LINE))),
        }
    }

    /// How many numbers there is room for.
    pub fn len(&self) -> usize {
        self.memory.lines.len() * LINE
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.memory.lines.is_empty()
    }

    /// Whether something is lent.
    pub fn is_lent(&self) -> bool {
        !self.memory.lent().is_empty()
    }

    /// Lends at least so many numbers, from the `first` on. They are what was left there.
    ///
    /// # Panics
    ///
    /// When `first` is not where a cache line begins, when so many are not there, and when some of them are lent.
    pub fn lend(&self, first: usize, numbers: usize) -> Loan {
        assert!(first.is_multiple_of(LINE), "{first} is within a line");
        let (first, lines) = (first / LINE, numbers.div_ceil(LINE));
        let end = first.checked_add(lines);
        let end = end.filter(|&end| end <= self.memory.lines.len());
        let Some(end) = end else {
            panic!("there are no {numbers} numbers from line {first} on");
        };
        if lines > 0 {
            let mut lent = self.memory.lent();
            let before = lent.range(..end).next_back();
            let is_free = before.is_none_or(|(_, &before)| before <= first);
            assert!(is_free, "lines {first} to {end} are lent in part");
            lent.insert(first, end);
        }
        Loan {
            memory: Arc::clone(&self.memory),
            first,
            lines,
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.lines > 0 {
            self.memory.lent().remove(&self.first);
        }
    }
}

impl Deref for Loan {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the arena lends no line twice before the loan is dropped, so that this is the only way to these lines; they are within the memory, which lives as long as this. A line is sixteen f32.
        unsafe {
            let first = self.memory.first.add(self.first);
            std::slice::from_raw_parts(first.cast(), self.lines * LINE)
        }
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and nobody else has a reference to this loan.
        unsafe {
            let first = self.memory.first.add(self.first);
            std::slice::from_raw_parts_mut(first.cast(), self.lines * LINE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_apart_and_stays() {
        let arena = Arena::new(100);
        assert_eq!(arena.len(), 112);
        let mut a = arena.lend(0, 20);
        let mut b = arena.lend(32, 16);
        a.fill(1.0);
        b.fill(2.0);
        assert_eq!((a.len(), b.len()), (32, 16));
        assert!(a.iter().all(|&number| number == 1.0));
        drop(a);
        let mut c = arena.lend(16, 16);
        assert!(c.iter().all(|&number| number == 1.0));
        c.fill(3.0);
        assert!(b.iter().all(|&number| number == 2.0));
        assert!(arena.is_lent());
        // A loan outlives its arena.
        drop(arena);
        assert!(c.iter().all(|&number| number == 3.0));
    }

    #[test]
    #[should_panic(expected = "lent in part")]
    fn nothing_is_lent_twice() {
        let arena = Arena::new(64);
        let _a = arena.lend(16, 32);
        arena.lend(32, 16);
    }

    #[test]
    #[should_panic(expected = "lent in part")]
    fn nothing_is_lent_around_what_is_lent() {
        let arena = Arena::new(64);
        let _a = arena.lend(32, 16);
        arena.lend(16, 48);
    }

    #[test]
    #[should_panic(expected = "there are no")]
    fn nothing_is_lent_beyond_the_end() {
        Arena::new(64).lend(48, 17);
    }
}
