//! A matrix product to measure a device by: what share of that speed a network reaches says how good
//! its kernels are, on any device.

use burn::tensor::{Device, Distribution, Tensor};
use rekindle_cpu as cpu;

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
    /// Our kernel, and Burn's own: whichever is faster is the measure.
    Adapter { a: Tensor<2>, b: Tensor<2> },
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
                    linear: cpu::Linear::new(side, side, &weights, &[]),
                    input: vec![1.0; side * side],
                    output: vec![0.0; side * side],
                }
            }
            _ => {
                let square = || random([side, side], &open.device);
                Work::Adapter {
                    a: square(),
                    b: square(),
                }
            }
        };
        Self { side, work }
    }

    /// Floating-point operations of one product.
    pub fn operations(&self) -> f64 {
        2.0 * (self.side as f64).powi(3)
    }

    /// Multiplies `times` times and waits until it is done; `false` where there is no such multiplier.
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
            Work::Adapter { a, b } => {
                let mut last = None;
                for _ in 0..times {
                    let (a, b) = (a.clone(), b.clone());
                    last = Some(match by {
                        Multiplier::Burn => a.matmul(b),
                        Multiplier::Ours => kernels::matmul(a, b),
                    });
                }
                if let Some(last) = last {
                    let corner = last.slice([0..1, 0..1]).into_data_async().await;
                    corner.map_err(DeviceError::execution)?;
                }
            }
        }
        Ok(true)
    }
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}
