//! Values in the units that a network is tuned in: each less its mean, in deviations. A step is as long as the learning
//! rate, whatever it is that is measured; in seconds or in days, the same training comes to the same.

use rekindle_core::metrics::regress::ValueReport;
use rekindle_core::weights::Tensors;

/// The mean and the deviation of each value among the photos that train; of classes and labels, nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Units(Vec<[f64; 2]>);

impl Units {
    /// Those of rows of so many values.
    pub fn of(rows: &[f32], width: usize) -> Self {
        let count = (rows.len() / width.max(1)).max(1) as f64;
        let of = |value: usize| {
            let column = || {
                rows.iter()
                    .skip(value)
                    .step_by(width)
                    .copied()
                    .map(f64::from)
            };
            let mean = column().sum::<f64>() / count;
            let variance = column().map(|y| (y - mean).powi(2)).sum::<f64>() / count;
            [mean, if variance > 0.0 { variance.sqrt() } else { 1.0 }]
        };
        Self((0..width).map(of).collect())
    }

    /// Values as the network learns them.
    pub fn learnt(&self, rows: &[f32]) -> Vec<f32> {
        let pairs = rows.iter().zip(self.0.iter().cycle());
        let learnt =
            pairs.map(|(&y, [mean, deviation])| ((f64::from(y) - mean) / deviation) as f32);
        learnt.collect()
    }

    /// What a network that learns them puts out, as values.
    pub fn said(&self, mut answers: Vec<f32>) -> Vec<f32> {
        for (y, [mean, deviation]) in answers.iter_mut().zip(self.0.iter().cycle()) {
            *y = (f64::from(*y) * deviation + mean) as f32;
        }
        answers
    }

    /// A head, its tensors under these names, that puts out what is learnt where it put out values.
    pub fn shrunk(&self, tensors: &Tensors, head: &[String]) -> Tensors {
        self.changed(tensors, head, |y, mean, deviation| (y - mean) / deviation)
    }

    /// A head that puts out values where it put out what was learnt.
    pub fn grown(&self, tensors: &Tensors, head: &[String]) -> Tensors {
        self.changed(tensors, head, |y, mean, deviation| y * deviation + mean)
    }

    /// Numbers of the head's rows after a change; to weights nothing is added.
    fn changed(
        &self,
        tensors: &Tensors,
        head: &[String],
        change: impl Fn(f64, f64, f64) -> f64,
    ) -> Tensors {
        let mut tensors = tensors.clone();
        for name in head {
            let Some((shape, numbers)) = tensors.get_mut(name).filter(|_| !self.0.is_empty())
            else {
                continue;
            };
            let row = shape.iter().skip(1).product::<usize>().max(1);
            let is_bias = shape.len() == 1;
            let changed = numbers.iter().enumerate().map(|(index, &number)| {
                let [mean, deviation] = self.0[index / row % self.0.len()];
                let mean = if is_bias { mean } else { 0.0 };
                change(f64::from(number), mean, deviation) as f32
            });
            let changed: Vec<f32> = changed.collect();
            *numbers = changed.into();
        }
        tensors
    }

    /// The mean over the values of the mean square of how far they are off, in squares of their deviations: the loss that a
    /// training makes small.
    pub fn loss(&self, report: &ValueReport) -> Option<f64> {
        let pairs = report.per_value.iter().zip(&self.0);
        let squares: Option<Vec<f64>> = pairs
            .map(|(scores, [_, deviation])| Some((scores.rmse? / deviation).powi(2)))
            .collect();
        let squares = squares.filter(|squares| !squares.is_empty())?;
        Some(squares.iter().sum::<f64>() / squares.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::metrics::regress::judge;

    use super::*;

    #[test]
    fn a_head_says_the_same_values_in_every_unit() {
        let rows = [1.0, 1000.0, 2.0, 3000.0, 6.0, 2000.0];
        let units = Units::of(&rows, 2);
        let learnt = units.learnt(&rows);
        let mean = |value: usize| learnt.iter().skip(value).step_by(2).sum::<f32>() / 3.0;
        assert!(mean(0).abs() < 1e-6 && mean(1).abs() < 1e-6, "{learnt:?}");
        let back = units.said(learnt);
        assert!(back.iter().zip(rows).all(|(a, b)| (a - b).abs() < 1e-3));
        let head = [
            ("fc.weight", vec![2, 1]),
            ("fc.bias", vec![2]),
            ("stem", vec![2]),
        ];
        let tensors: Tensors = head
            .into_iter()
            .map(|(name, shape)| (name.to_owned(), (shape, vec![3.0_f32, -5.0].into())))
            .collect();
        let names = ["fc.weight", "fc.bias"].map(str::to_owned);
        let small = units.shrunk(&tensors, &names);
        let put_out = |tensors: &Tensors, value: usize, x: f32| {
            tensors["fc.weight"].1[value] * x + tensors["fc.bias"].1[value]
        };
        let answers = units.said(vec![put_out(&small, 0, 0.5), put_out(&small, 1, 0.5)]);
        assert!((answers[0] - 4.5).abs() < 1e-4 && (answers[1] + 7.5).abs() < 1e-2);
        assert_eq!(small["stem"].1[..], tensors["stem"].1[..]);
        let again = units.grown(&small, &names);
        for name in names {
            let pairs = again[&name].1.iter().zip(tensors[&name].1.iter());
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3));
        }
        // Who says the mean is off by one variance.
        let means = units.said(vec![0.0; 6]);
        let loss = units.loss(&judge(&means, &rows, 2).unwrap()).unwrap();
        assert!((loss - 1.0).abs() < 1e-5);
        let classes = Units::default();
        assert_eq!(classes.said(vec![2.0]), [2.0]);
        assert_eq!(
            classes.grown(&tensors, &["fc.bias".to_owned()])["fc.bias"].1[..],
            [3.0, -5.0]
        );
    }
}
