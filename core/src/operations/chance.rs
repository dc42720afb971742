//! What is drawn at random in training.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// What is drawn at random in training, by counting: the numbers of a step follow from the seed, the number of the step
/// and the place in the network, and from nothing else. They are drawn on the host, so every device draws alike. Seed
/// and step are all there is to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chance {
    seed: u64,
    step: u64,
    /// The images of the step that come before those that it is asked for.
    #[serde(default)]
    first: usize,
}

/// Where the streams of training steps begin among those of a seed; below it are those of the epochs' orders.
const STEP_STREAMS: u64 = 1 << 32;

impl Chance {
    /// That of a training with this seed, before its first step.
    pub fn new(seed: u64) -> Self {
        Self::at(seed, 0)
    }

    /// The same at a later step: where a training goes on that was interrupted.
    pub fn at(seed: u64, step: u64) -> Self {
        Self {
            seed,
            step,
            first: 0,
        }
    }

    /// The same for images of the step that stand behind so many others.
    pub fn behind(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The steps that have been taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Goes on to the next step.
    pub fn advance(&mut self) {
        self.step += 1;
    }

    /// The numbers in `[0, 1)` that are drawn at one place in the network, `each` for every image.
    pub(crate) fn draws(&self, place: usize, images: usize, each: usize) -> Vec<f32> {
        let mut stream = self.stream(place);
        (0..self.first * each).for_each(|_| _ = stream.uniform());
        (0..images * each).map(|_| stream.uniform()).collect()
    }

    /// The numbers of one place in the network, at this step.
    fn stream(&self, place: usize) -> Random {
        let step = Random::new(self.seed).fork(STEP_STREAMS + self.step);
        match place {
            0 => step,
            place => step.fork(place as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_follows_from_seed_step_and_place_alone() {
        let draw = |chance: Chance, place: usize| {
            let mut stream = chance.stream(place);
            [(); 4].map(|()| stream.next_u64())
        };
        let mut chance = Chance::new(5);
        let first = draw(chance, 0);
        chance.advance();
        assert_eq!(draw(chance, 3), draw(Chance::at(5, 1), 3));
        for other in [
            draw(chance, 0),
            draw(Chance::new(5), 1),
            draw(Chance::new(6), 0),
        ] {
            assert_ne!(first, other);
        }
    }
}
