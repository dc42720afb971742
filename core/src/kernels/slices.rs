//! Numbers that lie one after the other in one memory of an adapter, seen as tensors of their own.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::{Formula, Term};

use super::adapter::tier;
use super::formula::{Several, launch_formula};
use super::launch::{launch_on, made_one};

/// Some numbers of a tensor as a tensor of its own, in the same memory: what is written to one is read from the other.
///
/// # Shapes
///
/// - whole: `[n]`
/// - start: a multiple of [`Formula::BLOCK`]
/// - returns: `[count]`
pub(crate) fn part_of(whole: &Tensor<1>, start: usize, count: usize) -> Tensor<1> {
    let whole = whole.clone().into_dispatch();
    Tensor::from_dispatch(Dispatch::part(whole, start, count))
}

/// Writes numbers into a tensor's memory, whoever else sees it.
///
/// # Shapes
///
/// - both: `[n]`
pub(crate) fn put(into: &Tensor<1>, numbers: Tensor<1>) {
    let formula = Formula {
        terms: vec![Term::Each(1)],
        buffers: 2,
        numbers: 0,
        results: vec![(0, 0)],
    };
    written(formula, [into.clone(), numbers]);
}

/// Adds numbers to those in a tensor's memory, whoever else sees it.
///
/// # Shapes
///
/// - both: `[n]`
pub(crate) fn put_more(into: &Tensor<1>, numbers: Tensor<1>) {
    let formula = Formula {
        terms: vec![Term::Each(0), Term::Each(1), Term::Sum(0, 1)],
        buffers: 2,
        numbers: 0,
        results: vec![(0, 2)],
    };
    written(formula, [into.clone(), numbers]);
}

fn written(formula: Formula, tensors: [Tensor<1>; 2]) {
    let [into, numbers] = tensors.map(Tensor::into_dispatch);
    Dispatch::written(into, numbers, formula);
}

/// A formula for all that lies in some memories, in place: each thing from a [block](Formula::BLOCK) on, with numbers of its
/// own.
///
/// # Shapes
///
/// - tensors: `[n]`, or `[1]` where the formula takes one number; with the two below eight at most
/// - owners: `[n / block]`, which thing's each block is
/// - numbers: `[things, numbers of the formula]`
pub(crate) fn compute_by_block(
    formula: &Formula,
    mut tensors: Vec<Tensor<1>>,
    owners: Tensor<1>,
    numbers: Tensor<1>,
) {
    tensors.extend([owners, numbers]);
    let tensors = tensors.into_iter().map(Tensor::into_dispatch).collect();
    let Some(tensors) = Several::of(tensors) else {
        unreachable!("a formula takes one to eight tensors: {formula:?}")
    };
    Dispatch::written_by_block(tensors, formula.clone());
}

/// The operations, on adapters.
#[backend_extension(Cube, Flex)]
pub(crate) trait SliceOps: Backend {
    fn part(_whole: FloatTensor<Self>, _start: usize, _count: usize) -> FloatTensor<Self> {
        unreachable!("the processor's numbers lie elsewhere")
    }

    fn written(
        _into: FloatTensor<Self>,
        _numbers: FloatTensor<Self>,
        _formula: Formula,
    ) -> FloatTensor<Self> {
        unreachable!("the processor's numbers lie elsewhere")
    }

    fn written_by_block(
        #[extension_type] _tensors: Several<Self>,
        _formula: Formula,
    ) -> Vec<FloatTensor<Self>> {
        unreachable!("the processor's numbers lie elsewhere")
    }
}

impl SliceOps for Flex {}

impl SliceOps for Cube {
    fn part(whole: FloatTensor<Self>, start: usize, count: usize) -> FloatTensor<Self> {
        let mut part = whole;
        let bytes = |numbers: usize| (numbers * size_of::<f32>()) as u64;
        let behind = part.shape().num_elements() - start - count;
        let handle = part.handle.offset_start(bytes(start));
        part.handle = handle.offset_end(bytes(behind));
        part.meta.shape = Shape::new([count]);
        part.meta.strides = [1].into();
        part
    }

    fn written(
        into: FloatTensor<Self>,
        numbers: FloatTensor<Self>,
        formula: Formula,
    ) -> FloatTensor<Self> {
        let [into, numbers] = [into, numbers].map(into_contiguous);
        launch_formula(formula, &[], &[into.clone(), numbers]);
        into
    }

    fn written_by_block(tensors: Several<Self>, formula: Formula) -> Vec<FloatTensor<Self>> {
        let tensors = tensors.all();
        let tier = tier(&tensors[0]);
        let count = tensors[0].shape().num_elements() as u32;
        let form = ("by block", formula);
        let kernel = made_one(&form, tier, |(_, formula), _| formula.kernel_by_block());
        let (groups, sizes) = Formula::dispatch(count, &[], tier);
        let buffers: Vec<&CubeTensor> = tensors.iter().collect();
        launch_on(&kernel, groups, &sizes, &buffers);
        tensors
    }
}
