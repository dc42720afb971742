//! Which vector instructions this processor has, and the few vector operations that the kernels share.

#![allow(unsafe_code)] // Loads and stores through pointers, and calls into code built for other features.

use macerator::{Arch, Scalar, Simd, Vector, WithSimd};

/// A vector of f32.
pub(crate) type Floats<S> = Vector<S, f32>;

/// The most f32 that a vector has on any processor.
pub(crate) const MOST_LANES: usize = 16;

/// A set of vector instructions that this processor is known to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level(Arch);

impl Level {
    /// The widest that the processor has.
    #[cfg(not(test))]
    pub(crate) fn best() -> Self {
        Self(Arch::detect())
    }

    /// The widest that the processor has, or what [`Level::force`] says.
    #[cfg(test)]
    pub(crate) fn best() -> Self {
        FORCED
            .with(std::cell::Cell::get)
            .unwrap_or_else(|| Self(Arch::detect()))
    }

    /// Runs an operation compiled for these instructions.
    #[inline(always)]
    pub(crate) fn run<F: WithSimd>(self, operation: F) -> F::Output {
        // SAFETY: a `Level` is only made of what was detected, or of what every processor of the
        // target has.
        unsafe { self.0.dispatch(Needed(operation)) }
    }

    /// f32 in a vector.
    pub(crate) fn lanes(self) -> usize {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self) -> usize {
                S::lanes32()
            }
        }
        self.run(Lanes)
    }
}

/// An operation, without its scalar twin where every processor that can load the module has vectors, as
/// WebAssembly's must: it would double the code that a browser compiles.
struct Needed<F>(F);

impl<F: WithSimd> WithSimd for Needed<F> {
    type Output = F::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> F::Output {
        if cfg!(target_feature = "simd128") && S::lanes32() < 4 {
            unreachable!("a module of vectors runs without them");
        }
        self.0.with_simd::<S>()
    }
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
impl Level {
    /// Every level that this processor has, the scalar one first.
    pub(crate) fn all() -> Vec<Self> {
        let mut levels = vec![Self(Arch::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("sse4.2") {
                levels.push(Self(Arch::V2));
            }
            if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                levels.push(Self(Arch::V3));
            }
        }
        let best = Self(Arch::detect());
        if levels.iter().all(|level| level.lanes() != best.lanes()) {
            levels.push(best);
        }
        levels
    }

    /// Makes this thread use a level until the value returned is dropped.
    pub(crate) fn force(self) -> impl Drop {
        struct Restore;
        impl Drop for Restore {
            fn drop(&mut self) {
                FORCED.with(|forced| forced.set(None));
            }
        }
        FORCED.with(|forced| forced.set(Some(self)));
        Restore
    }
}

/// The same number in every lane.
#[inline(always)]
pub(crate) fn splat<S: Simd>(value: f32) -> Floats<S> {
    value.splat()
}

/// The scalar twin's minimum and maximum skip NaN, where vectors' give it back: x86's the second operand if
/// either is NaN, others NaN.
#[inline(always)]
fn skips_nan<S: Simd>() -> bool {
    S::lanes32() < 4
}

/// Numbers kept within bounds. NaN stays NaN, as in PyTorch: it must come through to the end, where somebody
/// looks for it, and not turn into a zero on the way.
#[inline(always)]
pub(crate) fn within<S: Simd>(x: Floats<S>, low: Floats<S>, high: Floats<S>) -> Floats<S> {
    if skips_nan::<S>() {
        let raised = x.lt(low).select(low, x);
        return high.lt(raised).select(high, raised);
    }
    high.min(low.max(x))
}

/// The larger of two numbers, NaN if either is none.
#[inline(always)]
pub(crate) fn larger<S: Simd>(a: Floats<S>, b: Floats<S>) -> Floats<S> {
    if cfg!(not(target_arch = "x86_64")) && !skips_nan::<S>() {
        return a.max(b);
    }
    let larger = match skips_nan::<S>() {
        true => b.lt(a).select(a, b),
        false => a.max(b),
    };
    a.eq(a).select(larger, a)
}

/// Where vector `index` of so many channels begins: the last one overlaps the one before it where they do not fill it.
#[inline(always)]
pub(crate) fn first_channel(index: usize, channels: usize, lanes: usize) -> usize {
    (index * lanes).min(channels.saturating_sub(lanes))
}

/// Whether asking for memory ahead does anything on this processor.
pub(crate) const fn can_prefetch() -> bool {
    cfg!(target_arch = "x86_64")
}

/// Asks for a cache line, if it exists, without waiting for it.
#[inline(always)]
pub(crate) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64; it reads nothing, and any address will do.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// A whole vector.
///
/// # Safety
/// A vector must be readable at the pointer.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(from: *const f32) -> Floats<S> {
    // SAFETY: the caller's.
    unsafe { S::load_unaligned(from) }
}

/// Writes a whole vector.
///
/// # Safety
/// A vector must be writable at the pointer.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(to: *mut f32, value: Floats<S>) {
    // SAFETY: the caller's.
    unsafe { S::store_unaligned(to, value) }
}

/// The first `count` (fewer than a vector) elements, and zeros.
///
/// # Safety
/// `count` elements must be readable at the pointer.
#[inline(always)]
pub(crate) unsafe fn load_some<S: Simd>(from: *const f32, count: usize) -> Floats<S> {
    // SAFETY: the caller's.
    unsafe { load_some_or(from, count, 0.0) }
}

/// The first `count` (fewer than a vector) elements, and `rest` in the other lanes.
///
/// # Safety
/// `count` elements must be readable at the pointer.
#[inline(always)]
pub(crate) unsafe fn load_some_or<S: Simd>(from: *const f32, count: usize, rest: f32) -> Floats<S> {
    let mut lanes = [rest; MOST_LANES];
    // SAFETY: the caller's; `count` is less than a vector, which the buffer holds.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
        load::<S>(lanes.as_ptr())
    }
}

/// The first `count` elements, which may be a whole vector, and zeros.
///
/// # Safety
/// `count` elements must be readable at the pointer.
#[inline(always)]
pub(crate) unsafe fn load_up_to<S: Simd>(from: *const f32, count: usize) -> Floats<S> {
    // SAFETY: the caller's.
    unsafe {
        if count == S::lanes32() {
            load(from)
        } else {
            load_some(from, count)
        }
    }
}

/// Writes the first `count` (fewer than a vector) elements.
///
/// # Safety
/// `count` elements must be writable at the pointer.
#[inline(always)]
pub(crate) unsafe fn store_some<S: Simd>(to: *mut f32, value: Floats<S>, count: usize) {
    let mut lanes = [0.0f32; MOST_LANES];
    // SAFETY: the caller's; `count` is less than a vector, which the buffer holds.
    unsafe {
        store::<S>(lanes.as_mut_ptr(), value);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
    }
}

/// Adds to what is there.
///
/// # Safety
/// `count` elements must be readable and writable at the pointer.
#[inline(always)]
pub(crate) unsafe fn add_to<S: Simd>(to: *mut f32, value: Floats<S>, count: usize) {
    // SAFETY: the caller's.
    unsafe { store_up_to(to, load_up_to::<S>(to, count) + value, count) }
}

/// Writes the first `count` elements, which may be a whole vector.
///
/// # Safety
/// They must be writable at the pointer.
#[inline(always)]
pub(crate) unsafe fn store_up_to<S: Simd>(to: *mut f32, value: Floats<S>, count: usize) {
    // SAFETY: the caller's.
    unsafe {
        if count == S::lanes32() {
            store(to, value);
        } else {
            store_some(to, value, count);
        }
    }
}

/// Calls `body` with every column at which a vector begins, and how many there are.
#[inline(always)]
pub(crate) fn vectors<S: Simd>(width: usize, mut body: impl FnMut(usize, usize)) {
    let lanes = S::lanes32();
    let whole = width / lanes * lanes;
    for at in (0..whole).step_by(lanes) {
        body(at, lanes);
    }
    if whole < width {
        body(whole, width - whole);
    }
}
