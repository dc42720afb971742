//! The yardstick does what it counts: every chain ends where it must.

use rekindle_shaders::Peak;

use super::{everywhere, numbers, read, tensor};
use crate::kernels::multiply_adds;

#[test]
fn every_invocation_of_the_yardstick_ends_where_its_chains_must() {
    everywhere(41, |random, device| {
        let addends = numbers(random, 4);
        let factor = 0.9 * random.uniform();
        let sum: f32 = addends.iter().sum();
        let truth = 8.0 * sum / (1.0 - factor);
        let work = Peak {
            invocations: 1 + random.below(500) as u32,
            rounds: 300,
        };
        let numbers = tensor(&[&[factor], &addends[..]].concat(), [5], device);
        let found = read(multiply_adds(numbers, work));
        assert_eq!(found.len(), work.invocations as usize);
        let allowed = 1e-4 * (8.0 / (1.0 - factor));
        for found in found {
            assert!((found - truth).abs() <= allowed, "{found} for {truth}");
        }
    });
}
