//! `tests/goldens/tuning.safetensors`, in our own words.

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_core::backbone::find;
use rekindle_core::graph::{Graph, Options};
use rekindle_core::random::{Random, hash};
use rekindle_core::tune::{
    Aims, Anneal, Average, Better, CycleStyle, Labels, Loss, Mix, NormMode, Optimizer, Recipe,
    Schedule, Tune, Warmup,
};
use rekindle_core::weights::{Generated, Tensors, take};
use rekindle_tests::Golden;
use serde_json::Value;

/// The places of a tensor that the golden keeps.
pub const PLACES: usize = 24;

pub struct Told {
    golden: Golden,
}

/// One case, or one schedule.
pub struct Case<'a> {
    pub name: &'a str,
    said: &'a Value,
    about: &'a Value,
    pub steps: usize,
    pub per_epoch: usize,
    pub side: usize,
    pub classes: usize,
}

/// A tensor as it should be at the end.
pub struct Row<'a> {
    pub largest: f64,
    pub norm: f64,
    pub moved: f64,
    mask: u32,
    values: &'a [f32],
}

pub fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

impl Told {
    pub fn read() -> Self {
        Self {
            golden: Golden::read("tuning"),
        }
    }

    pub fn cases(&self) -> impl Iterator<Item = &str> {
        let cases = self.golden.card["cases"].as_object().unwrap();
        cases.keys().map(String::as_str)
    }

    pub fn case<'a>(&'a self, name: &'a str) -> Case<'a> {
        let card = &self.golden.card;
        let count = |key: &str| card[key].as_u64().unwrap() as usize;
        let said = &card["cases"][name];
        Case {
            name,
            said,
            about: &card["networks"][said["network"].as_str().unwrap()],
            steps: count("steps"),
            per_epoch: count("per_epoch"),
            side: count("side"),
            classes: count("classes"),
        }
    }

    pub fn schedules(&self) -> impl Iterator<Item = (&str, &Value)> {
        let schedules = self.golden.card["schedules"].as_object().unwrap();
        schedules.iter().map(|(name, said)| (name.as_str(), said))
    }

    /// The rows of a case's tensors at the end, where it has any; of the average, where asked.
    pub fn rows<'a>(&'a self, case: &'a Case<'a>, averaged: bool) -> Vec<(&'a str, Row<'a>)> {
        let kind = if averaged { "averaged" } else { "parameters" };
        let Some(rows) = self.golden.tensors.get(&format!("{}/{kind}", case.name)) else {
            return Vec::new();
        };
        let names = case.tensors();
        let rows = rows.chunks_exact(4 + PLACES);
        assert_eq!(names.len(), rows.len());
        let row = |(name, row): (_, &'a [f32])| {
            let row = Row {
                largest: f64::from(row[0]),
                norm: f64::from(row[1]),
                moved: f64::from(row[2]),
                mask: row[3] as u32,
                values: &row[4..],
            };
            (name, row)
        };
        names.into_iter().zip(rows).map(row).collect()
    }
}

impl Row<'_> {
    /// The places that show, and what stands there: of a tensor of this name and length.
    pub fn places(&self, name: &str, length: usize) -> Vec<(usize, f64)> {
        let mut random = Random::new(hash(&format!("places.{name}")));
        let all = self.values.iter().enumerate().map(|(place, &value)| {
            let index = (random.next_u64() % length as u64) as usize;
            (place, index, f64::from(value))
        });
        let shown = all.filter(|(place, _, _)| self.mask >> place & 1 == 0);
        shown.map(|(_, index, value)| (index, value)).collect()
    }
}

impl<'a> Case<'a> {
    fn names(value: &'a Value) -> Vec<&'a str> {
        let names = value.as_array().unwrap();
        names.iter().map(|name| name.as_str().unwrap()).collect()
    }

    /// All parameters and running statistics, sorted.
    pub fn tensors(&self) -> Vec<&'a str> {
        Self::names(&self.about["tensors"])
    }

    pub fn no_decay(&self) -> Vec<&'a str> {
        Self::names(&self.about["no_decay"])
    }

    pub fn batch(&self) -> usize {
        self.about["batch"].as_u64().unwrap() as usize
    }

    pub fn get(&self, key: &str) -> &'a Value {
        &self.said[key]
    }

    /// All that is said of it.
    pub fn all(&self) -> &'a Value {
        self.said
    }

    pub fn network(&self) -> &'a str {
        self.said["network"].as_str().unwrap()
    }

    /// What the names of the parameters that train begin with; all, if there is none.
    pub fn trains(&self) -> Option<Vec<&'a str>> {
        match &self.said["trains"] {
            Value::Null => None,
            names => Some(Self::names(names)),
        }
    }

    pub fn micro_batches(&self) -> Vec<usize> {
        serde_json::from_value(self.said["micro_batches"].clone()).unwrap()
    }

    /// The graph, from which nothing drops out, and its generated numbers.
    pub fn graph(&self) -> (Graph, Tensors) {
        let shape = [3, self.side, self.side];
        let architecture = find(self.network()).unwrap();
        let graph = architecture.whole_graph(shape, &Options::default(), self.classes);
        let graph = graph.unwrap().without_randomness();
        let (tensors, report) = take(graph.tensors(), &Generated).unwrap();
        assert!(report.missing.is_empty(), "{report:?}");
        (graph, tensors)
    }

    /// The recipe of a case.
    pub fn recipe(&self) -> Recipe {
        let said = self.said;
        let tune = match (said["first_stage"].as_str(), self.network()) {
            (None, _) => Tune::Full,
            (Some(_), "vit_tiny_patch16_224") => Tune::Last(2),
            (Some(_), _) => Tune::Last(1),
        };
        let (schedule, warmup) = schedule(&said["schedule"], self.steps);
        let mut recipe = Recipe {
            epochs: self.steps / self.per_epoch,
            batch: self.batch(),
            accumulate: self.micro_batches().len(),
            lr: said["optimizer"]["lr"].as_f64().unwrap(),
            schedule,
            warmup,
            optimizer: optimizer(&said["optimizer"]),
            // timm's LAMB clips by itself.
            clip: said["clip"]
                .as_f64()
                .or(said["optimizer"]["max_grad_norm"].as_f64()),
            label_smoothing: said["loss"]["label_smoothing"].as_f64().unwrap_or(0.0),
            bn: match said["batch_norm"]["statistics"].as_str() {
                Some("batch") => NormMode::Train,
                _ => NormMode::Frozen,
            },
            bn_affine: said["batch_norm"]["affine"].as_bool().unwrap(),
            ema: said["ema"]["decay"].as_f64().map(|decay| Average {
                decay,
                warmup: said["ema"]["use_warmup"].as_bool().unwrap(),
            }),
            ..Recipe::of(tune)
        };
        recipe.rates.layer_decay = said["layer_decay"].as_f64();
        recipe
    }

    /// The images of a step.
    pub fn images(&self, step: usize) -> Vec<f32> {
        let mut random = Random::new(hash(&format!("batch.{step}")));
        let count = self.batch() * 3 * self.side * self.side;
        (0..count)
            .map(|_| (2.0 * random.uniform() - 1.0) * 2.0)
            .collect()
    }

    /// The same on a device.
    pub fn tensor(&self, images: &[f32], device: &Device) -> Tensor<4> {
        let image = 3 * self.side * self.side;
        let shape = [images.len() / image, 3, self.side, self.side];
        Tensor::from_data(TensorData::new(images.to_vec(), shape), device)
    }

    /// The class of each image of a step.
    pub fn classes_of(&self, step: usize) -> Vec<usize> {
        let class = |image| (step * 7 + image * 3) % self.classes;
        (0..self.batch()).map(class).collect()
    }

    /// What the images of a step are.
    pub fn aims(&self, step: usize) -> Aims {
        let loss = &self.said["loss"];
        let mut random = Random::new(hash(&format!("targets.{step}")));
        let count = self.batch() * self.classes;
        let drawn: Vec<f32> = (0..count).map(|_| random.uniform()).collect();
        let values = |loss| {
            let values = drawn.iter().map(|u| (2.0 * u - 1.0) * 2.0);
            Labels::Values(values.collect(), loss)
        };
        let labels = match loss["name"].as_str().unwrap() {
            "cross_entropy" => Labels::Classes(self.classes_of(step)),
            "bce_with_logits" => {
                let there = drawn.iter().map(|&u| f32::from(u8::from(u < 0.3)));
                Labels::Several(there.collect())
            }
            "mse" => values(Loss::MeanSquare),
            "huber" => values(Loss::Huber {
                delta: loss["delta"].as_f64().unwrap(),
            }),
            "smooth_l1" => values(Loss::Huber {
                delta: loss["beta"].as_f64().unwrap(),
            }),
            other => panic!("{other}"),
        };
        let weights = match &loss["weight"] {
            // Of several labels, of presence and of absence.
            Value::Null if loss["name"] == "bce_with_logits" => vec![1.0; 2 * self.classes],
            Value::Null => vec![1.0; self.classes],
            weights => floats(weights),
        };
        Aims {
            labels,
            answers: self.classes,
            weights,
            smoothing: loss["label_smoothing"].as_f64().unwrap_or(0.0),
        }
    }

    /// PyTorch's `smooth_l1_loss` is its Huber loss over beta.
    pub fn share_of_loss(&self) -> f64 {
        self.said["loss"]["beta"]
            .as_f64()
            .map_or(1.0, |beta| 1.0 / beta)
    }

    /// How the images of a step are mixed.
    pub fn mix(&self, step: usize) -> Option<Mix> {
        let told = self.said["mix"].get(step)?;
        Some(Mix {
            share: told["lambda"].as_f64().unwrap(),
            area: serde_json::from_value(told["box"].clone()).unwrap(),
        })
    }
}

fn optimizer(said: &Value) -> Optimizer {
    let number = |key: &str| said[key].as_f64().unwrap();
    let flag = |key: &str| said[key].as_bool().unwrap();
    let betas = || <[f64; 2]>::try_from(floats(&said["betas"])).unwrap();
    let weight_decay = number("weight_decay");
    match said["name"].as_str().unwrap() {
        "SGD" => {
            assert_eq!(number("dampening"), 0.0);
            Optimizer::Sgd {
                momentum: number("momentum"),
                nesterov: flag("nesterov"),
                weight_decay,
            }
        }
        "Adam" => Optimizer::Adam {
            betas: betas(),
            eps: number("eps"),
            weight_decay,
        },
        "AdamW" => Optimizer::AdamW {
            betas: betas(),
            eps: number("eps"),
            weight_decay,
        },
        "RMSprop" => Optimizer::RmsProp {
            alpha: number("alpha"),
            eps: number("eps"),
            momentum: number("momentum"),
            centered: flag("centered"),
            weight_decay,
        },
        "Lamb" => Optimizer::Lamb {
            betas: betas(),
            eps: number("eps"),
            weight_decay,
        },
        other => panic!("{other}"),
    }
}

/// A schedule, and the warm-up in front of it.
pub fn schedule(said: &Value, steps: usize) -> (Schedule, Option<Warmup>) {
    let number = |key: &str| said[key].as_f64().unwrap();
    let count = |key: &str| said[key].as_u64().unwrap() as usize;
    let schedule = match said["name"].as_str().unwrap() {
        "constant" => Schedule::Constant,
        "cosine" => {
            let warm = count("warmup_steps");
            let warmup = (warm > 0).then(|| Warmup {
                share: warm as f64 / steps as f64,
                start: number("warmup_start"),
            });
            let floor = number("floor");
            return (Schedule::Cosine { floor }, warmup);
        }
        "one_cycle" => Schedule::OneCycle {
            pct_start: number("pct_start"),
            div: number("div_factor"),
            div_final: number("final_div_factor"),
            anneal: match said["anneal"].as_str().unwrap() {
                "cos" => Anneal::Cosine,
                _ => Anneal::Linear,
            },
            momentum: serde_json::from_value(said["momentum"].clone()).unwrap(),
            style: CycleStyle::Pytorch,
        },
        "one_cycle_fastai" => {
            let momenta = floats(&said["momentum"]);
            assert_eq!(momenta[0], momenta[2]);
            Schedule::OneCycle {
                pct_start: number("pct_start"),
                div: number("div"),
                div_final: number("div_final"),
                anneal: Anneal::Cosine,
                momentum: Some([momenta[1], momenta[0]]),
                style: CycleStyle::Fastai,
            }
        }
        "step" => Schedule::Step {
            every: count("every"),
            gamma: number("gamma"),
        },
        "polynomial" => Schedule::Polynomial {
            power: number("power"),
        },
        "plateau" => Schedule::Plateau {
            factor: number("factor"),
            patience: count("patience"),
            threshold: number("threshold"),
            cooldown: count("cooldown"),
            floor: number("floor"),
            better: match said["mode"].as_str().unwrap() {
                "max" => Better::Higher,
                _ => Better::Lower,
            },
        },
        other => panic!("{other}"),
    };
    (schedule, None)
}
