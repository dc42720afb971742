//! Training more than the head: the last stages of the network on what was taught, and a training
//! whose examples and steps are the page's own.

use js_sys::{Array, Date, Float32Array, Uint8Array};
use rekindle_core::model::Contents;
use rekindle_core::tune::{Judgement, Wanted};
use serde::Serialize;
use serde_json::{Value, json};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use super::{Answer, RgbImage, Session, failed, fit_options, to_js};
use crate::error::Failure;
use crate::learning::{self, Head};
use crate::training::{self, Training};
use crate::tuning::{TuneOptions, Tuning};

/// The last stages of a network in training on what was taught.
#[wasm_bindgen(js_name = Tuning)]
pub struct LastStages(Tuning);

/// A network in training on a page's own examples.
#[wasm_bindgen(js_name = Training)]
pub struct OwnTraining {
    training: Training,
    /// What tells it from other trainings.
    identity: Value,
    /// The ids of the classes that the network knew when it began.
    classes: Vec<u32>,
}

#[derive(Serialize)]
struct Cut<'a> {
    value: usize,
    shape: &'a [usize],
}

#[derive(Serialize)]
struct Example {
    example: usize,
    epoch: u64,
}

#[derive(Serialize)]
struct Next {
    kind: &'static str,
    batches: Vec<Vec<Example>>,
}

#[wasm_bindgen]
impl Session {
    /// Begins to train the last stages of the network on what was taught, from the head's optimum on. `recipe` holds
    /// fields of a recipe as JSON, `held_out` the share of each class that is held back, `memory` the bytes that values
    /// at the cut may take.
    ///
    /// # Errors
    ///
    /// When no head was fitted, or the recipe cannot be followed here.
    pub fn tuning(
        &mut self,
        recipe: &str,
        seed: u32,
        held_out: f64,
        memory: f64,
    ) -> Answer<LastStages> {
        let base = self.base()?;
        let head = self.head.as_ref().filter(|head| !head.classes.is_empty());
        let head = head.ok_or_else(|| {
            failed(Failure::usage(
                "there is no head to go on from",
                "Fit one first.",
            ))
        })?;
        let options = TuneOptions {
            recipe: training::recipe(recipe).map_err(failed)?,
            seed,
            held_out,
            memory: memory as u64,
        };
        let mut tuning = Tuning::new(options, &self.project, base, head).map_err(failed)?;
        tuning.take_values(std::mem::take(&mut self.values));
        Ok(LastStages(tuning))
    }

    /// Leaves a training that will be taken up from its state: the values at the cut that it computed are kept.
    #[wasm_bindgen(js_name = leaveTuning)]
    pub fn leave_tuning(&mut self, tuning: LastStages) {
        self.values = tuning.0.into_values();
    }

    /// Ends a training: the network answers from now on if it is better than the head alone on the photos held back;
    /// else everything is as it was. Answers what it came to.
    ///
    /// # Errors
    ///
    /// When the classes are others than when it began.
    #[wasm_bindgen(js_name = finishTuning)]
    pub fn finish_tuning(&mut self, tuning: LastStages) -> Answer<JsValue> {
        let tuning = tuning.0;
        let (report, model) = tuning.finish().map_err(failed)?;
        let told = to_js(&report)?;
        if tuning.classes != self.project.class_ids() {
            return Err(failed(Failure::usage(
                "the classes changed while the network was trained",
                "Begin the training again.",
            )));
        }
        if let (Some(mut model), Some(head)) = (model, &self.head) {
            let trained = tuning.trained_on();
            model.card.classes = self.project.names(&tuning.classes);
            model.card.trained_on = self.project.files_of(&trained);
            model.card.provenance = learning::object(json!({
                "rekindle": env!("CARGO_PKG_VERSION"),
                "made_in": "browser",
                "images": self.project.photos().len(),
            }));
            let plan = head.plan.clone();
            self.answer_by(Some(Head::trained(model, tuning.classes.clone(), plan)));
        }
        Ok(told)
    }

    /// Begins a training of the network that answers, as the page's own loop asks for it: `labels` are the classes of
    /// its examples, by their places in the network's list, and `recipe` as in [`tuning`](Self::tuning).
    ///
    /// # Errors
    ///
    /// When the recipe does not fit the network, or a label is no class.
    pub fn training(&self, recipe: &str, labels: Vec<u32>, seed: u32) -> Answer<OwnTraining> {
        let model = self.model()?;
        let recipe = training::recipe(recipe).map_err(failed)?;
        let identity = json!({
            "network": model.card.architecture,
            "recipe": recipe,
            "seed": seed,
            "labels": labels,
        });
        let labels = labels.into_iter().map(|label| label as usize).collect();
        let training = Training::new(model, &recipe, labels, u64::from(seed));
        Ok(OwnTraining {
            training: training.map_err(failed)?,
            identity,
            classes: self
                .head
                .as_ref()
                .map_or_else(Vec::new, |head| head.classes.clone()),
        })
    }

    /// Puts a network that was trained in place: as it stands, or on average where averages are kept.
    ///
    /// # Errors
    ///
    /// When the device fails.
    #[wasm_bindgen(js_name = finishTraining)]
    pub async fn finish_training(&mut self, own: OwnTraining) -> Answer<()> {
        let model = own.training.model().await.map_err(failed)?;
        let plan = self.head.as_ref().map(|head| head.plan.clone());
        let head = Head::trained(model, own.classes, plan.unwrap_or_default());
        self.answer_by(Some(head));
        Ok(())
    }
}

#[wasm_bindgen]
impl Session {
    /// Puts a head in place that another session had fitted: `file` is the model file that it saved, `classes` the ids
    /// of the head's classes, `options` what it was fitted by.
    ///
    /// # Errors
    ///
    /// When the file is none, or the options make no sense.
    #[wasm_bindgen(js_name = restoreHead)]
    pub fn restore_head(
        &mut self,
        file: Vec<u8>,
        classes: Vec<u32>,
        options: JsValue,
    ) -> Answer<()> {
        let plan = fit_options(options)?.into();
        let file = Contents::open(file).map_err(failed)?;
        let head = Head::restored(self.base()?, &file, classes, plan).map_err(failed)?;
        self.answer_by(Some(head));
        Ok(())
    }

    /// Goes on with the ids and the number of heads of another session, as its `counters` say.
    ///
    /// # Errors
    ///
    /// When there are not three.
    #[wasm_bindgen(js_name = restoreCounters)]
    pub fn restore_counters(&mut self, counters: &[u32]) -> Answer<()> {
        let &[class, example, revision] = counters else {
            return Err(failed(Failure::unexpected("there are three counters")));
        };
        self.project.go_on_from([class, example]);
        self.revision = revision;
        Ok(())
    }
}

#[wasm_bindgen(js_class = Tuning)]
impl LastStages {
    /// Does a piece of what comes before training; says whether all of it is done.
    ///
    /// # Errors
    ///
    /// When no photo can be held back, or the recipe does not fit the network.
    pub fn divide(&mut self) -> Answer<bool> {
        self.0.divide().map_err(failed)
    }

    /// The examples whose pictures are still to be taken, by their ids.
    ///
    /// # Errors
    ///
    /// When the photos have not been divided.
    pub fn missing(&self) -> Answer<Vec<u32>> {
        self.0.missing().map_err(failed)
    }

    /// Takes an example's picture: the values at the cut of its views.
    ///
    /// # Errors
    ///
    /// When there is no such example, the pixels do not fit the size, or the device fails.
    pub async fn take(&mut self, id: u32, rgba: Vec<u8>, width: u32, height: u32) -> Answer<()> {
        let picture = RgbImage::from_rgba(width, height, &rgba).map_err(failed)?;
        self.0.take(id, &picture).await.map_err(failed)
    }

    /// Trains for some milliseconds, or to the end. Says where it stands.
    ///
    /// # Errors
    ///
    /// When pictures are missing, or the device fails.
    pub async fn advance(&mut self, milliseconds: f64) -> Answer<JsValue> {
        let told = self.0.advance(Date::now() + milliseconds).await;
        to_js(&told.map_err(failed)?)
    }

    /// Where it stands, as a file's bytes.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn state(&mut self) -> Answer<Uint8Array> {
        let bytes = self.0.state().await.map_err(failed)?;
        Ok(Uint8Array::from(&bytes[..]))
    }

    /// Goes on from a state.
    ///
    /// # Errors
    ///
    /// When it is of another training; the error says what differs.
    pub fn restore(&mut self, state: &[u8]) -> Answer<()> {
        self.0.restore(state).map_err(failed)
    }
}

#[wasm_bindgen(js_class = Training)]
impl OwnTraining {
    /// The value that it takes of each example, and its shape.
    ///
    /// # Errors
    ///
    /// Never in practice: when the description cannot be handed over.
    pub fn cut(&self) -> Answer<JsValue> {
        let value = self.training.phase().cut;
        let shape = self.training.base().graph().shape_of(value);
        to_js(&Cut { value, shape })
    }

    /// What it wants next.
    ///
    /// # Errors
    ///
    /// Never in practice: when the answer cannot be handed over.
    pub fn wanted(&self) -> Answer<JsValue> {
        let (kind, batches) = match self.training.trainer().wanted() {
            Wanted::Step(batches) => ("step", batches),
            Wanted::Judgement => ("judgement", Vec::new()),
            Wanted::Nothing => ("nothing", Vec::new()),
        };
        let mut named = Vec::new();
        for batch in batches {
            let examples = batch.into_iter().map(|shown| Example {
                example: shown.example,
                epoch: shown.epoch,
            });
            named.push(examples.collect());
        }
        to_js(&Next {
            kind,
            batches: named,
        })
    }

    /// Values at the cut of normalised images, one after the other.
    ///
    /// # Errors
    ///
    /// When they are no whole images, or the device fails.
    pub async fn values(&mut self, images: Vec<f32>) -> Answer<Float32Array> {
        let values = self.training.values(images).await.map_err(failed)?;
        Ok(Float32Array::from(&values[..]))
    }

    /// Begins the step that is wanted: a `Float32Array` for each of its batches.
    ///
    /// # Errors
    ///
    /// When no step is wanted, or the values are not those of its batches.
    pub fn begin(&mut self, batches: &Array) -> Answer<()> {
        let batches = batches.iter().map(|batch| {
            let batch = batch.dyn_into::<Float32Array>();
            batch.map_or_else(|_| Vec::new(), |values| values.to_vec())
        });
        self.training.begin(batches.collect()).map_err(failed)
    }

    /// Goes on with the step for some milliseconds, or to its end. Says whether it is over.
    #[wasm_bindgen(js_name = goOn)]
    pub fn go_on(&mut self, milliseconds: f64) -> bool {
        self.training.go_on(Date::now() + milliseconds)
    }

    /// The mean loss of the steps since it was last asked for, if there were any.
    ///
    /// # Errors
    ///
    /// When one is no number, or the device fails.
    pub async fn losses(&mut self) -> Answer<Option<f64>> {
        self.training.losses().await.map_err(failed)
    }

    /// Logits for values at the cut.
    ///
    /// # Errors
    ///
    /// When they are no whole values, or the device fails.
    pub async fn answers(&self, values: Vec<f32>) -> Answer<Float32Array> {
        let answers = self.training.answers(values).await.map_err(failed)?;
        Ok(Float32Array::from(&answers[..]))
    }

    /// Ends an epoch, with how good the network is where that was measured.
    ///
    /// # Errors
    ///
    /// When no judgement is wanted, a loss is no number, or the device fails.
    pub async fn judged(&mut self, score: Option<f64>, loss: Option<f64>) -> Answer<JsValue> {
        let judgement = score.map(|score| Judgement {
            score,
            loss: loss.unwrap_or(0.0),
        });
        to_js(&self.training.judged(judgement).await.map_err(failed)?)
    }

    /// Where it stands, as a file's bytes.
    ///
    /// # Errors
    ///
    /// When a loss is no number, or the device fails.
    pub async fn state(&mut self) -> Answer<Uint8Array> {
        let note = json!({ "identity": self.identity });
        let bytes = self.training.state(note).await.map_err(failed)?;
        Ok(Uint8Array::from(&bytes[..]))
    }

    /// Goes on from a state.
    ///
    /// # Errors
    ///
    /// When it is of another training; the error says what differs.
    pub fn restore(&mut self, state: &[u8]) -> Answer<()> {
        let identity = &self.identity;
        let same = |note: &Value| training::is_same(&note["identity"], identity);
        self.training.restore(state, same).map_err(failed)
    }
}
