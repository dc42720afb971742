//! What the processor can do at most: multiply-adds of numbers that never leave the registers.

use std::hint::black_box;

use macerator::{Simd, WithSimd};

use crate::simd::{Floats, Level, MOST_LANES, splat, store};
use crate::threads::{parallel, threads};

/// Keeps every core busy with nothing but multiply-adds, so many in each of some independent chains, and
/// returns how many floating-point operations that were. Whoever divides them by the time they took has the
/// width of the vectors times the frequency times the units: what no kernel exceeds.
pub fn multiply_adds(rounds: usize) -> f64 {
    let level = Level::best();
    let workers = threads();
    parallel(workers, |_| {
        black_box(level.run(Burst { rounds }));
    });
    let chains = if is_wide(level.lanes()) { MANY } else { FEW };
    2.0 * (workers * rounds * chains * level.lanes()) as f64
}

/// Chains that fill two units of a latency of four, or four of them, and still lie in registers.
const FEW: usize = 12;
const MANY: usize = 24;

/// Whether there are 32 registers.
const fn is_wide(lanes: usize) -> bool {
    lanes == 16 || cfg!(target_arch = "aarch64")
}

struct Burst {
    rounds: usize,
}

impl WithSimd for Burst {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> f32 {
        match is_wide(S::lanes32()) {
            true => chains::<S, MANY>(self.rounds),
            false => chains::<S, FEW>(self.rounds),
        }
    }
}

/// Each chain halves its number and adds one, over and over.
#[allow(unsafe_code)] // Stores a vector into an array that holds it.
#[inline(always)]
fn chains<S: Simd, const COUNT: usize>(rounds: usize) -> f32 {
    // The compiler knows none of these numbers: it can neither leave a step out nor join two chains.
    let (factor, addend): (Floats<S>, Floats<S>) = (splat(black_box(0.5)), splat(black_box(1.0)));
    let mut numbers: [Floats<S>; COUNT] =
        std::array::from_fn(|chain| splat(black_box(chain as f32)));
    for _ in 0..rounds {
        for number in &mut numbers {
            *number = factor.mul_add(*number, addend);
        }
    }
    let mut total = splat::<S>(0.0);
    for number in numbers {
        total += number;
    }
    let mut lanes = [0.0; MOST_LANES];
    // SAFETY: the array holds the widest vector.
    unsafe { store::<S>(lanes.as_mut_ptr(), total) };
    lanes[0] / COUNT as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_comes_to_two_on_every_set_of_instructions() {
        for level in Level::all() {
            let _forced = level.force();
            assert_eq!(level.run(Burst { rounds: 100 }), 2.0);
            assert!(multiply_adds(7) >= (2 * 7 * FEW * level.lanes()) as f64);
        }
    }
}
