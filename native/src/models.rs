//! From what a person types to a model: a file, or a network's name and its weights.

use std::path::Path;

use anyhow::Context as _;
use rekindle_core::backbone::{Architecture, PretrainedWeights, find};
use rekindle_core::compiled::Precision;
use rekindle_core::device::Device;
use rekindle_core::graph::Scratch;
use rekindle_core::model::{Channels, Model, ModelCard, ModelError};
use rekindle_core::weights::WeightFile;
use serde_json::{Map, Value, json};

use crate::cli::{GreyChoice, PictureArgs, PrecisionChoice};
use crate::commands::Context;
use crate::dataset::hash_file;
use crate::fetch::{self, Places, WeightSource};
use crate::ui::{ExitCode, Failure, Unit};

/// Where a model came from, for manifests.
pub type Origin = Map<String, Value>;

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
    let precision = match context.global.precision {
        PrecisionChoice::Full => Precision::Full,
        PrecisionChoice::Half => Precision::Half,
    };
    Ok(opened(name, weights, device, context)?.with_precision(precision)?)
}

fn opened(
    name: &str,
    weights: Option<&str>,
    device: &Device,
    context: &Context,
) -> anyhow::Result<Model> {
    let path = Path::new(name);
    if path.is_file() {
        let bytes = read(path)?;
        return match Model::open(bytes, device) {
            Err(ModelError::NoCard) => Err(anyhow::Error::new(ModelError::NoCard))
                .with_context(|| format!("cannot use {} as a model", path.display()))
                .context(
                    Failure::new(
                        ExitCode::Data,
                        format!("{} is no model file", path.display()),
                    )
                    .with_help("give the network's name, and this file with --weights"),
                ),
            other => other.with_context(|| format!("cannot open {}", path.display())),
        };
    }
    if path.is_dir() || name.contains(['/', '\\']) || name.ends_with(".safetensors") {
        let what = if path.is_dir() {
            "is a folder"
        } else {
            "does not exist"
        };
        return Err(
            Failure::new(ExitCode::Data, format!("the model file {name} {what}"))
                .with_help(
                    "name the model.safetensors of a run, or a network from `rekindle models`",
                )
                .into(),
        );
    }
    let pictures = PictureArgs::default();
    Ok(pretrained(name, weights, &pictures, 0, device, context)?.0)
}

/// The network of that name, filled with the weights asked for.
pub fn pretrained(
    name: &str,
    weights: Option<&str>,
    pictures: &PictureArgs,
    seed: u64,
    device: &Device,
    context: &Context,
) -> anyhow::Result<(Model, Origin)> {
    let architecture = find(name)?;
    match weights {
        Some("random") => random(architecture, pictures, seed, device),
        Some(file) if Path::new(file).is_file() => {
            from_file(architecture, Path::new(file), pictures, device)
        }
        chosen => {
            let entry = published(architecture, chosen)?;
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
            let model = fill(architecture, entry, pictures, &bytes, device)
                .with_context(|| format!("cannot use {}", found.path.display()))?;
            let origin = origin(entry.name, entry.file_name, &found.sha256.to_string());
            Ok((model, origin))
        }
    }
}

fn random(
    architecture: &'static Architecture,
    pictures: &PictureArgs,
    seed: u64,
    device: &Device,
) -> anyhow::Result<(Model, Origin)> {
    let card = card(architecture, published(architecture, None)?, pictures)?;
    let side = card.preset.crop() as usize;
    let image = [card.channels.count(), side, side];
    let graph = architecture.graph(image, &card.options())?;
    let scratch = Scratch::new(&graph, architecture.init, seed);
    let model = Model::ported(architecture, card, &scratch, device)?;
    let mut origin = Origin::new();
    origin.insert("weights".into(), json!("random"));
    Ok((model, origin))
}

/// The card of a network that is given such pictures.
fn card(
    architecture: &'static Architecture,
    entry: &PretrainedWeights,
    pictures: &PictureArgs,
) -> anyhow::Result<ModelCard> {
    let channels = match pictures.grey {
        None => Channels::Rgb,
        Some(GreyChoice::Repeat) => Channels::GreyRepeated,
        Some(GreyChoice::Mean) => Channels::GreyMean,
        Some(GreyChoice::Luminance) => Channels::GreyLuminance,
        Some(GreyChoice::Adapter) => Channels::GreyAdapter,
    };
    let card = ModelCard::published(architecture, entry);
    let preset = match pictures.input {
        Some(side) => card
            .preset
            .with_size(side)
            .map_err(|error| Failure::new(ExitCode::Usage, error))?,
        None => card.preset,
    };
    Ok(ModelCard {
        preset: channels.preset(preset),
        channels,
        small_stem: pictures.small_stem,
        bare: pictures.bare,
        ..card
    })
}

/// A file the user names: whatever the network publishes first decides how photos are prepared,
/// unless the file itself says so.
fn from_file(
    architecture: &'static Architecture,
    path: &Path,
    pictures: &PictureArgs,
    device: &Device,
) -> anyhow::Result<(Model, Origin)> {
    let bytes = read(path)?;
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let entry = architecture
        .weights
        .iter()
        .find(|weights| weights.file_name == file_name)
        .map_or_else(|| published(architecture, None), Ok)?;
    let model = fill(architecture, entry, pictures, &bytes, device)
        .with_context(|| format!("cannot use {}", path.display()))?;
    let hash = hash_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((model, origin("file", &file_name, &hash.to_string())))
}

fn fill(
    architecture: &'static Architecture,
    entry: &PretrainedWeights,
    pictures: &PictureArgs,
    bytes: &[u8],
    device: &Device,
) -> anyhow::Result<Model> {
    let card = card(architecture, entry, pictures)?;
    let file = WeightFile::parse(bytes).map_err(ModelError::from)?;
    Ok(Model::ported(architecture, card, &file, device)?)
}

fn published(
    architecture: &'static Architecture,
    name: Option<&str>,
) -> anyhow::Result<&'static PretrainedWeights> {
    let wanted = |weights: &&PretrainedWeights| {
        name.is_none_or(|name| weights.name.eq_ignore_ascii_case(name) || weights.file_name == name)
    };
    architecture.weights.iter().find(wanted).ok_or_else(|| {
        let names: Vec<_> = architecture
            .weights
            .iter()
            .map(|weights| weights.name)
            .collect();
        let name = name.unwrap_or_default();
        Failure::new(
            ExitCode::Usage,
            format!("{} has no weights called '{name}'", architecture.name),
        )
        .with_help(format!(
            "say {}, random, or name a file that exists",
            names.join(", ")
        ))
        .into()
    })
}

fn origin(name: &str, file: &str, sha256: &str) -> Origin {
    let mut origin = Origin::new();
    origin.insert("weights".into(), json!(name));
    origin.insert("weights_file".into(), json!(file));
    origin.insert("weights_sha256".into(), json!(sha256));
    origin
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The words by which a model is introduced.
pub fn title(card: &ModelCard) -> String {
    format!(
        "{} with a {} head, {} classes",
        card.architecture,
        card.head.name(),
        card.classes.len()
    )
}
