//! What a person asks for: a network or a model file, weights, pictures. What cannot be had is refused here as far
//! as names and sizes tell, before any file is read.

use std::path::Path;

use rekindle_core::backbone::{Architecture, PretrainedWeights, UnsupportedInput, find};
use rekindle_core::device::Device;
use rekindle_core::graph::Options;
use rekindle_core::model::{Channels, ModelCard, Purpose, whole_graph};
use rekindle_core::preprocess::MAX_SIDE;

use crate::cli::PictureArgs;
use crate::runs::MODEL;
use crate::ui::{ExitCode, Failure};

/// What the classes are called of a head in a file that does not say it.
pub type ClassNames<'a> = Option<&'a dyn Fn() -> anyhow::Result<Vec<String>>>;

/// What a network is wanted for.
pub struct Wanted<'a> {
    pub purpose: Purpose,
    pub pictures: &'a PictureArgs,
    pub seed: u64,
    pub classes: ClassNames<'a>,
    pub device: &'a Device,
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
pub fn model_file<'n>(name: &'n str, weights: Option<&str>) -> anyhow::Result<Option<&'n Path>> {
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

/// The files that are read for a model and its weights.
pub fn files_read<'n>(name: &'n str, weights: Option<&'n str>) -> Vec<&'n Path> {
    let weights = weights.and_then(file_and_part).map(|(path, _)| path);
    [Path::new(name)].into_iter().chain(weights).collect()
}

/// A file that exists, and the key of the dictionary in it that is meant: `FILE` or `FILE#KEY`.
pub fn file_and_part(weights: &str) -> Option<(&Path, Option<&str>)> {
    if Path::new(weights).is_file() {
        return Some((Path::new(weights), None));
    }
    let mut marks = weights.match_indices('#');
    marks.find_map(|(at, _)| {
        let path = Path::new(&weights[..at]);
        path.is_file().then_some((path, Some(&weights[at + 1..])))
    })
}

pub fn stands_behind_the_mark(path: &Path, part: Option<&str>) -> anyhow::Result<()> {
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

/// The card of a network that is given such pictures.
pub fn card(
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
pub fn adjusted(
    architecture: &'static Architecture,
    card: ModelCard,
    pictures: &PictureArgs,
) -> anyhow::Result<ModelCard> {
    let channels = pictures.grey.map_or(card.channels, Channels::from);
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
pub fn no_such_size(architecture: &Architecture, side: u32) -> Failure {
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

pub fn published(
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

/// What to do with TensorFlow's files.
pub const TENSORFLOW: &str = "TensorFlow and Keras name and order weights in their own way: take the same network's \
     PyTorch weights (.pth or .safetensors; `rekindle models` lists those that are published)";
