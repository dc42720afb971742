//! What a gradient becomes on its way back through an elementwise function, a vector at a time.

use macerator::Simd;

use crate::activation::{normal, sigmoid};
use crate::simd::{Floats, splat, within};

/// The way back through a function, known when compiling.
pub(crate) trait Derivative {
    /// Whether the gradient stays as it is.
    const SAME: bool = false;

    /// slope · derivative, which follows from what was kept: see
    /// [`Activation::keeps_output`](crate::Activation::keeps_output).
    fn through<S: Simd>(kept: Floats<S>, slope: Floats<S>) -> Floats<S>;
}

/// The slope where `kept` is within bounds, zero elsewhere and at the bounds. NaN stays NaN.
#[inline(always)]
fn open<S: Simd>(kept: Floats<S>, low: f32, high: f32, slope: Floats<S>) -> Floats<S> {
    let zero = splat::<S>(0.0);
    let below = kept.ge(splat(high)).select(zero, slope);
    number_or_nan(kept, kept.le(splat(low)).select(zero, below))
}

/// `value`, but NaN where what was kept is none.
#[inline(always)]
fn number_or_nan<S: Simd>(kept: Floats<S>, value: Floats<S>) -> Floats<S> {
    kept.eq(kept).select(value, kept)
}

/// Nothing happens.
pub(crate) struct Identity;

impl Derivative for Identity {
    const SAME: bool = true;

    #[inline(always)]
    fn through<S: Simd>(_: Floats<S>, slope: Floats<S>) -> Floats<S> {
        slope
    }
}

macro_rules! derivatives {
    ($($name:ident = |$kept:ident, $slope:ident| $body:expr;)*) => {
        $(
            pub(crate) struct $name;
            impl Derivative for $name {
                #[inline(always)]
                fn through<S: Simd>($kept: Floats<S>, $slope: Floats<S>) -> Floats<S> {
                    $body
                }
            }
        )*
    };
}

derivatives! {
    Relu = |output, slope| {
        number_or_nan(output, output.le(splat(0.0)).select(splat(0.0), slope))
    };
    Relu6 = |output, slope| open(output, 0.0, 6.0, slope);
    HardSigmoid = |output, slope| open(output, 0.0, 1.0, slope * splat(1.0 / 6.0));
    Sigmoid = |output, slope| slope * output * (splat::<S>(1.0) - output);
    Tanh = |output, slope| slope * (splat::<S>(1.0) - output * output);
    HardSwish = |input, slope| {
        let within = slope * input.mul_add(splat(1.0 / 3.0), splat(0.5));
        let right = input.ge(splat(3.0)).select(slope, within);
        input.le(splat(-3.0)).select(splat(0.0), right)
    };
    Silu = |input, slope| {
        // Further out nothing is left of it, and processors are slow with numbers as small as those.
        let input = within(input, splat(-80.0), splat(80.0));
        let share = sigmoid(input);
        let one = splat::<S>(1.0);
        slope * share * input.mul_add(one - share, one)
    };
    Gelu = |input, slope| {
        // Φ(x) + x φ(x), where Φ(-|x|) is half of what the error function leaves. Further out as above.
        let input = within(input, splat(-12.0), splat(12.0));
        let (tail, bell) = normal(input);
        let half = splat::<S>(0.5) * tail;
        let share = input.lt(splat(0.0)).select(half, splat::<S>(1.0) - half);
        // 1 / √(2π)
        let density = bell * splat(0.398_942_3);
        slope * input.mul_add(density, share)
    };
}
