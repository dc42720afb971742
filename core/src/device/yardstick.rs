//! A matrix product to measure a device by: what share of that speed a network reaches says how good
//! its kernels are, on any device.

use burn::tensor::{Device, Distribution, Tensor};
use rekindle_cpu as cpu;

use super::self_test::read;
use super::{DeviceClass, DeviceError, OpenDevice};
use crate::kernels;

/// Square matrices and what multiplies them.
pub struct Yardstick {
    side: usize,
    work: Work,
}

enum Work {
    Processor {
        linear: cpu::Linear,
        input: Vec<f32>,
        output: Vec<f32>,
    },
    /// Our kernel makes `ab`, Burn's own `ba`: whichever is faster is the measure.
    Adapter {
        a: Tensor<2>,
        b: Tensor<2>,
        /// The first number of both products, once it is known.
        truth: [Option<f32>; 2],
    },
}

/// Who multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplier {
    /// Our own kernels.
    Ours,
    /// Burn's matrix product, where there is another than ours.
    Burn,
}

impl Yardstick {
    /// Matrices of a size that fills this device without keeping it for long.
    pub fn new(open: &OpenDevice) -> Self {
        let side = match open.info.kind {
            DeviceClass::Cpu => 1024,
            DeviceClass::Software => 256,
            DeviceClass::Gpu => 4096,
        };
        let work = match open.info.kind {
            DeviceClass::Cpu => {
                let weights = vec![1.0 / side as f32; side * side];
                Work::Processor {
                    linear: cpu::Linear::new(side, side, weights[..].into(), &[]),
                    input: vec![1.0; side * side],
                    output: vec![0.0; side * side],
                }
            }
            _ => {
                let square = || random([side, side], &open.device);
                Work::Adapter {
                    a: square(),
                    b: square(),
                    truth: [None; 2],
                }
            }
        };
        Self { side, work }
    }

    /// Floating-point operations of one product.
    pub fn operations(&self) -> f64 {
        2.0 * (self.side as f64).powi(3)
    }

    /// Multiplies `times` times and waits until it is done; `false` where there is no such multiplier, or
    /// where it comes back without the product, which would be fast.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn run(&mut self, by: Multiplier, times: usize) -> Result<bool, DeviceError> {
        let side = self.side;
        match &mut self.work {
            Work::Processor {
                linear,
                input,
                output,
            } => {
                if by == Multiplier::Burn {
                    return Ok(false);
                }
                for _ in 0..times {
                    cpu::in_pool(|| {
                        linear.run(
                            cpu::View::new(input, 1, 1, side, side),
                            None,
                            cpu::Activation::None,
                            cpu::ViewMut::new(output, 1, 1, side, side),
                        );
                    });
                }
            }
            Work::Adapter { a, b, truth } => {
                // Not the same product for both: memory may still hold the other's.
                let (left, right, truth) = match by {
                    Multiplier::Ours => (a, b, &mut truth[0]),
                    Multiplier::Burn => (b, a, &mut truth[1]),
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
                        Multiplier::Burn => left.matmul(right),
                        Multiplier::Ours => kernels::matmul(left, right),
                    });
                }
                if let Some(last) = last {
                    let corner = read(last.slice([0..1, 0..1])).await?;
                    // Generous: a device may multiply in half precision.
                    let off = (corner[0] - expected).abs();
                    return Ok(off <= 1e-2 * (side as f32).sqrt());
                }
            }
        }
        Ok(true)
    }
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}
