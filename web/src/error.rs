//! Errors as JavaScript sees them: an `Error` with `kind` and, where there is something to do, `help`.

use js_sys::Reflect;
use rekindle_core::device::DeviceError;
use rekindle_core::image::ImageError;
use rekindle_core::model::ModelError;
use rekindle_core::task::WrongTask;
use rekindle_core::train::logistic::LogisticError;
use rekindle_core::train::{ClassWeightError, FeatureError, SplitError};
use rekindle_core::tune::{PlanError, StateError, TuneError};
use wasm_bindgen::JsValue;

/// What went wrong, sorted by what a page can do about it.
#[derive(Debug)]
pub struct Failure {
    kind: &'static str,
    message: String,
    help: Option<&'static str>,
}

impl Failure {
    /// A mistake of the page or of its user.
    pub fn usage(message: impl Into<String>, help: &'static str) -> Self {
        Self {
            kind: "usage",
            message: message.into(),
            help: Some(help),
        }
    }

    /// What this engine cannot do.
    #[cfg(all(feature = "training", not(feature = "gpu")))]
    pub fn unsupported(message: impl Into<String>, help: &'static str) -> Self {
        Self {
            kind: "unsupported",
            message: message.into(),
            help: Some(help),
        }
    }

    /// What cannot happen, said all the same.
    pub fn unexpected(error: impl std::fmt::Display) -> Self {
        Self {
            kind: "unknown",
            message: error.to_string(),
            help: None,
        }
    }
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let error = js_sys::Error::new(&failure.message);
        // Setting a property of a fresh object cannot fail.
        let _ = Reflect::set(&error, &"kind".into(), &failure.kind.into());
        if let Some(help) = failure.help {
            let _ = Reflect::set(&error, &"help".into(), &help.into());
        }
        error.into()
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        // The only one that another device would not help against.
        let (kind, help) = match error {
            DeviceError::NotFinite { .. } => (
                "model",
                "Open another model: the weights of this one are damaged.",
            ),
            _ => ("device", "Reload the page with ?device=cpu."),
        };
        Self {
            kind,
            message: error.to_string(),
            help: Some(help),
        }
    }
}

impl From<TuneError> for Failure {
    fn from(error: TuneError) -> Self {
        match error {
            TuneError::Device(error) => error.into(),
            TuneError::Diverged { .. } => Self {
                kind: "diverged",
                message: error.to_string(),
                help: Some("Begin again with a lower learning rate."),
            },
            TuneError::State(error) => Self {
                kind: "state",
                message: error.to_string(),
                help: Some("Give a state that this training handed out."),
            },
        }
    }
}

macro_rules! failure_from {
    ($($error:ty => $kind:literal, $help:expr;)+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { kind: $kind, message: error.to_string(), help: $help }
            }
        })+
    };
}

failure_from! {
    ModelError => "model", Some("Open a model.safetensors that Rekindle has saved.");
    WrongTask => "model", Some("Open a model that classifies photos.");
    ImageError => "image", Some("Try another photo.");
    LogisticError => "train", Some("Give at least two classes two photos each.");
    FeatureError => "train", Some("Reload the page with ?device=cpu.");
    SplitError => "train", Some("Give at least two classes two photos each.");
    PlanError => "usage", Some("Change the recipe, or take another network.");
    ClassWeightError => "usage", Some("Give each example a class that the network has.");
    StateError => "state", Some("Give a state that this training handed out.");
    serde_wasm_bindgen::Error => "usage", None;
}
