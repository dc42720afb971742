//! A batch on its way on an adapter: the values that are there, their gradients, and what jobs keep.

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_cpu as cpu;
use rekindle_shaders::{Activation, Side, Window};

use super::super::course::Course;
use super::super::parameters::TensorId;
use super::super::plan::Plan;
use crate::kernels::{add, put};
use crate::operations::Chance;
use crate::program::{Shape, ValueId};

/// A network's tensors on the device, by their places among all of them: flat, weights as kernels read them,
/// `[rows, columns, C / groups, filters]` or `[inputs, outputs]`.
#[derive(Debug)]
pub struct Numbers {
    /// All of them.
    pub tensors: Vec<Tensor<1>>,
    /// Where the gradients of some are to lie.
    pub places: Vec<Option<Tensor<1>>>,
    /// Where they lie.
    pub device: Device,
}

/// What a job keeps for its way back besides values.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What a batch norm by the batch's statistics was given.
    pub raw: Option<Tensor<4>>,
    /// What a function was given whose derivative does not follow from what it makes.
    pub before: Option<Tensor<4>>,
    /// Mean and inverse deviation of the batch.
    pub moments: Option<[Tensor<1>; 2]>,
    /// What was multiplied with.
    pub factors: Option<Tensor<4>>,
    /// What was recorded.
    pub recorded: Option<Recorded>,
}

/// A job that recorded its gradients.
#[derive(Debug)]
pub(super) struct Recorded {
    /// What it took to which gradients go back,
    pub inputs: Vec<(ValueId, Tensor<4>)>,
    /// the tensor that it learns,
    pub tensor: Option<(TensorId, Tensor<1>)>,
    /// and what it made.
    pub made: Tensor<4>,
}

/// A batch on its way.
#[derive(Debug)]
pub struct Pass<'a> {
    pub(super) course: &'a Course,
    numbers: &'a mut Numbers,
    pub(super) plan: &'a Plan,
    pub(super) chance: Option<Chance>,
    /// Images.
    pub(super) batch: usize,
    /// The values that are there, by their roots.
    values: Vec<Option<Tensor<4>>>,
    slopes: Vec<Option<Tensor<4>>>,
    kept: Vec<Kept>,
    gradients: Vec<Option<Tensor<1>>>,
    /// Of each tensor, whether its gradient was made where it is to lie.
    placed: Vec<bool>,
    moved: Vec<(TensorId, Tensor<1>)>,
}

impl<'a> Pass<'a> {
    /// A batch before its first job: nothing is left out on a way without `chance`.
    pub fn new(
        course: &'a Course,
        numbers: &'a mut Numbers,
        plan: &'a Plan,
        chance: Option<Chance>,
        given: Tensor<4>,
    ) -> Self {
        let [batch, ..] = given.dims();
        let mut values = vec![None; course.shapes.len()];
        values[0] = Some(given);
        Self {
            slopes: vec![None; course.shapes.len()],
            kept: course.jobs.iter().map(|_| Kept::default()).collect(),
            gradients: vec![None; numbers.tensors.len()],
            placed: vec![false; numbers.tensors.len()],
            moved: Vec::new(),
            course,
            numbers,
            plan,
            chance,
            batch,
            values,
        }
    }

    /// Lets go of everything but gradients, which lie where they are to, and moved statistics.
    pub fn finish(mut self) -> (Vec<Option<Tensor<1>>>, Vec<(TensorId, Tensor<1>)>) {
        let places = self.numbers.places.iter().zip(&self.placed);
        for (gradient, (place, is_placed)) in self.gradients.iter_mut().zip(places) {
            if let (Some(made), Some(place), false) = (&gradient, place, is_placed) {
                put(place, made.clone());
                *gradient = Some(place.clone());
            }
        }
        (self.gradients, self.moved)
    }

    /// Whether a tensor learns on this way.
    pub(super) fn learns(&self, tensor: TensorId) -> bool {
        self.plan.learns(tensor)
    }

    /// Whether a gradient goes back to a value.
    pub(super) fn carries(&self, value: ValueId) -> bool {
        self.plan.carries[value]
    }

    /// The shape of a value for one image.
    pub(super) fn shape(&self, value: ValueId) -> Shape {
        self.course.shapes[value]
    }

    /// The shape of a value for the batch.
    pub(super) fn dims(&self, value: ValueId) -> [usize; 4] {
        let shape = self.shape(value);
        [self.batch, shape.rows, shape.columns, shape.channels]
    }

    /// A tensor's numbers.
    pub(super) fn tensor(&self, tensor: TensorId) -> Tensor<1> {
        self.numbers.tensors[tensor].clone()
    }

    /// A running statistic that is about to be [moved](Self::moved): nobody else holds it then, so it is changed in place.
    pub(super) fn take_tensor(&mut self, tensor: TensorId, in_its_place: &Tensor<1>) -> Tensor<1> {
        std::mem::replace(&mut self.numbers.tensors[tensor], in_its_place.clone())
    }

    /// Numbers of the host on the device.
    pub(super) fn sent<const D: usize>(&self, numbers: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(numbers, shape), &self.numbers.device)
    }

    /// A value.
    pub(super) fn value(&self, value: ValueId) -> Tensor<4> {
        match &self.values[self.course.roots[value]] {
            Some(numbers) => in_shape(numbers.clone(), self.dims(value)),
            None => unreachable!("value {value} is gone before its last use"),
        }
    }

    /// Puts a value there.
    pub(super) fn put(&mut self, value: ValueId, numbers: Tensor<4>) {
        self.values[self.course.roots[value]] = Some(numbers);
    }

    pub(super) fn drop_value(&mut self, root: ValueId) {
        self.values[root] = None;
    }

    /// What a job keeps.
    pub(super) fn keep(&mut self, index: usize) -> &mut Kept {
        &mut self.kept[index]
    }

    /// Takes out what a job kept.
    pub(super) fn take_kept(&mut self, index: usize) -> Kept {
        std::mem::take(&mut self.kept[index])
    }

    /// Running statistics as the batch leaves them.
    pub(super) fn moved(&mut self, tensor: TensorId, numbers: Tensor<1>) {
        self.moved.push((tensor, numbers));
    }

    /// Where the gradients of tensors are to lie, for who makes all of them there: none unless all have places, and are about
    /// to have their first gradients.
    pub(super) fn places<const N: usize>(
        &mut self,
        tensors: [TensorId; N],
    ) -> Option<[Tensor<1>; N]> {
        let is_free = |&tensor: &TensorId| self.learns(tensor) && self.gradients[tensor].is_none();
        if !tensors.iter().all(is_free) {
            return None;
        }
        let found = tensors
            .iter()
            .map(|&tensor| self.numbers.places[tensor].clone());
        let found = found.collect::<Option<Vec<_>>>()?.try_into().ok();
        if found.is_some() {
            for tensor in tensors {
                self.placed[tensor] = true;
            }
        }
        found
    }

    /// The same for one tensor.
    pub(super) fn place(&mut self, tensor: TensorId) -> Option<Tensor<1>> {
        self.places([tensor]).map(|[place]| place)
    }

    /// Adds to the gradient of a tensor, if it learns.
    pub(super) fn gradient(&mut self, tensor: TensorId, more: Tensor<1>) {
        if !self.learns(tensor) {
            return;
        }
        let sum = match self.gradients[tensor].take() {
            Some(sum) => {
                self.placed[tensor] = false;
                sum + more
            }
            None => more,
        };
        self.gradients[tensor] = Some(sum);
    }

    /// Takes out a value's gradient.
    pub(super) fn take_slope(&mut self, value: ValueId) -> Option<Tensor<4>> {
        let slope = self.slopes[self.course.roots[value]].take()?;
        Some(in_shape(slope, self.dims(value)))
    }

    /// Puts a value's gradient there.
    pub(super) fn set_slope(&mut self, value: ValueId, slope: Tensor<4>) {
        self.slopes[self.course.roots[value]] = Some(slope);
    }

    /// Adds to a value's gradient.
    pub(super) fn add_slope(&mut self, value: ValueId, more: Tensor<4>) {
        let sum = match self.take_slope(value) {
            Some(sum) => add(sum, in_shape(more, self.dims(value)), None),
            None => more,
        };
        self.set_slope(value, sum);
    }
}

/// The same numbers under another shape.
fn in_shape(numbers: Tensor<4>, dims: [usize; 4]) -> Tensor<4> {
    match numbers.dims() == dims {
        true => numbers,
        false => numbers.reshape(dims),
    }
}

/// A function in the shaders' words.
pub(super) fn function(of: cpu::Activation) -> Activation {
    match of {
        cpu::Activation::None => Activation::None,
        cpu::Activation::Relu => Activation::Relu,
        cpu::Activation::Relu6 => Activation::Relu6,
        cpu::Activation::Silu => Activation::Silu,
        cpu::Activation::HardSwish => Activation::HardSwish,
        cpu::Activation::HardSigmoid => Activation::HardSigmoid,
        cpu::Activation::Sigmoid => Activation::Sigmoid,
        cpu::Activation::Gelu => Activation::Gelu,
        cpu::Activation::Tanh => Activation::Tanh,
    }
}

/// A window that slides over maps of one shape and makes those of another.
pub(super) fn window(
    [kernel, stride, dilation, padding]: [[usize; 2]; 4],
    from: Shape,
    to: Shape,
) -> Window {
    let side = |axis: usize, input: usize, output: usize| Side {
        input: input as u32,
        output: output as u32,
        kernel: kernel[axis] as u32,
        stride: stride[axis] as u32,
        dilation: dilation[axis] as u32,
        padding: padding[axis] as u32,
    };
    Window {
        rows: side(0, from.rows, to.rows),
        columns: side(1, from.columns, to.columns),
    }
}
