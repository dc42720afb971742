//! Work on all cores whose results come in the order of the work, a bounded number of them ahead.
//!
//! The workers are plain threads, not rayon's: a worker waits for its share of memory while others
//! hold theirs, and a waiting rayon task that holds a share can be handed another photo to decode
//! (that is what work stealing is for), which would then wait for the share below it on the same
//! stack, for ever.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::interrupt::{Interrupt, Interrupted};

/// How many work, and how far ahead.
#[derive(Debug, Clone, Copy)]
pub struct Ahead {
    /// Worker threads.
    pub threads: usize,
    /// Results that may wait for an earlier one or for their receiver; at least one a thread.
    pub most: usize,
}

/// Which job comes next, shared by the workers.
struct Queue<I> {
    jobs: I,
    /// Jobs that were handed out.
    given: usize,
    /// Results that the receiver is done with; workers stay less than `most` beyond it.
    taken: usize,
    stopped: bool,
}

struct Shared<I> {
    queue: Mutex<Queue<I>>,
    moved: Condvar,
    most: usize,
}

/// What the receiver and panicking workers need of [`Shared`], whatever the jobs are.
trait Line: Sync {
    fn stop(&self);
    fn take(&self, taken: usize);
}

impl<I: Iterator + Send> Shared<I> {
    fn with(&self, change: impl FnOnce(&mut Queue<I>)) {
        // Every change is a plain assignment, so a poisoned lock still guards a sound queue.
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut queue);
        drop(queue);
        self.moved.notify_all();
    }

    /// The next job and its number, or nothing at the end; waits while too far ahead.
    fn next(&self) -> Option<(usize, I::Item)> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let too_far = |q: &mut Queue<I>| !q.stopped && q.given >= q.taken + self.most;
        let mut queue = self
            .moved
            .wait_while(queue, too_far)
            .unwrap_or_else(PoisonError::into_inner);
        if queue.stopped {
            return None;
        }
        let job = queue.jobs.next()?;
        queue.given += 1;
        Some((queue.given - 1, job))
    }
}

impl<I: Iterator + Send> Line for Shared<I> {
    fn stop(&self) {
        self.with(|queue| queue.stopped = true);
    }

    fn take(&self, taken: usize) {
        self.with(|queue| queue.taken = taken);
    }
}

/// Stops all workers when dropped: at the end, on an early return, and when something panics.
struct StopOnDrop<'a>(&'a dyn Line);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Lets the other workers and the receiver end when one worker panics.
struct StopOnPanic<'a>(&'a dyn Line);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Results in the order of their jobs.
pub struct Results<'a, J, T> {
    made: Receiver<(usize, J, T)>,
    early: BTreeMap<usize, (J, T)>,
    /// Results handed on.
    given: usize,
    line: &'a dyn Line,
}

impl<J, T> Results<'_, J, T> {
    /// The next job with its result; waits for it. Nothing at the end of the jobs, or when a worker panicked, which
    /// is then passed on.
    ///
    /// # Errors
    /// [`Interrupted`] soon after the flag went up.
    pub fn next(&mut self, interrupt: &Interrupt) -> Result<Option<(J, T)>, Interrupted> {
        // Whoever asks for the next one is done with those before it.
        self.line.take(self.given);
        loop {
            interrupt.check()?;
            if let Some(result) = self.early.remove(&self.given) {
                self.given += 1;
                return Ok(Some(result));
            }
            match self.made.recv_timeout(Duration::from_millis(100)) {
                Ok((number, job, result)) => _ = self.early.insert(number, (job, result)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Does jobs, of which there may be no end, in as many threads as are asked for, while `body` takes the results, one
/// after the other, in this one. When `body` ends, so do the workers.
pub fn in_order<J: Send, T: Send, R>(
    jobs: impl Iterator<Item = J> + Send,
    ahead: Ahead,
    work: impl Fn(&J) -> T + Sync,
    body: impl FnOnce(Results<'_, J, T>) -> R,
) -> R {
    let shared = Shared {
        queue: Mutex::new(Queue {
            // Each worker asks until there is nothing.
            jobs: jobs.fuse(),
            given: 0,
            taken: 0,
            stopped: false,
        }),
        moved: Condvar::new(),
        most: ahead.most.max(ahead.threads),
    };
    let (sender, made) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..ahead.threads {
            let (sender, shared, work) = (sender.clone(), &shared, &work);
            scope.spawn(move || {
                let _stop = StopOnPanic(shared);
                while let Some((number, job)) = shared.next() {
                    let result = work(&job);
                    if sender.send((number, job, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let _stop = StopOnDrop(&shared);
        body(Results {
            made,
            early: BTreeMap::new(),
            given: 0,
            line: &shared,
        })
    })
}
