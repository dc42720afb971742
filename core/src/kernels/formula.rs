//! What happens to numbers place by place, said as a formula and done in one go; and how long they are together.

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension, get_device_settings,
};
use burn::tensor::{Device, Shape, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::{Formula, SquareSums, Term};

use super::adapter::{is_processor, runs_wgsl, tier};
use super::launch::{launch, launch_on, made_one};

/// Tensors after a formula, in their order: those that it writes to have other numbers, in place where nobody else
/// holds them.
///
/// # Shapes
///
/// - tensors: `[n]`; those of which the formula takes one number, `[1]`; one to eight of them
pub(crate) fn compute(
    formula: &Formula,
    numbers: &[f32],
    tensors: Vec<Tensor<1>>,
) -> Vec<Tensor<1>> {
    let tensors = tensors.into_iter().map(Tensor::into_dispatch);
    let Some(tensors) = Several::of(tensors.collect()) else {
        unreachable!("formulas take one to eight tensors: {formula:?}")
    };
    let made = Dispatch::computed(tensors, formula.clone(), numbers.to_vec());
    made.into_iter().map(Tensor::from_dispatch).collect()
}

/// The sum of the squares of all numbers of some tensors on a device.
///
/// # Shapes
///
/// - returns: `[1]`
pub(crate) fn square_sum<'a>(
    tensors: impl IntoIterator<Item = &'a Tensor<1>>,
    device: &Device,
) -> Tensor<1> {
    let places = if is_processor(device) {
        1
    } else {
        SquareSums::PLACES
    };
    let mut sums = Tensor::<1>::zeros([places as usize], device).into_dispatch();
    for tensor in tensors {
        sums = Dispatch::squares_added(sums, tensor.clone().into_dispatch());
    }
    Tensor::<1>::from_dispatch(sums).sum()
}

/// Tensors for an operation: what Burn hands to a backend is of a known number.
#[derive(ExtensionType)]
pub(crate) enum Several<B: Backend> {
    One(FloatTensor<B>),
    Two(FloatTensor<B>, FloatTensor<B>),
    Three(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    Four(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    Five(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    Six(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    Seven(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    Eight(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
}

impl<B: Backend> Several<B> {
    /// So many of them.
    pub(super) fn of(tensors: Vec<FloatTensor<B>>) -> Option<Self> {
        let count = tensors.len();
        let mut tensors = tensors.into_iter();
        let mut next = || tensors.next();
        Some(match count {
            1 => Self::One(next()?),
            2 => Self::Two(next()?, next()?),
            3 => Self::Three(next()?, next()?, next()?),
            4 => Self::Four(next()?, next()?, next()?, next()?),
            5 => Self::Five(next()?, next()?, next()?, next()?, next()?),
            6 => Self::Six(next()?, next()?, next()?, next()?, next()?, next()?),
            7 => Self::Seven(
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
            ),
            8 => Self::Eight(
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
                next()?,
            ),
            _ => return None,
        })
    }

    /// All of them, in their order.
    pub(super) fn all(self) -> Vec<FloatTensor<B>> {
        match self {
            Self::One(a) => vec![a],
            Self::Two(a, b) => vec![a, b],
            Self::Three(a, b, c) => vec![a, b, c],
            Self::Four(a, b, c, d) => vec![a, b, c, d],
            Self::Five(a, b, c, d, e) => vec![a, b, c, d, e],
            Self::Six(a, b, c, d, e, f) => vec![a, b, c, d, e, f],
            Self::Seven(a, b, c, d, e, f, g) => vec![a, b, c, d, e, f, g],
            Self::Eight(a, b, c, d, e, f, g, h) => vec![a, b, c, d, e, f, g, h],
        }
    }
}

/// The operations, for each backend. Their defaults take an operation of Burn's for each of the formula's.
#[backend_extension(Cube, Flex)]
pub(crate) trait FormulaOps: Backend {
    fn computed(
        #[extension_type] tensors: Several<Self>,
        formula: Formula,
        numbers: Vec<f32>,
    ) -> Vec<FloatTensor<Self>> {
        in_steps::<Self>(tensors.all(), &formula, &numbers)
    }

    /// Numbers whose sum is greater by the squares of others.
    fn squares_added(sums: FloatTensor<Self>, numbers: FloatTensor<Self>) -> FloatTensor<Self> {
        squares_in_steps::<Self>(sums, numbers)
    }
}

impl FormulaOps for Flex {}

fn in_steps<B: Backend>(
    mut tensors: Vec<FloatTensor<B>>,
    formula: &Formula,
    numbers: &[f32],
) -> Vec<FloatTensor<B>> {
    let written: Vec<u32> = formula.results.iter().map(|&(_, term)| term).collect();
    // What nobody will ask for again is given away, so that it may be changed in place.
    let is_last = |place: usize, term: u32| {
        let mut later = formula.terms[place + 1..].iter();
        !written.contains(&term) && !later.any(|later| later.of().any(|of| of == term))
    };
    let mut made: Vec<Option<FloatTensor<B>>> = Vec::with_capacity(formula.terms.len());
    for (place, &term) in formula.terms.iter().enumerate() {
        let mut take = |of: u32, is_last: bool| {
            let found = match is_last {
                true => made[of as usize].take(),
                false => made[of as usize].clone(),
            };
            match found {
                Some(found) => found,
                None => unreachable!("steps are made of former ones: {formula:?}"),
            }
        };
        let number = |at: u32| numbers[at as usize];
        let mut one = |of: u32| take(of, is_last(place, of));
        let next = match term {
            Term::Each(buffer) | Term::One(buffer) => tensors[buffer as usize].clone(),
            Term::Root(a) => B::float_sqrt(one(a)),
            Term::Times(a, at) => B::float_mul_scalar(one(a), number(at).into()),
            Term::Plus(a, at) => B::float_add_scalar(one(a), number(at).into()),
            Term::Under(a, at) => B::float_mul_scalar(B::float_recip(one(a)), number(at).into()),
            Term::AtMost(a, at) => B::float_clamp_max(one(a), number(at).into()),
            Term::Sum(a, b)
            | Term::Difference(a, b)
            | Term::Product(a, b)
            | Term::Quotient(a, b)
            | Term::Ratio(a, b) => {
                let first = take(a, a != b && is_last(place, a));
                let second = take(b, is_last(place, b));
                match term {
                    Term::Sum(..) => B::float_add(first, second),
                    Term::Difference(..) => B::float_sub(first, second),
                    Term::Product(..) => B::float_mul(first, second),
                    Term::Quotient(..) => B::float_div(first, second),
                    _ => ratio::<B>(first, second),
                }
            }
        };
        made.push(Some(next));
    }
    for &(buffer, term) in &formula.results {
        if let Some(made) = &made[term as usize] {
            tensors[buffer as usize] = made.clone();
        }
    }
    tensors
}

/// The quotient, or 1 where one of the two is zero.
fn ratio<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    let bools = get_device_settings::<B>(&a.device()).bool_dtype;
    let is_zero = |x: &FloatTensor<B>| B::float_equal_elem(x.clone(), 0.0_f32.into(), bools);
    let either = B::bool_or(is_zero(&a), is_zero(&b));
    B::float_mask_fill(B::float_div(a, b), either, 1.0_f32.into())
}

fn squares_in_steps<B: Backend>(sums: FloatTensor<B>, numbers: FloatTensor<B>) -> FloatTensor<B> {
    let squares = B::float_sum(B::float_mul(numbers.clone(), numbers));
    let sum = B::float_reshape(squares, Shape::new([1]));
    let places = sums.shape().num_elements();
    B::float_add(sums, B::float_div_scalar(sum, (places as f32).into()))
}

/// A tensor that may be written to: itself where nobody else holds it.
pub(super) fn own(tensor: CubeTensor) -> CubeTensor {
    match tensor.can_mut() {
        true => tensor,
        false => tensor.copy(),
    }
}

/// Runs a formula on tensors that lie in their order, and writes into those that it changes, whoever else sees them.
pub(super) fn launch_formula(formula: Formula, numbers: &[f32], tensors: &[CubeTensor]) {
    let lengths = (0..).zip(tensors).filter_map(|(buffer, tensor): (u32, _)| {
        let is_each = formula.terms.contains(&Term::Each(buffer));
        is_each.then(|| tensor.shape().num_elements())
    });
    let count = lengths.max().unwrap_or_default() as u32;
    let Some(first) = tensors.first().filter(|_| count > 0) else {
        return;
    };
    let tier = tier(first);
    let form = (formula, Formula::by_four(count));
    let kernel = made_one(&form, tier, |(formula, by_four), _| {
        formula.kernel(*by_four)
    });
    let (groups, sizes) = Formula::dispatch(count, numbers, tier);
    let buffers: Vec<&CubeTensor> = tensors.iter().collect();
    launch_on(&kernel, groups, &sizes, &buffers);
}

impl FormulaOps for Cube {
    fn computed(
        tensors: Several<Self>,
        formula: Formula,
        numbers: Vec<f32>,
    ) -> Vec<FloatTensor<Self>> {
        let tensors = tensors.all();
        if !tensors.iter().all(runs_wgsl) {
            return in_steps::<Self>(tensors, &formula, &numbers);
        }
        let is_written = |buffer: u32| formula.results.iter().any(|&(to, _)| to == buffer);
        let mut ready: Vec<CubeTensor> = Vec::with_capacity(tensors.len());
        for (buffer, tensor) in (0..).zip(tensors) {
            let tensor = into_contiguous(tensor);
            ready.push(match is_written(buffer) {
                true => own(tensor),
                false => tensor,
            });
        }
        launch_formula(formula, &numbers, &ready);
        ready
    }

    fn squares_added(sums: FloatTensor<Self>, numbers: FloatTensor<Self>) -> FloatTensor<Self> {
        if !runs_wgsl(&sums) {
            return squares_in_steps::<Self>(sums, numbers);
        }
        let (sums, numbers) = (own(into_contiguous(sums)), into_contiguous(numbers));
        let squares = SquareSums {
            count: numbers.shape().num_elements() as u32,
        };
        let kernel = made_one(&squares, tier(&sums), SquareSums::kernel);
        launch(&kernel, &[&numbers, &sums]);
        sums
    }
}
