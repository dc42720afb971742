//! How far answers are off, on the device.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

use super::engine::{Goal, Loss};

/// A batch's part of a step's loss.
///
/// # Shapes
///
/// - answers: `[N, answers]`
/// - returns: `[1]`
pub(super) fn of(answers: Tensor<2>, goal: &Goal) -> Tensor<1> {
    let shape = answers.dims();
    let wanted = TensorData::new(goal.wanted.clone(), shape);
    let wanted = Tensor::<2>::from_data(wanted, &answers.device());
    let terms = match goal.loss {
        Loss::CrossEntropy => -(log_softmax(answers, 1) * wanted),
        Loss::BinaryCrossEntropy => {
            // max(x, 0) − x·t + log(1 + exp(−|x|)), which no x makes run over.
            let soft = ((-answers.clone().abs()).exp() + 1.0).log();
            answers.clone().clamp_min(0.0) - answers * wanted + soft
        }
        Loss::MeanSquare => (answers - wanted).square(),
        Loss::Huber { delta } => {
            let distance = (answers - wanted).abs();
            let near = distance.clone().clamp_max(delta);
            near.clone().square() * 0.5 + (distance - near) * delta
        }
    };
    terms.sum() * goal.share
}
