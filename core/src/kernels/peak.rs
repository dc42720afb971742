//! Nothing but multiply-adds, to see how many an adapter can do.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use rekindle_shaders::Peak;

use super::adapter::{output, tier};
use super::launch::{launch, made_one};

/// Multiplies by a factor and adds, as often as `work` says; returns what each invocation's
/// numbers come to together, `8 · (a + b + c + d) / (1 − factor)`.
///
/// # Shapes
///
/// - numbers: `[5]`, the factor and a, b, c, d
/// - returns: `[invocations]`
pub fn multiply_adds(numbers: Tensor<1>, work: Peak) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::chained(numbers.into_dispatch(), work))
}

/// The operation, for each backend. Its default knows the result.
#[backend_extension(Cube, Flex)]
pub(crate) trait PeakOps: Backend {
    fn chained(numbers: FloatTensor<Self>, work: Peak) -> FloatTensor<Self> {
        let part =
            |from: usize, to: usize| Self::float_slice(numbers.clone(), &[Slice::from(from..to)]);
        let rest = Self::float_add_scalar(Self::float_neg(part(0, 1)), 1.0_f32.into());
        let sum = Self::float_reshape(Self::float_sum(part(1, 5)), Shape::new([1]));
        let each =
            Self::float_mul_scalar(Self::float_div(sum, rest), f64::from(Peak::CHAINS).into());
        Self::float_expand(each, Shape::new([work.invocations as usize]))
    }
}

impl PeakOps for Flex {}

impl PeakOps for Cube {
    fn chained(numbers: FloatTensor<Self>, work: Peak) -> FloatTensor<Self> {
        debug_assert_eq!(numbers.shape().num_elements(), 5);
        let kernel = made_one(&work, tier(&numbers), Peak::kernel);
        let result = output(&numbers, [work.invocations as usize]);
        launch(&kernel, &[&into_contiguous(numbers), &result]);
        result
    }
}
