//! The class that the page's worker holds.

use js_sys::{Float32Array, Uint8Array};
use rekindle_core::device::{self, DeviceClass, OpenDevice, Preference};
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
#[cfg(feature = "gpu")]
use rekindle_core::model::Tensor;
use rekindle_core::postprocess::Prediction;
use rekindle_core::task::Task;
use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Failure;
use crate::learning::{Answer as ClassAnswer, FitOptions, Fitting, Head, Measuring};
use crate::project::Project;
#[cfg(feature = "training")]
use crate::tuning::Values;

#[cfg(feature = "training")]
mod trained;

type Answer<T> = Result<T, JsValue>;

/// A device, a model, and what a person has taught it.
///
/// Classes and examples are known by ids, which stay what they are whatever happens to others, and are never given
/// twice. A head that was fitted here belongs to the classes it was fitted on: it goes with the first of them.
#[wasm_bindgen]
pub struct Session {
    open: OpenDevice,
    reason: String,
    /// The model as it was opened: its backbone serves every head.
    base: Option<Model>,
    /// The head that was fitted last.
    head: Option<Head>,
    /// Counts the heads that have answered.
    revision: u32,
    project: Project,
    fitting: Option<Fitting>,
    measuring: Option<Measuring>,
    /// What a training that was left computed.
    #[cfg(feature = "training")]
    values: Values,
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
    /// What timm calls it, where torchvision has no such network.
    timm: Option<&'static str>,
    classes: &'a [String],
    /// The ids of the classes of a head that was fitted here.
    class_ids: Option<&'a [u32]>,
    head: &'static str,
    /// Whether more than the head was trained here.
    trained: bool,
    revision: u32,
    input_size: u32,
    parameters: usize,
    /// The classes a head was trained on here or elsewhere; `null` for the network's own.
    trainable: Option<&'a [String]>,
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
            head: None,
            revision: 0,
            project: Project::new(0),
            fitting: None,
            measuring: None,
            #[cfg(feature = "training")]
            values: Values::default(),
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
    /// When the bytes are not a model file, or a damaged one, or the model does not classify photos. The former
    /// model stays.
    pub async fn load(&mut self, bytes: Vec<u8>) -> Answer<JsValue> {
        let model = Model::open(bytes, &self.open.device).map_err(failed)?;
        let card = &model.card;
        let is_ours = card
            .task
            .must_be(Task::Classify, "this page", &card.architecture);
        is_ours.map_err(failed)?;
        self.project = self.project.emptied(model.graph().features());
        self.base = Some(model);
        self.forget_values();
        self.answer_by(None);
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
            timm: model.architecture().timm,
            classes: &card.classes,
            class_ids: self
                .head
                .as_ref()
                .map(|head| &head.classes[..])
                .filter(|classes| !classes.is_empty()),
            head,
            trained: self
                .head
                .as_ref()
                .is_some_and(|head| !head.reads_features()),
            revision: self.revision,
            input_size: card.preset.side(),
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
        let model = self.base()?;
        let crop = crop(model, &rgba, width, height)?;
        let answers = match self.head_on_features() {
            Some(head) => {
                let features = model.read_features(&[crop]).await.map_err(failed)?;
                head.answer(&features, top_k)
            }
            None => {
                let said = self.model()?.predict(&[crop], top_k).await;
                self.own(said.map_err(failed)?)
            }
        };
        to_js(&answers)
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
            let model = self.base()?;
            if let Some(batch) = self.batch(model, &source) {
                let answers = match self.head_on_features() {
                    Some(head) => {
                        let features = model.read_features_of(batch).await.map_err(failed)?;
                        head.answer(&features, top_k)
                    }
                    None => {
                        let said = self.model()?.predict_of(batch, top_k).await;
                        self.own(said.map_err(failed)?)
                    }
                };
                return to_js(&answers);
            }
        }
        let _ = (source, top_k);
        Ok(JsValue::UNDEFINED)
    }

    /// Adds a class and returns its id.
    ///
    /// # Errors
    ///
    /// When the name is empty or another class has it.
    #[wasm_bindgen(js_name = addClass)]
    pub fn add_class(&mut self, name: String) -> Answer<u32> {
        self.project.add_class(&name).map_err(failed)
    }

    /// Adds a class that another session had, under its id there.
    ///
    /// # Errors
    ///
    /// As [`add_class`](Self::add_class), and when the id is in use.
    #[wasm_bindgen(js_name = restoreClass)]
    pub fn restore_class(&mut self, id: u32, name: String) -> Answer<()> {
        self.project.restore_class(id, &name).map_err(failed)
    }

    /// Gives a class another name. A head that was fitted on it answers with that from now on.
    ///
    /// # Errors
    ///
    /// When there is no such class, the name is empty, or another class has it.
    #[wasm_bindgen(js_name = renameClass)]
    pub fn rename_class(&mut self, id: u32, name: String) -> Answer<()> {
        self.project.rename_class(id, &name).map_err(failed)?;
        if let Some(head) = self.head.as_mut().filter(|head| head.classes.contains(&id)) {
            head.model.card.classes = self.project.names(&head.classes);
        }
        Ok(())
    }

    /// Forgets a class with its examples. A head that was fitted on it goes, too.
    ///
    /// # Errors
    ///
    /// When there is no such class.
    #[wasm_bindgen(js_name = removeClass)]
    pub fn remove_class(&mut self, id: u32) -> Answer<()> {
        self.project.remove_class(id).map_err(failed)?;
        self.outdated();
        let knows = |head: &Head| head.classes.contains(&id);
        if self.head.as_ref().is_some_and(knows) {
            self.answer_by(None);
        }
        Ok(())
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
        class: u32,
        rgba: Vec<u8>,
        width: u32,
        height: u32,
    ) -> Answer<u32> {
        self.project.check(class).map_err(failed)?;
        let model = self.base()?;
        let crop = crop(model, &rgba, width, height)?;
        let features = model.read_features(&[crop]).await.map_err(failed)?;
        self.outdated();
        self.project.add_example(class, &features).map_err(failed)
    }

    /// The same for an `ImageBitmap`, as [`classify_frame`](Self::classify_frame).
    ///
    /// # Errors
    ///
    /// As [`add_example`](Self::add_example).
    #[wasm_bindgen(js_name = addFrame)]
    pub async fn add_frame(&mut self, class: u32, source: JsValue) -> Answer<Option<u32>> {
        self.project.check(class).map_err(failed)?;
        #[cfg(feature = "gpu")]
        {
            let model = self.base()?;
            if let Some(batch) = self.batch(model, &source) {
                let features = model.read_features_of(batch).await.map_err(failed)?;
                self.outdated();
                let id = self.project.add_example(class, &features);
                return id.map(Some).map_err(failed);
            }
        }
        let _ = source;
        Ok(None)
    }

    /// Adds an example that another session had, by its features and under its id there.
    ///
    /// # Errors
    ///
    /// When there is no such class, the id is in use, or the features are not those of this network.
    #[wasm_bindgen(js_name = restoreExample)]
    pub fn restore_example(&mut self, id: u32, class: u32, features: Vec<f32>) -> Answer<()> {
        self.outdated();
        let restored = self.project.restore_example(id, class, &features);
        restored.map_err(failed)
    }

    /// Says which file an example was read from, by its SHA-256. A model file lists the files its head was trained
    /// on, so that `rekindle evaluate` can tell photos that it has seen from others.
    ///
    /// # Errors
    ///
    /// When there is no such example, or the hash is none.
    #[wasm_bindgen(js_name = setFile)]
    pub fn set_file(&mut self, id: u32, sha256: Vec<u8>) -> Answer<()> {
        self.project.set_file(id, &sha256).map_err(failed)
    }

    /// The features of an example.
    ///
    /// # Errors
    ///
    /// When there is none of that id.
    pub fn features(&self, id: u32) -> Answer<Float32Array> {
        let features = self.project.features(id).map_err(failed)?;
        Ok(Float32Array::from(features))
    }

    /// Forgets an example.
    ///
    /// # Errors
    ///
    /// When there is none of that id.
    #[wasm_bindgen(js_name = removeExample)]
    pub fn remove_example(&mut self, id: u32) -> Answer<()> {
        self.outdated();
        self.project.remove_example(id).map_err(failed)
    }

    /// Begins to fit a linear head to all examples; [`step_fit`](Self::step_fit) goes on with it.
    ///
    /// # Errors
    ///
    /// When fewer than two classes have examples, or the options make no sense.
    #[wasm_bindgen(js_name = startFit)]
    pub fn start_fit(&mut self, options: JsValue) -> Answer<()> {
        let options = fit_options(options)?;
        self.base()?;
        self.outdated();
        let fitting = Fitting::new(&self.project, options.into()).map_err(failed)?;
        self.fitting = Some(fitting);
        Ok(())
    }

    /// Does a piece of the fit under way.
    ///
    /// # Errors
    ///
    /// When there is none, or the objective overflows.
    #[wasm_bindgen(js_name = stepFit)]
    pub fn step_fit(&mut self) -> Answer<JsValue> {
        let fitting = self.fitting.as_mut().ok_or_else(|| none_under_way("fit"))?;
        to_js(&fitting.step().map_err(failed)?)
    }

    /// Puts the head that was fitted in place.
    ///
    /// # Errors
    ///
    /// When no fit is under way.
    #[wasm_bindgen(js_name = finishFit)]
    pub fn finish_fit(&mut self) -> Answer<JsValue> {
        let fitting = self.fitting.take().ok_or_else(|| none_under_way("fit"))?;
        let base = self.base.as_ref().ok_or_else(no_model)?;
        let (head, report) = fitting.finish(&mut self.project, base).map_err(failed)?;
        self.answer_by(Some(head));
        to_js(&report)
    }

    /// Gives up the fit under way, if there is one.
    #[wasm_bindgen(js_name = dropFit)]
    pub fn drop_fit(&mut self) {
        self.fitting = None;
    }

    /// Begins to measure what the last fit is worth on photos it has not seen; [`step_folds`](Self::step_folds) goes
    /// on with it.
    ///
    /// # Errors
    ///
    /// When nothing was fitted.
    #[wasm_bindgen(js_name = startFolds)]
    pub fn start_folds(&mut self) -> Answer<()> {
        let head = self.head.as_ref().ok_or_else(|| {
            failed(Failure::usage(
                "there is no head to measure",
                "Fit one first.",
            ))
        })?;
        self.measuring = Some(Measuring::new(&self.project, &head.plan));
        Ok(())
    }

    /// Does a piece of the measurement under way.
    ///
    /// # Errors
    ///
    /// When there is none, or an objective overflows.
    #[wasm_bindgen(js_name = stepFolds)]
    pub fn step_folds(&mut self) -> Answer<JsValue> {
        let measuring = self.measuring.take();
        let measuring = measuring.ok_or_else(|| none_under_way("measurement"))?;
        let (measuring, step) = measuring.step(&self.project).map_err(failed)?;
        self.measuring = Some(measuring);
        to_js(&step)
    }

    /// What the measurement came to; `null` where some class has a single example, or only one that does not belong
    /// with the others.
    ///
    /// # Errors
    ///
    /// When there is none under way.
    #[wasm_bindgen(js_name = finishFolds)]
    pub fn finish_folds(&mut self) -> Answer<JsValue> {
        let measuring = self.measuring.take();
        let measuring = measuring.ok_or_else(|| none_under_way("measurement"))?;
        to_js(&measuring.finish(&self.project).map_err(failed)?)
    }

    /// Gives up the measurement under way, if there is one.
    #[wasm_bindgen(js_name = dropFolds)]
    pub fn drop_folds(&mut self) {
        self.measuring = None;
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
            .map_or(0, |model| model.graph().features());
        self.project = self.project.emptied(width);
        self.forget_values();
        self.answer_by(None);
    }

    /// The ids that the next class and the next example will have, and how many heads have answered: for a session that
    /// stands in for this one.
    pub fn counters(&self) -> Vec<u32> {
        let [class, example] = self.project.next_ids();
        vec![class, example, self.revision]
    }

    /// Forgets what a training that was left computed.
    fn forget_values(&mut self) {
        #[cfg(feature = "training")]
        {
            self.values = Values::default();
        }
    }

    /// Another head answers from now on.
    fn answer_by(&mut self, head: Option<Head>) {
        self.outdated();
        self.head = head;
        self.revision += 1;
    }

    /// What is under way would be of something else.
    fn outdated(&mut self) {
        self.fitting = None;
        self.measuring = None;
    }

    /// What the network sees of a picture on the adapter.
    #[cfg(feature = "gpu")]
    fn batch(&self, model: &Model, source: &JsValue) -> Option<Tensor<4>> {
        model.batch_of_frame(&crate::frame::drawn(&self.open, source)?)
    }

    /// The head that answers, if it needs no more than features.
    fn head_on_features(&self) -> Option<&Head> {
        self.head.as_ref().filter(|head| head.reads_features())
    }

    /// What the whole network says of one photo.
    fn own(&self, predictions: Vec<Vec<Prediction>>) -> Vec<ClassAnswer> {
        let photo = predictions.into_iter().next().unwrap_or_default();
        let ids = self.head.as_ref().map(|head| &head.classes[..]);
        ClassAnswer::with_ids(photo, ids.unwrap_or_default())
    }

    fn base(&self) -> Answer<&Model> {
        self.base.as_ref().ok_or_else(no_model)
    }

    /// The network with the head that answers.
    fn model(&self) -> Answer<&Model> {
        match &self.head {
            Some(head) => Ok(&head.model),
            None => self.base(),
        }
    }
}

fn fit_options(options: JsValue) -> Answer<FitOptions> {
    match options.is_undefined() || options.is_null() {
        true => Ok(FitOptions::default()),
        false => serde_wasm_bindgen::from_value(options).map_err(failed),
    }
}

fn crop(model: &Model, rgba: &[u8], width: u32, height: u32) -> Answer<RgbImage> {
    let image = RgbImage::from_rgba(width, height, rgba).map_err(failed)?;
    Ok(model.card.preset.crop_pixels(&image))
}

fn no_model() -> JsValue {
    failed(Failure::usage(
        "no model is open",
        "Wait until the model has been loaded.",
    ))
}

fn none_under_way(what: &str) -> JsValue {
    failed(Failure::usage(
        format!("no {what} is under way"),
        "Begin it again: something has changed meanwhile.",
    ))
}
