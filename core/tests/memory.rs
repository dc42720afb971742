//! Training a head and finding what belongs together hold no second copy of the features, whatever part of them they
//! look at: of very many photos there is no room for two.

#![allow(unsafe_code)] // An allocator that counts.
#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_core::random::Random;
use rekindle_core::train::{FeatureCache, Groups, LinearRecipe, LinearTrainer};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What some work takes at most beyond what there was before it, in bytes.
fn taken<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = work();
    (result, MOST.load(Ordering::Relaxed) - before)
}

/// Photos of three classes in two views.
fn cache(photos: usize, width: usize) -> FeatureCache {
    let mut random = Random::new(14);
    let mut cache = FeatureCache::new(width, 2);
    for photo in 0..photos {
        let label = photo % 3;
        let row: Vec<f32> = (0..2 * width)
            .map(|at| random.uniform() + if at % 3 == label { 0.1 } else { 0.0 })
            .collect();
        cache.push(label, &row).unwrap();
    }
    cache
}

// One test: others beside it would be counted too.
#[test]
fn features_are_held_once() {
    let width = 512;
    let took = [1500, 6000].map(|photos| {
        let cache = cache(photos, width);
        let train: Vec<usize> = (0..photos).filter(|photo| photo % 5 != 0).collect();
        let held: Vec<usize> = (0..photos).step_by(5).collect();
        let (solution, solving) = taken(|| {
            let examples = cache.all_views(&train);
            let trainer = LinearTrainer::new(&LinearRecipe::default(), examples, 3, None);
            trainer.unwrap().solve().unwrap()
        });
        let (logits, asking) = taken(|| solution.logits_of(cache.plain(&held).rows()));
        assert_eq!(logits.len(), 3 * held.len());
        let (_, grouping) = taken(|| Groups::find(&cache, None));
        [solving, asking, grouping]
    });
    let [few, many] = took;
    for (what, (few, many)) in ["solving", "asking", "grouping"]
        .iter()
        .zip(few.into_iter().zip(many))
    {
        // What a photo takes beside the bytes of its features in one view.
        let each = many.saturating_sub(few) / 4500;
        assert!(each < 4 * width / 2, "{what} takes {each} bytes a photo");
    }
}
