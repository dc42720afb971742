//! Which candidate is best, and which cannot be told from it: pure arithmetic over what was measured.

use super::chance::{Interval, difference};

/// A candidate, measured.
#[derive(Debug, Clone)]
pub struct Contender {
    /// What it says of each photo of the sample, nothing of those it was not asked about: 1 right, 0 wrong. Of a tuning
    /// that learnt from some of the photos only, the head's answer and what tuning added to it, from −1 to 2.
    pub values: Vec<Option<f64>>,
    /// The accuracy that is expected of it.
    pub estimate: f64,
    /// What training it takes, in any unit: the cheaper of two that cannot be told apart goes first.
    pub work: f64,
}

/// A candidate in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Its number.
    pub contender: usize,
    /// How much better the most accurate is on the photos that both were asked about, and the interval of that.
    pub behind: f64,
    pub interval: Interval,
    /// Whether it cannot be told from the most accurate.
    pub tied: bool,
}

/// What `a` has over `b`, on the photos that both were asked about.
pub fn over(a: &Contender, b: &Contender) -> (f64, Interval, usize) {
    let both = a.values.iter().zip(&b.values);
    let apart: Vec<f64> = both.filter_map(|(a, b)| Some((*a)? - (*b)?)).collect();
    let (mean, interval) = difference(&apart);
    (mean, interval, apart.len())
}

/// The candidates in order: first the cheapest of those that cannot be told from the most accurate, then the others by
/// accuracy, the cheaper first of equals.
pub fn rank(contenders: &[Contender]) -> Vec<Ranked> {
    let by_accuracy = |&a: &usize, &b: &usize| {
        let (first, second) = (&contenders[a], &contenders[b]);
        let better = second.estimate.total_cmp(&first.estimate);
        better
            .then(first.work.total_cmp(&second.work))
            .then(a.cmp(&b))
    };
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    order.sort_by(by_accuracy);
    let Some(&best) = order.first() else {
        return Vec::new();
    };
    let ranked = |contender: usize| {
        let (behind, interval, _) = over(&contenders[best], &contenders[contender]);
        Ranked {
            contender,
            behind,
            interval,
            tied: contender == best || interval.holds(0.0),
        }
    };
    let mut ranked: Vec<Ranked> = order.into_iter().map(ranked).collect();
    let cheapest = ranked.iter().enumerate().filter(|(_, one)| one.tied);
    let cheapest = cheapest.min_by(|(_, a), (_, b)| {
        let work = |one: &Ranked| contenders[one.contender].work;
        work(a).total_cmp(&work(b))
    });
    if let Some(place) = cheapest.map(|(place, _)| place) {
        let first = ranked.remove(place);
        ranked.insert(0, first);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Right on the first so many of so many photos.
    fn contender(right: usize, of: usize, work: f64) -> Contender {
        let values = (0..of).map(|photo| Some(f64::from(u8::from(photo < right))));
        Contender {
            values: values.collect(),
            estimate: right as f64 / of as f64,
            work,
        }
    }

    fn order(contenders: &[Contender]) -> Vec<usize> {
        rank(contenders).iter().map(|one| one.contender).collect()
    }

    #[test]
    fn the_cheaper_of_two_that_chance_may_have_put_apart_goes_first() {
        let (cheap, dear) = (contender(20, 26, 1.0), contender(22, 26, 9.0));
        let ranked = rank(&[dear.clone(), cheap.clone()]);
        assert_eq!(ranked[0].contender, 1);
        assert!(ranked[0].tied && (ranked[0].behind - 2.0 / 26.0).abs() < 1e-12);
        assert_eq!(order(&[cheap, dear]), [0, 1]);
        // On ten times the photos the same shares are no chance any more.
        let (cheap, dear) = (contender(200, 260, 1.0), contender(220, 260, 9.0));
        let ranked = rank(&[cheap, dear]);
        assert_eq!(ranked[0].contender, 1);
        assert!(!ranked[1].tied && ranked[1].interval.low > 0.0);
    }

    #[test]
    fn a_tie_is_with_the_most_accurate_and_only_common_photos_count() {
        // Twelve steps of a ladder, each within chance of the next: the lowest is not within chance of the highest.
        let ladder: Vec<Contender> = (0..12)
            .map(|step| contender(200 + 5 * step, 300, step as f64))
            .collect();
        let ranked = rank(&ladder);
        let first = ranked[0].contender;
        assert!((1..11).contains(&first), "{first}");
        assert!(!ranked.iter().find(|one| one.contender == 0).unwrap().tied);
        assert_eq!(ranked[1].contender, 11);

        let mut few = contender(10, 300, 5.0);
        few.values
            .iter_mut()
            .skip(10)
            .for_each(|value| *value = None);
        few.estimate = 1.0;
        let many = contender(295, 300, 1.0);
        let (apart, _, both) = over(&few, &many);
        assert_eq!((apart, both), (0.0, 10));
        assert_eq!(order(&[few, many]), [1, 0]);
        assert_eq!(order(&[]), [0; 0]);
    }

    #[test]
    fn equals_are_in_the_order_of_their_cost() {
        assert_eq!(
            order(&[
                contender(9, 10, 3.0),
                contender(9, 10, 2.0),
                contender(9, 10, 2.0)
            ]),
            [1, 2, 0]
        );
    }
}
