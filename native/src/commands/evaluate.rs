//! `rekindle evaluate`: how well a model does on a folder of photos.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use rekindle_core::backbone::find;
use rekindle_core::head::HeadKind;
use rekindle_core::metrics::classify::Report;
use rekindle_core::model::{Model, PhotoHashes, imagenet_class_of_synset, imagenet_classes};
use rekindle_core::task::Task;
use rekindle_core::train::judge;
use serde_json::json;

use super::{segment, targets};
use crate::cli::{EvaluateArgs, PartChoice};
use crate::context::Context;
use crate::dataset::{self, Dataset, Labels, ScanOptions, Split, Wanted, nfc};
use crate::features;
use crate::measured::{accuracy_gate, check_gate, class_table, share, tell};
use crate::ui::{ExitCode, Failure, print_json, print_text, print_warning};
use crate::{models, runs, skipped, tasks};

/// How many names a message lists before it says "…".
const NAMES: usize = 8;

/// Classifies a labelled folder and prints accuracy, per-class figures and confusions.
pub fn run(args: &EvaluateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    check_gate(args.min_accuracy)?;
    let weights = args.weights.weights.as_deref();
    models::check(&args.model, weights)?;
    // The model knows what the classes are called, so it comes first; but not before a folder that is not
    // there.
    dataset::check_root(&args.dir).map_err(|error| match tasks::of(&args.model) {
        Some(Task::Segment) => {
            let failure = Failure::new(error.exit_code(), &error);
            anyhow::Error::new(failure.with_help(dataset::MASKS_HELP))
        }
        _ => error.into(),
    })?;
    let wanted = match args.split {
        None => Wanted::Best,
        Some(PartChoice::Train) => Wanted::Only(Split::Train),
        Some(PartChoice::Val) => Wanted::Only(Split::Val),
        Some(PartChoice::Test) => Wanted::Only(Split::Test),
        Some(PartChoice::All) => Wanted::All,
    };
    let device = context.open_device()?;
    let options = ScanOptions {
        limits: context.limits,
        strict: args.strict,
    };
    let classes = || -> anyhow::Result<Vec<String>> {
        match Labels::to_measure(&args.labels, Task::Classify, &[], Wanted::All) {
            None => Ok(dataset::classes_of(&args.dir, &context.interrupt)?),
            Some(labels) => {
                let interrupt = &context.interrupt;
                Ok(
                    dataset::scan_labels(&args.dir, &labels, &options, interrupt)?
                        .0
                        .classes,
                )
            }
        }
    };
    // Folders of masks do not name the classes.
    let is_named = find(&args.model).is_ok_and(|network| network.task == Task::Classify);
    let model = models::open_to_measure(
        &args.model,
        weights,
        is_named.then_some(&classes),
        &device.device,
        context,
    )?;
    if model.card.task == Task::Segment {
        return segment::evaluate::run(args, wanted, &model, context);
    }
    let vocabulary = Vocabulary::of(&model.card.classes);
    let known = |name: &str| !vocabulary.places(name).is_empty();
    let (task, classes) = (model.card.task, &model.card.classes);
    let mut dataset = match Labels::to_measure(&args.labels, task, classes, wanted) {
        Some(labels) => {
            let interrupt = &context.interrupt;
            let (dataset, notes) = dataset::scan_labels(&args.dir, &labels, &options, interrupt)?;
            notes.iter().for_each(|note| context.console.note(note));
            dataset
        }
        None if task != Task::Classify => return Err(needs_labels(&model).into()),
        None => dataset::scan_to_measure(
            &args.dir,
            &options,
            wanted,
            Some(&known),
            &context.interrupt,
        )?,
    };
    if args.split == Some(PartChoice::All) && dataset.parts.is_empty() {
        return Err(Failure::new(
            ExitCode::Usage,
            "--split does not apply here: it belongs to folders that are divided into parts",
        )
        .with_help("leave it out: the whole folder is measured")
        .into());
    }
    introduce(args, &dataset, context);
    let trained_on = trained_on(&model, &args.model);
    let is_own =
        !matches!(model.card.head, HeadKind::Original) || model.card.classes != imagenet_classes();
    if trained_on.is_none() && is_own {
        context
            .console
            .note("the model does not tell which photos it was trained on");
    }
    let seen = trained_on.map(|photos| warn_of_trained_photos(&photos, &dataset));
    if task != Task::Classify {
        return targets::evaluate::run(args, &model, &mut dataset, seen, context);
    }
    let places = vocabulary.places_of_classes(&dataset, &args.dir)?;

    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let (mut labels, mut logits, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let before = dataset.skipped.len();
    features::predict(
        &model,
        &paths,
        classes.len(),
        before,
        context,
        |photo, known| {
            match known {
                Ok(top) => {
                    labels.push(places[dataset.items[photo].class]);
                    let start = logits.len();
                    logits.resize(start + classes.len(), 0.0);
                    for prediction in top {
                        logits[start + prediction.index] = prediction.logit;
                    }
                }
                Err(error) => failed.push((photo, error)),
            }
            Ok(())
        },
    )
    .with_context(|| format!("cannot measure {}", args.model))?;
    skipped::warn_of(&dataset.leave_out(&failed)?);
    let report = judge(&logits, &labels, classes.len())?;

    if context.global.json {
        let (shown, report) = report.measured();
        let shown: Vec<&String> = shown.iter().map(|&class| &classes[class]).collect();
        print_json(&json!({
            "accuracy": report.accuracy,
            "images": labels.len(),
            "skipped": dataset.skipped.len(),
            "split": dataset.measured_part(),
            "trained_on": seen,
            "classes": shown,
            "report": report,
        }))?;
    } else {
        let with_photos = |&class: &usize| report.per_class[class].support > 0;
        let shown = (0..classes.len()).filter(with_photos);
        print_text(&class_table(&report, classes, shown))?;
        if let Some(elsewhere) = answered_elsewhere(&report) {
            print_text(&elsewhere)?;
        }
        let place = match dataset.measured_part() {
            Some(part) => format!(" of {}", dataset.place_of(part)),
            None => String::new(),
        };
        print_text(&format!(
            "accuracy {} on {}{place}",
            share(report.accuracy),
            photos(labels.len())
        ))?;
    }
    accuracy_gate(report.accuracy, args.min_accuracy)
}

/// What is said where class folders cannot tell what a model is to be measured by.
fn needs_labels(model: &Model) -> Failure {
    let what = match model.card.task {
        Task::MultiLabel => {
            "the model puts several labels on photos, which class folders do not tell"
        }
        _ => "the model estimates values of photos, which class folders do not tell",
    };
    Failure::new(ExitCode::Usage, what)
        .with_help("name a CSV or JSONL file of paths and labels by --labels FILE")
}

fn photos(count: usize) -> String {
    match count {
        1 => "1 photo".to_owned(),
        count => format!("{count} photos"),
    }
}

/// Says which photos are measured and how the folder was understood.
fn introduce(args: &EvaluateArgs, dataset: &Dataset, context: &Context) {
    tell(&dataset.remarks, context);
    let count = photos(dataset.items.len());
    let mut line = match dataset.measured_part() {
        Some(part) => format!("measured on {}: {count}", dataset.place_of(part)),
        None if dataset.parts.is_empty() => format!("measured on the whole folder: {count}"),
        None => {
            let places: Vec<_> = dataset.parts.iter().map(|(_, place)| &**place).collect();
            format!("measured on {} together: {count}", places.join(", "))
        }
    };
    let others: Vec<_> = dataset
        .parts
        .iter()
        .filter(|(part, _)| args.split.is_none() && dataset.measured_part() != Some(*part))
        .map(|(_, place)| &**place)
        .collect();
    if !others.is_empty() {
        line += &format!(" ({} left out; --split chooses)", others.join(", "));
    }
    context.console.note(&line);
    if args.split.is_none() && dataset.measured_part() == Some(Split::Train) {
        let missing = match dataset.has_empty_part() {
            true => "there is no photo in test/ or val/",
            false => "there is neither test/ nor val/",
        };
        print_warning(
            &format!(
                "{missing} to measure on, so it is {}",
                dataset.place_of(Split::Train)
            ),
            Some(match dataset.task {
                Task::MultiLabel | Task::Regress => {
                    "photos that a model was trained on make its figures look too good"
                }
                Task::Classify | Task::Segment => {
                    "photos that a model was trained on make its accuracy look too good"
                }
            }),
        );
    }
    skipped::warn_of(&dataset.skipped);
}

/// What a model's classes are called.
struct Vocabulary<'a> {
    classes: &'a [String],
    by_name: HashMap<String, Vec<usize>>,
    is_imagenet: bool,
}

impl<'a> Vocabulary<'a> {
    fn of(classes: &'a [String]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, class) in classes.iter().enumerate() {
            by_name.entry(nfc(class)).or_default().push(place);
        }
        Self {
            classes,
            by_name,
            is_imagenet: classes == imagenet_classes(),
        }
    }

    /// The places among the classes of those that a folder's name means: by the name itself, else as a
    /// WordNet id of an ImageNet class.
    fn places(&self, name: &str) -> Vec<usize> {
        if let Some(places) = self.by_name.get(&nfc(name)) {
            return places.clone();
        }
        match imagenet_class_of_synset(name) {
            Some(class) if self.is_imagenet => vec![class],
            Some(class) => {
                let name = imagenet_classes().swap_remove(class);
                self.by_name.get(&name).cloned().unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// The place of each of the folder's classes; of those without photos any will do.
    fn places_of_classes(&self, dataset: &Dataset, root: &Path) -> anyhow::Result<Vec<usize>> {
        let counts = dataset.counts();
        let place = |(class, count): (&String, &dataset::ClassCount)| match self.places(class)[..] {
            [place] => Ok(place),
            _ if count.total() == 0 => Ok(0),
            [] => Err(self.unknown(class, dataset, root)),
            _ => {
                let text = format!("the model has more than one class called '{class}'");
                Err(Failure::new(ExitCode::Data, text)
                    .with_help("which of them a photo is cannot be told: train it again"))
            }
        };
        let places = dataset.classes.iter().zip(&counts).map(place);
        Ok(places.collect::<Result<_, _>>()?)
    }

    fn unknown(&self, class: &str, dataset: &Dataset, root: &Path) -> Failure {
        // Where the folders inside the class folders are classes, the user is a level too high.
        let inner = dataset.items.iter().find_map(|item| {
            let mut folders = item.relative.split('/').rev().skip(1);
            let (inner, outer) = (folders.next()?, folders.next()?);
            let deeper = outer == class && !self.places(inner).is_empty();
            deeper.then_some((inner, outer))
        });
        let more = if self.classes.len() > NAMES {
            ", …"
        } else {
            ""
        };
        let names: Vec<_> = self.classes.iter().take(NAMES).cloned().collect();
        let help = match inner {
            Some((inner, outer)) => format!(
                "the classes lie one level down, such as {inner}/ in {outer}/: give the folder that holds \
                 them"
            ),
            None if dataset::holds_masks(root) => {
                "this is a folder of photos with masks, for networks that segment: `rekindle models` lists them"
                    .to_owned()
            }
            None => format!("it knows {}{more}", names.join(", ")),
        };
        Failure::new(
            ExitCode::Data,
            format!("the model knows no class '{class}'"),
        )
        .with_help(help)
    }
}

/// The photos that the model's head was trained on, as far as its card or its run tells.
fn trained_on(model: &Model, name: &str) -> Option<PhotoHashes> {
    let card = model.card.trained_on.clone();
    card.or_else(|| runs::hashes_in_manifest(Path::new(name)))
}

/// Warns of photos that the model was trained on and says how many they are.
fn warn_of_trained_photos(trained_on: &PhotoHashes, dataset: &Dataset) -> usize {
    let mut seen = dataset
        .items
        .iter()
        .filter(|item| trained_on.contains(item.hash.0));
    let Some(first) = seen.next() else {
        return 0;
    };
    let count = 1 + seen.count();
    let all = dataset.items.len();
    let which = match count {
        1 => format!("1 of {} is one", photos(all)),
        count => format!("{count} of {} are among those", photos(all)),
    };
    let figure = match dataset.task {
        Task::MultiLabel | Task::Regress => "figures",
        Task::Classify | Task::Segment => "accuracy",
    };
    print_warning(
        &format!(
            "{which} that the model was trained on, so the {figure} will look too good: {}",
            first.relative
        ),
        Some("measure on photos that it has not seen: keep some in a test/ folder beside train/"),
    );
    count
}

/// What is said of answers that name classes without photos here.
fn answered_elsewhere(report: &Report) -> Option<String> {
    let (mut classes, mut answers) = (0, 0);
    for (class, scores) in report.per_class.iter().enumerate() {
        let column = report
            .confusion
            .rows()
            .iter()
            .map(|row| row[class])
            .sum::<usize>();
        if scores.support == 0 && column > 0 {
            classes += 1;
            answers += column;
        }
    }
    let answers = match answers {
        0 => return None,
        1 => "1 answer names".to_owned(),
        answers => format!("{answers} answers name"),
    };
    let classes = match classes {
        1 => "a class".to_owned(),
        classes => format!("{classes} classes"),
    };
    Some(format!(
        "{answers} {classes} of which there are no photos here"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn class_names_are_compared_in_composed_form() {
        // As macOS writes "café", and as others do.
        let (apart, composed) = ("cafe\u{301}", "caf\u{e9}");
        for (model, folder) in [(apart, composed), (composed, apart)] {
            let classes = words(&["bar", model]);
            assert_eq!(Vocabulary::of(&classes).places(folder), [1]);
        }
    }

    #[test]
    fn wordnet_ids_are_imagenet_classes() {
        let imagenet = imagenet_classes();
        let vocabulary = Vocabulary::of(&imagenet);
        // timm's imagenet_synset_to_lemma.txt: n02123045 is "tabby, tabby cat", torchvision's class 281.
        assert_eq!(vocabulary.places("n02123045"), [281]);
        assert_eq!(vocabulary.places("n02123045-tabby"), [281]);
        assert_eq!(vocabulary.places("tabby"), [281]);
        assert_eq!(vocabulary.places("n00000001"), [0; 0]);
        // A head of one's own may go by names or by ids.
        let own = words(&["tabby", "tench"]);
        assert_eq!(Vocabulary::of(&own).places("n02123045"), [0]);
        let ids = words(&["n01440764", "n02123045"]);
        assert_eq!(Vocabulary::of(&ids).places("n02123045"), [1]);
    }
}
