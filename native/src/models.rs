//! From what a person types to a model: a file, or a network's name and its weights.

mod foreign;

use std::path::Path;

use anyhow::Context as _;
use rekindle_core::backbone::{Architecture, PretrainedWeights, UnsupportedInput, find};
use rekindle_core::compiled::Precision;
use rekindle_core::device::Device;
use rekindle_core::graph::{Options, Scratch};
use rekindle_core::model::{
    Channels, Contents, Model, ModelCard, ModelError, Purpose, whole_graph,
};
use rekindle_core::preprocess::MAX_SIDE;
use rekindle_core::weights::{WeightFile, WeightsError};
use serde_json::{Map, Value, json};

use crate::cli::{GreyChoice, PictureArgs, PrecisionChoice};
use crate::commands::Context;
use crate::fetch::{self, Places, WeightSource};
use crate::runs::MODEL;
use crate::ui::{ExitCode, Failure, Unit};
use foreign::{TENSORFLOW, from_file};

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
    open_to_measure(name, weights, None, device, context)
}

/// What the classes are called of a head in a file that does not say it.
pub type ClassNames<'a> = Option<&'a dyn Fn() -> anyhow::Result<Vec<String>>>;

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
    Ok(model.with_precision(precision)?)
}

/// Refuses what cannot be opened to answer, as far as names tell: before photos are looked at.
pub fn check(name: &str, weights: Option<&str>) -> anyhow::Result<()> {
    match model_file(name, weights)? {
        Some(_) => Ok(()),
        None => check_network(name, weights, &PictureArgs::default()),
    }
}

/// Refuses a network, weights and pictures that make nothing, as far as names and sizes tell: before photos
/// are looked at.
pub fn check_network(
    name: &str,
    weights: Option<&str>,
    pictures: &PictureArgs,
) -> anyhow::Result<()> {
    let architecture = find(name)?;
    has_what_is_left_out(architecture, pictures)?;
    let entry = match weights {
        None | Some("random") => published(architecture, None)?,
        Some(weights) => match file_and_part(weights) {
            Some((path, part)) => {
                stands_behind_the_mark(path, part)?;
                published(architecture, None)?
            }
            None => published(architecture, Some(weights))?,
        },
    };
    card(architecture, entry, pictures)?;
    Ok(())
}

/// The model file that a name means; nothing if it means a network.
fn model_file<'n>(name: &'n str, weights: Option<&str>) -> anyhow::Result<Option<&'n Path>> {
    let path = Path::new(name);
    if path.is_file() {
        return match weights {
            None => Ok(Some(path)),
            Some(_) => Err(Failure::new(
                ExitCode::Usage,
                format!(
                    "--weights does not apply here: it belongs to a network's name, and {} is a file",
                    path.display()
                ),
            )
            .with_help("leave --weights out, or give the network's name and the file with --weights")
            .into()),
        };
    }
    is_name(name)?;
    Ok(None)
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

/// Refuses what was meant as the path of a model file, where no network is called so.
pub fn is_name(name: &str) -> Result<(), Failure> {
    let order = match Path::new(name).is_dir() {
        true => "; the model comes first, then the photos",
        false => "",
    };
    let path = Path::new(name);
    let own = path.join(MODEL);
    let what = match path.is_dir() {
        true if own.is_file() => {
            let what = format!("{name} is a run's folder, and no model file");
            let help = format!("name the file in it: {}", own.display());
            return Err(Failure::new(ExitCode::Data, what).with_help(help));
        }
        true => "is a folder",
        false if path.exists() => "is no file, but a device or a pipe",
        false if name.contains(['/', '\\']) || name.ends_with(".safetensors") => "does not exist",
        false => return Ok(()),
    };
    Err(
        Failure::new(ExitCode::Data, format!("the model file {name} {what}")).with_help(format!(
            "name the {MODEL} of a run, or a network from `rekindle models`{order}"
        )),
    )
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

/// What a network is wanted for.
struct Wanted<'a> {
    purpose: Purpose,
    pictures: &'a PictureArgs,
    seed: u64,
    classes: ClassNames<'a>,
    device: &'a Device,
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

/// The files that are read for a model and its weights.
pub fn files_read<'n>(name: &'n str, weights: Option<&'n str>) -> Vec<&'n Path> {
    let weights = weights.and_then(file_and_part).map(|(path, _)| path);
    [Path::new(name)].into_iter().chain(weights).collect()
}

/// A file that exists, and the key of the dictionary in it that is meant: `FILE` or `FILE#KEY`.
fn file_and_part(weights: &str) -> Option<(&Path, Option<&str>)> {
    if Path::new(weights).is_file() {
        return Some((Path::new(weights), None));
    }
    let mut marks = weights.match_indices('#');
    marks.find_map(|(at, _)| {
        let path = Path::new(&weights[..at]);
        path.is_file().then_some((path, Some(&weights[at + 1..])))
    })
}

fn stands_behind_the_mark(path: &Path, part: Option<&str>) -> anyhow::Result<()> {
    if part == Some("") {
        let what = format!("nothing stands behind the # in {}#", path.display());
        let help = "name a dictionary of the file after the #, or leave the # out";
        return Err(Failure::new(ExitCode::Usage, what).with_help(help).into());
    }
    Ok(())
}

/// Refuses `--bare` and `--small-stem` for a network that they would leave as it is.
pub fn has_what_is_left_out(
    architecture: &'static Architecture,
    pictures: &PictureArgs,
) -> anyhow::Result<()> {
    let refuse = |option: &str, to: &str| {
        Err(Failure::new(
            ExitCode::Usage,
            format!(
                "--{option} does not apply to {}: it belongs to {to}",
                architecture.name
            ),
        )
        .with_help(format!("leave --{option} out"))
        .into())
    };
    if pictures.bare && architecture.head.bare.is_none() {
        return refuse(
            "bare",
            "networks with hidden layers between the features and the classifier: AlexNet, VGG, \
             MobileNetV3, MaxViT",
        );
    }
    if pictures.small_stem {
        let side = architecture.input_size;
        let work = |small_stem| -> anyhow::Result<u64> {
            let options = Options {
                small_stem,
                ..Options::default()
            };
            Ok(architecture.graph([3, side, side], &options)?.macs())
        };
        if work(true)? == work(false)? {
            return refuse(
                "small-stem",
                "networks that halve the resolution at their beginning, such as ResNet",
            );
        }
    }
    Ok(())
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
    let graph = architecture.graph(image, &card.options())?;
    let scratch = Scratch::new(&graph, architecture.init, wanted.seed);
    let model = Model::new(
        Contents::ported(architecture, card, &scratch)?,
        wanted.device,
    );
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
    adjusted(
        architecture,
        ModelCard::published(architecture, entry),
        pictures,
    )
}

/// A card for such pictures.
fn adjusted(
    architecture: &'static Architecture,
    card: ModelCard,
    pictures: &PictureArgs,
) -> anyhow::Result<ModelCard> {
    let channels = match pictures.grey {
        None => card.channels,
        Some(GreyChoice::Repeat) => Channels::GreyRepeated,
        Some(GreyChoice::Mean) => Channels::GreyMean,
        Some(GreyChoice::Luminance) => Channels::GreyLuminance,
        Some(GreyChoice::Adapter) => Channels::GreyAdapter,
    };
    let preset = match pictures.input {
        Some(side) => card
            .preset
            .with_size(side)
            .map_err(|_| no_such_size(architecture, side))?,
        None => card.preset,
    };
    let card = ModelCard {
        preset: channels.preset(preset),
        channels,
        small_stem: card.small_stem || pictures.small_stem,
        bare: card.bare || pictures.bare,
        ..card
    };
    if let Some(side) = pictures.input {
        whole_graph(architecture, &card, [side as usize; 2]).map_err(too_small("--input"))?;
    }
    Ok(card)
}

/// What is said of a size that no photo is made.
fn no_such_size(architecture: &Architecture, side: u32) -> Failure {
    let message = format!("--input {side}: photos cannot be cut to that size");
    Failure::new(ExitCode::Usage, message).with_help(format!(
        "{} sees photos of {1}×{1} pixels as it was published; give a number from {2} to some {3}",
        architecture.name,
        architecture.input_size,
        architecture.min_input(),
        // What is cut out of is somewhat larger.
        3 * MAX_SIDE / 4,
    ))
}

/// What is said of an option's size that a network cannot take.
pub fn too_small(option: &'static str) -> impl Fn(UnsupportedInput) -> Failure {
    move |error| {
        Failure::new(ExitCode::Usage, format!("{option}: {error}")).with_help(format!(
            "the smallest that it takes is {option} {}",
            error.smallest()
        ))
    }
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
        let path = Path::new(name);
        if path.join("saved_model.pb").is_file() {
            let what =
                format!("{name} is a TensorFlow SavedModel, whose weights are not read here");
            return Failure::new(ExitCode::Data, what)
                .with_help(TENSORFLOW)
                .into();
        }
        if path.is_dir() {
            let help = "name the .pth or .safetensors file in it";
            return Failure::new(
                ExitCode::Data,
                format!("{name} is a folder, not a weight file"),
            )
            .with_help(help)
            .into();
        }
        let file = name.split('#').next().unwrap_or(name);
        let what = match Path::new(file).exists() {
            true => format!("{file} is no file, but a device or a pipe"),
            false => format!("there is no file '{file}'"),
        };
        Failure::new(
            ExitCode::Usage,
            format!(
                "{what}, and {} has no weights called '{name}'",
                architecture.name
            ),
        )
        .with_help(format!(
            "say {}, random, or name a file that exists",
            names.join(", ")
        ))
        .into()
    })
}

/// Why a network's features are not what anybody has trained it to see; nothing where they are.
pub fn untrained(weights: Option<&str>, pictures: &PictureArgs) -> Option<&'static str> {
    // A file may hold what was trained with a small stem.
    let is_published = || weights.is_none_or(|weights| file_and_part(weights).is_none());
    if weights == Some("random") {
        Some("the network was never trained")
    } else if pictures.small_stem && is_published() {
        Some("the network was not trained with a small stem")
    } else {
        None
    }
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
