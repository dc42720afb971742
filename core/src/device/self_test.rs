//! A device is believed only after it has computed something right.
//!
//! Drivers miscompile, browsers swallow shader errors and hand back zeros: a convolution, a matrix
//! product (ours, as networks use them) and a mean (Burn's, as heads do), small but odd-sized, are compared
//! with the processor's.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::{DeviceError, OpenDevice, processor};
use crate::kernels;
use crate::random::Random;

/// How far each operation was from the processor's answer, relative to its norm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SelfTest {
    /// Of a strided, padded convolution.
    pub convolution: f32,
    /// Of a matrix product.
    pub matmul: f32,
    /// Of a mean over an axis.
    pub reduction: f32,
}

/// Relative error that passes: a hundred times what f32 rounding leaves at these sizes.
const ALLOWED: f32 = 1e-4;

impl SelfTest {
    /// Passes or names what failed. Not-a-number fails.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Wrong`] with the worst operation.
    pub fn verdict(&self, device: &str) -> Result<(), DeviceError> {
        let results = [
            ("convolution", self.convolution),
            ("matrix product", self.matmul),
            ("reduction", self.reduction),
        ];
        let wrong = results
            .into_iter()
            .find(|(_, error)| error.is_nan() || *error > ALLOWED);
        wrong.map_or(Ok(()), |(operation, error)| {
            Err(DeviceError::Wrong {
                device: device.to_owned(),
                operation,
                error,
                allowed: ALLOWED,
            })
        })
    }
}

/// Runs the test.
///
/// # Errors
///
/// When the device fails to answer. A wrong answer is no error here: see [`SelfTest::verdict`].
pub async fn self_test(open: &OpenDevice) -> Result<SelfTest, DeviceError> {
    let here = answers(&open.device).await?;
    let truth = answers(&processor()).await?;
    let [convolution, matmul, reduction] =
        [0, 1, 2].map(|which: usize| relative_error(&here[which], &truth[which]));
    Ok(SelfTest {
        convolution,
        matmul,
        reduction,
    })
}

async fn answers(device: &Device) -> Result<[Vec<f32>; 3], DeviceError> {
    let mut random = Random::new(7);
    let mut tensor = |shape: Vec<usize>| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| 2.0 * random.uniform() - 1.0)
            .collect();
        TensorData::new(values, shape)
    };
    let image = Tensor::<4>::from_data(tensor(vec![2, 3, 19, 17]), device);
    let kernel = Tensor::<4>::from_data(tensor(vec![5, 3, 3, 3]), device);
    let left = Tensor::<2>::from_data(tensor(vec![33, 65]), device);
    let right = Tensor::<2>::from_data(tensor(vec![65, 29]), device);
    let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);

    let convolved = kernels::conv2d(image.clone(), kernel, None, options);
    let product = kernels::matmul(left, right);
    let mean = image.flatten::<3>(2, 3).mean_dim(2);
    Ok([
        read(convolved).await?,
        read(product).await?,
        read(mean).await?,
    ])
}

/// A tensor's numbers, on the host.
pub(super) async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceError> {
    let data = tensor
        .into_data_async()
        .await
        .map_err(DeviceError::execution)?;
    Ok(data.iter::<f32>().collect())
}

fn relative_error(values: &[f32], truth: &[f32]) -> f32 {
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
    let difference = norm(&mut values.iter().zip(truth).map(|(a, b)| a - b));
    difference / norm(&mut truth.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_wrong_numbers_fail_the_verdict() {
        let good = SelfTest {
            convolution: 1e-7,
            matmul: 1e-7,
            reduction: 0.0,
        };
        assert!(good.verdict("x").is_ok());
        assert!(
            SelfTest {
                matmul: f32::NAN,
                ..good
            }
            .verdict("x")
            .is_err()
        );
        assert!(
            SelfTest {
                reduction: 1e-3,
                ..good
            }
            .verdict("x")
            .is_err()
        );
    }
}
