//! Recipes from files: a run's `recipe.toml`, one that somebody wrote, or one that comes with the program. What the
//! command line says, and the environment, goes before what a recipe says.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use rekindle_core::tune::{Recipe, Tune};
use toml::{Table, Value};

use crate::cli;
use crate::ui::{ExitCode, Failure};

/// The recipes that come with the program, by their names.
const PRESETS: [(&str, &str); 3] = [
    ("quick", include_str!("recipes/quick.toml")),
    ("best", include_str!("recipes/best.toml")),
    ("phone", include_str!("recipes/phone.toml")),
];

/// What a recipe says beside its table `tuning`, and the option of `train` that says the same.
const OPTIONS: [(&str, &str); 12] = [
    ("model", "model"),
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

/// The options that a recipe stands for, of those that neither the command line nor the environment gives.
pub fn words(matches: &ArgMatches) -> anyhow::Result<Vec<OsString>> {
    let Some(("train", given)) = matches.subcommand() else {
        return Ok(Vec::new());
    };
    let Some(file) = given.get_one::<std::path::PathBuf>("recipe") else {
        return Ok(Vec::new());
    };
    let table = table(file)?;
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
            Some(Value::Boolean(true)) => format!("--{option}"),
            Some(Value::String(text)) => format!("--{option}={text}"),
            Some(value) => format!("--{option}={value}"),
        };
        said.push((key, word));
    };
    let divides = is_given("folds") || is_given("split");
    for (key, id) in OPTIONS {
        if !(divides && matches!(key, "split" | "folds")) {
            say(key, id, table.get(key));
        }
    }
    if let Some(Value::Table(head)) = table.get("head") {
        say("kind", "head", head.get("kind"));
        say("hidden", "hidden", head.get("hidden"));
        say("c", "c", head.get("c"));
    }
    if let Some(Value::Table(tuning)) = table.get("tuning") {
        say("tune", "tune", tuning.get("tune"));
    }
    for (key, word) in &said {
        if let Some(wrong) = wrong(key, word) {
            let text = text(file)?;
            return Err(refused(file, &with_line(&text, &wrong)));
        }
    }
    Ok(said.into_iter().map(|(_, word)| word.into()).collect())
}

/// Why an option that a key of a recipe stands for cannot have its value, in the recipe's words.
fn wrong(key: &str, word: &str) -> Option<String> {
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
    let mut words = Vec::new();
    for id in given.ids().filter(of_environment) {
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
    let table = table(file)?;
    tuning(table, tune).map_err(|error| refused(file, &with_line(&text, &error)))
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
fn text(file: &Path) -> anyhow::Result<String> {
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
    let help = "docs/fine-tuning.md says what a recipe may hold; a run's recipe.toml is one";
    Failure::new(ExitCode::Usage, message)
        .with_help(help)
        .into()
}

/// Keys beside `tuning` that a run's recipe has and this program reads.
fn is_known(key: &str) -> bool {
    let mut keys = OPTIONS.iter().map(|(key, _)| *key);
    key == "head" || keys.any(|known| known == key)
}

fn tuning(mut table: Table, tune: Tune) -> Result<Recipe, String> {
    let given = match table.remove("tuning") {
        Some(Value::Table(tuning)) => {
            if let Some(key) = table.keys().find(|key| !is_known(key)) {
                return Err(format!("there is nothing called `{key}`"));
            }
            tuning
        }
        Some(_) => return Err("`tuning` must be a table".to_owned()),
        // A file may hold a tuning alone.
        None => table,
    };
    let mut whole = Table::try_from(Recipe::of(tune)).map_err(|error| error.to_string())?;
    for (name, value) in given {
        whole.insert(name, value);
    }
    whole.insert("tune".to_owned(), Value::String(tune.to_string()));
    let recipe: Result<Recipe, _> = whole.try_into();
    let recipe = recipe.map_err(|error| error.message().to_owned())?;
    recipe.check().map_err(|error| error.to_string())?;
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, tune: Tune) -> Result<Recipe, String> {
        tuning(text.parse().unwrap(), tune)
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
    fn what_an_option_cannot_be_is_said_in_the_recipes_words() {
        let told = wrong("channels", "--grey=pink").unwrap();
        assert!(
            told.starts_with("`channels` is pink; it may be rgb, "),
            "{told}"
        );
        let told = wrong("bare", "--bare=yes").unwrap();
        assert_eq!(told, "`bare` is yes; it may be true or false");
        assert!(
            wrong("seed", "--seed=-1")
                .unwrap()
                .starts_with("`seed` is -1; it must be ")
        );
        assert_eq!(wrong("seed", "--seed=1"), None);
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
