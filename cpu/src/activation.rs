//! Elementwise functions, a vector at a time.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Scalar, Simd, WithSimd};

use crate::simd::{Floats, Level, load, load_some, splat, store, store_some, within};

/// Elementwise functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// x
    #[default]
    None,
    /// max(x, 0)
    Relu,
    /// max(x, 0), at most 6
    Relu6,
    /// x · sigmoid(x)
    Silu,
    /// x · relu6(x + 3) / 6
    HardSwish,
    /// relu6(x + 3) / 6
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x · Φ(x), by the error function
    Gelu,
    /// tanh(x)
    Tanh,
}

impl Activation {
    /// Whether the derivative follows from the output, so that it is the output which is kept for the way back;
    /// the others' follows from the input.
    pub fn keeps_output(self) -> bool {
        !matches!(self, Self::Silu | Self::HardSwish | Self::Gelu)
    }

    /// The bounds between which it leaves numbers alone, for those that do nothing else; the kernels
    /// apply these in registers, where they cost next to nothing.
    pub(crate) fn bounds(self) -> Option<(f32, f32)> {
        match self {
            Self::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Self::Relu => Some((0.0, f32::INFINITY)),
            Self::Relu6 => Some((0.0, 6.0)),
            _ => None,
        }
    }
}

/// eˣ. Below -87 it is e⁻⁸⁷, above 88 it is e⁸⁸.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: Floats<S>) -> Floats<S> {
    // Adding 1.5 · 2²³ leaves the nearest integer in the low bits: a rounding and a conversion in one.
    const SHIFT: f32 = 12_582_912.0;
    let x = within(x, splat(-87.0), splat(88.0));
    let shifted = x.mul_add(splat(std::f32::consts::LOG2_E), splat(SHIFT));
    let whole = shifted - splat(SHIFT);
    // ln 2 in two parts, the first of which has few enough bits for an exact product.
    let rest = whole.mul_add(splat(-0.693_359_4), x);
    let rest = whole.mul_add(splat(2.121_944_4e-4), rest);
    let series = splat::<S>(1.987_569_1e-4)
        .mul_add(rest, splat(1.398_199_9e-3))
        .mul_add(rest, splat(8.333_452e-3))
        .mul_add(rest, splat(4.166_579_6e-2))
        .mul_add(rest, splat(1.666_666_5e-1))
        .mul_add(rest, splat(0.5));
    let fraction = series.mul_add(rest * rest, rest + splat(1.0));
    let power = (shifted.reinterpret::<i32>() << 23) + 0x3f80_0000i32.splat();
    fraction * power.reinterpret::<f32>()
}

#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(x: Floats<S>) -> Floats<S> {
    let one = splat(1.0);
    one / (one + exp(splat::<S>(0.0) - x))
}

#[inline(always)]
fn hard_sigmoid<S: Simd>(x: Floats<S>) -> Floats<S> {
    within(x + splat(3.0), splat(0.0), splat(6.0)) * splat(1.0 / 6.0)
}

#[inline(always)]
fn tanh<S: Simd>(x: Floats<S>) -> Floats<S> {
    let one = splat(1.0);
    one - splat::<S>(2.0) / (exp(x + x) + one)
}

/// erfc(|x| / √2) and e^(-x² / 2). Abramowitz and Stegun 7.1.26 for erfc, whose small values keep their relative
/// accuracy.
#[inline(always)]
pub(crate) fn normal<S: Simd>(x: Floats<S>) -> (Floats<S>, Floats<S>) {
    let scaled = x.abs() * splat(std::f32::consts::FRAC_1_SQRT_2);
    let one = splat::<S>(1.0);
    let t = one / scaled.mul_add(splat(0.327_591_1), one);
    let polynomial = splat::<S>(1.061_405_4)
        .mul_add(t, splat(-1.453_152))
        .mul_add(t, splat(1.421_413_7))
        .mul_add(t, splat(-0.284_496_74))
        .mul_add(t, splat(0.254_829_6))
        * t;
    let bell = exp(splat::<S>(0.0) - scaled * scaled);
    (polynomial * bell, bell)
}

/// With q = erfc(|x| / √2), gelu(x) = max(x, 0) - |x| q / 2 on both sides of zero.
#[inline(always)]
fn gelu<S: Simd>(x: Floats<S>) -> Floats<S> {
    let (q, _) = normal(x);
    x.max(splat(0.0)) - splat::<S>(0.5) * x.abs() * q
}

/// A function of a vector, known when compiling: a match outside the loop instead of in it.
trait Function {
    fn of<S: Simd>(x: Floats<S>) -> Floats<S>;
}

macro_rules! functions {
    ($($name:ident = |$x:ident| $body:expr;)*) => {
        $(
            struct $name;
            impl Function for $name {
                #[inline(always)]
                fn of<S: Simd>($x: Floats<S>) -> Floats<S> {
                    $body
                }
            }
        )*
    };
}

functions! {
    Identity = |x| x;
    Relu = |x| within(x, splat(0.0), splat(f32::INFINITY));
    Relu6 = |x| within(x, splat(0.0), splat(6.0));
    Silu = |x| x * sigmoid(x);
    HardSwish = |x| x * hard_sigmoid(x);
    HardSigmoid = |x| hard_sigmoid(x);
    Sigmoid = |x| sigmoid(x);
    Gelu = |x| gelu(x);
    Tanh = |x| tanh(x);
}

/// One function over a block of rows, from one place to another or in place.
pub(crate) struct Block {
    pub(crate) activation: Activation,
    pub(crate) input: *const f32,
    pub(crate) input_pitch: usize,
    pub(crate) output: *mut f32,
    pub(crate) output_pitch: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Block {
    #[inline(always)]
    fn apply<S: Simd, F: Function>(&self) {
        let lanes = S::lanes32();
        for row in 0..self.rows {
            // SAFETY: whoever made the block vouches for `rows` rows of `width` elements on both sides.
            unsafe {
                let input = self.input.add(row * self.input_pitch);
                let output = self.output.add(row * self.output_pitch);
                let mut at = 0;
                while at + lanes <= self.width {
                    store(output.add(at), F::of::<S>(load(input.add(at))));
                    at += lanes;
                }
                if at < self.width {
                    let rest = self.width - at;
                    store_some(
                        output.add(at),
                        F::of::<S>(load_some(input.add(at), rest)),
                        rest,
                    );
                }
            }
        }
    }
}

impl WithSimd for Block {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.activation {
            Activation::None => self.apply::<S, Identity>(),
            Activation::Relu => self.apply::<S, Relu>(),
            Activation::Relu6 => self.apply::<S, Relu6>(),
            Activation::Silu => self.apply::<S, Silu>(),
            Activation::HardSwish => self.apply::<S, HardSwish>(),
            Activation::HardSigmoid => self.apply::<S, HardSigmoid>(),
            Activation::Sigmoid => self.apply::<S, Sigmoid>(),
            Activation::Gelu => self.apply::<S, Gelu>(),
            Activation::Tanh => self.apply::<S, Tanh>(),
        }
    }
}

/// Applies a function in place to a block of rows that is still in the cache.
///
/// # Safety
/// `rows` rows of `width` elements, `pitch` apart, must be readable and writable at the pointer.
pub(crate) unsafe fn apply_in_place(
    level: Level,
    activation: Activation,
    data: *mut f32,
    pitch: usize,
    rows: usize,
    width: usize,
) {
    level.run(Block {
        activation,
        input: data,
        input_pitch: pitch,
        output: data,
        output_pitch: pitch,
        rows,
        width,
    });
}
