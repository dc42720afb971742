//! Recipes from files: a run's `recipe.toml`, one that somebody wrote, or one that comes with the program. What the
//! command line says, and the environment, goes before what a recipe says.
//!
//! A recipe has three parts: options of `train`, the table `head`, and the table `tuning`, which may also stand for itself
//! in a file that has no such table.

mod spelling;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use rekindle_core::model::Channels;
use rekindle_core::train::HeadRecipe;
use rekindle_core::tune::{Recipe, Tune};
use toml::{Table, Value};

use crate::cli::{self, GreyChoice, HeadChoice};
use crate::ui::{ExitCode, Failure};
use spelling::{readable, spelt_out};

/// The recipes that come with the program, by their names.
const PRESETS: [(&str, &str); 3] = [
    ("quick", include_str!("recipes/quick.toml")),
    ("best", include_str!("recipes/best.toml")),
    ("phone", include_str!("recipes/phone.toml")),
];

/// What a recipe says beside its tables, and the option of `train` that says the same.
const OPTIONS: [(&str, &str); 13] = [
    ("model", "model"),
    ("weights", "weights"),
    ("input", "input"),
    ("seed", "seed"),
    ("views", "views"),
    ("split", "split"),
    ("folds", "folds"),
    ("bare", "bare"),
    ("small_stem", "small_stem"),
    ("channels", "grey"),
    ("task", "task"),
    ("group_column", "group_column"),
    ("tensorboard", "tensorboard"),
];

/// What the table `head` says, and the option of `train` that takes such a value.
const OF_HEAD: [(&str, &str); 7] = [
    ("c", "c"),
    ("hidden", "hidden"),
    ("dropout", "dropout"),
    ("epochs", "epochs"),
    ("batch", "batch"),
    ("rate", "lr"),
    ("weight_decay", "weight_decay"),
];

/// The options that a recipe stands for, of those that neither the command line nor the environment gives.
pub fn words(matches: &ArgMatches) -> anyhow::Result<Vec<OsString>> {
    let Some(("train", given)) = matches.subcommand() else {
        return Ok(Vec::new());
    };
    let Some(file) = given.get_one::<std::path::PathBuf>("recipe") else {
        return Ok(Vec::new());
    };
    let is_given = |id: &str| {
        let source = given.value_source(id);
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    understood(file, |parts| options(&parts, is_given))
}

/// The options that the parts of a recipe stand for, but for those that are given beside it.
fn options(parts: &Parts, is_given: impl Fn(&str) -> bool) -> Result<Vec<OsString>, String> {
    let mut said = Vec::new();
    let mut say = |key: &'static str, id: &str, value: Option<&Value>| {
        let option = id.replace('_', "-");
        let word = match value {
            Some(_) if is_given(id) => return,
            // What is not done is not said.
            None | Some(Value::Boolean(false)) => return,
            Some(Value::Integer(0)) if id == "views" => return,
            Some(Value::String(way)) if id == "grey" && way == "rgb" => return,
            Some(Value::String(way)) if id == "grey" => format!("--grey={}", grey(way)),
            Some(Value::Boolean(true)) => format!("--{option}"),
            Some(Value::String(text)) => format!("--{option}={text}"),
            Some(value) => format!("--{option}={value}"),
        };
        said.push((key, word));
    };
    let divides = is_given("folds") || is_given("split");
    for (key, id) in OPTIONS {
        if !(divides && matches!(key, "split" | "folds")) {
            say(key, id, parts.options.get(key));
        }
    }
    say("kind", "head", parts.head.get("kind"));
    say("tune", "tune", parts.tuning.get("tune"));
    for (key, word) in &said {
        if let Some(error) = unfit(key, word) {
            return Err(error);
        }
    }
    parts.check(is_given("tune"))?;
    Ok(said.into_iter().map(|(_, word)| word.into()).collect())
}

/// What `--grey` calls a way to take grey pictures that runs' recipes call otherwise.
fn grey(way: &str) -> String {
    let mut ways = GreyChoice::value_variants().iter();
    let is_it = |choice: &&GreyChoice| {
        let channels = Value::try_from(Channels::from(**choice));
        channels.is_ok_and(|name| name.as_str() == Some(way))
    };
    let named = ways.find(is_it).and_then(ValueEnum::to_possible_value);
    named.map_or_else(|| way.to_owned(), |value| value.get_name().to_owned())
}

/// Why an option that a key of a recipe stands for cannot have its value, in the recipe's words.
fn unfit(key: &str, word: &str) -> Option<String> {
    let words = ["rekindle", "train", "photos", word];
    let error = cli::command().try_get_matches_from(words).err()?;
    let (_, value) = word.split_once('=').unwrap_or((word, "true"));
    let may_be = match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(all))) => {
            let colours = if key == "channels" { "rgb, " } else { "" };
            format!("it may be {colours}{}", all.join(", "))
        }
        (ErrorKind::ValueValidation, _) => std::error::Error::source(&error)?.to_string(),
        // A word where only yes or no can stand.
        _ => "it may be true or false".to_owned(),
    };
    Some(format!("`{key}` is {value}; {may_be}"))
}

/// The options that the environment gives.
pub fn environment_words(matches: &ArgMatches) -> Vec<OsString> {
    let Some(("train", given)) = matches.subcommand() else {
        return Vec::new();
    };
    let of_environment =
        |id: &&clap::Id| given.value_source(id.as_str()) == Some(ValueSource::EnvVariable);
    let command = cli::command_alone();
    let arguments = command.find_subcommand("train").into_iter();
    let arguments: Vec<_> = arguments.flat_map(clap::Command::get_arguments).collect();
    let mut words = Vec::new();
    for id in given.ids().filter(of_environment) {
        let is_it = |argument: &&&clap::Arg| argument.get_id() == id;
        let argument = arguments.iter().find(is_it);
        if argument.is_some_and(|argument| !argument.get_action().takes_values()) {
            if given.get_flag(id.as_str()) {
                words.push(format!("--{}", id.as_str().replace('_', "-")).into());
            }
            continue;
        }
        for value in given.get_raw(id.as_str()).into_iter().flatten() {
            let mut word = OsString::from(format!("--{}=", id.as_str().replace('_', "-")));
            word.push(value);
            words.push(word);
        }
    }
    words
}

/// The tuning of a recipe: what it leaves out is usual for the way to tune.
pub fn read(file: &Path, tune: Tune) -> anyhow::Result<Recipe> {
    understood(file, |parts| tuning(parts.tuning, tune))
}

/// The head of a recipe: what it leaves out is usual for heads of that kind, and so is all if it is of another kind.
pub fn head(file: &Path, kind: HeadChoice) -> anyhow::Result<HeadRecipe> {
    understood(file, |parts| match parts.kind()? == kind {
        true => parts.head(),
        false => Ok(usual(kind)),
    })
}

/// A head of a kind as it is trained where nobody says otherwise.
pub const fn usual(kind: HeadChoice) -> HeadRecipe {
    match kind {
        HeadChoice::Linear => HeadRecipe::linear(),
        HeadChoice::Mlp => HeadRecipe::mlp(),
    }
}

/// What is wrong, and in which line: where a key stands that it names in backticks.
fn with_line(text: &str, error: &str) -> String {
    let mut named = error.split('`').skip(1).step_by(2);
    let line = named.find_map(|field| {
        let key = field.rsplit('.').next()?;
        let is_it = |line: &str| match line.trim_start().strip_prefix(key) {
            Some(rest) => rest.trim_start().starts_with(['=', '.']),
            None => false,
        };
        text.lines().position(is_it)
    });
    match line {
        Some(line) => format!("line {}: {error}", line + 1),
        None => error.to_owned(),
    }
}

/// What a recipe's file, or the recipe of that name, says.
pub fn text(file: &Path) -> anyhow::Result<String> {
    let named = PRESETS.iter().find(|(name, _)| Path::new(name) == file);
    match named {
        Some((_, text)) => Ok((*text).to_owned()),
        None => std::fs::read_to_string(file).with_context(|| {
            format!(
                "cannot read the recipe {}, and no recipe of that name comes with Rekindle (quick, best, phone)",
                file.display()
            )
        }),
    }
}

/// Whether a recipe is one of those that come with the program, or a copy of it as runs keep them.
pub fn comes_along(file: &Path) -> bool {
    text(file).is_ok_and(|text| PRESETS.iter().any(|(_, preset)| *preset == text))
}

/// What is made of the parts of a recipe's file; what is wrong with them is said with its line.
fn understood<T>(file: &Path, work: impl FnOnce(Parts) -> Result<T, String>) -> anyhow::Result<T> {
    let text = text(file)?;
    let made = Parts::of(table(file, &text)?).and_then(work);
    made.map_err(|error| refused(file, &with_line(&text, &error)))
}

/// A recipe's text as a table.
fn table(file: &Path, text: &str) -> anyhow::Result<Table> {
    let table = text.parse::<Table>();
    table.map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let message = match before {
            Some(before) => format!(
                "line {}: {}",
                before.lines().count().max(1),
                error.message()
            ),
            None => error.message().to_owned(),
        };
        refused(file, &message)
    })
}

fn refused(file: &Path, why: &str) -> anyhow::Error {
    let message = format!("{} is no recipe: {why}", file.display());
    let help = "a run's recipe.toml shows what a recipe may hold, and `rekindle train --help` says what it means";
    Failure::new(ExitCode::Usage, message)
        .with_help(help)
        .into()
}

/// The parts of a recipe's file.
struct Parts {
    options: Table,
    head: Table,
    tuning: Table,
}

impl Parts {
    fn of(mut table: Table) -> Result<Self, String> {
        let mut part = |name: &str| match table.remove(name) {
            None => Ok(None),
            Some(Value::Table(part)) => Ok(Some(part)),
            Some(_) => Err(format!("`{name}` must be a table")),
        };
        let (head, tuning) = (part("head")?.unwrap_or_default(), part("tuning")?);
        let options = OPTIONS.iter();
        let options = options
            .filter_map(|(key, _)| table.remove_entry(*key))
            .collect();
        let tuning = match (tuning, table.keys().next()) {
            (Some(_), Some(key)) => return Err(format!("there is nothing called `{key}`")),
            (Some(tuning), None) => tuning,
            (None, _) => table,
        };
        Ok(Self {
            options,
            head,
            tuning,
        })
    }

    /// Refuses a head that is none, and a tuning of which nothing says what it tunes, or two say it: `tune_is_given` says
    /// that `train` was told.
    fn check(&self, tune_is_given: bool) -> Result<(), String> {
        self.head()?;
        let says = self.tuning.contains_key("tune");
        if !says && !tune_is_given && !self.tuning.is_empty() {
            return Err(
                "there is no `tune`: it says how much of the network is tuned, as does --tune"
                    .to_owned(),
            );
        }
        if says && tune_is_given && self.tuning.contains_key("phases") {
            return Err("`phases` say what trains, and --tune cannot change that".to_owned());
        }
        Ok(())
    }

    fn kind(&self) -> Result<HeadChoice, String> {
        match self.head.get("kind") {
            None => Ok(HeadChoice::Linear),
            Some(kind) => {
                let named = kind.as_str().map(|name| HeadChoice::from_str(name, false));
                named
                    .and_then(Result::ok)
                    .ok_or_else(|| format!("`kind` is {kind}; it may be linear, mlp"))
            }
        }
    }

    fn head(&self) -> Result<HeadRecipe, String> {
        let mut whole = Table::try_from(usual(self.kind()?)).map_err(|error| error.to_string())?;
        let given_only = match self.kind()? {
            HeadChoice::Linear => "c",
            HeadChoice::Mlp => "hidden",
        };
        for (key, value) in &self.head {
            if !whole.contains_key(key) && key != given_only {
                return Err(format!(
                    "there is nothing called `{key}` in this kind of head"
                ));
            }
            let option = OF_HEAD.iter().find(|(name, _)| name == key);
            let word = option.map(|(_, id)| format!("--{}={value}", id.replace('_', "-")));
            if let Some(error) = word.and_then(|word| unfit(key, &word)) {
                return Err(error);
            }
            whole.insert(key.clone(), value.clone());
        }
        let head: Result<HeadRecipe, _> = whole.try_into();
        let head = head.map_err(|error: toml::de::Error| error.message().to_owned())?;
        sensible(&head).map(|()| head)
    }
}

/// Refuses numbers of a head that no head can have.
fn sensible(head: &HeadRecipe) -> Result<(), String> {
    let check = |key: &str, value: f64, is_sensible: bool, help: &str| match is_sensible
        && value.is_finite()
    {
        true => Ok(()),
        false => Err(format!("`{key}` is {value}; it must be {help}")),
    };
    match head {
        HeadRecipe::Linear(linear) => match linear.c {
            Some(c) => check("c", c, c > 0.0, "a number above 0"),
            None => Ok(()),
        },
        HeadRecipe::Mlp {
            dropout, training, ..
        } => {
            let (rate, decay) = (training.rate, training.weight_decay);
            check(
                "dropout",
                *dropout,
                (0.0..1.0).contains(dropout),
                "at least 0 and below 1",
            )?;
            check("rate", rate, rate > 0.0, "a number above 0")?;
            check("weight_decay", decay, decay >= 0.0, "a number, at least 0")
        }
    }
}

fn tuning(given: Table, tune: Tune) -> Result<Recipe, String> {
    let mut whole = Table::try_from(Recipe::of(tune)).map_err(|error| error.to_string())?;
    let epochs = match given.get("epochs") {
        Some(Value::Integer(epochs)) => usize::try_from(*epochs).unwrap_or(1),
        _ => Recipe::of(tune).epochs,
    };
    for (name, value) in given {
        match spelt_out(&name, value, epochs)? {
            Some(value) => whole.insert(name, value),
            None => whole.remove(&name),
        };
    }
    whole.insert("tune".to_owned(), Value::String(tune.to_string()));
    let recipe: Result<Recipe, _> = whole.try_into();
    let recipe = recipe.map_err(|error| readable(&error))?;
    recipe.check().map_err(|error| error.to_string())?;
    Ok(recipe)
}
