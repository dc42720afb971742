//! What optimisers compute with.

/// A number, known or yet to come: what a rule is written for.
pub trait Number: Clone {
    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The difference.
    fn minus(self, other: Self) -> Self;
    /// The product.
    fn by(self, other: Self) -> Self;
    /// The quotient.
    fn over(self, other: Self) -> Self;
    /// The quotient, or 1 where one of the two is zero.
    fn ratio(self, other: Self) -> Self;
    /// So many times itself.
    fn times(self, factor: f32) -> Self;
    /// With a number added.
    fn and(self, number: f32) -> Self;
    /// A number over it.
    fn under(self, number: f32) -> Self;
    /// A number instead, if that is smaller.
    fn at_most(self, number: f32) -> Self;
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
    fn ratio(self, other: Self) -> Self {
        match self == 0.0 || other == 0.0 {
            true => 1.0,
            false => self / other,
        }
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
    fn under(self, number: f32) -> Self {
        number / self
    }
    #[inline(always)]
    fn at_most(self, number: f32) -> Self {
        // What is no number stays so.
        if number < self { number } else { self }
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
}
