//! What the examples of a training are, and what a network should therefore say of them.

use super::engine::{Goal, Loss};
use super::mixing::Mix;

/// What each example is.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// One class each.
    Classes(Vec<usize>),
    /// Of each class, whether it is there: `[N, classes]`, 0 or 1.
    Several(Vec<f32>),
    /// Values, `[N, values]`, and how the distance from them is measured.
    Values(Vec<f32>, Loss),
}

/// What examples are, and how they count.
#[derive(Debug, Clone, PartialEq)]
pub struct Aims {
    /// What each example is.
    pub labels: Labels,
    /// Classes, or values of each example.
    pub answers: usize,
    /// What each class counts; of several labels, what each counts where it is there, then what where it is not; of
    /// values, the first says what all of them count, which makes up for their unit.
    pub weights: Vec<f64>,
    /// The share of certainty that is spread over all classes.
    pub smoothing: f64,
}

impl Aims {
    /// Examples that count as these weights say, their certainty smoothed by a share: of classes and values a weight for
    /// each answer, of several labels two.
    pub fn new(labels: Labels, weights: Vec<f64>, smoothing: f64) -> Self {
        Self {
            answers: match labels {
                Labels::Several(_) => weights.len() / 2,
                Labels::Classes(_) | Labels::Values(..) => weights.len(),
            },
            labels,
            weights,
            smoothing,
        }
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        match &self.labels {
            Labels::Classes(classes) => classes.len(),
            Labels::Several(all) | Labels::Values(all, _) => all.len() / self.answers.max(1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of each example, where each has one.
    pub fn classes(&self) -> Option<&[usize]> {
        match &self.labels {
            Labels::Classes(classes) => Some(classes),
            _ => None,
        }
    }

    /// What a network should say of a batch that is part of a step with these examples; `mix` says how the batch is
    /// mixed. The means are PyTorch's: weighted by the classes' weights, or, where images are mixed, over all images.
    pub fn goal(&self, batch: &[usize], step: &[&[usize]], mix: Option<&Mix>) -> Goal {
        let answers = self.answers;
        let mut wanted = Vec::with_capacity(batch.len() * answers);
        for &example in batch {
            match &self.labels {
                Labels::Classes(classes) => {
                    let spread = self.smoothing / answers as f64;
                    let sure = 1.0 - self.smoothing;
                    wanted.extend(self.weights.iter().enumerate().map(|(class, weight)| {
                        let own = if class == classes[example] { sure } else { 0.0 };
                        (weight * (own + spread)) as f32
                    }));
                }
                Labels::Several(all) | Labels::Values(all, _) => {
                    wanted.extend_from_slice(&all[example * answers..][..answers]);
                }
            }
        }
        if let Some(mix) = mix {
            wanted = mixed(&wanted, answers, mix.share as f32);
        }
        let counts = match &self.labels {
            Labels::Several(_) if self.weights.iter().any(|&weight| weight != 1.0) => {
                Some(counted(&mut wanted, &self.weights))
            }
            _ => None,
        };
        let images: usize = step.iter().map(|batch| batch.len()).sum();
        let (loss, whole) = match &self.labels {
            Labels::Classes(_) if mix.is_some() => (Loss::CrossEntropy, images as f64),
            Labels::Classes(classes) => {
                let examples = step.iter().copied().flatten();
                let weights = examples.map(|&example| self.weights[classes[example]]);
                (Loss::CrossEntropy, weights.sum())
            }
            Labels::Several(_) => (Loss::BinaryCrossEntropy, (images * answers) as f64),
            Labels::Values(_, loss) => {
                let counts = self.weights.first().copied().unwrap_or(1.0);
                (*loss, (images * answers) as f64 / counts)
            }
        };
        Goal {
            loss,
            wanted,
            counts,
            answers,
            share: 1.0 / whole,
        }
    }
}

/// Makes of how far labels are there what that counts, and returns what presence and absence count together.
fn counted(wanted: &mut [f32], weights: &[f64]) -> Vec<f32> {
    let (present, absent) = weights.split_at(weights.len() / 2);
    let each = present.iter().zip(absent).cycle();
    let counted = wanted
        .iter_mut()
        .zip(each)
        .map(|(wanted, (&present, &absent))| {
            let away = absent as f32 * (1.0 - *wanted);
            *wanted *= present as f32;
            *wanted + away
        });
    counted.collect()
}

/// Rows each of which is part itself and part the one before it.
fn mixed(rows: &[f32], width: usize, share: f32) -> Vec<f32> {
    let count = rows.len() / width.max(1);
    let before = |index: usize| (index / width + count - 1) % count * width + index % width;
    let pairs = rows.iter().enumerate();
    let mix = |(index, &own): (usize, &f32)| share * own + (1.0 - share) * rows[before(index)];
    pairs.map(mix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_values_and_their_distance_are_pytorchs() {
        // t = torch.tensor([[1.5, -4.0], [-2.0, 0.5], [0.25, 3.0]])
        // m = 0.7 * t + 0.3 * t.roll(1, 0); mse_loss(p, m) = 0.9739581942558289
        let values = vec![1.5, -4.0, -2.0, 0.5, 0.25, 3.0];
        let answers = [1.0, 0.0, 0.5, -1.0, -0.25, 2.0_f32];
        let mixed = [1.125, -1.9, -0.95, -0.85, -0.425, 2.25_f32];
        let mix = Mix {
            share: 0.7,
            area: None,
        };
        let aims = |counts| Aims {
            labels: Labels::Values(values.clone(), Loss::MeanSquare),
            answers: 2,
            weights: vec![counts; 2],
            smoothing: 0.0,
        };
        let batch = [0, 1, 2];
        let goal = aims(1.0).goal(&batch, &[&batch], Some(&mix));
        assert_eq!(goal.loss, Loss::MeanSquare);
        for (found, expected) in goal.wanted.iter().zip(mixed) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let distances = answers.iter().zip(&goal.wanted);
        let sum: f64 = distances
            .map(|(answer, wanted)| f64::from(answer - wanted).powi(2))
            .sum();
        assert!((sum * goal.share - 0.973_958_194).abs() < 1e-6);
        // Divided by the values' variance, whatever is mixed.
        let counted = aims(0.25).goal(&batch, &[&batch], Some(&mix));
        assert!((counted.share - 0.25 * goal.share).abs() < 1e-12);
        assert_eq!(counted.wanted, goal.wanted);
    }
}
