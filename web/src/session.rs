//! The class that the page's worker holds.

use js_sys::{Date, Uint8Array};
use rekindle_core::device::{self, DeviceClass, OpenDevice, Preference};
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
#[cfg(feature = "gpu")]
use rekindle_core::model::Tensor;
use rekindle_core::train::{
    ClassWeights, Examples, Fitted, HeadRecipe, LinearRecipe, LinearTrainer, TrainError,
    cross_validate, judge,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

use crate::error::Failure;
use crate::project::Project;

type Answer<T> = Result<T, JsValue>;

/// A device, a model, and what a person has taught it.
#[wasm_bindgen]
pub struct Session {
    open: OpenDevice,
    reason: String,
    /// The model as it was opened: its backbone serves every head.
    base: Option<Model>,
    /// The model with the head that was fitted last.
    fitted: Option<Model>,
    project: Project,
}

#[derive(Serialize)]
struct DeviceDescription<'a> {
    kind: &'static str,
    name: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelInfo<'a> {
    architecture: &'a str,
    classes: &'a [String],
    head: &'static str,
    input_size: u32,
    parameters: usize,
    /// The classes a head was trained on here or elsewhere; `null` for the network's own.
    trainable: Option<&'a [String]>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct FitOptions {
    c: Option<f64>,
    class_weights: Option<String>,
    seed: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FitReport {
    iterations: usize,
    objective: f64,
    train_accuracy: f64,
    cross_validation: Option<f64>,
    folds: Option<usize>,
    milliseconds: f64,
}

fn to_js(value: &impl Serialize) -> Answer<JsValue> {
    // Plain objects and `null`, as JSON would give them.
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value
        .serialize(&serializer)
        .map_err(|error| Failure::from(error).into())
}

fn failed(error: impl Into<Failure>) -> JsValue {
    error.into().into()
}

#[wasm_bindgen]
impl Session {
    /// Opens a device. The worker has asked the browser whether there is a usable adapter, and says so:
    /// `auto` takes it if there is, `webgpu` takes any, `cpu` none.
    ///
    /// # Errors
    ///
    /// When WebGPU was insisted on and cannot be had, or computes wrongly.
    pub async fn open(device: String, webgpu_usable: bool, reason: String) -> Answer<Session> {
        let insisted = device == "webgpu";
        let reason = match device.as_str() {
            "auto" => reason,
            _ => "it was asked for".to_owned(),
        };
        let wants_gpu = insisted || (device == "auto" && webgpu_usable);
        let preference = if wants_gpu {
            Preference::Gpu(None)
        } else {
            Preference::Cpu
        };
        let (open, reason) = match device::open(preference).await {
            Ok(open) => (open, reason),
            // A device that fails its self-test is no reason to fail: the processor can do it too.
            Err(error) if !insisted => (device::cpu(), error.to_string()),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            open,
            reason,
            base: None,
            fitted: None,
            project: Project::new(0),
        })
    }

    /// What it runs on.
    ///
    /// # Errors
    ///
    /// Never in practice: when the description cannot be handed over.
    pub fn device(&self) -> Answer<JsValue> {
        let kind = match self.open.info.kind {
            DeviceClass::Cpu => "cpu",
            DeviceClass::Gpu | DeviceClass::Software => "webgpu",
        };
        to_js(&DeviceDescription {
            kind,
            name: &self.open.info.name,
            reason: &self.reason,
        })
    }

    /// Opens a model file and forgets what was taught before.
    ///
    /// # Errors
    ///
    /// When the bytes are not a model file, or a damaged one. The former model stays.
    pub async fn load(&mut self, bytes: Vec<u8>) -> Answer<JsValue> {
        let model = Model::open(bytes, &self.open.device).map_err(failed)?;
        self.project = Project::new(model.backbone_graph().features());
        self.base = Some(model);
        self.fitted = None;
        self.info()
    }

    /// The model, or `null` when none is open.
    ///
    /// # Errors
    ///
    /// Never in practice: when the description cannot be handed over.
    pub fn info(&self) -> Answer<JsValue> {
        let Ok(model) = self.model() else {
            return Ok(JsValue::NULL);
        };
        let card = &model.card;
        let head = card.head.name();
        to_js(&ModelInfo {
            architecture: &card.architecture,
            classes: &card.classes,
            head,
            input_size: card.preset.crop(),
            parameters: model.parameters(),
            trainable: (head != "original").then_some(&card.classes),
        })
    }

    /// The best classes for a photo, by the head fitted last or the one the model came with.
    ///
    /// # Errors
    ///
    /// When no model is open, the pixels do not fit the size, or the device fails.
    pub async fn classify(
        &self,
        rgba: Vec<u8>,
        width: u32,
        height: u32,
        top_k: usize,
    ) -> Answer<JsValue> {
        let model = self.model()?;
        let crop = crop(model, &rgba, width, height)?;
        let answers = model.predict(&[crop], top_k).await.map_err(failed)?;
        to_js(&answers.first())
    }

    /// The same for an `ImageBitmap`, whose pixels stay on the graphics adapter; `undefined` where that cannot be
    /// done (on the processor, for enormous pictures).
    ///
    /// # Errors
    ///
    /// As [`classify`](Self::classify).
    #[wasm_bindgen(js_name = classifyFrame)]
    pub async fn classify_frame(&self, source: JsValue, top_k: usize) -> Answer<JsValue> {
        #[cfg(feature = "gpu")]
        {
            let model = self.model()?;
            if let Some(batch) = self.batch(model, &source) {
                let answers = model.predict_of(batch, top_k).await.map_err(failed)?;
                return to_js(&answers.first());
            }
        }
        let _ = (source, top_k);
        Ok(JsValue::UNDEFINED)
    }

    /// Adds a class and returns its number.
    #[wasm_bindgen(js_name = addClass)]
    pub fn add_class(&mut self, name: String) -> usize {
        self.project.add_class(name)
    }

    /// Gives a class another name.
    ///
    /// # Errors
    ///
    /// When there is no such class.
    #[wasm_bindgen(js_name = renameClass)]
    pub fn rename_class(&mut self, class: usize, name: String) -> Answer<()> {
        if !self.project.rename_class(class, name) {
            return Err(no_class(class));
        }
        // A fitted head keeps its order; only the name it answers with changes.
        if let Some(fitted) = &mut self.fitted
            && fitted.card.classes.len() == self.project.names().len()
        {
            fitted.card.classes = self.project.names().to_vec();
        }
        Ok(())
    }

    /// Forgets a class with its examples; those after it move up.
    ///
    /// # Errors
    ///
    /// When there is no such class.
    #[wasm_bindgen(js_name = removeClass)]
    pub fn remove_class(&mut self, class: usize) -> Answer<()> {
        if self.project.remove_class(class) {
            Ok(())
        } else {
            Err(no_class(class))
        }
    }

    /// The classes with the number of their examples.
    ///
    /// # Errors
    ///
    /// Never in practice: when the list cannot be handed over.
    pub fn classes(&self) -> Answer<JsValue> {
        to_js(&self.project.classes())
    }

    /// Adds a photo to a class and returns the example's id. Only its features are kept.
    ///
    /// # Errors
    ///
    /// When there is no such class or model, the pixels do not fit the size, or the device fails.
    #[wasm_bindgen(js_name = addExample)]
    pub async fn add_example(
        &mut self,
        class: usize,
        rgba: Vec<u8>,
        width: u32,
        height: u32,
    ) -> Answer<u32> {
        if class >= self.project.names().len() {
            return Err(no_class(class));
        }
        let model = self.base()?;
        let crop = crop(model, &rgba, width, height)?;
        let features = model.read_features(&[crop]).await.map_err(failed)?;
        self.project.add_example(class, &features).map_err(failed)
    }

    /// The same for an `ImageBitmap`, as [`classify_frame`](Self::classify_frame).
    ///
    /// # Errors
    ///
    /// As [`add_example`](Self::add_example).
    #[wasm_bindgen(js_name = addFrame)]
    pub async fn add_frame(&mut self, class: usize, source: JsValue) -> Answer<Option<u32>> {
        if class >= self.project.names().len() {
            return Err(no_class(class));
        }
        #[cfg(feature = "gpu")]
        {
            let model = self.base()?;
            if let Some(batch) = self.batch(model, &source) {
                let features = model.read_features_of(batch).await.map_err(failed)?;
                let id = self.project.add_example(class, &features);
                return id.map(Some).map_err(failed);
            }
        }
        let _ = source;
        Ok(None)
    }

    /// Forgets an example.
    ///
    /// # Errors
    ///
    /// When there is none of that id.
    #[wasm_bindgen(js_name = removeExample)]
    pub fn remove_example(&mut self, id: u32) -> Answer<()> {
        if self.project.remove_example(id) {
            return Ok(());
        }
        let help = "Reload the page if it shows photos that are gone.";
        Err(failed(Failure::usage(
            format!("there is no example {id}"),
            help,
        )))
    }

    /// Fits a linear head to all examples, to the optimum, and measures it by cross-validation.
    ///
    /// # Errors
    ///
    /// When fewer than two classes have examples.
    pub async fn fit(&mut self, options: JsValue) -> Answer<JsValue> {
        let options: FitOptions = match options.is_undefined() || options.is_null() {
            true => FitOptions::default(),
            false => serde_wasm_bindgen::from_value(options).map_err(failed)?,
        };
        let class_weights = match options.class_weights.as_deref() {
            Some("balanced" | "auto") => ClassWeights::Balanced,
            _ => ClassWeights::None,
        };
        let recipe = LinearRecipe {
            c: options.c,
            class_weights,
        };
        let seed = u64::from(options.seed.unwrap_or(0));
        let started = Date::now();

        let model = self.base()?;
        let (cache, classes) = (self.project.cache(), self.project.names().len());
        let all: Vec<usize> = (0..cache.len()).collect();
        let examples: Examples = cache.plain(&all);
        let solve = |examples: &Examples, start| {
            let trainer = LinearTrainer::new(&recipe, examples, classes, start);
            trainer.and_then(LinearTrainer::solve)
        };
        let solution = solve(&examples, self.project.last.as_ref());
        let solution = solution.map_err(TrainError::from).map_err(failed)?;
        let logits = solution.logits(&examples.features);
        let accuracy = judge(&logits, &examples.labels, classes)
            .map_err(unexpected)?
            .accuracy;
        let milliseconds = Date::now() - started;

        // As many folds as the rarest class allows, five at most; fewer than two say nothing.
        let rarest = (0..classes)
            .map(|class| {
                examples
                    .labels
                    .iter()
                    .filter(|&&label| label == class)
                    .count()
            })
            .filter(|&count| count > 0)
            .min();
        let folds = rarest
            .map(|rarest| rarest.min(5))
            .filter(|&folds| folds >= 2);
        let mut cross_validation = None;
        if let Some(folds) = folds {
            let answer = async |train: Examples, valid: &Examples| {
                let solution = solve(&train, None)?;
                Ok::<_, TrainError>(solution.logits(&valid.features))
            };
            let logits = cross_validate(cache, classes, folds, seed, answer, |_| true)
                .await
                .map_err(failed)?;
            if let Some(logits) = logits {
                let report = judge(&logits, cache.labels(), classes).map_err(unexpected)?;
                cross_validation = report.accuracy;
            }
        }

        let fitted = Fitted::linear(solution, &examples, model.slot());
        let names = self.project.names().to_vec();
        let mut trained = model.with_head(fitted.kind, fitted.head, names);
        let recipe = HeadRecipe::Linear(recipe);
        trained.card.recipe = object(json!({ "head": recipe, "seed": seed }));
        trained.card.provenance = object(json!({
            "rekindle": env!("CARGO_PKG_VERSION"),
            "made_in": "browser",
            "images": examples.len(),
        }));
        let report = FitReport {
            iterations: fitted.iterations,
            objective: fitted.loss,
            train_accuracy: accuracy.unwrap_or(f64::NAN),
            cross_validation,
            folds,
            milliseconds,
        };
        self.project.last = fitted.solution;
        self.fitted = Some(trained);
        to_js(&report)
    }

    /// The bytes of the model file: with the head fitted last, or the one the model came with.
    ///
    /// # Errors
    ///
    /// When no model is open or the device fails.
    #[wasm_bindgen(js_name = saveModel)]
    pub async fn save_model(&self) -> Answer<Uint8Array> {
        let bytes = self.model()?.save().map_err(failed)?;
        Ok(Uint8Array::from(&bytes[..]))
    }

    /// Forgets classes, examples and the fitted head; the model stays as it was opened.
    pub fn reset(&mut self) {
        let width = self
            .base
            .as_ref()
            .map_or(0, |model| model.backbone_graph().features());
        self.project = Project::new(width);
        self.fitted = None;
    }

    /// What the network sees of a picture on the adapter.
    #[cfg(feature = "gpu")]
    fn batch(&self, model: &Model, source: &JsValue) -> Option<Tensor<4>> {
        model.batch_of_frame(&crate::frame::drawn(&self.open, source)?)
    }

    fn base(&self) -> Answer<&Model> {
        self.base.as_ref().ok_or_else(|| {
            failed(Failure::usage(
                "no model is open",
                "Wait until the model has been loaded.",
            ))
        })
    }

    fn model(&self) -> Answer<&Model> {
        self.fitted.as_ref().map_or_else(|| self.base(), Ok)
    }
}

fn crop(model: &Model, rgba: &[u8], width: u32, height: u32) -> Answer<RgbImage> {
    let image = RgbImage::from_rgba(width, height, rgba).map_err(failed)?;
    Ok(model.card.preset.crop_pixels(&image))
}

fn no_class(class: usize) -> JsValue {
    failed(Failure::usage(
        format!("there is no class number {class}"),
        "Add the class first.",
    ))
}

fn unexpected(error: impl std::fmt::Display) -> JsValue {
    JsError::new(&error.to_string()).into()
}

fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
