//! Threads that stand by while shares of work come in quick succession.
//!
//! A network's steps take some ten microseconds each, and a thread that went to sleep between two of them needs as long
//! to wake up. So whoever has helped once looks out for more for a while: first without letting go of its core, then
//! letting others have it, and only then asleep. What is handed over costs a few accesses to shared memory.

#![allow(unsafe_code)] // Work is reached through a pointer to the stack of who posted it, who waits for all that use it.

use std::cell::Cell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a helper that has nothing to do keeps its core to itself,
const ALERT: Duration = Duration::from_micros(50);

/// and how long it looks out for work before it goes to sleep. Longer than what a network does alone between two
/// steps that are shared.
const STAND_BY: Duration = Duration::from_millis(1);

/// Looks at memory between two looks at the clock.
const LOOKS: usize = 32;

/// Pieces of work that can be posted at the same time. Whoever finds no room does its work alone.
const SLOTS: usize = 32;

/// What is posted: called by everybody who comes, with a number of their own: a helper's is always the same, and everybody
/// else's is zero.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

thread_local! {
    /// This thread's number.
    static MEMBER: Cell<usize> = const { Cell::new(0) };
}

/// Where work is posted; a cache line of its own.
#[repr(align(128))]
struct Slot {
    /// Whether it is somebody's.
    taken: AtomicBool,
    /// A [`Work`] on the stack of who posted it, or null.
    work: AtomicPtr<()>,
    /// Helpers that may be using it.
    inside: AtomicUsize,
    /// Whether one of them panicked.
    panicked: AtomicBool,
}

/// What helpers and those who post work share. Who posts writes first what is to be done and then the count of posts;
/// who goes to sleep says so first and then looks at the count: one of them sees the other.
struct Team {
    slots: [Slot; SLOTS],
    /// How often work was posted.
    posts: AtomicUsize,
    /// Helpers that there are,
    members: AtomicUsize,
    /// of which so many are on the look-out,
    alert: AtomicUsize,
    /// and so many asleep.
    asleep: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
}

static TEAM: Team = Team {
    slots: [const {
        Slot {
            taken: AtomicBool::new(false),
            work: AtomicPtr::new(null_mut()),
            inside: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        }
    }; SLOTS],
    posts: AtomicUsize::new(0),
    members: AtomicUsize::new(0),
    alert: AtomicUsize::new(0),
    asleep: AtomicUsize::new(0),
    bed: Mutex::new(()),
    bell: Condvar::new(),
};

/// Calls `work` on this thread and, where they have time, on up to `helpers` others; returns when all calls are done.
///
/// # Panics
/// If one of the calls does.
pub(crate) fn share(helpers: usize, work: Work<'_>) {
    let free = |slot: &&Slot| !slot.taken.swap(true, SeqCst);
    let slot = match TEAM.slots.iter().find(free) {
        Some(slot) if helpers > 0 => slot,
        Some(slot) => {
            slot.taken.store(false, SeqCst);
            return work(MEMBER.get());
        }
        None => return work(MEMBER.get()),
    };
    let posted = Posted { slot };
    slot.panicked.store(false, SeqCst);
    slot.work.store((&raw const work).cast_mut().cast(), SeqCst);
    TEAM.posts.fetch_add(1, SeqCst);
    TEAM.call(helpers);
    work(MEMBER.get());
    drop(posted);
    // The slot may be another's by now, but then nobody panicked here: who did is waited for before it is freed.
}

/// Work that is taken back when this is dropped, also by a panic: then nobody uses it any more.
struct Posted {
    slot: &'static Slot,
}

impl Drop for Posted {
    fn drop(&mut self) {
        let slot = self.slot;
        slot.work.store(null_mut(), SeqCst);
        let mut looks = 0;
        while slot.inside.load(SeqCst) > 0 {
            looks += 1;
            // Somebody took the core from a helper: perhaps it is this one.
            match looks % (LOOKS * LOOKS) {
                0 => thread::yield_now(),
                _ => spin_loop(),
            }
        }
        let panicked = slot.panicked.load(SeqCst);
        slot.taken.store(false, SeqCst);
        assert!(
            !panicked || thread::panicking(),
            "a thread that helped panicked"
        );
    }
}

impl Team {
    /// Sees to it that so many helpers look out for work.
    fn call(&'static self, helpers: usize) {
        let missing = helpers.saturating_sub(self.alert.load(SeqCst));
        if missing == 0 {
            return;
        }
        let asleep = self.asleep.load(SeqCst);
        if asleep > 0 {
            // Whoever is about to sleep has seen the post or is woken.
            drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
            if asleep <= missing {
                self.bell.notify_all();
            } else {
                (0..missing).for_each(|_| self.bell.notify_one());
            }
        }
        while self.members.load(SeqCst) < helpers {
            let member = self.members.fetch_add(1, SeqCst) + 1;
            let helper = thread::Builder::new().name(format!("kernel {member}"));
            let spawned = helper.spawn(move || {
                MEMBER.set(member);
                self.help();
            });
            if spawned.is_err() {
                self.members.fetch_sub(1, SeqCst);
                return;
            }
        }
    }

    /// What a helper does for as long as there is a process.
    fn help(&self) {
        let mut seen = 0;
        loop {
            let posts = self.posts.load(SeqCst);
            if posts == seen {
                self.wait(seen);
                continue;
            }
            seen = posts;
            for slot in &self.slots {
                if slot.work.load(SeqCst).is_null() {
                    continue;
                }
                slot.inside.fetch_add(1, SeqCst);
                let work: *const Work<'_> = slot.work.load(SeqCst).cast_const().cast();
                if !work.is_null() {
                    // SAFETY: who posted it takes it back before it waits until nobody is inside; it was still there
                    // when this thread was.
                    let work = unsafe { *work };
                    if catch_unwind(AssertUnwindSafe(|| work(MEMBER.get()))).is_err() {
                        slot.panicked.store(true, SeqCst);
                    }
                }
                slot.inside.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Returns when more than `seen` pieces of work were posted.
    fn wait(&self, seen: usize) {
        let is_new = || self.posts.load(SeqCst) != seen;
        self.alert.fetch_add(1, SeqCst);
        let began = Instant::now();
        let mut looks = 0;
        while !is_new() {
            looks += 1;
            if looks % LOOKS == 0 {
                let waited = began.elapsed();
                if waited > STAND_BY {
                    break;
                } else if waited > ALERT {
                    thread::yield_now();
                }
            }
            spin_loop();
        }
        self.alert.fetch_sub(1, SeqCst);
        if is_new() {
            return;
        }
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, SeqCst);
        while !is_new() {
            bed = self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn work_within_work_by_many_at_once_is_all_done() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..200 {
                        let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
                        share(3, &|_| {
                            while next.fetch_add(1, SeqCst) < 8 {
                                let inner = AtomicUsize::new(0);
                                share(2, &|_| {
                                    while inner.fetch_add(1, SeqCst) < 5 {
                                        sum.fetch_add(round, SeqCst);
                                    }
                                });
                            }
                        });
                        assert_eq!(sum.into_inner(), 40 * round);
                    }
                });
            }
        });
    }

    #[test]
    fn helpers_come_even_when_they_slept() {
        for _ in 0..3 {
            // Passes only when two threads are in it at once.
            let barrier = Barrier::new(2);
            let (caller, helpers) = (thread::current().id(), AtomicUsize::new(0));
            let numbers = Mutex::new(Vec::new());
            share(1, &|member| {
                if thread::current().id() == caller || helpers.fetch_add(1, SeqCst) == 0 {
                    numbers.lock().unwrap().push(member);
                    barrier.wait();
                }
            });
            let mut numbers = numbers.into_inner().unwrap();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 2, "each with a number of its own");
            thread::sleep(5 * STAND_BY);
        }
    }

    #[test]
    fn a_panic_comes_through_and_leaves_everything_usable() {
        for who_helps in [false, true] {
            let barrier = Barrier::new(2);
            let (caller, helpers) = (thread::current().id(), AtomicUsize::new(0));
            let work = |_: usize| {
                let calls = thread::current().id() == caller;
                if calls || helpers.fetch_add(1, SeqCst) == 0 {
                    barrier.wait();
                    assert_eq!(calls, who_helps);
                }
            };
            let found = catch_unwind(AssertUnwindSafe(|| share(1, &work)));
            assert!(found.is_err());
        }
        let sum = AtomicUsize::new(0);
        share(1, &|_| _ = sum.fetch_add(1, SeqCst));
        assert!(sum.into_inner() >= 1);
    }
}
