//! `rekindle recommend`: which network, and how much of it to train, for a folder of photos. Candidates are measured
//! within a budget of time, and the training to run is printed.

mod candidates;
mod chance;
mod clock;
mod command;
mod cost;
mod heads;
mod looking;
mod matrix;
mod measured;
mod probes;
mod ranking;
mod sample;
mod separability;
mod telling;

use rekindle_core::device::OpenDevice;
use rekindle_core::model::Model;
use rekindle_core::task::Task;
use rekindle_core::train::{FeatureCache, Groups, Split};
use rekindle_core::tune::{Plan, Recipe, Tune};

use super::train;
use crate::cli::RecommendArgs;
use crate::context::Context;
use crate::dataset::{self, Dataset, DatasetError};
use crate::memory;
use crate::ui::{ExitCode, Failure};
use crate::{groups, models};
use candidates::{Candidate, LeftOut, Room};
use clock::{Clock, Halt};
use command::training;
use cost::{Photos, Speeds};
use heads::Head;
use looking::Look;
use measured::{Network, Tuning, Whole};
use probes::Outcome;
use separability::Separability;

/// The ways to tune that are probed, the cheaper first.
const WAYS: [Tune; 2] = [Tune::Last(Tune::USUAL_LAST), Tune::Full];
/// The networks whose tunings are probed: those with the best heads.
const PROBED: usize = 2;
/// The share of the budget that heads may take, so that something is left for tunings.
const OF_HEADS: f64 = 0.6;
/// Photos on which classes are told apart by their features alone.
const COMPARED: usize = 512;
/// Why photos were tried in no other way.
const NOT_PROBED: [(&str, &str); 2] = [
    (
        "gradual",
        "it trains what full does, in more phases: a short probe would not tell them apart",
    ),
    (
        "scratch",
        "a short probe of a training from nothing says nothing",
    ),
];

/// Measures, and says which training to run.
pub fn run(args: &RecommendArgs, context: &Context) -> anyhow::Result<ExitCode> {
    candidates::check(args, context)?;
    dataset::check_root(&args.dir)?;
    let training = training(args)?;
    let mut dataset = train::read(&training, context)?;
    check_task(dataset.task)?;
    train::introduce(&dataset, context);
    train::set_unused_aside(&training, &mut dataset, context);
    let (candidates, left_out) = candidates::find_all(args, context)?;
    let device = context.open_device()?;

    // Ctrl-C ends the measuring, and what was measured till then is told.
    let _hold = context.interrupt.hold();
    let clock = Clock::start(args.budget, &context.interrupt);
    let bound = clock.bound(context);
    let judge = candidates::judge(&candidates).unwrap_or(candidates[0]);
    let (look, halt) = looking::look(
        &dataset,
        &judge,
        args.seed.unwrap_or(0),
        &device.device,
        (&clock, &bound),
    )?;
    let mut search = Search {
        args,
        context: &bound,
        device: &device,
        clock: &clock,
        room: Room::of(args.budget.as_secs_f64()),
        whole: whole(&dataset),
        sample: dataset.clone(),
        splits: None,
        separability: None,
        networks: Vec::new(),
        features: Vec::new(),
        left_out,
        halt,
    };
    search.draw_sample();
    search.heads(&candidates, &look)?;
    search.tunings()?;
    if search.halt == Some(Halt::Interrupted) && search.networks.is_empty() {
        context.interrupt.check()?;
    }
    let Search {
        sample,
        splits,
        separability,
        networks,
        left_out,
        halt,
        ..
    } = search;
    telling::tell(
        &telling::Found {
            args,
            look: &look,
            dataset: &dataset,
            sample: &sample,
            folds: splits.map_or(0, |splits| splits.len()),
            separability,
            networks: &networks,
            left_out: &left_out,
            usual: &candidates[0],
            device: &device.info.name,
            took: clock.passed(),
            halt,
        },
        context,
    )?;
    Ok(match halt {
        Some(Halt::Interrupted) => ExitCode::Interrupted,
        _ => ExitCode::Ok,
    })
}

/// Classifiers alone are compared.
fn check_task(task: Task) -> anyhow::Result<()> {
    let found = match task {
        Task::MultiLabel => "several labels a photo",
        Task::Regress => "values",
        Task::Classify | Task::Segment => return Ok(()),
    };
    let message =
        format!("`recommend` compares classifiers, and what is to be learnt here is {found}");
    let help = "give --task classify if each label names one class; otherwise `rekindle train` measures the head, and \
                --tune last beside it";
    Err(Failure::new(ExitCode::Usage, message)
        .with_help(help)
        .into())
}

/// How many photos a whole training has.
fn whole(dataset: &Dataset) -> Photos {
    let all = dataset.items.len();
    let is_train =
        |item: &&dataset::Item| item.split.is_none_or(|part| part == dataset::Split::Train);
    let train = match dataset.holds_some_back() {
        true => dataset.items.iter().filter(is_train).count(),
        false => all - (train::HELD_BACK * all as f64).round() as usize,
    };
    Photos {
        train,
        held: all - train,
    }
}

/// A search for the best candidate, and what it has found so far.
struct Search<'a> {
    args: &'a RecommendArgs,
    context: &'a Context,
    device: &'a OpenDevice,
    clock: &'a Clock,
    room: Room,
    /// The photos of a whole training.
    whole: Photos,
    /// The photos that are tried.
    sample: Dataset,
    /// How they are divided: the same for all candidates, by what the first network finds alike.
    splits: Option<Vec<Split>>,
    separability: Option<Separability>,
    networks: Vec<Network>,
    /// Features of the sample, of the networks that may be tuned.
    features: Vec<Option<FeatureCache>>,
    left_out: Vec<LeftOut>,
    halt: Option<Halt>,
}

impl Search<'_> {
    fn seed(&self) -> u64 {
        self.args.seed.unwrap_or(0)
    }

    /// Of many photos, takes as many as the budget has room for: of each class and part its share.
    fn draw_sample(&mut self) {
        let items = &self.sample.items;
        let classes = self.sample.classes.len();
        let is_held =
            |item: &dataset::Item| item.split.is_some_and(|part| part != dataset::Split::Train);
        let strata: Vec<usize> = items
            .iter()
            .map(|item| item.class + if is_held(item) { classes } else { 0 })
            .collect();
        let keys: Vec<u64> = items.iter().map(|item| item.hash.key()).collect();
        let chosen = sample::stratified(&strata, &keys, self.seed(), self.room.photos);
        if chosen.len() < items.len() {
            self.context.console.note(&format!(
                "{} of {} photos are tried: a larger --budget tries more",
                chosen.len(),
                items.len()
            ));
            self.sample.items = chosen.into_iter().map(|row| items[row].clone()).collect();
        }
    }

    fn leave_out(&mut self, candidate: &Candidate, tune: Option<Tune>, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            network: Some(candidate.name().to_owned()),
            tune: tune.map(|tune| tune.to_string()),
            why: why.into(),
        });
    }

    /// What is said of a candidate that time or the user cut off.
    fn cut_off(&mut self, candidate: &Candidate, tune: Option<Tune>, halt: Halt) {
        self.halt = Some(halt);
        let why = match halt {
            Halt::Spent => "the budget was spent",
            Halt::Interrupted => "interrupted",
        };
        self.leave_out(candidate, tune, why);
    }

    /// Measures the heads of all candidates, as long as there is time for them.
    fn heads(&mut self, candidates: &[Candidate], look: &Look) -> anyhow::Result<()> {
        let mut failed = None;
        for candidate in candidates {
            if let Some(halt) = self.halt {
                self.cut_off(candidate, None, halt);
                continue;
            }
            match self.head(candidate, look) {
                Ok(Ok((network, features))) => {
                    self.networks.push(network);
                    self.features.push(Some(features));
                    self.forget_features();
                }
                Ok(Err(why)) => self.leave_out(candidate, None, why),
                Err(error) => match self.clock.halted(&error) {
                    Some(halt) => self.cut_off(candidate, None, halt),
                    None if error.is::<DatasetError>() => return Err(error),
                    None => {
                        self.leave_out(candidate, None, format!("{error:#}"));
                        failed = Some(error);
                    }
                },
            }
        }
        match failed {
            Some(error) if self.networks.is_empty() && self.halt.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Measures the head of a candidate, or says why not.
    fn head(
        &mut self,
        candidate: &Candidate,
        look: &Look,
    ) -> anyhow::Result<Result<(Network, FeatureCache), String>> {
        let (clock, context, seed) = (self.clock, self.context, self.seed());
        clock.check()?;
        let model = self.model(candidate)?;
        let forward = heads::seconds_forward(&model, clock)?;
        // Decoding goes on beside the network, so the slower of both counts.
        let photo = forward.max(look.decode);
        let ahead = photo * self.sample.items.len() as f64;
        if self.splits.is_some() && ahead > clock.left_of(OF_HEADS) {
            return Ok(Err(format!(
                "its features would take some {ahead:.0} s, more than the budget has for heads"
            )));
        }
        let mut read = self.sample.clone();
        let features = heads::features(&model, &mut read, &self.args.cache, context)?;
        if self.splits.is_some() && read.items.len() < self.sample.items.len() {
            return Ok(Err(
                "photos that could be read before could not be read any more".to_owned(),
            ));
        }
        self.sample = read;
        let splits = match self.splits.take() {
            Some(splits) => splits,
            None => self.divide(&features),
        };
        let splits = self.splits.insert(splits);
        let classes = self.sample.classes.len();
        let (right, fit) = heads::validated(&model, &features, classes, splits, seed, clock)?;
        let speeds = Speeds {
            photo,
            forward,
            fit,
            step: None,
        };
        let network = Network {
            candidate: *candidate,
            head: Head {
                right,
                fit,
                photo,
                forward,
            },
            whole: Whole::of(
                model.graph(),
                None,
                self.whole,
                speeds,
                memory::place(model.device()),
            ),
            tunings: Vec::new(),
        };
        Ok(Ok((network, features)))
    }

    fn model(&self, candidate: &Candidate) -> anyhow::Result<Model> {
        let (model, _) = models::pretrained(
            candidate.name(),
            candidate.weights_option(),
            &candidates::pictures(self.args),
            self.seed(),
            &self.device.device,
            self.context,
        )?;
        Ok(model)
    }

    /// Divides the sample by what a network finds alike, and measures how far its features tell the classes apart.
    fn divide(&mut self, features: &FeatureCache) -> Vec<Split> {
        let dataset = &self.sample;
        let contents: Vec<u64> = dataset.items.iter().map(|item| item.hash.key()).collect();
        let alike = groups::find(features, &contents, None, self.context);
        let groups: Groups = groups::with_given(&alike, dataset);
        groups::introduce(&alike, &groups, dataset, false, self.context);
        let compared = sample::stratified(features.labels(), &contents, self.seed(), COMPARED);
        self.separability = separability::measure(features, &compared);
        heads::splits(dataset, features, &groups, self.seed())
    }

    /// The numbers of the networks, those with the best heads first.
    fn by_accuracy(&self) -> Vec<usize> {
        let accuracy = |&number: &usize| {
            self.networks[number]
                .figure()
                .map_or(0.0, |figure| figure.accuracy())
        };
        let work = |&number: &usize| self.networks[number].whole.work;
        let mut order: Vec<usize> = (0..self.networks.len()).collect();
        order.sort_by(|a, b| {
            let better = accuracy(b).total_cmp(&accuracy(a));
            better.then(work(a).total_cmp(&work(b)))
        });
        order
    }

    /// Drops the features of networks that will not be tuned.
    fn forget_features(&mut self) {
        for &number in self.by_accuracy().iter().skip(PROBED) {
            self.features[number] = None;
        }
    }

    /// Probes tunings of the networks with the best heads: first each on one part of the photos, then, as long as
    /// chance may have decided and there is time, on the others.
    fn tunings(&mut self) -> anyhow::Result<()> {
        for (tune, why) in NOT_PROBED {
            self.left_out.push(LeftOut {
                network: None,
                tune: Some(tune.to_owned()),
                why: why.to_owned(),
            });
        }
        let splits = self.splits.clone().unwrap_or_default();
        let order: Vec<usize> = self.by_accuracy().into_iter().take(PROBED).collect();
        for (round, split) in splits.iter().enumerate() {
            for &number in &order {
                self.of_network(number, round, split)?;
            }
        }
        Ok(())
    }

    /// A round of probes of a network.
    fn of_network(&mut self, number: usize, round: usize, split: &Split) -> anyhow::Result<()> {
        let candidate = self.networks[number].candidate;
        let ways: Vec<Tune> = match round {
            0 => WAYS.to_vec(),
            _ => self.networks[number]
                .tunings
                .iter()
                .filter(|tuning| tuning.gain().1.holds(0.0) && tuning.probes.len() == round)
                .filter(|tuning| tuning.took < self.clock.left())
                .map(|tuning| tuning.tune)
                .collect(),
        };
        if ways.is_empty() || round > 0 && self.halt.is_some() {
            return Ok(());
        }
        let perfect = self.networks[number]
            .figure()
            .is_some_and(|figure| figure.right == figure.photos);
        let mut model = None;
        for tune in ways {
            if perfect {
                self.leave_out(
                    &candidate,
                    Some(tune),
                    "its head alone is right about every photo",
                );
                continue;
            }
            if let Some(halt) = self.halt {
                self.cut_off(&candidate, Some(tune), halt);
                continue;
            }
            let opened = match model.take() {
                Some(model) => Ok(model),
                None => self.model(&candidate),
            };
            let outcome =
                opened.and_then(|opened| self.probe(number, tune, split, model.insert(opened)));
            match outcome {
                Ok(None) => {}
                // Further rounds are more than was asked for.
                Ok(Some(why)) if round == 0 => self.leave_out(&candidate, Some(tune), why),
                Ok(Some(_)) => {}
                Err(error) => match self.clock.halted(&error) {
                    Some(halt) if round == 0 => self.cut_off(&candidate, Some(tune), halt),
                    Some(halt) => self.halt = Some(halt),
                    None => self.leave_out(&candidate, Some(tune), format!("{error:#}")),
                },
            }
        }
        Ok(())
    }

    /// A probe, which is kept; or why it was not made.
    fn probe(
        &mut self,
        number: usize,
        tune: Tune,
        split: &Split,
        model: &Model,
    ) -> anyhow::Result<Option<String>> {
        self.clock.check()?;
        let network = &self.networks[number];
        let Some(features) = &self.features[number] else {
            return Ok(Some("its features were not kept".to_owned()));
        };
        self.context.console.note(&format!(
            "{} --tune {tune}: a probe of its usual recipe",
            network.candidate.name()
        ));
        let begun = self.clock.passed();
        let work = probes::Work {
            dataset: &self.sample,
            model,
            cache: features,
            kept: &self.args.cache,
            seed: self.seed(),
            room: self.room,
            forward: network.head.forward,
            clock: self.clock,
            context: self.context,
        };
        let probe = match probes::probe(&work, tune, split)? {
            Outcome::Done(probe) => probe,
            Outcome::LeftOut(why) => return Ok(Some(why)),
        };
        let took = self.clock.passed() - begun;
        let plan = Plan::new(&Recipe::of(tune), model.graph())?;
        let speeds = Speeds {
            photo: network.head.photo,
            forward: network.head.forward,
            fit: network.head.fit,
            step: Some(probe.step),
        };
        let whole = Whole::of(
            model.graph(),
            Some(&plan),
            self.whole,
            speeds,
            memory::place(model.device()),
        );
        let tunings = &mut self.networks[number].tunings;
        match tunings.iter_mut().find(|tuning| tuning.tune == tune) {
            Some(tuning) => {
                tuning.probes.push(probe);
                tuning.took = took;
            }
            None => tunings.push(Tuning {
                tune,
                probes: vec![probe],
                whole,
                took,
            }),
        }
        Ok(None)
    }
}
