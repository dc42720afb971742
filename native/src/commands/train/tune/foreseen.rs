//! What other trainings by the same recipe tell of one that has nothing held back to be judged on.

use rekindle_core::tune::Judgement;
use serde::{Deserialize, Serialize};

/// How good the head alone and each epoch were in trainings on other parts of the same photos.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    /// The head alone; nothing where there is none to go back to.
    pub head: Option<Judgement>,
    /// The epochs, counted over all phases from 0.
    pub epochs: Vec<Judgement>,
    /// How many of the best epochs' networks are averaged: 1 but for a soup.
    pub parts: usize,
}

/// Worse than all that can be measured.
const WORST: Judgement = Judgement {
    score: f64::MIN,
    loss: f64::MAX,
};

impl Foreseen {
    /// What one training, of at most so many epochs, came to. An epoch that it left out, as patience does, is as good as
    /// the one before it; one that it did not come to because it broke off is not wanted.
    pub fn of(
        head: Option<Judgement>,
        seen: &[(usize, Judgement)],
        epochs: usize,
        broke_off: bool,
        parts: usize,
    ) -> Self {
        let mut all = Vec::with_capacity(epochs);
        for epoch in 0..epochs {
            let known = seen.iter().rev().find(|(other, _)| *other <= epoch);
            let is_beyond = seen.last().is_none_or(|(last, _)| epoch > *last);
            all.push(match known {
                Some((_, judgement)) if !(broke_off && is_beyond) => *judgement,
                _ => WORST,
            });
        }
        Self {
            head,
            epochs: all,
            parts,
        }
    }

    /// The mean of several. Where one broke off, the epochs beyond are not wanted.
    pub fn mean(all: &[Self]) -> Option<Self> {
        let first = all.first()?;
        let heads: Option<Vec<Judgement>> = all.iter().map(|one| one.head).collect();
        let epochs = (0..first.epochs.len()).map(|epoch| {
            let of_epoch: Vec<Judgement> = all.iter().map(|one| one.epochs[epoch]).collect();
            match of_epoch.contains(&WORST) {
                true => WORST,
                false => mean(&of_epoch),
            }
        });
        let mut parts: Vec<usize> = all.iter().map(|one| one.parts).collect();
        parts.sort_unstable();
        Some(Self {
            head: heads.map(|heads| mean(&heads)),
            epochs: epochs.collect(),
            parts: parts[(parts.len() - 1) / 2],
        })
    }

    /// The best epochs, the best first: as many as are averaged.
    fn best(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.epochs.len()).collect();
        // Of equals the first, as a training that judges for itself has it.
        order.sort_by(|&a, &b| {
            let (one, other) = (self.epochs[a], self.epochs[b]);
            match (one.beats(&other), other.beats(&one)) {
                (true, _) => std::cmp::Ordering::Less,
                (_, true) => std::cmp::Ordering::Greater,
                _ => a.cmp(&b),
            }
        });
        order.retain(|&epoch| self.epochs[epoch] != WORST);
        order.truncate(self.parts.max(1));
        order
    }

    /// Whether no epoch is better than the head alone.
    pub fn is_head_best(&self) -> bool {
        match (self.head, self.best().first()) {
            (Some(head), Some(&epoch)) => !self.epochs[epoch].beats(&head),
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }

    /// The epochs that have to be made: those behind them would not be kept.
    pub fn needed(&self) -> usize {
        self.best().into_iter().max().map_or(0, |last| last + 1)
    }

    /// What is known of an epoch.
    pub fn at(&self, epoch: usize) -> Judgement {
        self.epochs.get(epoch).copied().unwrap_or(WORST)
    }
}

fn mean(all: &[Judgement]) -> Judgement {
    let count = all.len() as f64;
    let of = |figure: fn(&Judgement) -> f64| all.iter().map(figure).sum::<f64>() / count;
    Judgement {
        score: of(|one| one.score),
        loss: of(|one| one.loss),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn good(score: f64, loss: f64) -> Judgement {
        Judgement { score, loss }
    }

    #[test]
    fn the_epoch_is_the_best_of_all_folds_together_and_the_head_where_none_is_better() {
        let seen = |scores: [f64; 3]| -> Vec<(usize, Judgement)> {
            (0..).zip(scores.map(|score| good(score, 1.0))).collect()
        };
        let head = Some(good(0.8, 1.0));
        let one = Foreseen::of(head, &seen([0.5, 0.9, 0.7]), 3, false, 1);
        let other = Foreseen::of(head, &seen([0.5, 0.7, 0.8]), 3, false, 1);
        let both = Foreseen::mean(&[one.clone(), other.clone()]).unwrap();
        assert_eq!((both.needed(), both.is_head_best()), (2, true));
        assert!(!one.is_head_best() && other.is_head_best());
        let better = Foreseen {
            head: Some(good(0.7, 1.0)),
            ..both.clone()
        };
        assert!(!better.is_head_best());
        let two = Foreseen { parts: 2, ..both };
        assert_eq!(two.best(), [1, 2]);
        assert_eq!(two.needed(), 3);
    }

    #[test]
    fn epochs_that_were_left_out_are_as_good_as_the_last_and_those_never_reached_are_not_wanted() {
        // Patience ended the first phase, of three epochs, behind its second.
        let seen = [
            (0, good(0.6, 1.0)),
            (1, good(0.5, 1.0)),
            (3, good(0.9, 1.0)),
        ];
        let left_out = Foreseen::of(None, &seen, 5, false, 1);
        let scores: Vec<f64> = left_out.epochs.iter().map(|one| one.score).collect();
        assert_eq!(scores, [0.6, 0.5, 0.5, 0.9, 0.9]);
        let broken = Foreseen::of(None, &seen[..1], 5, true, 1);
        let mean = Foreseen::mean(&[left_out, broken]).unwrap();
        assert_eq!(mean.best(), [0]);
        assert!(!mean.is_head_best());
        let nothing = Foreseen::of(Some(good(0.5, 1.0)), &[], 5, true, 1);
        assert!(nothing.is_head_best());
        assert_eq!(nothing.needed(), 0);
    }
}
