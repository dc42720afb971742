//! What `train` says of photos that belong together, and whether there are folds of them.

use std::collections::HashMap;

use rekindle_core::task::Task;
use rekindle_core::train::{FeatureCache, GroupCounts, Groups, stratified_folds};

use crate::context::Context;
use crate::dataset::Dataset;
use crate::ui::{ExitCode, Failure, print_warning};

/// Folds that cannot be made are refused before any photo is looked at.
///
/// # Errors
///
/// A usage error that says why.
pub fn check_folds(folds: usize, dataset: &Dataset) -> Result<(), Failure> {
    let photos = dataset.items.len();
    let usage =
        |message: String, help: &str| Err(Failure::new(ExitCode::Usage, message).with_help(help));
    if folds > photos {
        return usage(
            format!("--folds {folds} with {photos} photos: some folds would hold none"),
            "use no more folds than there are photos, 5 or 10 as a rule",
        );
    }
    let is_classes = dataset.task == Task::Classify;
    // Each fold is answered by a head that has seen the others, two classes of them at least.
    if is_classes
        && dataset
            .counts()
            .iter()
            .filter(|count| count.total() >= 2)
            .count()
            < 2
    {
        return usage(
            "--folds needs two classes with two photos or more".to_owned(),
            "add photos, or leave out --folds",
        );
    }
    // Copies are known by their bytes already; what is nearly the same will be known by features.
    let mut first = HashMap::new();
    let originals = dataset.items.iter().enumerate();
    let originals = originals.map(|(at, item)| *first.entry(item.hash).or_insert(at));
    let copies: Vec<Option<usize>> = originals.map(Some).collect();
    let groups = Groups::alone(photos).joined_with(&copies);
    let groups = with_given(&groups, dataset);
    let labels: Vec<usize> = match is_classes {
        true => dataset.items.iter().map(|item| item.class).collect(),
        // Strata that may be made otherwise later.
        false => vec![0; photos],
    };
    match stratified_folds(
        &labels,
        groups.of(),
        None,
        dataset.classes.len().max(1),
        folds,
        0,
    ) {
        Ok(_) => Ok(()),
        Err(error) => usage(
            format!("--folds {folds}: {error}"),
            error.help().unwrap_or("leave out --folds"),
        ),
    }
}

/// Finds the photos that belong together, and says so where their features do not tell: where it is known why they
/// are `untrained`, and where most photos look the same by them.
pub fn find(
    cache: &FeatureCache,
    contents: &[u64],
    untrained: Option<&str>,
    context: &Context,
) -> Groups {
    if let Some(why) = untrained {
        context.console.note(&format!(
            "{why}, so its features do not tell which photos are nearly the same: only copies are kept together"
        ));
        return Groups::of_copies(cache, Some(contents));
    }
    let groups = Groups::find(cache, Some(contents));
    if !groups.are_mixed(cache.labels()) {
        return groups;
    }
    let copies = Groups::of_copies(cache, Some(contents));
    if copies.are_mixed(cache.labels()) {
        return groups;
    }
    print_warning(
        "to this network most photos of several classes look the same, so only copies are kept together",
        Some(
            "try another --model, or its published weights; if the photos are of one recording, the accuracy will \
             look too good",
        ),
    );
    copies
}

/// The same groups, joined with those that a file of labels gives.
pub fn with_given(groups: &Groups, dataset: &Dataset) -> Groups {
    let given: Vec<Option<usize>> = dataset.items.iter().map(|item| item.group).collect();
    groups.clone().joined_with(&given)
}

/// Says how many photos belong together, and what follows from it: photos that lie in two classes or on both
/// sides of the folder's own split, and classes that cannot be measured. Returns whether it was said that nothing
/// can be. `alike` are the groups of photos that look the same, before groups that were given joined them.
pub fn introduce(
    alike: &Groups,
    groups: &Groups,
    dataset: &Dataset,
    has_folds: bool,
    context: &Context,
) -> bool {
    let own_parts = dataset.is_divided() && !has_folds;
    if let Some(line) = summary(groups.counts(), own_parts) {
        context.console.note(&line);
    }
    let items = &dataset.items;
    let unlike = |a: usize, b: usize| items[a].hash != items[b].hash;
    let named = |pairs: &[[usize; 2]]| {
        let [photo, other] = pairs[0].map(|photo| items[photo].relative.as_str());
        format!("{photo} is like {other}")
    };
    // Copies of the same bytes have been warned about before a network was loaded.
    let is_classes = dataset.task == Task::Classify;
    let of_two_classes =
        alike.torn(|a, b| is_classes && unlike(a, b) && items[a].class != items[b].class);
    if !of_two_classes.is_empty() {
        print_warning(
            &format!(
                "{} the same as photos of another class: {}",
                look(of_two_classes.len()),
                named(&of_two_classes)
            ),
            Some(
                "one of the labels may be wrong: decide for one class; they stay on one side of splits",
            ),
        );
    }
    if own_parts {
        let torn = alike.torn(|a, b| unlike(a, b) && items[a].split != items[b].split);
        if !torn.is_empty() {
            print_warning(
                &format!(
                    "{} the same as photos of another part, so the accuracy will look too good: {}",
                    look(torn.len()),
                    named(&torn)
                ),
                Some(
                    "the folder's own parts are kept; move photos that belong together into one of them",
                ),
            );
        }
        return false;
    }
    if !is_classes {
        let is_nothing = groups.of().iter().all(|&group| group == 0);
        if is_nothing {
            print_warning(
                "all photos belong together, so nothing is held back to measure the model on",
                Some("add photos taken at another time or place"),
            );
        }
        return is_nothing;
    }
    let labels: Vec<usize> = items.iter().map(|item| item.class).collect();
    let counts = groups.of_classes(&labels, dataset.classes.len());
    let lone: Vec<&str> = counts
        .iter()
        .zip(dataset.counts())
        .zip(&dataset.classes)
        .filter(|((groups, count), _)| **groups == 1 && count.total() > 1)
        .map(|(_, class)| class.as_str())
        .collect();
    let is_nothing = counts.iter().all(|&groups| groups < 2);
    if let Some(text) = unmeasured(&lone, is_nothing) {
        print_warning(&text, Some("add photos taken at another time or place"));
    }
    is_nothing && !lone.is_empty()
}

/// What is said of classes each of which is one group; `is_nothing` if there is no other.
fn unmeasured(lone: &[&str], is_nothing: bool) -> Option<String> {
    /// Classes that are named; of more their number is said.
    const NAMED: usize = 5;
    let quoted: Vec<_> = lone.iter().map(|class| format!("`{class}`")).collect();
    let (these, they) = match &quoted[..] {
        [] => return None,
        [only] => (format!("class {only}"), "it is"),
        [others @ .., last] if quoted.len() <= NAMED => (
            format!("each of the classes {} and {last}", others.join(", ")),
            "they are",
        ),
        all => (
            format!(
                "each of {} classes ({}, …)",
                all.len(),
                all[..NAMED].join(", ")
            ),
            "they are",
        ),
    };
    let follows = match is_nothing {
        true => "nothing is held back to measure the accuracy on".to_owned(),
        false => format!("none is held back and how well {they} recognised is not measured"),
    };
    Some(format!(
        "all photos of {these} belong together, so {follows}"
    ))
}

/// One line on the groups; nothing where every photo stands alone. Where the folder says itself what is held
/// back, nothing is moved to keep a group together.
fn summary(counts: GroupCounts, own_parts: bool) -> Option<String> {
    if counts.groups == 0 {
        return None;
    }
    let kinds = [
        (counts.copies, ["copy", "copies"]),
        (counts.near_copies, ["near copy", "near copies"]),
        (counts.in_bursts, ["of a burst", "of bursts"]),
        (
            counts.given,
            ["by its given group", "by their given groups"],
        ),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {}", kind[usize::from(*count != 1)]))
        .collect();
    let plural = if counts.groups == 1 { "" } else { "s" };
    Some(format!(
        "{} photos belong together in {} group{plural} ({}); {}, the largest has {}",
        counts.photos,
        counts.groups,
        kinds.join(", "),
        match own_parts {
            true => "the folder's own parts stand",
            false => "each stays on one side",
        },
        counts.largest
    ))
}

fn look(count: usize) -> String {
    match count {
        1 => "1 photo looks".to_owned(),
        count => format!("{count} photos look"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_copies_near_copies_and_bursts() {
        assert_eq!(summary(GroupCounts::default(), false), None);
        let counts = GroupCounts {
            groups: 3,
            photos: 17,
            largest: 12,
            copies: 2,
            near_copies: 0,
            in_bursts: 12,
            given: 0,
        };
        assert_eq!(
            summary(counts, false).as_deref(),
            Some(
                "17 photos belong together in 3 groups (2 copies, 12 of bursts); each stays on one side, \
                 the largest has 12"
            )
        );
    }

    #[test]
    fn classes_of_one_group_each_are_not_said_to_be_one_group_of_all() {
        assert_eq!(unmeasured(&[], false), None);
        for (lone, is_nothing, text) in [
            (
                &["tool"][..],
                false,
                "all photos of class `tool` belong together, so none is held back and how well it is recognised is \
                 not measured",
            ),
            (
                &["tool", "windmill"],
                false,
                "all photos of each of the classes `tool` and `windmill` belong together, so none is held back and \
                 how well they are recognised is not measured",
            ),
            (
                &["tool", "windmill"],
                true,
                "all photos of each of the classes `tool` and `windmill` belong together, so nothing is held back to \
                 measure the accuracy on",
            ),
        ] {
            assert_eq!(unmeasured(lone, is_nothing).as_deref(), Some(text));
        }
        let many = ["a", "b", "c", "d", "e", "f"];
        let text = unmeasured(&many, false).unwrap();
        assert!(
            text.starts_with("all photos of each of 6 classes (`a`, `b`, `c`, `d`, `e`, …) belong")
        );
    }

    #[test]
    fn one_copy_is_no_copies() {
        let counts = GroupCounts {
            groups: 3,
            photos: 6,
            largest: 2,
            copies: 1,
            near_copies: 1,
            in_bursts: 1,
            given: 0,
        };
        let line = summary(counts, false).unwrap();
        assert!(
            line.contains("(1 copy, 1 near copy, 1 of a burst)"),
            "{line}"
        );
    }
}
