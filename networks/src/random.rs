//! Random numbers that repeat: the same seed gives the same numbers on every machine, natively and
//! in a browser, and in Python (`tests/parity/generator.py`).
//!
//! The generator is SplitMix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number
//! Generators", OOPSLA 2014): a counter advanced by a constant, each value of which is scrambled.
//! It is small, fast and passes BigCrush; it is not for secrets.

/// The golden ratio's fraction in 64 bits, SplitMix64's step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers, fully determined by its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        scramble(self.state)
    }

    /// A number in `[0, 1)`, a multiple of 2⁻²⁴, so that every one of them is exact in `f32`.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// A whole number in `0..n`, or 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The high half of a 128-bit product (Lemire 2019); its bias is under n/2⁶⁴.
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Puts `items` in a random order, each order equally likely (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A number from the normal distribution with mean 0 and standard deviation 1 (Box–Muller).
    ///
    /// Always takes two numbers from the stream, so that what follows does not depend on the value.
    pub fn normal(&mut self) -> f32 {
        // In f64, so that the last bits in which mathematics libraries differ are rounded away.
        let radius = (-2.0 * f64::ln_1p(-f64::from(self.uniform()))).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.uniform());
        (radius * angle.cos()) as f32
    }

    /// An independent stream with the number `stream`, for example one per image or per epoch.
    ///
    /// Depends on this stream's seed and position, and leaves both as they are.
    pub fn fork(&self, stream: u64) -> Random {
        // The label is scrambled before it meets the state: otherwise neighbouring labels would
        // give the same sequence, shifted.
        Random::new(scramble(self.state ^ scramble(stream.wrapping_add(STEP))))
    }
}

/// SplitMix64's finaliser (Stafford's mix 13): every input bit reaches every output bit.
fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The 64-bit FNV-1a hash of a name: the stream of random numbers that belongs to it.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // Vigna's reference implementation (prng.di.unimi.it/splitmix64.c), seed 1234567.
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| random.next_u64()), expected);
    }

    #[test]
    fn uniform_has_the_moments_of_the_unit_interval() {
        let mut random = Random::new(7);
        let draws: Vec<f64> = (0..100_000).map(|_| f64::from(random.uniform())).collect();
        assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
        let (mean, variance) = moments(&draws);
        assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.001, "variance {variance}");
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut random = Random::new(8);
        let draws: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
        assert!(draws.iter().all(|x| x.is_finite()));
        let (mean, variance) = moments(&draws);
        assert!(mean.abs() < 0.015, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
        let within_one = draws.iter().filter(|x| x.abs() < 1.0).count() as f64 / 1e5;
        assert!(
            (within_one - 0.6827).abs() < 0.006,
            "within one deviation: {within_one}"
        );
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut random = Random::new(9);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(
            counts.iter().all(|&count| (9_500..10_500).contains(&count)),
            "{counts:?}"
        );
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn shuffle_gives_each_order_equally_often() {
        let mut random = Random::new(10);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let mut items = [0, 1, 2];
            random.shuffle(&mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn forks_repeat_differ_and_leave_the_parent_alone() {
        let parent = Random::new(11);
        let before = parent.clone();
        let draws = |stream| {
            let mut fork = parent.fork(stream);
            [(); 64].map(|()| fork.next_u64())
        };
        assert_eq!(draws(3), draws(3));
        assert_eq!(parent, before);
        // No value of one stream turns up in a neighbour: they are not shifted copies.
        let (a, b) = (draws(3), draws(4));
        assert!(a.iter().all(|value| !b.contains(value)));
    }

    fn moments(draws: &[f64]) -> (f64, f64) {
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        (
            mean,
            draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n,
        )
    }
}
