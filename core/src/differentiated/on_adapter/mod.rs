//! The same way there and back on graphics adapters: a course's jobs as kernels, their numbers in tensors of the device.
//!
//! What dominates has kernels of its own for the way back ([`product`], [`norm`], the functions, the pools, plain attention).
//! What does not is [`recorded`]: the job alone runs on tensors that record its gradients.

mod attention;
mod norm;
mod pass;
mod product;
mod recorded;
mod way;

use burn::tensor::Tensor;

use super::course::Course;
use super::plan::Plan;
use crate::operations::Chance;

pub use pass::{Numbers, Pass};

/// What a batch that went there and back leaves.
#[derive(Debug)]
pub struct Found {
    /// The batch's part of the step's loss, `[1]`.
    pub loss: Tensor<1>,
    /// Of each tensor its gradient, flat, as its numbers lie, if it learns.
    pub gradients: Vec<Option<Tensor<1>>>,
    /// Running statistics as the batch leaves them.
    pub moved: Vec<(usize, Tensor<1>)>,
}

/// Takes a batch to the answers and back from their loss.
///
/// # Shapes
///
/// - given: `[N, rows, columns, channels]`
/// - numbers: running statistics that follow the batch are taken out of it
/// - loss: from answers `[N, answers]` to the loss `[1]` and its gradient, like the answers
pub fn there_and_back(
    course: &Course,
    plan: &Plan,
    numbers: &mut Numbers,
    given: Tensor<4>,
    chance: Chance,
    loss: impl FnOnce(Tensor<2>) -> (Tensor<1>, Tensor<2>),
) -> Found {
    let mut pass = Pass::new(course, numbers, plan, Some(chance), given);
    let (loss, slope) = loss(pass.forward());
    pass.backward(slope);
    let (gradients, moved) = pass.finish();
    Found {
        loss,
        gradients,
        moved,
    }
}

/// A network's answers as it stands: nothing is kept, and nothing left out.
///
/// # Shapes
///
/// - given: `[N, rows, columns, channels]`
/// - returns: `[N, answers]`
pub fn answered(course: &Course, numbers: &mut Numbers, given: Tensor<4>) -> Tensor<2> {
    // Nothing learns on the way to answers.
    let plan = course.plan(vec![false; numbers.tensors.len()]);
    Pass::new(course, numbers, &plan, None, given).forward()
}
