//! A training that is suggested, as a command that a shell takes.

use clap::ValueEnum;
use rekindle_core::device::Preference;

use crate::cli::TrainArgs;
use crate::ui::quoted;

/// The command: the folder, the network, and all options beside that are suggested, or were given to what suggests it.
pub fn command(training: &TrainArgs, device: Preference) -> String {
    let folder = training.dir().display().to_string();
    let mut words = vec!["rekindle".to_owned(), "train".to_owned()];
    // What begins with a minus would be an option.
    words.push(match folder.starts_with('-') {
        true => quoted(&format!("./{folder}")),
        false => quoted(&folder),
    });
    let mut flag = |name: &str, is_given: bool| {
        if is_given {
            words.push(format!("--{name}"));
        }
    };
    flag("strict", training.strict);
    flag("no-cache", training.cache.no_cache);
    flag("bare", training.pictures.bare);
    flag("small-stem", training.pictures.small_stem);
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push(format!("--{name}"));
            words.push(quoted(&value));
        }
    };
    let labels = &training.labels;
    let file = labels.file.labels.as_ref();
    option("labels", file.map(|file| file.display().to_string()));
    option("path-column", labels.file.path_column.clone());
    let columns = &labels.file.label_column;
    option(
        "label-column",
        (!columns.is_empty()).then(|| columns.join(",")),
    );
    option("split-column", labels.file.split_column.clone());
    option("group-column", labels.group_column.clone());
    option("task", labels.task.as_ref().and_then(name));
    option("max-pixels", training.photos.max_pixels.map(text));
    let limit = training.tuning.memory_limit;
    option("memory-limit", limit.map(text));
    option("cache-budget", training.cache.cache_budget.map(text));
    option("device", (device != Preference::Auto).then(|| text(device)));
    option("model", Some(training.model.clone()));
    option("weights", training.weights.weights.clone());
    option("input", training.pictures.input.map(text));
    option("grey", training.pictures.grey.as_ref().and_then(name));
    let tuning = &training.tuning;
    option("tune", (!tuning.tune.is_head()).then(|| text(tuning.tune)));
    option("lr", training.lr.map(|rate| format!("{rate:e}")));
    option("batch", training.batch.map(text));
    option("augment", tuning.augment.clone());
    option("seed", training.seed.map(text));
    words.join(" ")
}

fn text(value: impl ToString) -> String {
    value.to_string()
}

/// What a choice is called on the command line.
fn name(choice: &impl ValueEnum) -> Option<String> {
    let value = choice.to_possible_value()?;
    Some(value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::cli::{Cli, Command};

    /// What a command line is suggested as.
    fn suggested(words: &[&str]) -> String {
        let words = ["rekindle", "train"].iter().chain(words);
        let cli = Cli::from_arg_matches(&Cli::command().get_matches_from(words)).unwrap();
        let Command::Train(training) = &cli.command else {
            panic!("a training")
        };
        command(training, cli.global.device)
    }

    #[test]
    fn a_training_is_written_as_it_was_given_and_what_is_usual_is_left_out() {
        assert_eq!(
            suggested(&["my photos"]),
            "rekindle train 'my photos' --model efficientnet_lite0"
        );
        let all = "photos --strict --no-cache --bare --small-stem --labels l.csv --path-column p --label-column a,b \
                   --split-column s --group-column g --task multilabel --max-pixels 9000000 --memory-limit 2000000000 --device gpu \
                   --model mobilenet_v3_small --weights random --input 64 --grey mean --tune last:3 --lr 1.2e-4 \
                   --batch 8 --augment none --seed 3";
        let words: Vec<&str> = all.split(' ').collect();
        assert_eq!(suggested(&words), format!("rekindle train {all}"));
        let budget = suggested(&["photos", "--cache-budget", "20GB", "--lr", "0.001"]);
        assert!(budget.contains("--cache-budget 20000000000") && budget.ends_with("--lr 1e-3"));
        // A folder whose name begins like an option, and a file with a space.
        let odd = suggested(&["--labels", "my labels.csv", "--", "-odd"]);
        assert!(
            odd.starts_with("rekindle train ./-odd --labels 'my labels.csv'"),
            "{odd}"
        );
    }
}
