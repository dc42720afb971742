//! Which epoch was the best, and when there is nothing more to hope for.

use serde::{Deserialize, Serialize};

/// How good a network is on the examples held back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The accuracy, or another figure of which more is better.
    pub score: f64,
    /// The loss, which tells equal scores apart.
    pub loss: f64,
}

impl Judgement {
    /// Whether it is better: by the score, and of equal scores by the loss.
    pub fn beats(&self, other: &Self) -> bool {
        self.score > other.score || (self.score == other.score && self.loss < other.loss)
    }
}

/// The best epochs so far, the best first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The epochs, counted over all phases from 0, and how good they were.
    pub best: Vec<(usize, Judgement)>,
    /// Epochs since there was a better one, in this phase.
    pub waited: usize,
    /// All epochs that were made, in order, and how good they were.
    #[serde(default)]
    pub seen: Vec<(usize, Judgement)>,
}

impl Watch {
    /// Takes an epoch's judgement in and says at which of the `kept` best places it stands.
    pub fn observe(&mut self, epoch: usize, judgement: Judgement, kept: usize) -> Option<usize> {
        self.seen.push((epoch, judgement));
        let behind = |(_, other): &(usize, Judgement)| !judgement.beats(other);
        let place = self.best.iter().take_while(|other| behind(other)).count();
        self.waited = match place {
            0 => 0,
            _ => self.waited + 1,
        };
        if place >= kept {
            return None;
        }
        self.best.insert(place, (epoch, judgement));
        self.best.truncate(kept);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_equal_scores_are_told_apart_by_their_loss() {
        let mut watch = Watch::default();
        let mut observe = |epoch, score, loss| watch.observe(epoch, Judgement { score, loss }, 2);
        assert_eq!(observe(0, 0.5, 1.0), Some(0));
        assert_eq!(observe(1, 0.5, 1.0), Some(1));
        assert_eq!(observe(2, 0.5, 0.9), Some(0));
        assert_eq!(observe(3, 0.4, 0.1), None);
        let epochs: Vec<usize> = watch.best.iter().map(|(epoch, _)| *epoch).collect();
        assert_eq!((epochs, watch.waited), (vec![2, 0], 1));
    }
}
