//! Every kernel against a plain one in f64, with every set of instructions that the processor has.

mod attention;
mod attention_slopes;
mod column_sums;
mod convolution;
mod depthwise_gradient;
mod elementwise;
mod group_norm;
mod norm_slopes;
mod pool_slopes;
mod pooling;
mod resize;
mod slope;
mod solver;
mod transposed;
mod weight_gradient;

use crate::simd::Level;
use crate::{Activation, View, ViewMut};

/// Every function.
const ACTIVATIONS: [Activation; 9] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Gelu,
    Activation::Tanh,
];

/// What lies between the pixels of a pitched output, and must still lie there afterwards.
const UNTOUCHED: f32 = 1234.5;

/// A generator of numbers: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Between -1 and 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    fn activation(&mut self) -> Activation {
        self.of(&ACTIVATIONS)
    }
}

/// Maps with their own memory.
#[derive(Clone)]
struct Maps {
    data: Vec<f32>,
    /// Batch, rows, columns, channels.
    shape: [usize; 4],
    pitch: usize,
}

impl Maps {
    /// Random maps, some of which are slices of wider ones.
    fn random(random: &mut Random, shape: [usize; 4]) -> Self {
        let pitch = shape[3] + random.of(&[0, 0, 1, 5, 16]);
        let data = random.floats(shape[..3].iter().product::<usize>() * pitch);
        Self { data, shape, pitch }
    }

    /// Maps to be written: NaN where something must be, something else in between.
    fn output(random: &mut Random, shape: [usize; 4]) -> Self {
        let mut maps = Self::random(random, shape);
        for (at, value) in maps.data.iter_mut().enumerate() {
            *value = if at % maps.pitch < shape[3] {
                f32::NAN
            } else {
                UNTOUCHED
            };
        }
        maps
    }

    /// Random gradients, to be written where they are: something else in between.
    fn slopes(random: &mut Random, shape: [usize; 4]) -> Self {
        let mut maps = Self::random(random, shape);
        for (at, value) in maps.data.iter_mut().enumerate() {
            if at % maps.pitch >= shape[3] {
                *value = UNTOUCHED;
            }
        }
        maps
    }

    /// Calls `body` with every map, row and column.
    fn each_pixel(&self, mut body: impl FnMut(usize, usize, usize)) {
        let [batch, rows, columns, _] = self.shape;
        for pixel in 0..batch * rows * columns {
            body(
                pixel / columns / rows,
                pixel / columns % rows,
                pixel % columns,
            );
        }
    }

    fn view(&self) -> View<'_> {
        let [batch, rows, columns, channels] = self.shape;
        View::with_pitch(&self.data, batch, rows, columns, channels, self.pitch)
    }

    fn view_mut(&mut self) -> ViewMut<'_> {
        let [batch, rows, columns, channels] = self.shape;
        ViewMut::with_pitch(&mut self.data, batch, rows, columns, channels, self.pitch)
    }

    fn at(&self, n: usize, y: usize, x: usize, c: usize) -> f64 {
        let [_, rows, columns, _] = self.shape;
        f64::from(self.data[((n * rows + y) * columns + x) * self.pitch + c])
    }

    /// Panics where it is further than `limit` from what it should be, gives the largest distance.
    #[track_caller]
    fn compare(
        &self,
        limit: f64,
        what: &str,
        expected: impl Fn(usize, usize, usize, usize) -> f64,
    ) -> f64 {
        let [batch, rows, columns, channels] = self.shape;
        let mut worst = 0.0f64;
        for pixel in 0..batch * rows * columns {
            let (n, y, x) = (
                pixel / columns / rows,
                pixel / columns % rows,
                pixel % columns,
            );
            for c in 0..channels {
                let (ours, theirs) = (self.at(n, y, x, c), expected(n, y, x, c));
                let error = (ours - theirs).abs();
                assert!(
                    error <= limit,
                    "{what} at {:?}: {ours}, not {theirs}",
                    [n, y, x, c]
                );
                worst = worst.max(error);
            }
            for c in channels..self.pitch {
                assert_eq!(
                    self.data[pixel * self.pitch + c],
                    UNTOUCHED,
                    "{what}: between pixels"
                );
            }
        }
        worst
    }
}

/// The error function, to double precision: its series, and its continued fraction for the tail.
fn erf(x: f64) -> f64 {
    if x.abs() > 3.0 {
        let mut fraction = 0.0;
        for k in (1..=60).rev() {
            fraction = f64::from(k) / 2.0 / (x.abs() + fraction);
        }
        let tail = (-x * x).exp() / (x.abs() + fraction) / std::f64::consts::PI.sqrt();
        return (1.0 - tail).copysign(x);
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..100 {
        let k = f64::from(k);
        term *= -x * x / k;
        sum += term / (2.0 * k + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// The functions as they are defined.
fn apply(activation: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    let hard_sigmoid = (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => x * sigmoid,
        Activation::HardSwish => x * hard_sigmoid,
        Activation::HardSigmoid => hard_sigmoid,
        Activation::Sigmoid => sigmoid,
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::Tanh => x.tanh(),
    }
}

/// Runs a test with every set of instructions.
fn at_every_level(test: impl Fn(Level, &mut Random)) {
    for level in Level::all() {
        let _forced = level.force();
        test(level, &mut Random(0x9e37_79b9_7f4a_7c15));
    }
}

/// Panics unless one thread and three give the same bits.
fn in_pools_alike(compute: impl Fn() -> Vec<f32> + Sync) {
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let numbers = pool.unwrap().install(&compute);
        numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert!(one == three, "one thread and three differ");
}
