//! Weights from a file that the user names: one of ours, or what other programs wrote.

use std::path::Path;

use anyhow::Context as _;
use rekindle_core::backbone::Architecture;
use rekindle_core::model::{
    Cause, Contents, Model, ModelCard, ModelError, Purpose, Reading, read_card,
};
use rekindle_core::task::Task;
use rekindle_core::weights::{TensorDict, WeightFile, WeightsError, is_average};
use serde_json::json;

use super::origin::{Origin, origin, read};
use super::request::{TENSORFLOW, Wanted, adjusted, published, stands_behind_the_mark};
use crate::context::Context;
use crate::hash::hash_file;
use crate::ui::{ExitCode, Failure};

/// A file the user names: whatever the network publishes first decides how photos are prepared,
/// unless the file itself says so.
pub fn from_file(
    architecture: &'static Architecture,
    path: &Path,
    part: Option<&str>,
    wanted: &Wanted<'_>,
    context: &Context,
) -> anyhow::Result<(Model, Origin)> {
    stands_behind_the_mark(path, part)?;
    let bytes = read(path)?;
    let unusable = || unusable(path);
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = parsed(&bytes, part, &file_name).with_context(unusable)?;
    let own = read_card(&file).ok();
    let own = own.filter(|own| own.architecture == architecture.name);
    let hash = hash_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut origin = origin("file", &file_name, &hash.to_string());
    if !file.part().is_empty() {
        origin.insert("weights_part".into(), json!(file.part()));
    }

    // A model of ours answers as it was trained to, whatever it is given as.
    if own.is_some() && wanted.purpose == Purpose::Answer && part.is_none() {
        drop(file);
        let model = Model::open(bytes, wanted.device).with_context(unusable)?;
        return Ok((model, origin));
    }
    let entry = architecture
        .weights
        .iter()
        .find(|weights| weights.file_name == file_name)
        .map_or_else(|| published(architecture, None), Ok)?;
    let published = ModelCard::published(architecture, entry);
    let start = match own {
        Some(own) => ModelCard {
            preset: own.preset,
            channels: own.channels,
            small_stem: own.small_stem,
            bare: own.bare,
            ..published
        },
        None => published,
    };
    let card = adjusted(architecture, start, wanted.pictures)?;
    let read_as = |card| Contents::read(architecture, card, &file, wanted.purpose);
    let most = architecture.task.most_classes();
    let numbered = |count: usize| {
        let segments = architecture.task == Task::Segment;
        segments && most.is_none_or(|most| count <= most)
    };
    let read = match (read_as(card.clone()), wanted.classes) {
        (
            Err(ModelError::Mismatch {
                cause:
                    Cause::OtherHead {
                        classes: Some(count),
                    },
                ..
            }),
            _,
        ) if numbered(count) => {
            context.console.note(&format!(
                "{} does not say what the {count} classes of its head are called: they go by their numbers, `class 0` \
                 and so on",
                path.display()
            ));
            let classes = (0..count).map(|class| format!("class {class}")).collect();
            read_as(ModelCard { classes, ..card })
        }
        (
            Err(ModelError::Mismatch {
                cause:
                    Cause::OtherHead {
                        classes: Some(count),
                    },
                ..
            }),
            Some(names),
        ) => {
            let classes = named_by_the_folder(path, count, names()?, context)?;
            read_as(ModelCard { classes, ..card })
        }
        (read, _) => read,
    };
    let (contents, reading) = read.map_err(|error| misfit(error, path, &file))?;
    tell(path, &file, part.is_some(), &reading, context);
    Ok((Model::new(contents, wanted.device), origin))
}

/// What is said first of a file that is of no use.
fn unusable(path: &Path) -> String {
    format!("cannot use {}", path.display())
}

/// What the file holds, or its dictionary called `part`.
fn parsed<'b>(
    bytes: &'b [u8],
    part: Option<&str>,
    file_name: &str,
) -> Result<WeightFile<'b>, ModelError> {
    let parsed = match part {
        Some(part) => WeightFile::parse_part(bytes, part),
        None => WeightFile::parse(bytes),
    };
    parsed.map_err(|error| match error {
        // Bare numbers, which only the name tells from anything else.
        WeightsError::NotAWeightFile { .. } if is_tensorflow_data(file_name) => {
            ModelError::from(WeightsError::NotAWeightFile {
                found: "a TensorFlow checkpoint's numbers",
                help: TENSORFLOW,
            })
        }
        error => error.into(),
    })
}

/// What is said of a file that does not fit its network: where it holds other dictionaries of tensors, one of
/// them may have been meant.
fn misfit(error: ModelError, path: &Path, file: &WeightFile<'_>) -> anyhow::Error {
    let is_other = matches!(
        &error,
        ModelError::Mismatch {
            cause: Cause::OtherNames | Cause::Unknown,
            ..
        }
    );
    let others: Vec<_> = others(file).map(|part| part.key.as_str()).collect();
    let error = anyhow::Error::new(error);
    let Some(first) = others.first().filter(|_| is_other) else {
        return error.context(unusable(path));
    };
    let help = format!(
        "the file holds more than one dictionary of tensors: `{}` was taken, there is {} too; \
         `--weights {}#{first}` takes another",
        file.part(),
        others.join(", "),
        path.display(),
    );
    error.context(Failure::new(ExitCode::Data, unusable(path)).with_help(help))
}

/// The names of the classes of a head that tells so many apart, whose file does not say them: those of the
/// folder that it is measured on, in the order of their names, as torchvision's ImageFolder (and so nearly
/// every training script) numbers them.
fn named_by_the_folder(
    path: &Path,
    count: usize,
    names: Vec<String>,
    context: &Context,
) -> anyhow::Result<Vec<String>> {
    const SHOWN: usize = 8;
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown = format!("{}{more}", shown.join(", "));
    let path = path.display();
    if names.len() != count {
        let what = format!(
            "the head in {path} tells {count} classes apart, and the folder has {}: {shown}",
            names.len()
        );
        return Err(Failure::new(ExitCode::Data, what)
            .with_help(
                "the file does not say what its classes are called: give a folder with one folder for each, \
                 be it empty, named as when it was trained",
            )
            .into());
    }
    context.console.note(&format!(
        "{path} does not say what the {count} classes of its head are called: taken as the folder's, in the \
         order of their names, as ImageFolder numbers them: {shown}"
    ));
    Ok(names)
}

/// Whether a file bears the name that TensorFlow gives to the numbers of a checkpoint:
/// `model.ckpt.data-00000-of-00001`.
fn is_tensorflow_data(name: &str) -> bool {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let shard = name.rsplit_once(".data-").map(|(_, shard)| shard);
    shard
        .and_then(|shard| shard.split_once("-of-"))
        .is_some_and(|(at, of)| digits(at) && digits(of))
}

/// The dictionaries that were not taken.
fn others<'f>(file: &'f WeightFile<'_>) -> impl Iterator<Item = &'f TensorDict> {
    let parts = file.parts().iter();
    parts.filter(|part| part.key != file.part() && !part.key.is_empty())
}

/// Says what of a file was taken, where something else might have been meant.
fn tell(path: &Path, file: &WeightFile<'_>, chosen: bool, reading: &Reading, context: &Context) {
    let note = |text: &str| context.console.note(text);
    let path = path.display();
    let taken = file.part();
    let is_averaged = |key: &str| {
        let mut parts = file.parts().iter();
        key.split('.').any(is_average) || parts.any(|part| part.key == key && part.averaged)
    };
    if is_averaged(taken) || is_averaged(reading.prefix.trim_end_matches('.')) {
        note(&format!(
            "the weights in {path} are averages over their training (EMA)"
        ));
    }
    let (averages, plain): (Vec<_>, Vec<_>) = others(file)
        .map(|part| part.key.as_str())
        .partition(|key| is_averaged(key));
    // Who names a dictionary knows of the others.
    if let (false, Some(first)) = (chosen, plain.first()) {
        let taken = match taken {
            "" => "those of the file itself".to_owned(),
            taken => format!("those under `{taken}`"),
        };
        let all: Vec<_> = plain.iter().map(|key| format!("`{key}`")).collect();
        note(&format!(
            "{path} holds more than one dictionary of tensors: {taken} are taken, there are others under {}; \
             `--weights {path}#{first}` takes them",
            all.join(", ")
        ));
    }
    // What is asked for by a beginning of names is looked for from the start again; a dictionary of the same name
    // comes first.
    let named = |key: &str| file.parts().iter().any(|part| part.key == key);
    let whole = |prefix: &str| {
        let key = prefix.trim_end_matches('.');
        match taken.is_empty() || named(taken) && !named(key) || key.is_empty() {
            true => key.to_owned(),
            false => format!("{taken}.{key}"),
        }
    };
    let (averaged, copies): (Vec<_>, Vec<_>) = reading
        .copies
        .iter()
        .map(|copy| whole(copy))
        .partition(|key| is_averaged(key));
    for key in averages
        .into_iter()
        .chain(averaged.iter().map(String::as_str))
    {
        note(&format!(
            "{path} also holds averages over the training (EMA): `--weights {path}#{key}` takes them"
        ));
    }
    if let Some(first) = copies.iter().find(|key| !key.is_empty()) {
        let here = match reading.prefix.as_str() {
            "" => "those without a prefix".to_owned(),
            prefix => format!("those under `{}.`", whole(prefix)),
        };
        let all: Vec<_> = copies.iter().map(|key| format!("`{key}.`")).collect();
        note(&format!(
            "{path} holds the weights of more than one network: {here} are taken, there are others under {}; \
             `--weights {path}#{first}` takes them",
            all.join(", ")
        ));
    } else if !copies.is_empty() {
        note(&format!(
            "{path} holds the weights of more than one network: those under `{}.` are taken, others have no prefix",
            whole(&reading.prefix)
        ));
    }
    let (auxiliary, aside): (Vec<_>, Vec<_>) = reading
        .aside
        .iter()
        .map(String::as_str)
        .partition(|name| reading.is_auxiliary(name));
    if !auxiliary.is_empty() {
        note(&format!(
            "{path} also holds the auxiliary classifier, which only helps in training"
        ));
    }
    if !aside.is_empty() {
        let count = aside.len();
        let names: Vec<_> = aside.iter().take(3).copied().collect();
        let more = if count > names.len() { ", …" } else { "" };
        note(&format!(
            "{count} of the file's tensors are no part of the network and left aside: {}{more}",
            names.join(", ")
        ));
    }
}
