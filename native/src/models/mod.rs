//! From what a person types to a model: a file, or a network's name and its weights.

mod foreign;
mod origin;
mod request;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use rayon::prelude::*;
use rekindle_core::backbone::{Architecture, PretrainedWeights, find};
use rekindle_core::compiled::Precision;
use rekindle_core::device::{Device, DeviceError};
use rekindle_core::graph::{Graph, Scratch};
use rekindle_core::model::{Contents, Model, ModelCard, ModelError, Purpose};
use rekindle_core::task::Task;
use rekindle_core::weights::{TensorSource, WeightFile, WeightsError};
use serde_json::json;

use crate::cli::{PictureArgs, PrecisionChoice};
use crate::context::Context;
use crate::fetch::{self, Places, WeightSource};
use crate::memory;
use crate::runs::MODEL;
use crate::ui::{ExitCode, Failure, Unit};
use foreign::from_file;
use origin::{origin, read};
use request::{ClassNames, Wanted, card, file_and_part, model_file, published};

pub use origin::Origin;
pub use request::{
    check, check_network, files_read, has_what_is_left_out, is_name, too_small, untrained,
};

/// What the file search needs to know of a network's weights.
pub fn source(weights: &'static PretrainedWeights) -> WeightSource<'static> {
    let stem = weights
        .file_name
        .rsplit_once('.')
        .map_or(weights.file_name, |(stem, _)| stem);
    let file_name = weights.file_name;
    weights.url.map_or(
        WeightSource {
            name: stem,
            file_name,
            url: None,
            sha256_prefix: None,
        },
        |url| WeightSource::from_url(stem, url),
    )
}

/// Opens a model file, or the network of that name with its own classes, in the precision asked for.
pub fn open(
    name: &str,
    weights: Option<&str>,
    device: &Device,
    context: &Context,
) -> anyhow::Result<Model> {
    open_to_measure(name, weights, None, device, context)
}

/// The same, to be measured on photos that may say what the classes of its head are called.
pub fn open_to_measure(
    name: &str,
    weights: Option<&str>,
    classes: ClassNames<'_>,
    device: &Device,
    context: &Context,
) -> anyhow::Result<Model> {
    let precision = match context.global.precision {
        PrecisionChoice::Full => Precision::Full,
        PrecisionChoice::Half => Precision::Half,
    };
    let model = opened(name, weights, classes, device, context)?;
    let side = model.card.preset.side();
    memory::check(
        memory::of_maps(model.graph()),
        &format!("{name}, which sees photos of {side} pixels a side,"),
        "take a model that sees smaller photos, or free some memory",
    )?;
    Ok(model.with_precision(precision)?)
}

/// Opens a model that is not run.
pub fn open_to_write(
    name: &str,
    weights: Option<&str>,
    device: &Device,
    context: &Context,
) -> anyhow::Result<Model> {
    opened(name, weights, None, device, context)
}

fn opened(
    name: &str,
    weights: Option<&str>,
    classes: ClassNames<'_>,
    device: &Device,
    context: &Context,
) -> anyhow::Result<Model> {
    if let Some(path) = model_file(name, weights)? {
        return Ok(Model::new(from_model_file(path)?, device));
    }
    let wanted = Wanted {
        purpose: Purpose::Answer,
        pictures: &PictureArgs::default(),
        seed: 0,
        classes,
        device,
    };
    Ok(named(name, weights, &wanted, context)?.0)
}

/// Opens a model file: its card, and tensors that fit it and that can be computed with.
pub fn from_model_file(path: &Path) -> anyhow::Result<Contents> {
    match Contents::open(read(path)?) {
        Err(ModelError::NoCard) => {
            let what = format!(
                "{} is no model file but plain weights, which do not say of which network and classes they are",
                path.display()
            );
            let help = "give the network's name, and this file with --weights";
            Err(Failure::new(ExitCode::Data, what).with_help(help).into())
        }
        Err(ModelError::Weights(error @ WeightsError::NotAWeightFile { .. })) => {
            let error = anyhow::Error::new(ModelError::Weights(error));
            let what = format!("cannot open {}", path.display());
            // A report, a recipe: what lies beside a run's model.
            let own = path.with_file_name(MODEL);
            Err(match own.is_file() {
                true => Failure::new(
                    ExitCode::Data,
                    format!("{} is no model file", path.display()),
                )
                .with_help(format!("name the run's model: {}", own.display()))
                .into(),
                false => error.context(what),
            })
        }
        other => other.with_context(|| format!("cannot open {}", path.display())),
    }
}

/// The network of that name, filled with the weights asked for, to train a new head on it: the file's own
/// may have any size.
pub fn pretrained(
    name: &str,
    weights: Option<&str>,
    pictures: &PictureArgs,
    seed: u64,
    device: &Device,
    context: &Context,
) -> anyhow::Result<(Model, Origin)> {
    let wanted = Wanted {
        purpose: Purpose::NewHead,
        pictures,
        seed,
        classes: None,
        device,
    };
    named(name, weights, &wanted, context)
}

fn named(
    name: &str,
    weights: Option<&str>,
    wanted: &Wanted<'_>,
    context: &Context,
) -> anyhow::Result<(Model, Origin)> {
    let architecture = find(name)?;
    has_what_is_left_out(architecture, wanted.pictures)?;
    if weights == Some("random") {
        return random(architecture, wanted);
    }
    match weights.map(file_and_part) {
        Some(Some((path, part))) => from_file(architecture, path, part, wanted, context),
        _ => {
            let chosen = weights;
            let entry = published(architecture, chosen)?;
            let card = card(architecture, entry, wanted.pictures)?;
            let label = format!("{} {}", architecture.name, entry.name);
            let mut progress = None;
            let found = fetch::fetch(
                &source(entry),
                &Places::of_this_machine(),
                context.global.offline,
                &context.interrupt,
                &mut |transfer| {
                    progress
                        .get_or_insert_with(|| context.console.start(&label, Unit::Bytes, None))
                        .set(transfer.received, transfer.total);
                },
            )?;
            let bytes = read(&found.path)?;
            let file = WeightFile::parse(&bytes).map_err(ModelError::from);
            let (contents, _) = file
                .and_then(|file| Contents::read(architecture, card, &file, wanted.purpose))
                .with_context(|| format!("cannot use {}", found.path.display()))?;
            let model = Model::new(contents, wanted.device);
            let origin = origin(entry.name, entry.file_name, &found.sha256.to_string());
            Ok((model, origin))
        }
    }
}

fn random(
    architecture: &'static Architecture,
    wanted: &Wanted<'_>,
) -> anyhow::Result<(Model, Origin)> {
    let card = card(
        architecture,
        published(architecture, None)?,
        wanted.pictures,
    )?;
    let side = card.preset.side() as usize;
    let image = [card.channels.count(), side, side];
    let graph = architecture.whole_graph(image, &card.options(), card.classes.len())?;
    let drawn = Drawn::of(&graph, Scratch::new(&graph, architecture.init, wanted.seed))?;
    let model = Model::new(Contents::ported(architecture, card, &drawn)?, wanted.device);
    let mut origin = Origin::new();
    origin.insert("weights".into(), json!("random"));
    Ok((model, origin))
}

/// An untrained network's numbers, drawn on all cores: of large tensors that takes most of the time until the first
/// photo is looked at.
struct Drawn<'a> {
    scratch: Scratch<'a>,
    tensors: Mutex<HashMap<String, Vec<f32>>>,
}

impl<'a> Drawn<'a> {
    fn of(graph: &Graph, scratch: Scratch<'a>) -> Result<Self, WeightsError> {
        let parts = [false, true].into_iter();
        let wanted: Vec<_> = parts.flat_map(|head| graph.tensors_of(head)).collect();
        let draw = |(name, shape): (String, Vec<usize>)| {
            let values = scratch.values(&name, &shape)?;
            Ok((name, values))
        };
        let tensors = wanted.into_par_iter().map(draw);
        let tensors = tensors.collect::<Result<_, WeightsError>>()?;
        Ok(Self {
            scratch,
            tensors: Mutex::new(tensors),
        })
    }
}

impl TensorSource for Drawn<'_> {
    fn names(&self) -> Vec<String> {
        self.scratch.names()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        self.scratch.shape(name, wanted)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let mut tensors = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        match tensors.remove(name) {
            Some(values) if values.len() == shape.iter().product::<usize>() => Ok(values),
            _ => self.scratch.values(name, shape),
        }
    }
}

/// What is said of a model that has no answer for a photo.
pub fn unanswered(
    error: DeviceError,
    model: &Model,
    paths: &[PathBuf],
    photos: &[usize],
) -> anyhow::Error {
    let DeviceError::NotFinite { image, .. } = error else {
        return error.into();
    };
    let network = &model.card.architecture;
    let photo = photos.get(image).map_or("a photo".into(), |&photo| {
        paths[photo].display().to_string()
    });
    anyhow::Error::new(error).context(format!("{network} has no answer for {photo}"))
}

/// The words by which a model is introduced.
pub fn title(card: &ModelCard) -> String {
    format!(
        "{} with a {} head, {} {}",
        card.architecture,
        card.head.name(),
        card.classes.len(),
        match (card.task, card.classes.len()) {
            (Task::MultiLabel, _) => "labels",
            (Task::Regress, 1) => "value",
            (Task::Regress, _) => "values",
            _ => "classes",
        }
    )
}
