//! What was measured, a network and a way to train it at a time, and what follows from it.

use rekindle_core::graph::Graph;
use rekindle_core::tune::{Place, Plan, Tune};

use super::candidates::Candidate;
use super::chance::{Interval, difference, of_share, wilson};
use super::cost::{self, Photos, Speeds};
use super::heads::Head;
use super::probes::Probe;
use super::ranking::Contender;

/// A network that was measured.
#[derive(Debug, Clone)]
pub struct Network {
    pub candidate: Candidate,
    pub head: Head,
    /// What the whole training of a head takes.
    pub whole: Whole,
    /// Tunings of which there are probes.
    pub tunings: Vec<Tuning>,
}

/// What a whole training takes.
#[derive(Debug, Clone, Copy)]
pub struct Whole {
    pub seconds: Option<f64>,
    /// Bytes.
    pub memory: u64,
    /// Multiply-adds for each photo.
    pub work: f64,
}

/// A way to tune a network, in one probe or several, each of other photos.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub tune: Tune,
    pub probes: Vec<Probe>,
    pub whole: Whole,
    /// Seconds that the last probe took.
    pub took: f64,
}

impl Whole {
    /// Of this training of all photos; `plan` of a tuning.
    pub fn of(
        graph: &Graph,
        plan: Option<&Plan>,
        photos: Photos,
        speeds: Speeds,
        place: Place,
    ) -> Self {
        Self {
            seconds: cost::seconds(speeds, photos, plan),
            memory: cost::memory(graph, photos, plan, place),
            work: cost::work(graph, plan),
        }
    }
}

/// An accuracy, on photos of which the model has seen none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    pub right: usize,
    pub photos: usize,
    pub interval: Interval,
}

impl Figure {
    fn of(right: impl Iterator<Item = bool>) -> Self {
        let (mut hits, mut photos) = (0, 0);
        for is_right in right {
            hits += usize::from(is_right);
            photos += 1;
        }
        Self {
            right: hits,
            photos,
            interval: wilson(hits, photos),
        }
    }

    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.photos.max(1) as f64
    }
}

impl Network {
    /// How good its head is; nothing where no photo could be held back.
    pub fn figure(&self) -> Option<Figure> {
        let figure = Figure::of(self.head.right.iter().filter_map(|right| *right));
        (figure.photos > 0).then_some(figure)
    }

    /// Its head as a contender; `number` tells it from other networks.
    pub fn contender(&self, number: usize) -> Option<Contender> {
        let head = self.head.right.iter().map(|right| right.map(share));
        Some(Contender {
            network: number,
            head: head.collect(),
            gain: Vec::new(),
            estimate: self.figure()?.accuracy(),
            work: self.whole.work,
            seconds: self.whole.seconds,
        })
    }
}

fn share(is_right: bool) -> f64 {
    f64::from(u8::from(is_right))
}

impl Tuning {
    /// How good it is on the photos that its probes were asked about, and the head alone on the same.
    pub fn figures(&self) -> [Figure; 2] {
        let of = |answers: fn(&Probe) -> &Vec<bool>| {
            Figure::of(
                self.probes
                    .iter()
                    .flat_map(|probe| answers(probe).iter().copied()),
            )
        };
        [of(|probe| &probe.tuned), of(|probe| &probe.head)]
    }

    /// What it adds to the head alone, and the interval of that.
    pub fn gain(&self) -> (f64, Interval) {
        difference(&self.apart().map(|(_, apart)| apart).collect::<Vec<_>>())
    }

    /// For each photo that was asked about, what the tuned network's answer has over the head's.
    fn apart(&self) -> impl Iterator<Item = (usize, f64)> {
        self.probes.iter().flat_map(|probe| {
            let answers = probe.tuned.iter().zip(&probe.head);
            let apart = answers.map(|(&tuned, &head)| share(tuned) - share(head));
            probe.asked.iter().copied().zip(apart)
        })
    }

    /// The accuracy that is expected of it, and its interval. Of the photos about which the head alone was right in the
    /// probes, and of those about which it was wrong, the tuned network is right about a share each; of all photos as
    /// many are of the first kind as the head has right there, which was measured on more photos than the probes were
    /// (post-stratification). The interval is Wilson's, of as many photos as the probes asked about.
    pub fn estimate(&self, head: &Figure) -> (f64, Interval) {
        let all = || {
            self.probes
                .iter()
                .flat_map(|probe| probe.tuned.iter().zip(&probe.head))
        };
        let share = |head_is_right: bool| {
            let of = all().filter(|(_, head)| **head == head_is_right);
            let figure = Figure::of(of.map(|(&tuned, _)| tuned));
            match figure.photos {
                // Of what was not seen nothing is taken to change.
                0 => share(head_is_right),
                _ => figure.accuracy(),
            }
        };
        let is_right = head.accuracy();
        let estimate = is_right * share(true) + (1.0 - is_right) * share(false);
        let [tuned, _] = self.figures();
        (estimate, of_share(estimate, tuned.photos))
    }

    /// It as a contender; `number` tells its network from others.
    pub fn contender(&self, network: &Network, number: usize) -> Option<Contender> {
        let alone = network.contender(number)?;
        let mut gain = vec![None; network.head.right.len()];
        for (photo, apart) in self.apart() {
            gain[photo] = Some(apart);
        }
        Some(Contender {
            gain,
            estimate: self.estimate(&network.figure()?).0,
            work: self.whole.work,
            seconds: self.whole.seconds,
            ..alone
        })
    }

    /// Photos that a probe learnt from.
    pub fn trained(&self) -> usize {
        self.probes
            .iter()
            .map(|probe| probe.trained)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tuning with a probe: (head alone, tuned) of so many photos each.
    fn tuning(both: usize, lost: usize, mended: usize, neither: usize) -> Tuning {
        let answers = |of: [bool; 4]| {
            let counts = [both, lost, mended, neither].into_iter().zip(of);
            let all = counts.flat_map(|(count, is_right)| vec![is_right; count]);
            all.collect::<Vec<bool>>()
        };
        Tuning {
            tune: Tune::Full,
            probes: vec![Probe {
                asked: (0..both + lost + mended + neither).collect(),
                tuned: answers([true, false, true, false]),
                head: answers([true, true, false, false]),
                trained: 100,
                epochs: 5,
                step: 0.1,
            }],
            whole: Whole {
                seconds: None,
                memory: 0,
                work: 1.0,
            },
            took: 1.0,
        }
    }

    fn head(right: usize, of: usize) -> Figure {
        Figure::of((0..of).map(|photo| photo < right))
    }

    #[test]
    fn an_estimate_of_a_tuning_lies_between_what_was_seen_and_is_never_cut() {
        // 24 of 26 right where the head has 22, and the head 120 of 128: not 93.8 % + 7.7 points.
        let (estimate, interval) = tuning(22, 0, 2, 2).estimate(&head(120, 128));
        assert!(
            (estimate - (120.0 + 8.0 / 2.0) / 128.0).abs() < 1e-12,
            "{estimate}"
        );
        assert!(interval.high < 1.0 && interval.low > 0.8 && interval.holds(estimate));
        // What is lost of what was right weighs as often as the head is right.
        let (estimate, _) = tuning(20, 2, 2, 2).estimate(&head(120, 128));
        assert!((estimate - (120.0 * 20.0 / 22.0 + 4.0) / 128.0).abs() < 1e-12);
        // Where the probes saw all that the head did, the share that is right is the estimate.
        let (estimate, interval) = tuning(60, 10, 20, 10).estimate(&head(70, 100));
        assert!((estimate - 0.8).abs() < 1e-12);
        let counted = wilson(80, 100);
        assert!((interval.low - counted.low).abs() < 1e-9);
        // Nothing was seen of what the head has wrong: none of it is taken to be mended.
        let (estimate, _) = tuning(26, 0, 0, 0).estimate(&head(120, 128));
        assert!((estimate - 120.0 / 128.0).abs() < 1e-12);
    }
}
