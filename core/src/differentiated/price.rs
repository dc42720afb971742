//! What jobs cost: a reckoning by shapes, which is the same on every machine, and no clock.

use super::course::Course;
use super::job::{Job, Kind};
use super::needs::keeps_before;
use crate::program::ValueId;

/// The multiply-adds that take as long as a number that is read or written.
const MOVED: u64 = 16;

/// Multiply-adds of channels by themselves, or of few, take this much longer.
const NARROW: u64 = 4;

/// The channels of a group that are few.
const FEW: usize = 8;

impl Course {
    /// What a job's way there costs, in multiply-adds for an image.
    pub(super) fn price(&self, job: &Job, learns: &[bool]) -> u64 {
        let numbers = |value: ValueId| self.shapes[value].numbers() as u64;
        let output = numbers(job.output);
        let inputs: u64 = job.inputs.iter().map(|&input| numbers(input)).sum();
        let moved = MOVED * (inputs + output);
        match &job.kind {
            Kind::Product(product) => {
                let geometry = &product.geometry;
                let group = geometry.input / geometry.groups.max(1);
                let taps = group * geometry.kernel.iter().product::<usize>();
                let narrow = if group <= FEW { NARROW } else { 1 };
                let by_batch = product.norm.is_some_and(|norm| learns[norm.mean]);
                // Once for the statistics, and there and back to be normalised.
                let passes =
                    3 * u64::from(by_batch) + 2 * u64::from(keeps_before(product.ending, by_batch));
                output * (taps as u64 * narrow + MOVED * passes) + moved
            }
            Kind::BatchNorm(norm, _) => moved + MOVED * output * u64::from(learns[norm.mean]),
            Kind::Attention(attention) => {
                let parts = &attention.parts;
                let scores = (parts.windows * parts.heads * parts.tokens * parts.tokens) as u64;
                // Scores, their exponentials, and their products with values.
                scores * (2 * parts.depth as u64 + MOVED) + moved
            }
            _ => moved,
        }
    }

    /// What making a job's output of what is kept for its way back costs.
    pub(super) fn price_of_output(&self, job: &Job) -> u64 {
        2 * MOVED * self.shapes[job.output].numbers() as u64
    }
}
