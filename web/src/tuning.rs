//! Tuning the last stages of a network on the photos that were taught, from the head's optimum on.
//!
//! Some photos are held back. The head is solved on the others; from there the network is trained on values at the cut,
//! which are computed once for each view of a photo and kept in main memory. The better of the two, by the photos held
//! back, is what is left.

use std::collections::BTreeMap;

use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::preprocess::AugmentRecipe;
use rekindle_core::random::hash;
use rekindle_core::rows::Encoding;
use rekindle_core::train::{
    FeatureCache, Fitted, GroupSearch, HeadFit, HeadRecipe, LinearRecipe, PhotoSpace, Split, judge,
    stratified_split,
};
use rekindle_core::tune::{
    Judgement, Keep, Plan, Recipe, Shown, Tune, TuneError, Wanted, views_within,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::learning::{self, Head};
use crate::project::Project;
use crate::training::{self, Training};

/// Pictures that are answered or taken in together: few, because an answer for somebody waits for them.
const ANSWERED: usize = 8;

/// What a page says about a tuning.
pub struct TuneOptions {
    /// What it goes by.
    pub recipe: Recipe,
    /// What draws follow from.
    pub seed: u32,
    /// The share of each class that is held back.
    pub held_out: f64,
    /// Bytes that values may take.
    pub memory: u64,
}

/// Values at a cut in 16 bits, by the photo's key and the view.
#[derive(Default)]
pub struct Values {
    /// What they follow from beside the photo and the view.
    of: String,
    rows: BTreeMap<(u64, u64), (Vec<u8>, i32)>,
}

/// An epoch that is over.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Epoch {
    loss: f64,
    accuracy: f64,
    held_out_loss: f64,
}

/// Where a tuning stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    done: bool,
    /// Steps that are done, and those of all epochs.
    step: u64,
    steps: u64,
    /// The epoch it is in, counted from 1, and how many there are.
    epoch: usize,
    epochs: usize,
    /// The mean loss of the steps since it was last told.
    loss: Option<f64>,
    /// The share of the photos held back that the last epoch named rightly.
    accuracy: Option<f64>,
}

/// What a tuning came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TuneReport {
    kept: &'static str,
    accuracy: f64,
    accuracy_head: f64,
    accuracy_tuned: Option<f64>,
    best_epoch: Option<usize>,
    epochs: Vec<Epoch>,
    trained_on: usize,
    held_out: usize,
    views: usize,
    stopped: Option<String>,
}

/// What a tuning is made of.
struct Asked {
    base: Model,
    recipe: Recipe,
    head: LinearRecipe,
    cache: FeatureCache,
    names: Vec<String>,
    memory: u64,
    held_out: f64,
}

/// A tuning that knows its photos, and seeks the head to go on from: its optimum on the photos that train. What that is
/// worth shows on those that neither saw.
struct Solving {
    asked: Asked,
    split: Split,
    /// The photos that train, as far as they have been taken in,
    space: PhotoSpace,
    /// and the fit, once they all have.
    fit: Option<HeadFit>,
}

/// A tuning in training.
struct Going {
    training: Training,
    split: Split,
    /// Random views of each photo that trains.
    views: usize,
    head: Judgement,
    /// Logits of the photos held back, as far as the network that is judged has been asked.
    said: Vec<f32>,
    epochs: Vec<Epoch>,
    /// Why it ended early.
    stopped: Option<String>,
    /// What tells it from other tunings.
    identity: Value,
}

enum Stage {
    Searching(Box<(Asked, GroupSearch<'static>)>),
    Solving(Box<Solving>),
    Going(Box<Going>),
    /// Something failed.
    Ended,
}

/// A tuning of a network's last stages.
pub struct Tuning {
    stage: Stage,
    seed: u64,
    /// The examples' ids, what tells their contents, and the places of their classes.
    ids: Vec<u32>,
    keys: Vec<u64>,
    labels: Vec<usize>,
    /// The ids of the classes.
    pub classes: Vec<u32>,
    values: Values,
}

impl Tuning {
    /// Sets one up for the photos of a project.
    ///
    /// # Errors
    ///
    /// When the recipe says what does not apply here.
    pub fn new(
        options: TuneOptions,
        project: &Project,
        base: &Model,
        head: &Head,
    ) -> Result<Self, Failure> {
        applies(&options.recipe)?;
        let classes = project.class_ids();
        let photos = project.photos();
        let labels = learning::positions(photos.labels(), &classes);
        let cache = photos.cache().clone();
        let search = GroupSearch::new(&cache, None);
        Ok(Self {
            stage: Stage::Searching(Box::new((
                Asked {
                    base: base.clone(),
                    recipe: options.recipe,
                    head: head.plan.recipe().clone(),
                    cache,
                    names: project.names(&classes),
                    memory: options.memory,
                    held_out: options.held_out,
                },
                search,
            ))),
            seed: u64::from(options.seed),
            ids: project.ids().to_vec(),
            keys: project.keys(),
            labels,
            classes,
            values: Values::default(),
        })
    }

    /// Takes what an earlier one of the same photos computed, as far as it is the same.
    pub fn take_values(&mut self, values: Values) {
        self.values = values;
    }

    /// Does a piece of what comes before training: finding what belongs together, holding photos back, the head. Says
    /// whether all of it is done.
    ///
    /// # Errors
    ///
    /// When no photo can be held back, the head cannot be solved, or the recipe does not fit the network.
    pub fn divide(&mut self) -> Result<bool, Failure> {
        let is_done = match &mut self.stage {
            Stage::Searching(found) => found.1.step(),
            Stage::Solving(solving) => solving.step(&self.labels)?,
            Stage::Going(_) | Stage::Ended => true,
        };
        if !is_done {
            return Ok(false);
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Searching(found) => {
                let (asked, search) = *found;
                let split = self.held_back(&asked, search)?;
                Stage::Solving(Box::new(Solving {
                    space: PhotoSpace::new(asked.cache.width()),
                    fit: None,
                    asked,
                    split,
                }))
            }
            Stage::Solving(solving) => Stage::Going(Box::new(self.begin(*solving)?)),
            other => other,
        };
        Ok(matches!(self.stage, Stage::Going(_)))
    }

    /// Which photos train and which are held back, once it is known which belong together.
    fn held_back(&self, asked: &Asked, search: GroupSearch<'_>) -> Result<Split, Failure> {
        let (labels, keys) = (&self.labels, &self.keys);
        let groups = search.finish();
        let split = stratified_split(
            labels,
            groups.of(),
            Some(keys),
            asked.names.len(),
            asked.held_out,
            self.seed,
        )?
        .by_content(keys, labels);
        match split.valid.is_empty() {
            false => Ok(split),
            true => Err(Failure::usage(
                "no photo can be held back: no class has two that do not belong together",
                "Add photos taken at another time.",
            )),
        }
    }

    fn begin(&mut self, solved: Solving) -> Result<Going, Failure> {
        let Solving {
            asked,
            split,
            fit: Some(fit),
            ..
        } = solved
        else {
            return Err(not_divided());
        };
        let Asked {
            base,
            mut recipe,
            head,
            cache,
            names,
            memory,
            held_out,
        } = asked;
        let (labels, keys) = (&self.labels, &self.keys);
        let solution = fit.solution();
        let held = cache.plain(&split.valid);
        let wanted: Vec<usize> = split.valid.iter().map(|&photo| labels[photo]).collect();
        let head_is = judged(&solution.logits_of(held.rows()), &wanted, names.len())?;
        let fitted = Fitted::linear(solution, cache.plain(&split.train).rows(), base.slot());
        let mut start = base.with_head(fitted.kind, fitted.head, names);

        let plan = Plan::new(&recipe, start.graph())?;
        let cuts: Vec<usize> = plan.phases.iter().map(|phase| phase.cut).collect();
        let is_plain = recipe.augment == AugmentRecipe::default();
        let most = if is_plain {
            1
        } else {
            recipe.views.min(recipe.epochs)
        };
        let views = views_within(memory, start.graph(), &cuts, self.ids.len(), most).max(1);
        recipe.views = views;
        let of = json!({ "cut": cuts, "augment": recipe.augment, "seed": self.seed }).to_string();
        if self.values.of != of {
            self.values = Values {
                of,
                rows: BTreeMap::new(),
            };
        }
        start.card.recipe = learning::object(json!({
            "model": start.card.architecture,
            "input": start.card.preset.side(),
            "seed": self.seed,
            "split": held_out,
            "head": HeadRecipe::Linear(head),
            "tuning": recipe,
        }));
        let side = |photos: &[usize]| {
            let named = |&photo: &usize| format!("{:016x} {}", keys[photo], labels[photo]);
            let text: Vec<String> = photos.iter().map(named).collect();
            format!("{:016x}", hash(&text.join(" ")))
        };
        let identity = json!({
            "network": start.card.architecture,
            "classes": self.classes.len(),
            "photos that train": side(&split.train),
            "photos held back": side(&split.valid),
            "preset": start.card.preset,
            "recipe": recipe,
            "seed": self.seed,
        });
        let trained = split.train.iter().map(|&photo| labels[photo]).collect();
        Ok(Going {
            training: Training::new(&start, &recipe, trained, self.seed)?,
            split,
            views,
            head: head_is,
            said: Vec::new(),
            epochs: Vec::new(),
            stopped: None,
            identity,
        })
    }

    /// The examples whose values are still to be computed, by their ids.
    ///
    /// # Errors
    ///
    /// When it has not been [divided](Self::divide).
    pub fn missing(&self) -> Result<Vec<u32>, Failure> {
        let going = self.going()?;
        let photos = 0..self.ids.len();
        let lacks = |&photo: &usize| {
            let mut views = going.views_of(photo);
            !views.all(|view| self.values.rows.contains_key(&(self.keys[photo], view)))
        };
        Ok(photos.filter(lacks).map(|photo| self.ids[photo]).collect())
    }

    /// Computes the values of an example's views from its picture.
    ///
    /// # Errors
    ///
    /// When there is no such example, or the device fails.
    pub async fn take(&mut self, id: u32, picture: &RgbImage) -> Result<(), Failure> {
        let seed = self.seed;
        let photo = self.ids.iter().position(|&known| known == id);
        let photo = photo.ok_or_else(|| {
            Failure::usage(
                format!("there is no example {id}"),
                "Begin the training again.",
            )
        })?;
        let key = self.keys[photo];
        let Stage::Going(going) = &mut self.stage else {
            return Err(not_divided());
        };
        let preset = going.training.base().card.preset;
        let augment = going.training.recipe().augment.clone();
        let size = [picture.width(), picture.height()];
        let views: Vec<u64> = going.views_of(photo).collect();
        for view in views {
            if self.values.rows.contains_key(&(key, view)) {
                continue;
            }
            let crop = match view {
                PLAIN => preset.crop_pixels(picture),
                view => {
                    let drawn = augment.draw(&preset, size, seed, key, view - 1);
                    preset.drawn_pixels(picture, &drawn)
                }
            };
            let row = going.training.values_of(&[crop]).await?;
            let row = Encoding::Half
                .encode(&row)
                .ok_or_else(|| Failure::unexpected("the network's numbers run over on a photo"))?;
            self.values.rows.insert((key, view), row);
        }
        Ok(())
    }

    /// Trains until the time is up, by the browser's clock in milliseconds, or to the end. All values have been taken.
    ///
    /// # Errors
    ///
    /// When values are missing, or the device fails. A loss that is no number ends it, and is no error.
    pub async fn advance(&mut self, until: f64) -> Result<Told, Failure> {
        let mut loss = None;
        while self.going()?.stopped.is_none() {
            let is_over = match self.going()?.training.trainer().wanted() {
                Wanted::Nothing => break,
                Wanted::Step(batches) => {
                    if !self.going()?.training.trainer().is_making() {
                        let batches = batches.iter().map(|batch| self.rows(batch));
                        let batches = batches.collect::<Result<_, _>>()?;
                        self.going_mut()?.training.begin(batches)?;
                    }
                    self.going_mut()?.training.go_on(until)
                }
                Wanted::Judgement => self.judge(until, &mut loss).await?,
            };
            if !is_over || js_sys::Date::now() >= until {
                self.losses(&mut loss).await?;
                break;
            }
        }
        let going = self.going()?;
        let trainer = going.training.trainer();
        let position = trainer.position();
        let per_epoch = trainer.steps_per_epoch() as u64;
        let epochs = going.training.recipe().epochs;
        Ok(Told {
            done: going.stopped.is_some() || trainer.phase().is_none(),
            step: position.steps,
            steps: per_epoch * epochs as u64,
            epoch: (going.epochs.len() + 1).min(epochs),
            epochs,
            loss,
            accuracy: going.epochs.last().map(|epoch| epoch.accuracy),
        })
    }

    /// Reads the mean loss since it was last read, if there is one. One that is no number ends the tuning: what was best
    /// is left.
    async fn losses(&mut self, loss: &mut Option<f64>) -> Result<(), Failure> {
        let going = self.going_mut()?;
        match going.training.losses().await {
            Ok(mean) => *loss = mean.or(*loss),
            Err(error @ TuneError::Diverged { .. }) => going.stopped = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Asks about the photos held back until the time is up, and ends the epoch when all have been answered for. Says
    /// whether it came so far.
    async fn judge(&mut self, until: f64, loss: &mut Option<f64>) -> Result<bool, Failure> {
        self.losses(loss).await?;
        if self.going()?.stopped.is_some() {
            return Ok(true);
        }
        let held: Vec<usize> = self.going()?.split.valid.clone();
        let classes = self.classes.len();
        loop {
            let done = self.going()?.said.len() / classes;
            let Some(some) = held[done..].chunks(ANSWERED).next() else {
                break;
            };
            let mut values = Vec::new();
            for &photo in some {
                self.read(photo, PLAIN, &mut values)?;
            }
            let said = self.going()?.training.answers(values).await?;
            self.going_mut()?.said.extend(said);
            if done + some.len() < held.len() && js_sys::Date::now() >= until {
                return Ok(false);
            }
        }
        let wanted: Vec<usize> = held.iter().map(|&photo| self.labels[photo]).collect();
        let going = self.going_mut()?;
        let logits = std::mem::take(&mut going.said);
        if !logits.iter().all(|logit| logit.is_finite()) {
            going.stopped = Some("the network's answers are no numbers any more".to_owned());
            return Ok(true);
        }
        let found = judged(&logits, &wanted, classes)?;
        let end = going.training.judged(Some(found)).await?;
        going.epochs.push(Epoch {
            loss: end.loss,
            accuracy: found.score,
            held_out_loss: found.loss,
        });
        Ok(true)
    }

    /// The values of a batch.
    fn rows(&self, batch: &[Shown]) -> Result<Vec<f32>, Failure> {
        let going = self.going()?;
        let mut values = Vec::with_capacity(batch.len() * going.training.width());
        for shown in batch {
            let photo = going.split.train[shown.example];
            let view = match going.is_plain() {
                true => PLAIN,
                false => 1 + shown.epoch % going.views as u64,
            };
            self.read(photo, view, &mut values)?;
        }
        Ok(values)
    }

    /// Adds the values of a view to those of a batch.
    fn read(&self, photo: usize, view: u64, values: &mut Vec<f32>) -> Result<(), Failure> {
        let row = self.values.rows.get(&(self.keys[photo], view));
        let (bytes, exponent) = row.ok_or_else(|| {
            let id = self.ids[photo];
            let message = format!("the values of example {id} have not been computed");
            Failure::usage(message, "Begin the training again.")
        })?;
        let from = values.len();
        values.resize(from + bytes.len() / Encoding::Half.bytes(), 0.0);
        Encoding::Half.decode(bytes, *exponent, &mut values[from..]);
        Ok(())
    }

    /// Where it stands, as bytes that [`restore`](Self::restore) takes.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn state(&mut self) -> Result<Vec<u8>, Failure> {
        let going = self.going_mut()?;
        let note = json!({ "identity": going.identity, "epochs": going.epochs });
        going.training.state(note).await
    }

    /// Goes on where another tuning of the same photos by the same recipe stood.
    ///
    /// # Errors
    ///
    /// When the bytes are no such state; it says what differs.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let going = self.going_mut()?;
        let mut epochs = Vec::new();
        let identity = going.identity.clone();
        going.training.restore(bytes, |note| {
            training::is_same(&note["identity"], &identity)?;
            epochs = serde_json::from_value(note["epochs"].clone()).map_err(Failure::unexpected)?;
            Ok(())
        })?;
        going.epochs = epochs;
        going.said.clear();
        Ok(())
    }

    /// What it came to, and the network that is left, unless that is the head alone.
    ///
    /// # Errors
    ///
    /// When it has not been [divided](Self::divide).
    pub fn finish(&self) -> Result<(TuneReport, Option<Model>), Failure> {
        let going = self.going()?;
        let best = going.training.best();
        let kept = best.filter(|(_, judgement, _)| judgement.beats(&going.head));
        let model = kept.map(|(_, _, tensors)| going.training.base().with_tensors(tensors));
        let report = TuneReport {
            kept: if kept.is_some() { "tuned" } else { "head" },
            accuracy: kept.map_or(going.head.score, |(_, judgement, _)| judgement.score),
            accuracy_head: going.head.score,
            accuracy_tuned: best.map(|(_, judgement, _)| judgement.score),
            best_epoch: best.map(|(epoch, ..)| epoch + 1),
            epochs: going.epochs.clone(),
            trained_on: going.split.train.len(),
            held_out: going.split.valid.len(),
            views: going.views,
            stopped: going.stopped.clone(),
        };
        Ok((report, model))
    }

    /// The examples that it learnt from, by their ids.
    pub fn trained_on(&self) -> Vec<u32> {
        let Ok(going) = self.going() else {
            return Vec::new();
        };
        let photos = going.split.train.iter();
        photos.map(|&photo| self.ids[photo]).collect()
    }

    /// The values that it computed, for another one of the same photos.
    pub fn into_values(self) -> Values {
        self.values
    }

    fn going(&self) -> Result<&Going, Failure> {
        match &self.stage {
            Stage::Going(going) => Ok(going),
            _ => Err(not_divided()),
        }
    }

    fn going_mut(&mut self) -> Result<&mut Going, Failure> {
        match &mut self.stage {
            Stage::Going(going) => Ok(going),
            _ => Err(not_divided()),
        }
    }
}

/// The view that shows a photo as at prediction; the random ones are counted from 1.
const PLAIN: u64 = 0;

impl Solving {
    /// Takes some photos in, or does a piece of the fit; says whether it is solved.
    fn step(&mut self, labels: &[usize]) -> Result<bool, Failure> {
        if let Some(fit) = &mut self.fit {
            return Ok(fit.step()?.done());
        }
        let left = &self.split.train[self.space.len()..];
        for &photo in left.iter().take(ANSWERED) {
            let row = self.asked.cache.row(photo);
            self.space.push(labels[photo], row)?;
        }
        if self.space.len() == self.split.train.len() {
            let places: Vec<usize> = (0..self.asked.names.len()).collect();
            self.fit = Some(self.space.fit(&self.asked.head, &places)?);
        }
        Ok(false)
    }
}

impl Going {
    /// Whether every view of a photo is the same.
    fn is_plain(&self) -> bool {
        self.training.recipe().augment == AugmentRecipe::default()
    }

    /// The views of a photo that are kept.
    fn views_of(&self, photo: usize) -> std::ops::Range<u64> {
        let trains = !self.split.valid.contains(&photo);
        match trains && !self.is_plain() {
            true => 1..1 + self.views as u64,
            false => PLAIN..PLAIN + 1,
        }
    }
}

/// Refuses what a recipe may say elsewhere and would do nothing here.
fn applies(recipe: &Recipe) -> Result<(), Failure> {
    let idle = |what: &str, help| {
        let message = format!("{what} does not apply to a training in the page");
        Err(Failure::usage(message, help))
    };
    if !matches!(recipe.tune, Tune::Last(_)) || !recipe.phases.is_empty() {
        return idle(
            "another way to tune than the last stages",
            "Say last, or last: and a number.",
        );
    }
    if recipe.mixing.is_on() {
        let help = "Leave mixup and cutmix out: what stands before the cut is computed once, and photos are not seen again.";
        return idle("mixing", help);
    }
    if recipe.soup || recipe.keep != Keep::Best {
        return idle(
            "keeping another network than the best",
            "Leave soup and keep out.",
        );
    }
    Ok(())
}

/// How good answers are.
fn judged(logits: &[f32], labels: &[usize], classes: usize) -> Result<Judgement, Failure> {
    let report = judge(logits, labels, classes).map_err(Failure::unexpected)?;
    Ok(Judgement {
        score: report.accuracy.unwrap_or(0.0),
        loss: report.log_loss.unwrap_or(0.0),
    })
}

fn not_divided() -> Failure {
    Failure::usage("the training has not begun", "Divide the photos first.")
}
