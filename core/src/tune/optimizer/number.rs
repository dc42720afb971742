//! What optimisers compute with.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

/// A number, or a tensor of them: what a rule is written for.
pub trait Number: Clone {
    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The difference.
    fn minus(self, other: Self) -> Self;
    /// The product, number by number.
    fn by(self, other: Self) -> Self;
    /// The quotient, number by number.
    fn over(self, other: Self) -> Self;
    /// So many times itself.
    fn times(self, factor: f32) -> Self;
    /// With a number added.
    fn and(self, number: f32) -> Self;
    /// Its square root.
    fn root(self) -> Self;

    /// From here towards another, a share of the way: PyTorch's `lerp`.
    #[inline(always)]
    fn towards(self, other: Self, share: f64) -> Self {
        self.times((1.0 - share) as f32)
            .plus(other.times(share as f32))
    }
}

impl Number for f32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn by(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        self / other
    }
    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        self * factor
    }
    #[inline(always)]
    fn and(self, number: f32) -> Self {
        self + number
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
}

#[cfg(feature = "burn")]
impl Number for Tensor<1> {
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn by(self, other: Self) -> Self {
        self * other
    }
    fn over(self, other: Self) -> Self {
        self / other
    }
    fn times(self, factor: f32) -> Self {
        self * factor
    }
    fn and(self, number: f32) -> Self {
        self + number
    }
    fn root(self) -> Self {
        self.sqrt()
    }
}
