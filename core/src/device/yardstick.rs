//! What a device can do at most, to measure networks by: the share of it that a network reaches says how
//! good its kernels are, on any device.

use burn::tensor::{Device, Distribution, Tensor};
use rekindle_cpu as cpu;
use rekindle_shaders::{Peak, Tier};

use super::self_test::read;
use super::{DeviceClass, DeviceError, OpenDevice};
use crate::kernels;

/// Work whose operations are known.
pub struct Yardstick {
    work: Work,
}

enum Work {
    Processor {
        side: usize,
        linear: cpu::Linear,
        input: Vec<f32>,
        output: Vec<f32>,
    },
    /// Our kernel makes `ab`, Burn's own `ba`.
    Adapter {
        side: usize,
        a: Tensor<2>,
        b: Tensor<2>,
        /// The first number of both products, once it is known.
        truth: [Option<f32>; 2],
        tier: Tier,
    },
}

/// Work of different kinds. No kernel of ours exceeds the first; the others tell how near one comes, and stand
/// in for it should a driver be clumsier with the first than with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Multiply-adds of numbers that stay in registers: width times frequency times units.
    Registers,
    /// A matrix product by our own kernels.
    Product,
    /// Burn's matrix product, where there is another than ours.
    BurnsProduct,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Registers, Self::Product, Self::BurnsProduct];
}

/// Multiply-adds of each chain in the processor's registers: less than a millisecond, as a layer takes, so that
/// whatever else the machine does disturbs the one no more often than the other.
const ROUNDS: usize = 100_000;

impl Yardstick {
    /// Work of a size that fills this device without keeping it for long.
    pub fn new(open: &OpenDevice) -> Self {
        let side = match open.info.kind {
            DeviceClass::Cpu => 1024,
            DeviceClass::Software => 256,
            DeviceClass::Gpu => 4096,
        };
        let work = match &open.info.adapter {
            None => {
                let weights = vec![1.0 / side as f32; side * side];
                Work::Processor {
                    side,
                    linear: cpu::Linear::new(side, side, weights[..].into(), &[]),
                    input: vec![1.0; side * side],
                    output: vec![0.0; side * side],
                }
            }
            Some(adapter) => Work::Adapter {
                side,
                a: random([side, side], &open.device),
                b: random([side, side], &open.device),
                truth: [None; 2],
                tier: adapter.tier,
            },
        };
        Self { work }
    }

    /// Does the work `times` times, waits until it is done, and returns how many floating-point operations
    /// that were; `None` where there is no such work, or where a device comes back without the result, which
    /// would be fast.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn run(&mut self, by: Measure, times: usize) -> Result<Option<f64>, DeviceError> {
        let product = |side: usize| Some(2.0 * (side as f64).powi(3) * times as f64);
        match (&mut self.work, by) {
            (Work::Processor { .. }, Measure::Registers) => {
                Ok(Some((0..times).map(|_| cpu::multiply_adds(ROUNDS)).sum()))
            }
            (
                Work::Processor {
                    side,
                    linear,
                    input,
                    output,
                },
                Measure::Product,
            ) => {
                for _ in 0..times {
                    linear.run(
                        cpu::View::new(input, 1, 1, *side, *side),
                        None,
                        cpu::Activation::None,
                        cpu::ViewMut::new(output, 1, 1, *side, *side),
                    );
                }
                Ok(product(*side))
            }
            (Work::Processor { .. }, Measure::BurnsProduct) => Ok(None),
            (Work::Adapter { a, tier, .. }, Measure::Registers) => {
                let work = Peak::for_tier(*tier);
                let numbers = [0.5_f32, 1.0, 1.0, 1.0, 1.0];
                let numbers = Tensor::<1>::from_data(numbers, &a.device());
                let mut last = None;
                for _ in 0..times {
                    last = Some(kernels::multiply_adds(numbers.clone(), work));
                }
                let Some(last) = last else { return Ok(None) };
                let found = read(last.narrow(0, 0, 1)).await?;
                // Four numbers a vector, each of which comes to two.
                let is_right = (found[0] - 8.0 * Peak::CHAINS as f32).abs() < 1e-3;
                Ok(is_right.then_some(work.operations() * times as f64))
            }
            (
                Work::Adapter {
                    side, a, b, truth, ..
                },
                by,
            ) => {
                let side = *side;
                // Not the same product for both: memory may still hold the other's.
                let (left, right, truth) = match by {
                    Measure::BurnsProduct => (b, a, &mut truth[1]),
                    _ => (a, b, &mut truth[0]),
                };
                let expected = match *truth {
                    Some(known) => known,
                    None => {
                        let row = read(left.clone().slice([0..1, 0..side])).await?;
                        let column = read(right.clone().slice([0..side, 0..1])).await?;
                        let products = row.iter().zip(&column).map(|(a, b)| a * b);
                        *truth.insert(products.sum())
                    }
                };
                let mut last = None;
                for _ in 0..times {
                    let (left, right) = (left.clone(), right.clone());
                    last = Some(match by {
                        Measure::BurnsProduct => left.matmul(right),
                        _ => kernels::matmul(left, right),
                    });
                }
                let Some(last) = last else { return Ok(None) };
                let corner = read(last.slice([0..1, 0..1])).await?;
                // Generous: a device may multiply in half precision.
                let off = (corner[0] - expected).abs();
                Ok((off <= 1e-2 * (side as f32).sqrt())
                    .then_some(product(side))
                    .flatten())
            }
        }
    }
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}
