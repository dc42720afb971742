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

    /// The other way: the linear solution that a network's last layer holds, for whoever has nothing but the layer. How it
    /// was reached is not known. Nothing where the layer is another one.
    pub fn linear_solution(head: &Tensors, lift: f32, slot: HeadSlot) -> Option<LinearSolution> {
        let numbers = |leaf: &str| head.get(&format!("{}.{leaf}", slot.name));
        let ((_, weight), (_, bias)) = (numbers("weight")?, numbers("bias")?);
        Some(LinearSolution {
            weight: weight.to_vec(),
            bias: bias.iter().map(|bias| bias - lift).collect(),
            objective: f64::NAN,
            iterations: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::find;
    use crate::graph::Options;

    #[test]
    fn a_layer_tells_the_solution_it_was_made_of() {
        for (network, lifted) in [("resnet18", false), ("squeezenet1_1", true)] {
            let slot = find(network).unwrap().head.for_options(&Options::default());
            let all = [[1.0, 0.5], [0.25, 2.0]];
            let solution = LinearSolution {
                weight: vec![0.5, -3.0, 0.125, 0.75, 1.0, -1.0],
                bias: vec![0.5, -0.25, 0.0],
                objective: 0.1,
                iterations: 3,
            };
            let rows = all.concat();
            let rows = Rows::all(2, &rows);
            let fitted = Fitted::linear(solution.clone(), rows, slot);
            let HeadKind::Linear { lift } = fitted.kind else {
                unreachable!("it is linear")
            };
            assert_eq!(lift != 0.0, lifted, "{network}");
            let found = Fitted::linear_solution(&fitted.head, lift, slot).unwrap();
            assert_eq!(found.weight, solution.weight);
            for (found, bias) in found.bias.iter().zip(&solution.bias) {
                assert!((found - bias).abs() <= 1e-6 * lift.abs(), "{network}");
            }
        }
    }
}
