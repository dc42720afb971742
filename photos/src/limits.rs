//! How much a single photo, and all photos in flight together, may cost.

use std::sync::{Condvar, Mutex, PoisonError};

use super::error::{Bound, PhotoProblem};

/// Bytes that decoding one photo may hold, where the user says nothing else.
const MEMORY: u64 = 2 << 30;

/// Size of a file that is read, in bytes, where the user says nothing else.
const FILE: u64 = 1 << 30;

/// Bounds on one photo. They are checked against the header, before anything of the picture's size
/// is allocated.
///
/// The bound is memory, not a side or a number of pixels: a phone's 200 megapixels in an ordinary JPEG
/// take 1.2 GiB, the same as 16-bit RGBA with alpha would take 2.8 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width × height, in pixels, where the user chose a bound (`--max-pixels`); then memory is theirs to
    /// have.
    pub max_pixels: Option<u64>,
    /// What decoding may hold at its height, in bytes, where the user chose no bound.
    pub max_memory: u64,
    /// Size of the file, in bytes.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// Any phone's or camera's photo fits; the "decompression bombs" that claim 60 000 × 60 000 do not.
    fn default() -> Self {
        Self {
            max_pixels: None,
            max_memory: MEMORY,
            max_file_bytes: FILE,
        }
    }
}

impl Limits {
    /// Bounds that the user chose: at most so many pixels; the usual ones for `None`.
    pub fn with_max_pixels(max_pixels: Option<u64>) -> Self {
        let file = max_pixels.unwrap_or(0).saturating_mul(8);
        Self {
            max_pixels,
            max_file_bytes: FILE.max(file),
            ..Self::default()
        }
    }

    /// Checks what a header claims: the sides in pixels, and the bytes that decoding would hold.
    ///
    /// # Errors
    /// [`PhotoProblem::TooLarge`] beyond the limits, [`PhotoProblem::Corrupt`] for a side of no
    /// pixels.
    pub fn admit(&self, width: u64, height: u64, memory: u64) -> Result<(), PhotoProblem> {
        if width == 0 || height == 0 {
            return Err(PhotoProblem::Corrupt(format!(
                "a picture of {width}×{height} pixels"
            )));
        }
        let bound = match self.max_pixels {
            Some(allowed) if width.saturating_mul(height) > allowed => Bound::Pixels { allowed },
            None if memory > self.max_memory => Bound::Memory {
                needed: memory,
                allowed: self.max_memory,
            },
            _ => return Ok(()),
        };
        Err(PhotoProblem::TooLarge {
            width,
            height,
            bound,
        })
    }
}

/// Bytes that photos in flight may hold together. Whoever wants to decode takes a [`Permit`] and
/// waits for it.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// A share of a [`MemoryBudget`], given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            free: Mutex::new(total),
            returned: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free. A photo dearer than the whole budget waits until it is alone.
    pub fn take(&self, bytes: u64) -> Permit<'_> {
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
    fn memory_is_the_limit_until_the_user_names_a_number_of_pixels() {
        let usual = Limits::default();
        let refused = |result| matches!(result, Err(PhotoProblem::TooLarge { .. }));
        assert!(
            usual.admit(1_000_000, 1, 3_000_000).is_ok(),
            "no side is too long"
        );
        assert!(usual.admit(12_000, 9_000, 12_000 * 9_000 * 7).is_ok());
        assert!(refused(usual.admit(60_000, 60_000, 60_000 * 60_000 * 6)));
        assert!(refused(usual.admit(u64::MAX, 2, u64::MAX)));
        assert!(matches!(
            usual.admit(0, 5, 0),
            Err(PhotoProblem::Corrupt(_))
        ));
        let raised = Limits::with_max_pixels(Some(3_600_000_000));
        assert!(raised.admit(60_000, 60_000, 60_000 * 60_000 * 6).is_ok());
        let lowered = Limits::with_max_pixels(Some(100));
        assert!(lowered.admit(10, 10, 300).is_ok() && refused(lowered.admit(101, 1, 303)));
        assert_eq!(Limits::with_max_pixels(None), usual);
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
