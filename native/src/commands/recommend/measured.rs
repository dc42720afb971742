//! What was measured, a network and a way to train it at a time, and what follows from it.

use rekindle_core::graph::Graph;
use rekindle_core::tune::{Place, Plan, Tune};

use super::candidates::Candidate;
use super::chance::{Interval, around, difference, wilson};
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

    /// Its head as a contender.
    pub fn contender(&self) -> Option<Contender> {
        let values = self.head.right.iter().map(|right| right.map(share));
        Some(Contender {
            values: values.collect(),
            estimate: self.figure()?.accuracy(),
            work: self.whole.work,
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

    /// The accuracy that is expected of it: the head's, measured on more photos, and what tuning adds to it; and the
    /// interval of that.
    pub fn estimate(&self, head: &Figure) -> (f64, Interval) {
        let (gain, of_gain) = self.gain();
        let estimate = (head.accuracy() + gain).clamp(0.0, 1.0);
        let half = |interval: Interval| (interval.high - interval.low) / 2.0;
        // Where the probes saw all that the head did, they say it themselves.
        let [tuned, _] = self.figures();
        let interval = match tuned.photos == head.photos
            && tuned.right as f64 == estimate * head.photos as f64
        {
            true => tuned.interval,
            false => around(estimate, [half(head.interval), half(of_gain)]),
        };
        (estimate, interval)
    }

    /// It as a contender.
    pub fn contender(&self, network: &Network) -> Option<Contender> {
        let mut values = vec![None; network.head.right.len()];
        for (photo, apart) in self.apart() {
            values[photo] = network.head.right[photo].map(|right| share(right) + apart);
        }
        Some(Contender {
            values,
            estimate: self.estimate(&network.figure()?).0,
            work: self.whole.work,
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
