//! What other trainings by the same recipe tell of one that has nothing held back to be judged on.
//!
//! Few photos tell little: of twenty, one more that is right is chance. So the head alone is left unless tuning is better
//! by two standard errors of its figure, and of epochs that are within one of the best the last is taken, at which rates
//! have come down: the one-standard-error rule (Breiman et al., *Classification and Regression Trees*, 1984; Hastie et
//! al., *The Elements of Statistical Learning*, 7.10).

use rekindle_core::tune::Judgement;
use serde::{Deserialize, Serialize};

use super::super::mean::Mean;

/// How good the head alone and each epoch were in trainings on other parts of the same photos.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    /// The head alone; nothing where there is none to go back to.
    pub head: Option<Judgement>,
    /// The epochs, counted over all phases from 0.
    pub epochs: Vec<Judgement>,
    /// How many of the best epochs' networks are averaged: 1 but for a soup.
    pub parts: usize,
    /// The standard error of a score; 0 where it is not known.
    pub error: f64,
    /// That of how much better than the head the best epoch is, by how that differs from one training to the next; 0 of
    /// one training.
    #[serde(default)]
    pub error_of_gain: f64,
}

/// The standard error of the share of photos whose class is right, where so many were asked. One right and one wrong
/// photo are added (Laplace's rule), so that a few without a mistake do not seem to be certain.
pub fn error_of_share(share: f64, photos: usize) -> f64 {
    let all = photos as f64 + 2.0;
    let share = (share * photos as f64 + 1.0) / all;
    (share * (1.0 - share) / all).sqrt()
}

/// How many standard errors tuning must be better by.
const CLEARLY: f64 = 2.0;

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
        error: f64,
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
            error,
            error_of_gain: 0.0,
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
        let mut mean = Self {
            head: heads.map(|heads| mean(&heads)),
            epochs: epochs.collect(),
            parts: parts[(parts.len() - 1) / 2],
            error: all.iter().map(|one| one.error.powi(2)).sum::<f64>().sqrt() / all.len() as f64,
            error_of_gain: 0.0,
        };
        mean.error_of_gain = mean.error_among(all);
        Some(mean)
    }

    /// The standard error of how much better than the head the best epoch is, by how that differs from one training to the
    /// next.
    fn error_among(&self, all: &[Self]) -> f64 {
        let Some(&best) = self.best().first() else {
            return 0.0;
        };
        let gain = |one: &Self| Some(one.epochs.get(best)?.score - one.head?.score);
        let gains: Vec<f64> = all.iter().filter_map(gain).collect();
        Mean::of(&gains).map_or(0.0, |mean| mean.standard_error)
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
        if let (&[best], true) = (&order[..], self.error > 0.0) {
            let least = self.epochs[best].score - self.error;
            let mut all = (0..self.epochs.len()).rev();
            order = all
                .find(|&epoch| self.epochs[epoch].score >= least)
                .into_iter()
                .collect();
        }
        order
    }

    /// Whether no epoch is clearly better than the head alone.
    pub fn is_head_best(&self) -> bool {
        match (self.head, self.best().first()) {
            (Some(head), Some(&epoch)) => {
                // Scores that are no shares of photos err as much as they differ between trainings.
                let error = match self.error > 0.0 {
                    true => self.error,
                    false => self.error_of_gain,
                };
                match error > 0.0 {
                    true => self.epochs[epoch].score <= head.score + CLEARLY * error,
                    false => !self.epochs[epoch].beats(&head),
                }
            }
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }

    /// How good an epoch is for who keeps the best: none is better than the one that is chosen.
    pub fn wanted(&self, epoch: usize) -> Judgement {
        let at = self.at(epoch);
        match self.best()[..] {
            // Where several are averaged their order is that of their figures.
            [chosen] if chosen != epoch && at != WORST => Judgement {
                score: at
                    .score
                    .min(self.epochs[chosen].score - f64::EPSILON.max(self.error)),
                loss: at.loss,
            },
            _ => at,
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
        let one = Foreseen::of(head, &seen([0.5, 0.9, 0.7]), 3, false, 1, 0.0);
        let other = Foreseen::of(head, &seen([0.5, 0.7, 0.8]), 3, false, 1, 0.0);
        let both = Foreseen::mean(&[one.clone(), other.clone()]).unwrap();
        assert_eq!((both.needed(), both.is_head_best()), (2, true));
        assert!(!one.is_head_best() && other.is_head_best());
        let better = Foreseen {
            head: Some(good(0.7, 1.0)),
            error_of_gain: 0.0,
            ..both.clone()
        };
        assert!(!better.is_head_best());
        let two = Foreseen {
            parts: 2,
            ..both.clone()
        };
        assert_eq!(two.best(), [1, 2]);
        assert_eq!(two.needed(), 3);
    }

    #[test]
    fn scores_that_are_no_shares_err_as_much_as_they_differ_between_folds() {
        let of = |head: f64, score: f64| {
            Foreseen::of(
                Some(good(head, 1.0)),
                &[(0, good(score, 1.0))],
                1,
                false,
                1,
                0.0,
            )
        };
        let mean = Foreseen::mean(&[of(0.4, 0.5), of(0.5, 0.45), of(0.4, 0.44)]).unwrap();
        // numpy: std([0.1, -0.05, 0.04], ddof=1) / sqrt(3)
        assert!((mean.error_of_gain - 0.043_588_99).abs() < 1e-7 && mean.is_head_best());
        let mean = Foreseen::mean(&[of(0.4, 0.5), of(0.4, 0.51), of(0.4, 0.52)]).unwrap();
        assert!(!mean.is_head_best());
    }

    #[test]
    fn what_few_photos_cannot_tell_apart_is_the_head_or_the_last_epoch() {
        let scores = [0.5, 0.9, 0.7, 0.85, 0.6];
        let seen: Vec<(usize, Judgement)> =
            (0..).zip(scores.map(|score| good(score, 1.0))).collect();
        let of = |head: f64, error| Foreseen::of(Some(good(head, 1.0)), &seen, 5, false, 1, error);
        let sure = of(0.8, 0.0);
        assert_eq!((sure.best(), sure.is_head_best()), (vec![1], false));
        let unsure = of(0.68, 0.08);
        assert_eq!((unsure.best(), unsure.is_head_best()), (vec![3], false));
        assert_eq!(unsure.needed(), 4);
        assert!(of(0.7, 0.08).is_head_best());
        // Who keeps the best keeps what was chosen.
        let best = (0..5).fold(0, |best, epoch| {
            match unsure.wanted(epoch).beats(&unsure.wanted(best)) {
                true => epoch,
                false => best,
            }
        });
        assert_eq!(best, 3);
        // Twenty right ones of twenty are not certain; two hundred nearly are.
        assert!(
            (error_of_share(1.0, 20) - (21.0 / 22.0 * 1.0 / 22.0 / 22.0_f64).sqrt()).abs() < 1e-12
        );
        assert!(error_of_share(1.0, 200) < 0.006 && error_of_share(0.5, 98) - 0.05 < 1e-12);
    }

    #[test]
    fn epochs_that_were_left_out_are_as_good_as_the_last_and_those_never_reached_are_not_wanted() {
        // Patience ended the first phase, of three epochs, behind its second.
        let seen = [
            (0, good(0.6, 1.0)),
            (1, good(0.5, 1.0)),
            (3, good(0.9, 1.0)),
        ];
        let left_out = Foreseen::of(None, &seen, 5, false, 1, 0.0);
        let scores: Vec<f64> = left_out.epochs.iter().map(|one| one.score).collect();
        assert_eq!(scores, [0.6, 0.5, 0.5, 0.9, 0.9]);
        let broken = Foreseen::of(None, &seen[..1], 5, true, 1, 0.0);
        let mean = Foreseen::mean(&[left_out, broken]).unwrap();
        assert_eq!(mean.best(), [0]);
        assert!(!mean.is_head_best());
        let nothing = Foreseen::of(Some(good(0.5, 1.0)), &[], 5, true, 1, 0.0);
        assert!(nothing.is_head_best());
        assert_eq!(nothing.needed(), 0);
    }
}
