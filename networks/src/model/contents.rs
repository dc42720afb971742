//! What a model file holds, read and written: safetensors under PyTorch's names, with one metadata string.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

use super::cause::Cause;
use super::described::whole_graph;
use super::ported::{Ported, Purpose, Reading};
use super::{FORMAT, ModelCard};
use crate::backbone::{
    Architecture, HeadSlot, PretrainedWeights, UnknownArchitecture, UnsupportedInput, find,
};
use crate::graph::{Graph, LayerId, LayerKind};
use crate::head::HeadKind;
use crate::task::Task;
use crate::weights::{
    FillReport, Kept, StateDict, StorageDtype, TensorSource, Tensors, WeightFile, WeightsError,
    quoted, shown, state_dict, take, write_safetensors,
};

/// The key of the metadata string in a model file.
pub const METADATA_KEY: &str = "rekindle";

/// Why a model could not be opened or saved.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The bytes are no weight file, or a damaged one.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A weight file without Rekindle's metadata.
    #[error(
        "this is a plain weight file: it does not say which network and classes it belongs to (there is no '{METADATA_KEY}' metadata)"
    )]
    NoCard,
    /// Metadata that cannot be understood.
    #[error("the model file's metadata is damaged: {0}")]
    Card(String),
    /// A file made by a later Rekindle.
    #[error(
        "the model file has format {found}, this Rekindle reads up to {FORMAT}: update Rekindle"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// A file for a task that this Rekindle does not know, from a later one.
    #[error(
        "the model file is for the task '{found}', which this Rekindle does not know: update Rekindle"
    )]
    UnknownTask {
        /// The task's name, made fit for a message.
        found: String,
    },
    /// A network this Rekindle does not know.
    #[error(transparent)]
    Architecture(#[from] UnknownArchitecture),
    /// A size of images that the network cannot take.
    #[error(transparent)]
    Input(#[from] UnsupportedInput),
    /// Tensors that do not belong to the network.
    #[error("these weights are not {architecture}'s: {}", describe(report))]
    Mismatch {
        /// The network that was to be filled.
        architecture: String,
        /// What did not match.
        report: Box<FillReport>,
        /// Why, most likely.
        cause: Cause,
    },
}

/// Whether every batch norm can divide by the root of its running variance. PyTorch answers NaN where it is
/// −ε or below; the little below zero that rounding leaves is harmless there and here.
fn check_variances(graph: &Graph, parts: &[&Tensors]) -> Result<(), WeightsError> {
    for layer in graph.layers() {
        let LayerKind::BatchNorm { norm, .. } = layer.kind else {
            continue;
        };
        let name = layer.tensor("running_var");
        let found = parts.iter().find_map(|part| part.get(&name));
        let Some((_, variances)) = found else {
            continue;
        };
        let is_none = |variance: &f32| variance + norm.epsilon as f32 <= 0.0;
        if let Some(index) = variances.iter().position(is_none) {
            return Err(WeightsError::NoVariance {
                name: shown(&name),
                value: variances[index].to_string(),
                index,
                len: variances.len(),
            });
        }
    }
    Ok(())
}

/// What did not match, in a sentence; long lists are cut.
fn describe(report: &FillReport) -> String {
    let some = |names: &[String]| {
        let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        if names.len() > 3 {
            format!("{shown}, …")
        } else {
            shown
        }
    };
    let mut parts = Vec::new();
    if !report.missing.is_empty() {
        parts.push(format!(
            "{} missing ({})",
            report.missing.len(),
            some(&report.missing)
        ));
    }
    if !report.unexpected.is_empty() {
        parts.push(format!(
            "{} unexpected ({})",
            report.unexpected.len(),
            some(&report.unexpected)
        ));
    }
    if !report.misshaped.is_empty() {
        let names: Vec<_> = report
            .misshaped
            .iter()
            .map(|m| format!("{} is {:?}, not {:?}", m.name, m.found, m.expected))
            .collect();
        parts.push(format!(
            "{} of another shape ({})",
            names.len(),
            some(&names)
        ));
    }
    parts.join("; ")
}

/// What a model file holds: a network, its numbers, its classes, and how photos are prepared for it.
#[derive(Debug, Clone)]
pub struct Contents {
    /// What the file says about itself.
    pub card: ModelCard,
    architecture: &'static Architecture,
    graph: Arc<Graph>,
    /// The backbone's numbers under their names in the state_dict.
    backbone: Arc<Tensors>,
    /// The head's, likewise.
    head: Arc<Tensors>,
}

impl Contents {
    /// A network as it was published: weights from a torchvision (or timm) state_dict, the original
    /// ImageNet head.
    ///
    /// # Errors
    ///
    /// When a tensor is missing, unexpected, of the wrong shape or damaged.
    pub fn pretrained(
        architecture: &'static Architecture,
        weights: &PretrainedWeights,
        source: &dyn TensorSource,
    ) -> Result<Self, ModelError> {
        let card = ModelCard::published(architecture, weights);
        Self::ported(architecture, card, source)
    }

    /// A network as the card wants it, from published weights: positions are resampled to the card's
    /// size, and the first convolution is ported to its channels.
    ///
    /// # Errors
    ///
    /// When a tensor is missing, unexpected, of the wrong shape or damaged.
    pub fn ported(
        architecture: &'static Architecture,
        card: ModelCard,
        source: &dyn TensorSource,
    ) -> Result<Self, ModelError> {
        let answer = Purpose::Answer;
        Self::read(architecture, card, source, answer).map(|(contents, _)| contents)
    }

    /// The same for a purpose, from a file that anybody may have saved: whatever stands in front of all
    /// names is taken off, and what is not the network's is left aside, as far as the purpose allows.
    ///
    /// # Errors
    ///
    /// As [`ported`](Self::ported).
    pub fn read(
        architecture: &'static Architecture,
        card: ModelCard,
        source: &dyn TensorSource,
        purpose: Purpose,
    ) -> Result<(Self, Reading), ModelError> {
        let ported = |graph: &Graph| Ported::new(architecture, graph, &card, purpose, source);
        let filled = Self::filled(architecture, &card, ported);
        match filled {
            Ok((contents, ported)) => Ok((contents, ported.reading())),
            Err(ModelError::Mismatch { report, .. }) => Err(ModelError::Mismatch {
                architecture: architecture.name.to_owned(),
                cause: Cause::of(architecture, &card, &report, source),
                report,
            }),
            Err(error) => Err(error),
        }
    }

    /// Opens a model file. Its bytes are kept where they hold numbers as we need them.
    ///
    /// # Errors
    ///
    /// When the bytes are not a model file of ours, are damaged, come from a later version, or do not
    /// fill the network they name with numbers that it can compute with.
    pub fn open(bytes: Vec<u8>) -> Result<Self, ModelError> {
        let bytes = Arc::new(bytes);
        let file = WeightFile::parse(&bytes)?;
        let card = read_card(&file)?;
        let architecture = find(&card.architecture)?;
        let kept = |_: &Graph| Ok(Kept::new(&file, &bytes));
        match Self::filled(architecture, &card, kept) {
            Ok((contents, _)) => Ok(contents),
            Err(ModelError::Mismatch {
                architecture: name,
                report,
                cause,
            }) => Err(match Cause::classes(architecture, &card, &report) {
                Some(classes) => ModelError::Card(format!(
                    "it names {} classes, and its head has {classes}: {}",
                    card.classes.len(),
                    describe(&report)
                )),
                None => ModelError::Mismatch {
                    architecture: name,
                    report,
                    cause,
                },
            }),
            Err(error) => Err(error),
        }
    }

    /// Builds the network and takes its tensors, exactly, from the source for it.
    fn filled<S: TensorSource>(
        architecture: &'static Architecture,
        card: &ModelCard,
        source: impl FnOnce(&Graph) -> Result<S, WeightsError>,
    ) -> Result<(Self, S), ModelError> {
        if card.task.of_network() != architecture.task {
            return Err(ModelError::Card(format!(
                "it is for the task '{}', and the task of {} is '{}'",
                card.task, architecture.name, architecture.task
            )));
        }
        let side = card.preset.side() as usize;
        let graph = whole_graph(architecture, card, [side, side])?;
        let source = source(&graph)?;
        let (backbone, report) = take(graph.tensors_of(false), &source)?;
        let (head, head_report) = take(graph.tensors_of(true), &source)?;
        let mut report = report.join(head_report);
        let constants = graph.constants();
        report
            .unexpected
            .retain(|name| !constants.iter().any(|constant| constant.name == *name));
        if !report.is_exact() {
            return Err(ModelError::Mismatch {
                architecture: architecture.name.to_owned(),
                report: Box::new(report),
                cause: Cause::Unknown,
            });
        }
        check_variances(&graph, &[&backbone, &head])?;
        let contents = Self {
            card: card.clone(),
            architecture,
            graph: Arc::new(graph),
            backbone: Arc::new(backbone),
            head: Arc::new(head),
        };
        Ok((contents, source))
    }

    /// The network's entry in the registry.
    pub fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// The head's place in the network's state_dict.
    pub fn slot(&self) -> HeadSlot {
        self.card.slot(self.architecture)
    }

    /// The network as data, from the image to the answers.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Learnable numbers, of backbone and head together. Running statistics do not count.
    pub fn parameters(&self) -> usize {
        self.graph.parameter_count()
    }

    /// Learnable numbers of each stage of the backbone.
    pub fn stage_parameters(&self) -> Vec<usize> {
        let mut counts = self.parameters_by_stage();
        counts.truncate(self.graph.backbone_stages());
        counts
    }

    /// Learnable numbers of the head.
    pub fn head_parameters(&self) -> usize {
        let counts = self.parameters_by_stage();
        counts[self.graph.backbone_stages()..].iter().sum()
    }

    fn parameters_by_stage(&self) -> Vec<usize> {
        let mut counts = vec![0; self.graph.stages().len()];
        for (index, layer) in self.graph.layers().iter().enumerate() {
            counts[self.graph.stage_of_layer(LayerId(index))] += layer.parameter_count();
        }
        counts
    }

    /// The backbone's numbers under their names in the state_dict.
    pub fn backbone_tensors(&self) -> &Tensors {
        &self.backbone
    }

    /// The head's, likewise.
    pub fn head_tensors(&self) -> &Tensors {
        &self.head
    }

    /// The same backbone under a new head for these classes, which is to classify: whoever solved it for another task
    /// says so in the card. What photos the head was trained on is for the
    /// caller to say.
    ///
    /// # Panics
    ///
    /// When the head's tensors are not those of such a head in this network.
    pub fn with_head(&self, kind: HeadKind, head: Tensors, classes: Vec<String>) -> Self {
        let card = ModelCard {
            task: self.architecture.task,
            head: kind,
            classes,
            thresholds: None,
            trained_on: None,
            ..self.card.clone()
        };
        let size = [1, 2].map(|axis| self.graph.input()[axis]);
        let graph = match whole_graph(self.architecture, &card, size) {
            Ok(graph) => Arc::new(graph),
            Err(error) => unreachable!("the backbone took such images: {error}"),
        };
        let of_backbone = &self.backbone;
        for (name, shape) in graph.tensors() {
            let found = of_backbone.get(&name).or_else(|| head.get(&name));
            let found = found.map(|(shape, _)| &shape[..]);
            assert_eq!(found, Some(&shape[..]), "'{name}' of the new head");
        }
        Self {
            card,
            graph,
            head: Arc::new(head),
            ..self.clone()
        }
    }

    /// The same network with other numbers: those of a training. What photos it was trained on is for the caller to say.
    ///
    /// # Panics
    ///
    /// When they are not all of the network's tensors.
    pub fn with_tensors(&self, tensors: &Tensors) -> Self {
        let of = |is_head: bool| -> Arc<Tensors> {
            let named = self.graph.tensors_of(is_head).map(|(name, shape)| {
                let found = tensors.get(&name).cloned();
                assert!(
                    found.as_ref().is_some_and(|(found, _)| *found == shape),
                    "'{name}' of the trained network"
                );
                found.map(|tensor| (name, tensor))
            });
            Arc::new(named.flatten().collect())
        };
        Self {
            backbone: of(false),
            head: of(true),
            ..self.clone()
        }
    }

    /// The same network and numbers for images of this height and width; nothing if some of the numbers belong to
    /// one size, as learnt positions do. How photos are prepared stays as it was.
    ///
    /// # Errors
    ///
    /// When the network cannot take such images.
    pub fn at_size(&self, size: [usize; 2]) -> Result<Option<Self>, UnsupportedInput> {
        let graph = whole_graph(self.architecture, &self.card, size)?;
        let fits = graph.tensors().eq(self.graph.tensors());
        Ok(fits.then(|| Self {
            graph: Arc::new(graph),
            ..self.clone()
        }))
    }

    /// All parameters and running statistics under their PyTorch names.
    pub fn state_dict(&self) -> StateDict<'_> {
        state_dict([&*self.backbone, &*self.head])
    }

    /// The bytes of the model's file. The same model gives the same bytes.
    ///
    /// # Errors
    ///
    /// When there is no room for them.
    pub fn save(&self) -> Result<Vec<u8>, ModelError> {
        let mut tensors = self.state_dict();
        // PyTorch asks for these though they hold nothing of the network's own.
        for constant in self.graph.constants() {
            tensors.insert(&constant.name, (&constant.shape, &constant.values));
        }
        let card = serde_json::to_string(&self.card)
            .map_err(|error| ModelError::Card(error.to_string()))?;
        let metadata = BTreeMap::from([(METADATA_KEY.to_owned(), card)]);
        Ok(write_safetensors(&tensors, &metadata, StorageDtype::F32)?)
    }
}

/// What a model file says about itself.
///
/// # Errors
///
/// When it is not a model file of ours, or comes from a later version.
pub fn read_card(file: &WeightFile) -> Result<ModelCard, ModelError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let json = file.metadata().get(METADATA_KEY);
    let json = json.ok_or(ModelError::NoCard)?;
    let damaged = |error: serde_json::Error| ModelError::Card(quoted(error));
    // The version and the task first: a later layout, or another task's, need not parse as this one.
    let Version { format } = serde_json::from_slice(json.as_bytes()).map_err(damaged)?;
    if format > FORMAT {
        return Err(ModelError::Newer { found: format });
    }
    let fields: Map<String, Value> = serde_json::from_slice(json.as_bytes()).map_err(damaged)?;
    match fields.get("task") {
        None => {}
        Some(Value::String(task)) if Task::ALL.iter().any(|known| known.name() == task) => {}
        Some(Value::String(task)) => {
            return Err(ModelError::UnknownTask { found: shown(task) });
        }
        Some(_) => {
            let told = "its `task` must be a text, such as \"segment\"";
            return Err(ModelError::Card(told.to_owned()));
        }
    }
    let card: ModelCard = serde_json::from_slice(json.as_bytes()).map_err(damaged)?;
    // A field of another kind of head would be passed over.
    if fields
        .get("head")
        .and_then(|head| head.get("lift"))
        .is_some()
        && !matches!(card.head, HeadKind::Linear { .. })
    {
        return Err(ModelError::Card(format!(
            "its head has a lift, which heads of the kind 'linear' alone have, and is of the kind '{}'",
            card.head.name()
        )));
    }
    card.check().map_err(ModelError::Card)?;
    Ok(card)
}
