//! Recipes from files: a run's `recipe.toml`, one that somebody wrote, or one that comes with the program. What the
//! command line says, and the environment, goes before what a recipe says.
//!
//! A recipe has three parts: options of `train`, the table `head`, and the table `tuning`, which may also stand for itself
//! in a file that has no such table.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use rekindle_core::model::Channels;
use rekindle_core::train::HeadRecipe;
use rekindle_core::tune::{Average, Optimizer, Recipe, Tune};
use toml::{Table, Value};

use crate::cli::{self, GreyChoice, HeadChoice, ScheduleChoice};
use crate::ui::{ExitCode, Failure};

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
    let text = text(file)?;
    let wrong = |error: String| refused(file, &with_line(&text, &error));
    let parts = Parts::of(table(file)?).map_err(wrong)?;
    let is_given = |id: &str| {
        let source = given.value_source(id);
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
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
            return Err(wrong(error));
        }
    }
    parts.check(is_given("tune")).map_err(wrong)?;
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
    let text = text(file)?;
    let parts = Parts::of(table(file)?);
    let recipe = parts.and_then(|parts| tuning(parts.tuning, tune));
    recipe.map_err(|error| refused(file, &with_line(&text, &error)))
}

/// The head of a recipe: what it leaves out is usual for heads of that kind, and so is all if it is of another kind.
pub fn head(file: &Path, kind: HeadChoice) -> anyhow::Result<HeadRecipe> {
    let text = text(file)?;
    let recipe = Parts::of(table(file)?).and_then(|parts| match parts.kind()? == kind {
        true => parts.head(),
        false => Ok(usual(kind)),
    });
    recipe.map_err(|error| refused(file, &with_line(&text, &error)))
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

/// The same as a table.
fn table(file: &Path) -> anyhow::Result<Table> {
    let text = text(file)?;
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

/// What a field says where it is given as the command line has it: a name of an optimiser or a schedule, a share. Nothing
/// where it says that there is none.
fn spelt_out(name: &str, value: Value, epochs: usize) -> Result<Option<Value>, String> {
    let table =
        |value: Result<Value, toml::ser::Error>| value.map(Some).map_err(|error| error.to_string());
    let share = value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64));
    match (name, value.as_str(), share) {
        ("optimizer", Some(named), _) => match Optimizer::named(named) {
            Some(optimizer) => table(Value::try_from(optimizer)),
            None => Err(format!(
                "`optimizer` is {named}; it may be {}",
                Optimizer::NAMES.join(", ")
            )),
        },
        ("schedule", Some(named), _) => match ScheduleChoice::from_str(named, false) {
            Ok(choice) => table(Value::try_from(choice.schedule(epochs))),
            Err(_) => {
                let all = ScheduleChoice::value_variants().iter();
                let all = all.filter_map(ValueEnum::to_possible_value);
                let all: Vec<String> = all.map(|one| one.get_name().to_owned()).collect();
                Err(format!(
                    "`schedule` is {named}; it may be {}",
                    all.join(", ")
                ))
            }
        },
        ("ema", _, Some(decay)) => table(Value::try_from(Average {
            decay,
            warmup: true,
        })),
        ("warmup", _, Some(share)) => match ScheduleChoice::warmup(share) {
            Some(warmup) => table(Value::try_from(warmup)),
            None => Ok(None),
        },
        _ => match written(name) {
            Some(other) => Err(format!(
                "there is nothing called `{name}`; a recipe has {other}"
            )),
            None => Ok(Some(value)),
        },
    }
}

/// How a recipe says what an option of that name says.
fn written(option: &str) -> Option<&'static str> {
    Some(match option {
        "mixup" => "mixing = { mixup = 0.2, cutmix = 0.0 }",
        "cutmix" => "mixing = { mixup = 0.0, cutmix = 1.0 }",
        "momentum" => "optimizer = { kind = \"sgd\", momentum = 0.9 }",
        "weight_decay" => "optimizer = { kind = \"adamw\", weight_decay = 0.01 }",
        "layer_decay" => "rates = { layer_decay = 0.75 }",
        "lr_of" => "rates = { parts = { head = 1e-3 } }",
        "balanced" => "sampler = \"balanced\"",
        "freeze_bn_affine" => "bn_affine = false",
        "rate" => "lr",
        _ => return None,
    })
}

/// What a value should have been, in a reader's words and not in the program's, and of which field.
fn readable(error: &toml::de::Error) -> String {
    let whole = error.to_string();
    let field = whole
        .split("in `")
        .nth(1)
        .and_then(|rest| rest.split('`').next());
    let mut text = error.message().to_owned();
    for (ours, theirs) in [
        ("expected usize", "a whole number is expected"),
        ("expected u64", "a whole number is expected"),
        ("expected f64", "a number is expected"),
        ("expected a boolean", "true or false is expected"),
        ("expected a string", "a text is expected"),
        ("expected a sequence", "a list is expected"),
        (
            "expected internally tagged enum Optimizer",
            "a name such as \"sgd\", or { kind = \"sgd\" }, is expected",
        ),
        (
            "expected internally tagged enum Schedule",
            "a name such as \"cosine\", or { kind = \"cosine\" }, is expected",
        ),
        (
            "expected struct Average",
            "a share such as 0.99, or { decay = 0.99 }, is expected",
        ),
        (
            "expected struct Warmup",
            "a share such as 0.1, or { share = 0.1, start = 0.01 }, is expected",
        ),
        (
            "expected struct Rates",
            "a table such as { layer_decay = 0.75 } is expected",
        ),
        (
            "expected struct Mixing",
            "a table such as { mixup = 0.2, cutmix = 0.0 } is expected",
        ),
        (
            "expected struct PhaseRecipe",
            "a table such as { train = [\"head\"], epochs = 2 } is expected",
        ),
    ] {
        text = text.replace(ours, theirs);
    }
    match field {
        Some(field) if !text.contains(&format!("`{field}`")) => format!("`{field}`: {text}"),
        _ => text,
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

#[cfg(test)]
mod tests {
    use rekindle_core::train::ClassWeights;
    use rekindle_core::tune::Schedule;

    use super::*;

    fn parse(text: &str, tune: Tune) -> Result<Recipe, String> {
        tuning(Parts::of(text.parse().unwrap())?.tuning, tune)
    }

    #[test]
    fn a_head_is_read_whole_and_what_is_unknown_in_it_is_named() {
        let head = |text: &str| Parts::of(text.parse().unwrap()).unwrap().head();
        assert_eq!(head("[tuning]"), Ok(HeadRecipe::linear()));
        let mlp = "[head]\nkind = \"mlp\"\nhidden = 16\ndropout = 0.2\nrate = 0.01\nclass_weights = \"balanced\"";
        let HeadRecipe::Mlp {
            hidden,
            dropout,
            training,
            class_weights,
        } = head(mlp).unwrap()
        else {
            panic!("a two-layer head")
        };
        assert_eq!((hidden, dropout, training.rate), (Some(16), 0.2, 0.01));
        assert_eq!(
            (training.epochs, class_weights),
            (30, ClassWeights::Balanced)
        );
        for (text, words) in [
            ("[head]\nfoo = 3", "`foo`"),
            ("[head]\nhidden = 3", "`hidden`"),
            ("[head]\nc = -1.0", "`c` is -1"),
            ("[head]\nkind = \"deep\"", "it may be linear, mlp"),
            ("[head]\nkind = \"mlp\"\nepochs = 0", "`epochs` is 0"),
            ("[head]\nclass_weights = \"some\"", "some"),
        ] {
            let told = head(text).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn a_tuning_says_what_it_tunes_once() {
        let check = |text: &str, given| Parts::of(text.parse().unwrap()).unwrap().check(given);
        assert_eq!(
            check("model = \"x\"\nviews = 0\n[head]\nkind = \"linear\"", false),
            Ok(())
        );
        assert!(check("lr = 1e-3", false).unwrap_err().contains("no `tune`"));
        assert_eq!(check("lr = 1e-3", true), Ok(()));
        let phases = "tune = \"full\"\nphases = []";
        assert_eq!(check(phases, false), Ok(()));
        assert!(check(phases, true).unwrap_err().contains("`phases`"));
    }

    #[test]
    fn what_a_file_leaves_out_is_usual_and_what_is_unknown_is_named() {
        let usual = Recipe::of(Tune::Full);
        assert_eq!(parse("", Tune::Full).unwrap(), usual);
        let changed = parse("lr = 1e-3\nepochs = 2\naugment = \"none\"", Tune::Full).unwrap();
        assert_eq!(
            (changed.lr, changed.epochs, changed.batch),
            (1e-3, 2, usual.batch)
        );
        let whole = toml::to_string(&Table::from_iter([(
            "tuning".to_owned(),
            Value::try_from(&changed).unwrap(),
        )]));
        assert_eq!(parse(&whole.unwrap(), Tune::Full).unwrap(), changed);
        for (text, words) in [
            ("learning_rate = 1", "learning_rate"),
            (
                "batch = 1000000000",
                "`batch` is 1000000000; it must be at most 8192",
            ),
            ("[augment.crop]\nscale = [0.5, 1.5]", "crop.scale"),
            ("[augment.crop]\nratio = [0.0, 1.0]", "crop.ratio"),
            ("[augment.crop]\nratio = [-1.0, 1.0]", "crop.ratio"),
            ("augment = { flip = 1.5 }", "flip"),
            ("lr = -1.0", "`lr`"),
            ("modle = \"x\"\n[tuning]", "modle"),
            ("tuning = 3", "must be a table"),
        ] {
            let told = parse(text, Tune::Full).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn what_the_command_line_calls_by_a_name_a_recipe_may_call_so_too() {
        let short = "optimizer = \"sgd\"\nschedule = \"cosine\"\nema = 0.99\nwarmup = 0.1";
        let long = "optimizer = { kind = \"sgd\", momentum = 0.9 }\nschedule = { kind = \"cosine\" }\n\
                    ema = { decay = 0.99 }\nwarmup = { share = 0.1, start = 0.01 }";
        let read = |text: &str| parse(text, Tune::Full).unwrap();
        assert_eq!(read(short), read(long));
        assert_eq!(read("warmup = 0"), Recipe::of(Tune::Full));
        let step = read("schedule = \"step\"\nepochs = 9").schedule;
        assert_eq!(
            step,
            Schedule::Step {
                every: 3,
                gamma: 0.1
            }
        );
        for (text, words) in [
            ("optimizer = \"sdg\"", "`optimizer` is sdg; it may be adamw"),
            ("schedule = \"linear\"", "it may be one-cycle"),
            ("mixup = 0.2", "mixing = {"),
            ("weight_decay = 0.1", "optimizer = {"),
            ("layer_decay = 0.1", "rates = {"),
            ("optimizer = 3", "`optimizer`"),
            ("ema = \"much\"", "a share such as 0.99"),
            ("epochs = 1.5", "`epochs`: "),
            ("epochs = 1.5", "a whole number is expected"),
            ("lr = \"high\"", "a number is expected"),
        ] {
            let told = parse(text, Tune::Full).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn what_an_option_cannot_be_is_said_in_the_recipes_words() {
        let told = unfit("channels", "--grey=pink").unwrap();
        assert!(
            told.starts_with("`channels` is pink; it may be rgb, "),
            "{told}"
        );
        let told = unfit("bare", "--bare=yes").unwrap();
        assert_eq!(told, "`bare` is yes; it may be true or false");
        assert!(
            unfit("seed", "--seed=-1")
                .unwrap()
                .starts_with("`seed` is -1; it must be ")
        );
        assert_eq!(unfit("seed", "--seed=1"), None);
        let text = "model = \"x\"\nchannels = \"pink\"\n";
        assert!(with_line(text, "`channels` is pink").starts_with("line 2: "));
    }

    #[test]
    fn the_recipes_that_come_along_are_recipes() {
        for (name, text) in PRESETS {
            assert!(text.starts_with(&format!("# {name}: ")));
            let table: Table = text.parse().unwrap();
            let tune = table["tuning"]["tune"].as_str().unwrap().parse().unwrap();
            let recipe = parse(text, tune).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(recipe.tune, tune);
        }
    }
}
