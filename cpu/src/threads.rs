//! Sharing work among the processor's cores, and memory that a thread keeps between calls.

#![allow(unsafe_code)] // The parts of a parallel region write to disjoint parts of one slice.

use std::cell::RefCell;

use crate::memory::Lines;

/// Cores that share the work: as many as the pool has that rayon would use here.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}

/// Cores that share the work.
#[cfg(target_family = "wasm")]
pub(crate) fn threads() -> usize {
    1
}

/// Multiply-adds (or what takes as long) below which a share of the work is not worth handing over.
const SMALLEST_SHARE: usize = 20_000;

/// Shares to a core: a few, so that a core which is late does not keep the others waiting.
const SHARES: usize = 4;

/// Into how many chunks to divide `cost` multiply-adds of which `pieces` cannot be divided further.
pub(crate) fn chunks(pieces: usize, cost: usize) -> usize {
    let threads = threads();
    if threads == 1 {
        return 1;
    }
    (threads * SHARES)
        .min(cost / SMALLEST_SHARE)
        .min(pieces)
        .max(1)
}

/// The bounds of chunk `index` of `count` when `total` is divided evenly in multiples of `unit`.
pub(crate) fn chunk(
    total: usize,
    unit: usize,
    index: usize,
    count: usize,
) -> std::ops::Range<usize> {
    let units = total.div_ceil(unit);
    let bound = |index: usize| (units * index / count * unit).min(total);
    bound(index)..bound(index + 1)
}

/// Calls `body` once for every number below `count`, on all cores; returns when all are done. Kernels
/// that `body` calls share their own work with cores that have nothing left to do.
///
/// Every core begins with the same part of the numbers each time: where the next kernel divides its work alike, what
/// one kernel wrote is read from the cache of the core that wrote it. Whoever is done takes from the others' parts.
#[cfg(not(target_family = "wasm"))]
pub fn parallel(count: usize, body: impl Fn(usize) + Sync) {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// What is left of a part; a cache line of its own.
    #[repr(align(128))]
    struct Part {
        next: AtomicUsize,
        end: usize,
    }

    let workers = threads().min(count);
    if workers <= 1 {
        return (0..count).for_each(body);
    }
    let part = |index: usize| Part {
        next: AtomicUsize::new(count * index / workers),
        end: count * (index + 1) / workers,
    };
    let parts: Vec<Part> = (0..workers).map(part).collect();
    crate::team::share(workers - 1, &|member| {
        for other in 0..workers {
            let part = &parts[(member + other) % workers];
            loop {
                let index = part.next.fetch_add(1, Ordering::Relaxed);
                if index >= part.end {
                    break;
                }
                body(index);
            }
        }
    });
}

/// Calls `body` once for every number below `count`.
#[cfg(target_family = "wasm")]
pub fn parallel(count: usize, body: impl Fn(usize) + Sync) {
    (0..count).for_each(body);
}

/// Where the parts of a parallel region write, each to its own elements.
#[derive(Clone, Copy)]
pub(crate) struct Output(*mut f32);

// SAFETY: the pointer is only written through in `unsafe` code that keeps to disjoint elements.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// The start of a slice that outlives the parallel region.
    pub(crate) fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// The start of what is only read.
    pub(crate) fn reading(data: *const f32) -> Self {
        Self(data.cast_mut())
    }

    /// Whether there is nothing.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The element at an offset, which must lie within the slice before it is used.
    #[inline(always)]
    pub(crate) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

thread_local! {
    static KEPT: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps at most: kernels run inside one another at most this deep.
const MOST_KEPT: usize = 4;

/// Lends `work` a buffer of `length` elements of unspecified values. The thread keeps it for the next
/// time: fresh memory would cost more than what is done in it.
pub(crate) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let kept = KEPT.with_borrow_mut(|kept| {
        let fitting = kept.iter().position(|lines| lines.len() >= length);
        fitting.map(|index| kept.swap_remove(index))
    });
    let mut lines = kept.unwrap_or_else(|| Lines::zeros(length));
    let result = work(&mut lines.as_mut_slice()[..length]);
    KEPT.with_borrow_mut(|kept| {
        kept.push(lines);
        if kept.len() > MOST_KEPT {
            let shortest = (0..kept.len()).min_by_key(|&index| kept[index].len());
            if let Some(shortest) = shortest {
                kept.swap_remove(shortest);
            }
        }
    });
    result
}
