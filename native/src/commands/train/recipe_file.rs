//! Recipes from files: a run's `recipe.toml`, or one that somebody wrote.

use std::path::Path;

use anyhow::Context as _;
use rekindle_core::tune::{Recipe, Tune};
use toml::{Table, Value};

use crate::ui::{ExitCode, Failure};

/// The recipe in a file: what it leaves out is usual for the way to tune, which the file may name itself.
pub fn read(path: &Path, tune: Tune) -> anyhow::Result<Recipe> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the recipe {}", path.display()))?;
    parse(&text, tune).map_err(|error| {
        let message = format!("{} is no recipe: {error}", path.display());
        let help = "docs/fine-tuning.md lists what a recipe may hold; a run's recipe.toml is one";
        Failure::new(ExitCode::Usage, message).with_help(help).into()
    })
}

/// The same of its text. A run's recipe holds the tuning's in a table of its own.
fn parse(text: &str, tune: Tune) -> Result<Recipe, String> {
    let mut given: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    if let Some(Value::Table(tuning)) = given.remove("tuning") {
        given = tuning;
    }
    let usual = Table::try_from(Recipe::of(tune)).map_err(|error| error.to_string())?;
    let mut whole = usual;
    for (name, value) in given {
        whole.insert(name, value);
    }
    whole.insert("tune".to_owned(), Value::String(tune.to_string()));
    let recipe: Recipe = whole.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    recipe.check().map_err(|error| error.to_string())?;
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_leaves_out_is_usual_and_what_is_unknown_is_named() {
        let usual = Recipe::of(Tune::Full);
        assert_eq!(parse("", Tune::Full).unwrap(), usual);
        let changed = parse("lr = 1e-3\nepochs = 2\naugment = \"none\"", Tune::Full).unwrap();
        assert_eq!((changed.lr, changed.epochs, changed.batch), (1e-3, 2, usual.batch));
        let whole = toml::to_string(&Table::from_iter([(
            "tuning".to_owned(),
            Value::try_from(&changed).unwrap(),
        )]));
        assert_eq!(parse(&whole.unwrap(), Tune::Full).unwrap(), changed);
        assert!(parse("learning_rate = 1", Tune::Full).unwrap_err().contains("learning_rate"));
        assert!(parse("lr = -1.0", Tune::Full).unwrap_err().contains("`lr`"));
    }
}
