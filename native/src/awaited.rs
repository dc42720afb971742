//! What is made ahead of whoever takes it, and how long it was waited for.

use std::time::{Duration, Instant};

use crate::interrupt::{Interrupt, Interrupted};
use crate::ordered::{Ahead, Results, in_order};

/// Jobs' results in their order, and how long they were waited for.
pub struct Awaited<'a, J, T> {
    results: Results<'a, J, T>,
    interrupt: &'a Interrupt,
    begun: Instant,
    waited: Duration,
}

impl<J, T> Awaited<'_, J, T> {
    /// The next job with its result; nothing at the end.
    ///
    /// # Errors
    /// [`Interrupted`] soon after the flag went up.
    pub fn next(&mut self) -> Result<Option<(J, T)>, Interrupted> {
        let asked = Instant::now();
        let next = self.results.next(self.interrupt);
        self.waited += asked.elapsed();
        next
    }

    /// The share of the time since the beginning in which results were waited for.
    pub fn waited(&self) -> f64 {
        let all = self.begun.elapsed().as_secs_f64();
        self.waited.as_secs_f64() / all.max(f64::MIN_POSITIVE)
    }
}

/// Does jobs, of which there may be no end, in threads of their own, while `body` takes the results one after the
/// other. Workers end with `body`.
pub fn ahead<J: Send, T: Send, R>(
    jobs: impl Iterator<Item = J> + Send,
    ahead: Ahead,
    interrupt: &Interrupt,
    work: impl Fn(&J) -> T + Sync,
    body: impl FnOnce(&mut Awaited<'_, J, T>) -> R,
) -> R {
    in_order(jobs, ahead, work, |results| {
        body(&mut Awaited {
            results,
            interrupt,
            begun: Instant::now(),
            waited: Duration::ZERO,
        })
    })
}
