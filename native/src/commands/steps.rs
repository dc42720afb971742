//! Training steps that are measured: of `bench --train`, and listed by `doctor --kernels --train`.

use std::collections::BTreeMap;
use std::time::Instant;

use rekindle_core::image::RgbImage;
use rekindle_core::kernels::{Launched, Watch};
use rekindle_core::model::Model;
use rekindle_core::tune::{
    Aims, Descent, Draws, Engine as _, Given, Goal, Labels, Learning, Optimizer, Rate, Stepwise,
    Trainee,
};
use serde::Serialize;

use super::train::tune::room;
use crate::cli::KernelChoice;
use crate::ui::table;

/// How often jobs are timed; the fastest counts.
const TRIES: usize = 3;

/// A part of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Spent {
    /// A kernel of an adapter, or a job of the processor.
    pub name: String,
    /// How often it is launched.
    pub launches: usize,
    /// All launches together; on the processor both ways.
    pub ms: Option<f64>,
    /// The bytes of the buffers it is given, all launches together; on the processor, and of Burn's own kernels, they
    /// are not known.
    pub bytes: Option<u64>,
}

/// What learns: everything, and batch norms by the statistics of the batch or by their own.
pub fn learning(model: &Model, by_batch: bool) -> Learning {
    let mut learning = Learning::default();
    for layer in model.graph().layers() {
        let all = layer.tensors().into_iter().map(|(name, _)| name);
        if by_batch {
            learning
                .statistics
                .extend(all.filter(|name| name.contains("running")));
        }
        let learnt = layer.parameters().into_iter().map(|(name, _)| name);
        learning.parameters.extend(learnt);
    }
    learning
}

/// A network in training, and the batch of which every step is made.
#[derive(Debug)]
pub struct Steps {
    engine: Trainee,
    given: Given,
    goal: Goal,
    optimizer: Optimizer,
    rates: BTreeMap<String, Rate>,
    batch: u64,
}

impl Steps {
    /// A network in training on the model's device.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn new(
        model: &Model,
        crops: &[RgbImage],
        learning: &Learning,
        kernels: KernelChoice,
    ) -> anyhow::Result<Self> {
        let classes = model.card.classes.len();
        let images: Vec<usize> = (0..crops.len()).collect();
        let aims = Aims {
            labels: Labels::Classes(images.iter().map(|image| image % classes).collect()),
            answers: classes,
            weights: vec![1.0; classes],
            smoothing: 0.0,
        };
        // A rate of nothing: the numbers stay harmless, the work is the same.
        let rate = Rate {
            rate: 0.0,
            decays: true,
        };
        let mut engine = match kernels {
            KernelChoice::Ours => {
                Trainee::new(model.graph().clone(), &model.state_dict(), model.device())?
            }
            KernelChoice::Burn => {
                let network = model.network().clone();
                Trainee::Stepwise(Box::new(Stepwise::new(network, model.device())))
            }
        };
        engine.learns(learning);
        Ok(Self {
            engine,
            given: Given::images(model.batch(crops)),
            goal: aims.goal(&images, &[&images], None),
            optimizer: Optimizer::Sgd {
                momentum: 0.9,
                nesterov: false,
                weight_decay: 1e-4,
            },
            rates: model
                .graph()
                .tensors()
                .map(|(name, _)| (name, rate))
                .collect(),
            batch: 0,
        })
    }

    /// Lets steps keep little and compute much again, if that is asked for.
    ///
    /// # Errors
    ///
    /// When it is asked for where steps cannot.
    pub fn recompute(&mut self, is_asked: bool) -> anyhow::Result<()> {
        Ok(room::recompute(&mut self.engine, is_asked)?)
    }

    /// Takes a step, to its end.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn take(&mut self) -> anyhow::Result<()> {
        let draws = Draws {
            first: 0,
            seed: 0,
            batch: self.batch,
            mix: None,
        };
        self.batch += 1;
        self.engine
            .accumulate(self.given.clone(), &self.goal, &draws);
        self.engine.descend(&Descent {
            optimizer: &self.optimizer,
            rates: &self.rates,
            factor: 1.0,
            momentum: None,
            clip: None,
        });
        pollster::block_on(self.engine.losses())?;
        Ok(())
    }

    /// What a step is made of, the dearest first.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn spent(&mut self) -> anyhow::Result<Vec<Spent>> {
        let began = Instant::now();
        let clock = || began.elapsed().as_secs_f64();
        let mut best: Option<Vec<Spent>> = None;
        for _ in 0..TRIES {
            let jobs = self.engine.profile(self.given.clone(), &self.goal, &clock);
            let now: Vec<Spent> = match jobs {
                Some(jobs) => jobs.into_iter().map(of_job).collect(),
                None => by_kernel(self.launched(true)?),
            };
            best = Some(match best {
                None => now,
                Some(best) => best
                    .into_iter()
                    .zip(now)
                    .map(|(a, b)| faster(a, b))
                    .collect(),
            });
        }
        let mut spent = best.unwrap_or_default();
        spent.sort_by(|a, b| {
            b.ms.unwrap_or_default()
                .total_cmp(&a.ms.unwrap_or_default())
        });
        Ok(spent)
    }

    /// What a step launches on an adapter, in order.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn launched(&mut self, is_timed: bool) -> anyhow::Result<Vec<Launched>> {
        let watch = Watch::begin(is_timed);
        let taken = self.take();
        let launched = watch.end();
        taken.map(|()| launched)
    }
}

fn faster(a: Spent, b: Spent) -> Spent {
    match a.ms <= b.ms {
        true => a,
        false => b,
    }
}

fn of_job((name, [there, back]): (String, [f64; 2])) -> Spent {
    Spent {
        name,
        launches: 1,
        ms: Some(1e3 * (there + back)),
        bytes: None,
    }
}

/// All launches of a kernel together, in the order of their names.
pub fn by_kernel(launched: Vec<Launched>) -> Vec<Spent> {
    let mut all: BTreeMap<String, Spent> = BTreeMap::new();
    for launch in launched {
        let spent = all.entry(launch.kernel.clone()).or_insert_with(|| Spent {
            name: launch.kernel,
            launches: 0,
            ms: launch.seconds.map(|_| 0.0),
            bytes: launch.bytes.map(|_| 0),
        });
        spent.launches += 1;
        spent.ms = spent
            .ms
            .zip(launch.seconds)
            .map(|(ms, more)| ms + 1e3 * more);
        spent.bytes = spent
            .bytes
            .zip(launch.bytes)
            .map(|(bytes, more)| bytes + more);
    }
    all.into_values().collect()
}

/// As a table, with what all of it comes to.
pub fn told(spent: &[Spent]) -> String {
    let mut rows = table(&["part of a step", "launches", "ms", "MB"]);
    let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), |ms| format!("{ms:.3}"));
    let megabytes = |bytes: Option<u64>| {
        bytes.map_or("–".to_owned(), |bytes| {
            format!("{:.2}", bytes as f64 / 1e6)
        })
    };
    for part in spent {
        rows.add_row(vec![
            part.name.clone(),
            part.launches.to_string(),
            ms(part.ms),
            megabytes(part.bytes),
        ]);
    }
    let launches: usize = spent.iter().map(|part| part.launches).sum();
    let time: f64 = spent.iter().filter_map(|part| part.ms).sum();
    let bytes: u64 = spent.iter().filter_map(|part| part.bytes).sum();
    let time = match spent.iter().any(|part| part.ms.is_some()) {
        true => format!(", {time:.1} ms one after the other"),
        false => String::new(),
    };
    format!(
        "{rows}\na step: {launches} parts{time}, {:.0} MB in our kernels' buffers",
        bytes as f64 / 1e6
    )
}
