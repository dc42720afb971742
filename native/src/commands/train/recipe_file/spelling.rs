//! How a recipe's fields may be written, and what is said of those that are not.

use clap::ValueEnum;
use rekindle_core::tune::{Average, Optimizer};
use toml::Value;

use crate::cli::ScheduleChoice;

/// What a field says where it is given as the command line has it: a name of an optimiser or a schedule, a share. Nothing
/// where it says that there is none.
pub(super) fn spelt_out(name: &str, value: Value, epochs: usize) -> Result<Option<Value>, String> {
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
pub(super) fn readable(error: &toml::de::Error) -> String {
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
