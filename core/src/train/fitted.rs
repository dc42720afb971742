//! Heads that have been trained.

use rekindle_cpu::Rows;

use super::logistic::LinearSolution;
use crate::head::{HeadKind, HeadSlot, HeadStyle, relu_lift};
use crate::weights::Tensors;

/// A trained head, ready for [`crate::model::Model::with_head`].
#[derive(Debug, Clone)]
pub struct Fitted {
    /// What kind it is, as the model file says it.
    pub kind: HeadKind,
    /// Classes it tells apart.
    pub classes: usize,
    /// Its numbers under their names in the network's state_dict.
    pub head: Tensors,
    /// The linear solution, where that is what it is: a start for the next solve.
    pub solution: Option<LinearSolution>,
    /// Solver iterations or epochs.
    pub iterations: usize,
    /// The last objective or loss.
    pub loss: f64,
}

impl Fitted {
    /// A linear solution in the shape of the network's own last layer, which was found on these rows.
    pub fn linear(solution: LinearSolution, examples: Rows<'_>, slot: HeadSlot) -> Self {
        let (width, classes) = (examples.width(), solution.bias.len());
        let (lift, shape) = match slot.style {
            HeadStyle::Linear { .. } | HeadStyle::Own(_) => (0.0, vec![classes, width]),
            HeadStyle::PooledConv => {
                let (weight, bias) = (&solution.weight, &solution.bias);
                let lift = relu_lift(weight, bias, examples.iter(), width);
                (lift, vec![classes, width, 1, 1])
            }
        };
        let bias: Vec<f32> = solution.bias.iter().map(|bias| bias + lift).collect();
        let name = |leaf: &str| format!("{}.{leaf}", slot.name);
        let head = Tensors::from([
            (name("weight"), (shape, solution.weight.clone().into())),
            (name("bias"), (vec![classes], bias.into())),
        ]);
        Self {
            kind: HeadKind::Linear { lift },
            classes,
            head,
            iterations: solution.iterations,
            loss: solution.objective,
            solution: Some(solution),
        }
    }
}
