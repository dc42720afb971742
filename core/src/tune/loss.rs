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
    let (shape, device) = (answers.dims(), answers.device());
    let tensor =
        |values: &Vec<f32>| Tensor::<2>::from_data(TensorData::new(values.clone(), shape), &device);
    let wanted = tensor(&goal.wanted);
    let terms = match goal.loss {
        Loss::CrossEntropy => -(log_softmax(answers, 1) * wanted),
        Loss::BinaryCrossEntropy => {
            // max(x, 0) + log(1 + exp(−|x|)) − x·t, which no x makes run over.
            let soft = ((-answers.clone().abs()).exp() + 1.0).log();
            let absent = answers.clone().clamp_min(0.0) + soft;
            let absent = match &goal.counts {
                None => absent,
                Some(counts) => absent * tensor(counts),
            };
            absent - answers * wanted
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::labels::{Aims, Labels};
    use super::super::mixing::Mix;
    use super::*;

    #[test]
    fn labels_that_count_unevenly_are_weighed_as_pytorch_weighs_them() {
        // z = torch.tensor([[1.5, -0.5], [-2.0, 0.25]]); t = torch.eye(2)
        // lw = lambda t: F.binary_cross_entropy_with_logits(
        //     z, t, weight=t * torch.tensor([2.0, 0.8]) + (1 - t) * torch.tensor([0.75, 1.25]))
        // lw(t), 0.7 * lw(t) + 0.3 * lw(t.roll(1, 0))
        let aims = Aims {
            labels: Labels::Several(vec![1.0, 0.0, 0.0, 1.0]),
            answers: 2,
            weights: vec![2.0, 0.8, 0.75, 1.25],
            smoothing: 0.0,
        };
        let answers = TensorData::new(vec![1.5_f32, -0.5, -2.0, 0.25], [2, 2]);
        let mix = Mix {
            share: 0.7,
            area: None,
        };
        for (mix, expected) in [(None, 0.387_842_58), (Some(&mix), 0.822_109_95)] {
            let goal = aims.goal(&[0, 1], &[&[0, 1]], mix);
            let answers = Tensor::<2>::from_data(answers.clone(), &Device::flex());
            let loss: f32 = of(answers, &goal).into_scalar();
            assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
        }
    }
}
