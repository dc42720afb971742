//! Which candidate is recommended, and which cannot be told from one another: pure arithmetic over what was measured.
//!
//! Every two candidates are compared on the photos that both were asked about. One of two is *clearly better* where the
//! 95 % interval of the difference, photo by photo, lies above zero. Those that none is clearly better than are *tied*.
//! Of them the cheapest is recommended, but of those that are [about as cheap](about_as_cheap) the most accurate.

use super::chance::{Interval, difference, sum};

/// What is not cheaper by this factor is about as cheap: predicted times are measured on a few photos, beside whatever
/// else the machine does.
const CHEAPER: f64 = 2.0;

/// A candidate, measured.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Which network it is: candidates of one network have one head.
    pub network: usize,
    /// Whether a head of that network is right about each photo of the sample, 1 or 0; nothing of those that it was not
    /// asked about.
    pub head: Vec<Option<f64>>,
    /// Of a tuning, what its answer has over that of the head that learnt from the same photos, from −1 to 1, for each
    /// photo that both were asked about; empty of a head alone.
    pub gain: Vec<Option<f64>>,
    /// The accuracy that is expected of it.
    pub estimate: f64,
    /// Multiply-adds that training it takes for each photo,
    pub work: f64,
    /// and the seconds that it is predicted to take in all, if that is known.
    pub seconds: Option<f64>,
}

/// A candidate in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Its number.
    pub contender: usize,
    /// How much better the most accurate of those that are tied is, and the interval of that.
    pub behind: f64,
    pub interval: Interval,
    /// The number of one that is clearly better; nothing of what is tied.
    pub beaten_by: Option<usize>,
}

impl Ranked {
    /// Whether no candidate is clearly better.
    pub fn is_tied(&self) -> bool {
        self.beaten_by.is_none()
    }
}

/// What `a` has over `b`, and the interval of that: what the head of its network has over the other's, on all photos,
/// and what tuning added to each, on the photos that tuning was probed on.
pub fn over(a: &Contender, b: &Contender) -> (f64, Interval) {
    let mut parts = Vec::new();
    if a.network != b.network {
        parts.push(difference(&apart(&a.head, &b.head)));
    }
    let common = apart(&a.gain, &b.gain);
    if common.is_empty() {
        let of = |gain: &[Option<f64>]| gain.iter().flatten().copied().collect::<Vec<_>>();
        let (ours, theirs) = (of(&a.gain), of(&b.gain));
        let lost: Vec<f64> = theirs.iter().map(|gain| -gain).collect();
        for gain in [ours, lost] {
            if !gain.is_empty() {
                parts.push(difference(&gain));
            }
        }
    } else {
        parts.push(difference(&common));
    }
    sum(&parts)
}

/// Photo by photo, what the one has over the other.
fn apart(a: &[Option<f64>], b: &[Option<f64>]) -> Vec<f64> {
    let both = a.iter().zip(b);
    both.filter_map(|(a, b)| Some((*a)? - (*b)?)).collect()
}

/// Whether `a` does not cost measurably more than `b`: less than twice the multiply-adds, or the time.
fn about_as_cheap(a: &Contender, b: &Contender) -> bool {
    let takes_longer = match (a.seconds, b.seconds) {
        (Some(a), Some(b)) => a >= CHEAPER * b,
        _ => true,
    };
    !(a.work >= CHEAPER * b.work && takes_longer)
}

/// The candidates in order: the one that is recommended, then the others that are tied, by accuracy, then those than
/// which one is clearly better, by accuracy.
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
    let mut beaten_by: Vec<Option<usize>> = (0..contenders.len())
        .map(|one| clearly_better(contenders, one))
        .collect();
    let is_tied = |beaten_by: &[Option<usize>], one: usize| beaten_by[one].is_none();
    // Should each be beaten by another, in a circle, as differences on other photos allow, the most accurate stands.
    if let Some(&first) = order.first()
        && !order.iter().any(|&one| is_tied(&beaten_by, one))
    {
        beaten_by[first] = None;
    }
    order.sort_by_key(|&one| !is_tied(&beaten_by, one));
    let Some(&leader) = order.first() else {
        return Vec::new();
    };
    let tied = || {
        order
            .iter()
            .copied()
            .filter(|&one| is_tied(&beaten_by, one))
    };
    let work = |one: usize| contenders[one].work;
    let cheapest = tied().min_by(|&a, &b| work(a).total_cmp(&work(b)));
    let first = cheapest.and_then(|cheapest| {
        tied().find(|&one| about_as_cheap(&contenders[one], &contenders[cheapest]))
    });
    if let Some(place) = order.iter().position(|&one| Some(one) == first) {
        order[..=place].rotate_right(1);
    }
    let ranked = |contender: usize| {
        let (behind, interval) = over(&contenders[leader], &contenders[contender]);
        Ranked {
            contender,
            behind,
            interval,
            beaten_by: beaten_by[contender],
        }
    };
    order.into_iter().map(ranked).collect()
}

/// The one that is most clearly better than this one, if any is.
fn clearly_better(contenders: &[Contender], one: usize) -> Option<usize> {
    let others = (0..contenders.len()).filter(|&other| other != one);
    let ahead = others.map(|other| {
        let (_, interval) = over(&contenders[other], &contenders[one]);
        (other, interval.low)
    });
    let ahead = ahead.filter(|&(_, low)| low > 0.0);
    let most = ahead.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    most.map(|(other, _)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head that is right where it is not in the ranges of photos that are wrong.
    fn head(network: usize, wrong: &[(usize, usize)], of: usize, work: f64) -> Contender {
        let is_right = |photo: usize| {
            !wrong
                .iter()
                .any(|&(first, end)| (first..end).contains(&photo))
        };
        let right: Vec<bool> = (0..of).map(is_right).collect();
        let hits = right.iter().filter(|&&right| right).count();
        Contender {
            network,
            head: right
                .into_iter()
                .map(|right| Some(f64::from(u8::from(right))))
                .collect(),
            gain: Vec::new(),
            estimate: hits as f64 / of as f64,
            work,
            seconds: Some(work),
        }
    }

    /// A tuning of a head, asked about the first so many photos: so many better, so many worse, the rest the same.
    fn tuned(head: &Contender, better: usize, worse: usize, asked: usize, work: f64) -> Contender {
        let gain = |photo: usize| match photo {
            photo if photo < better => 1.0,
            photo if photo < better + worse => -1.0,
            _ => 0.0,
        };
        let gains = (0..head.head.len()).map(|photo| (photo < asked).then(|| gain(photo)));
        Contender {
            gain: gains.collect(),
            estimate: (head.estimate + (better as f64 - worse as f64) / asked as f64).min(1.0),
            work,
            seconds: Some(work),
            ..head.clone()
        }
    }

    fn order(contenders: &[Contender]) -> Vec<usize> {
        rank(contenders).iter().map(|one| one.contender).collect()
    }

    #[test]
    fn a_probe_with_which_anything_ties_makes_no_worse_head_the_first() {
        // 109 and 120 right of the same 128, at about the same cost; 2 of 26 more by tuning the better one.
        let cheap = head(0, &[(0, 4), (10, 25)], 128, 1.0);
        let good = head(1, &[(0, 4), (40, 44)], 128, 1.1);
        let probe = tuned(&good, 2, 0, 26, 60.0);
        for contenders in [
            [cheap.clone(), probe.clone(), good.clone()],
            [good.clone(), cheap.clone(), probe.clone()],
        ] {
            let ranked = rank(&contenders);
            let of = |place: usize| &contenders[ranked[place].contender];
            assert_eq!((of(0).network, of(0).work), (1, 1.1), "{ranked:?}");
            assert_eq!(of(2).network, 0);
            assert!(ranked[0].is_tied() && ranked[1].is_tied() && !ranked[2].is_tied());
            assert!(ranked[1].behind == 0.0 && ranked[0].behind > 0.0);
            assert!(ranked[0].interval.holds(0.0));
            let better = &contenders[ranked[2].beaten_by.unwrap()];
            assert_eq!((better.network, better.work), (1, 1.1));
        }
        // However cheap the worse one is.
        let free = head(0, &[(0, 4), (10, 25)], 128, 0.01);
        assert_eq!(order(&[free, good]), [1, 0]);
    }

    #[test]
    fn of_what_chance_may_have_put_apart_the_measurably_cheaper_goes_first() {
        let (cheap, dear) = (head(0, &[(0, 6)], 26, 1.0), head(1, &[(2, 6)], 26, 9.0));
        let ranked = rank(&[dear.clone(), cheap.clone()]);
        assert_eq!(ranked[0].contender, 1);
        assert!(ranked[0].is_tied() && (ranked[0].behind - 2.0 / 26.0).abs() < 1e-12);
        assert_eq!(order(&[cheap.clone(), dear]), [0, 1]);
        // Not by a little, and not where the time is the same: then the more accurate does.
        let dear = |work, seconds| Contender {
            seconds,
            ..head(1, &[(2, 6)], 26, work)
        };
        assert_eq!(order(&[cheap.clone(), dear(1.5, Some(9.0))]), [1, 0]);
        assert_eq!(order(&[cheap.clone(), dear(9.0, Some(1.2))]), [1, 0]);
        assert_eq!(order(&[cheap.clone(), dear(9.0, None)]), [0, 1]);
        // On ten times the photos the same shares are no chance any more.
        let (cheap, dear) = (
            head(0, &[(0, 60)], 260, 1.0),
            head(1, &[(20, 60)], 260, 9.0),
        );
        let ranked = rank(&[cheap, dear]);
        assert_eq!(ranked[0].contender, 1);
        assert!(!ranked[1].is_tied() && ranked[1].interval.low > 0.0);
    }

    #[test]
    fn tunings_are_compared_with_other_networks_by_their_heads_and_what_they_added() {
        // Tuning adds to a poor network what a good head has anyway: the good head stands.
        let (poor, good) = (head(0, &[(0, 60)], 200, 1.0), head(1, &[(0, 10)], 200, 3.0));
        let probe = tuned(&poor, 10, 1, 60, 50.0);
        let (apart, interval) = over(&good, &probe);
        assert!((apart - (0.25 - 9.0 / 60.0)).abs() < 1e-12);
        assert!(interval.low < apart && interval.high > apart);
        assert_eq!(order(&[poor.clone(), good, probe.clone()])[0], 1);
        // Where it adds more than chance does, it is before its own head, at whatever cost.
        let ranked = rank(&[poor.clone(), tuned(&poor, 20, 1, 60, 50.0)]);
        assert_eq!(ranked[0].contender, 1);
        assert_eq!(ranked[1].beaten_by, Some(1));
        // Two tunings of a network are compared on the photos that both were asked about.
        let (one, other) = (tuned(&poor, 12, 0, 60, 50.0), tuned(&poor, 2, 0, 30, 50.0));
        let (apart, _) = over(&one, &other);
        assert!((apart - 10.0 / 30.0).abs() < 1e-12);
        let mut later = tuned(&poor, 2, 0, 90, 50.0);
        later.gain[..60].fill(None);
        let (apart, _) = over(&one, &later);
        assert!((apart - 12.0 / 60.0).abs() < 1e-12);
    }

    #[test]
    fn a_ladder_ends_with_none_that_one_is_clearly_better_than() {
        // Twelve steps of a ladder, each within chance of the next: the lowest is not within chance of the highest.
        let ladder: Vec<Contender> = (0..12)
            .map(|step| head(step, &[(0, 100 - 5 * step)], 300, 3.0_f64.powi(step as i32)))
            .collect();
        let ranked = rank(&ladder);
        let first = ranked[0].contender;
        assert!((1..12).contains(&first), "{first}");
        for one in &ranked {
            let is_beaten = ladder
                .iter()
                .any(|other| over(other, &ladder[one.contender]).1.low > 0.0);
            assert_eq!(one.is_tied(), !is_beaten);
        }
        assert!(!ranked.last().unwrap().is_tied());
        assert_eq!(order(&[]), [0; 0]);
    }

    #[test]
    fn equals_are_in_the_order_of_their_cost() {
        let equal = |network, work| head(network, &[(0, 1)], 10, work);
        assert_eq!(
            order(&[equal(0, 3.0), equal(1, 2.0), equal(2, 2.0)]),
            [1, 2, 0]
        );
    }
}
