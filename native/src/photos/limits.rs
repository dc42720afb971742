//! How much a single photo, and all photos in flight together, may cost.

use std::sync::{Condvar, Mutex, PoisonError};

use super::PhotoProblem;

/// Bounds on one photo. They are checked against the header, before anything of the picture's size
/// is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side, in pixels.
    pub max_side: u32,
    /// Width × height, in pixels.
    pub max_pixels: u64,
    /// Size of the file, in bytes.
    pub max_file_bytes: u64,
    /// What one decoder may allocate for itself, in bytes.
    pub max_alloc: u64,
}

impl Default for Limits {
    /// A 100-megapixel camera fits; the "decompression bombs" that claim 60 000 × 60 000 do not.
    fn default() -> Self {
        Self {
            max_side: 65_535,
            max_pixels: 100_000_000,
            max_file_bytes: 256 * 1024 * 1024,
            max_alloc: 1024 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Checks the dimensions a header claims.
    ///
    /// # Errors
    /// [`PhotoProblem::TooLarge`] beyond the limits, [`PhotoProblem::Corrupt`] for a side of no
    /// pixels.
    pub fn check(&self, width: u64, height: u64) -> Result<(), PhotoProblem> {
        if width == 0 || height == 0 {
            return Err(PhotoProblem::Corrupt(format!("{width}×{height} pixels")));
        }
        let side = u64::from(self.max_side);
        if width > side || height > side || width.saturating_mul(height) > self.max_pixels {
            return Err(PhotoProblem::TooLarge { width, height });
        }
        Ok(())
    }
}

/// Bytes that photos in flight may hold together. Whoever wants to decode takes a [`Permit`] and
/// waits for it.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// A share of a [`MemoryBudget`], given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            free: Mutex::new(total),
            returned: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free. A photo dearer than the whole budget waits until it is alone.
    pub(super) fn take(&self, bytes: u64) -> Permit<'_> {
        let bytes = bytes.min(self.total);
        // A panic elsewhere cannot leave the counter half-written, so a poisoned lock is still
        // good.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            free = self
                .returned
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        Permit {
            budget: self,
            bytes,
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut free = self
            .budget
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *free += self.bytes;
        drop(free);
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn sides_and_pixels_are_limited_separately() {
        let limits = Limits::default();
        assert!(limits.check(65_535, 1).is_ok());
        assert!(limits.check(10_000, 10_000).is_ok());
        assert!(matches!(
            limits.check(65_536, 1),
            Err(PhotoProblem::TooLarge { .. })
        ));
        assert!(matches!(
            limits.check(60_000, 60_000),
            Err(PhotoProblem::TooLarge { .. })
        ));
        assert!(matches!(
            limits.check(u64::MAX, 2),
            Err(PhotoProblem::TooLarge { .. })
        ));
        assert!(matches!(limits.check(0, 5), Err(PhotoProblem::Corrupt(_))));
    }

    #[test]
    fn permits_never_exceed_the_budget_and_a_dear_one_gets_its_turn() {
        let budget = MemoryBudget::new(100);
        let in_flight = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for bytes in [40, 70, 1000, 30, 30, 100, 1] {
                let (budget, in_flight) = (&budget, &in_flight);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let permit = budget.take(bytes);
                        let now =
                            in_flight.fetch_add(permit.bytes, Ordering::SeqCst) + permit.bytes;
                        assert!(now <= 100, "{now} bytes in flight");
                        in_flight.fetch_sub(permit.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*budget.free.lock().unwrap(), 100);
    }
}
