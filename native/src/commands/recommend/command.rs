//! The training that is recommended, as a command that a shell takes.

use rekindle_core::device::Preference;
use rekindle_core::tune::Tune;

use super::candidates::Candidate;
use crate::cli::{RecommendArgs, TaskChoice};
use crate::context::Context;
use crate::ui::quoted;

/// The command. `divides` where the folder says itself what is held back.
pub fn command(
    args: &RecommendArgs,
    candidate: &Candidate,
    tune: Tune,
    divides: bool,
    context: &Context,
) -> String {
    let mut words = vec!["rekindle".to_owned(), "train".to_owned()];
    let folder = args.dir.display().to_string();
    // What begins with a minus would be an option.
    words.push(match folder.starts_with('-') {
        true => quoted(&format!("./{folder}")),
        false => quoted(&folder),
    });
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push(format!("--{name}"));
            words.push(quoted(&value));
        }
    };
    option("model", Some(candidate.name().to_owned()));
    option("weights", candidate.weights_option().map(str::to_owned));
    option("input", args.input.map(|side| side.to_string()));
    option("tune", (!tune.is_head()).then(|| tune.to_string()));
    // A head alone draws nothing where the folder is divided.
    let draws = !tune.is_head() || !divides;
    option(
        "seed",
        args.seed.filter(|_| draws).map(|seed| seed.to_string()),
    );
    option(
        "max-pixels",
        args.photos.max_pixels.map(|most| most.to_string()),
    );
    option(
        "cache-budget",
        args.cache.cache_budget.map(|bytes| bytes.to_string()),
    );
    let device = context.global.device;
    option(
        "device",
        (device != Preference::Auto).then(|| device.to_string()),
    );
    let labels = &args.labels;
    let path = |path: &std::path::PathBuf| path.display().to_string();
    option("labels", labels.file.labels.as_ref().map(path));
    option("path-column", labels.file.path_column.clone());
    let columns = &labels.file.label_column;
    option(
        "label-column",
        (!columns.is_empty()).then(|| columns.join(",")),
    );
    option("split-column", labels.file.split_column.clone());
    option("group-column", labels.group_column.clone());
    // Other tasks have been refused.
    let task = labels.task.filter(|task| *task == TaskChoice::Classify);
    option("task", task.map(|_| "classify".to_owned()));
    if args.cache.no_cache {
        words.push("--no-cache".to_owned());
    }
    if args.strict {
        words.push("--strict".to_owned());
    }
    words.join(" ")
}
