//! Which tensors of a file are meant by a network's names.
//!
//! Training scripts keep a network inside something else, and its tensors' names grow at the front:
//! `module.` from DataParallel, `_orig_mod.` from `torch.compile`, `model.` from Lightning, `backbone.` from
//! one's own. The prefix is found, not listed: the one under which most of the network lies.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::Graph;
use crate::weights::{is_average, is_counter, unwrapped};

/// The most names that are put in front of each other.
const DEEPEST: usize = 12;

/// A network without one of so many of its tensors is the network still: it has another head.
const SAME: usize = 10;

/// The tensors a network has, name and shape.
pub(super) type Wanted = BTreeMap<String, Vec<usize>>;

/// How a file's names stand for a network's.
#[derive(Debug, Default)]
pub(super) struct Renames {
    /// The name of a tensor as the network has it, or as it would, to the file's.
    pub names: BTreeMap<String, String>,
    /// What stands in front of the network's names, wrappers left out: empty, or with a dot at its end.
    pub prefix: String,
    /// Other prefixes under which all that was found, or nearly all, lies once more.
    pub copies: Vec<String>,
    /// The file's names that do not begin with the prefix.
    pub beside: Vec<String>,
    /// Whether most of the network is there at all.
    pub is_found: bool,
}

/// How much of a network lies under a prefix.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    shapes: usize,
    names: usize,
}

impl Renames {
    /// Finds the prefix. `parts` are the first names of the backbone's tensors, in its own order; `fits` says
    /// whether a tensor of this name and shape can be made the network's; `modern` turns a name of an old
    /// file into today's.
    pub fn new(
        wanted: &Wanted,
        parts: &[String],
        file: Vec<(String, Vec<usize>)>,
        fits: impl Fn(&str, &[usize], &[usize]) -> bool,
        modern: impl Fn(String) -> String,
    ) -> Self {
        let file: Vec<(String, String, Vec<usize>)> = file
            .into_iter()
            .map(|(name, shape)| (unwrapped(&name), name, shape))
            .collect();
        let mut found: BTreeMap<&str, Found> = BTreeMap::new();
        for (name, _, shape) in &file {
            for (prefix, rest) in splits(name) {
                let rest = modern(rest.to_owned());
                if let Some(expected) = wanted.get(&rest) {
                    let here = found.entry(prefix).or_default();
                    here.names += 1;
                    here.shapes += usize::from(fits(&rest, shape, expected));
                }
            }
        }
        // Of equals the shortest, and averages last: they are named, and taken when asked for.
        let better = |&(prefix, found): &(&&str, &Found)| {
            let averaged = prefix.split('.').any(is_average);
            (*found, !averaged, std::cmp::Reverse(prefix.len()))
        };
        let best = found.iter().max_by_key(better);
        // A few names in common (`weight`, `0.bias`) are no network.
        let best = best.filter(|(_, found)| 2 * found.names > wanted.len());
        if best.is_none()
            && let Some(numbered) = Self::numbered(wanted, parts, &file)
        {
            return numbered;
        }
        let (prefix, most) =
            best.map_or(("", Found::default()), |(prefix, found)| (*prefix, *found));
        let copies = found
            .iter()
            .filter(|&(other, found)| {
                *other != prefix
                    && most.shapes > 0
                    && SAME * found.shapes >= (SAME - 1) * most.shapes
            })
            .map(|(other, _)| (*other).to_owned());

        let mut renames = Self {
            copies: copies.collect(),
            prefix: prefix.to_owned(),
            is_found: best.is_some(),
            ..Self::default()
        };
        for (name, original, _) in &file {
            match name.strip_prefix(prefix) {
                Some(rest) => {
                    renames
                        .names
                        .insert(modern(rest.to_owned()), original.clone());
                }
                None => renames.beside.push(original.clone()),
            }
        }
        renames
    }

    /// A file whose network was cut up: `Sequential(*list(model.children())[:-1])`, as fastai and many scripts
    /// do, calls the parts by numbers, in the network's order. They are taken for the network's if every part
    /// of its backbone is there, in order, with all its tensors and no other.
    fn numbered(
        wanted: &Wanted,
        parts: &[String],
        file: &[(String, String, Vec<usize>)],
    ) -> Option<Self> {
        let network = parts.iter().map(|part| {
            let of_part = wanted.iter().filter_map(|(name, shape)| {
                let rest = name.strip_prefix(part.as_str())?.strip_prefix('.')?;
                Some((rest, &shape[..]))
            });
            of_part.collect::<BTreeMap<_, _>>()
        });
        let network: Vec<_> = network.collect();
        let of_number = |rest: &str| {
            let (number, _) = rest.split_once('.')?;
            number.parse::<usize>().ok()
        };
        let prefixes: BTreeSet<&str> = file
            .iter()
            .flat_map(|(name, ..)| splits(name))
            .filter(|(_, rest)| of_number(rest).is_some())
            .map(|(prefix, _)| prefix)
            .collect();
        prefixes.into_iter().find_map(|prefix| {
            let mut groups: BTreeMap<usize, BTreeMap<&str, &[usize]>> = BTreeMap::new();
            for (name, _, shape) in file {
                if let Some(rest) = name.strip_prefix(prefix)
                    && let Some((number, leaf)) = rest.split_once('.')
                    && let Ok(number) = number.parse()
                    && !is_counter(leaf)
                {
                    groups.entry(number).or_default().insert(leaf, shape);
                }
            }
            if groups.len() < network.len() || !groups.values().take(network.len()).eq(&network) {
                return None;
            }
            let part_of: BTreeMap<usize, &String> = groups.keys().copied().zip(parts).collect();
            let mut renames = Self {
                prefix: prefix.to_owned(),
                is_found: true,
                ..Self::default()
            };
            for (name, original, _) in file {
                let rest = name
                    .strip_prefix(prefix)
                    .and_then(|rest| rest.split_once('.'));
                let part = rest.and_then(|(number, _)| part_of.get(&number.parse().ok()?));
                match (part, rest) {
                    (Some(part), Some((_, leaf))) => {
                        renames
                            .names
                            .insert(format!("{part}.{leaf}"), original.clone());
                    }
                    _ => renames.beside.push(original.clone()),
                }
            }
            Some(renames)
        })
    }
}

/// The first of the names that lead to a tensor.
pub(super) fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The first names of a network's tensors, each once, in its own order.
pub(super) fn parts(graph: &Graph) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for (name, _) in graph.tensors() {
        let part = first(&name);
        if !parts.iter().any(|known| known == part) {
            parts.push(part.to_owned());
        }
    }
    parts
}

/// A name as every prefix with what follows it: nothing and all of it, then cut behind each dot.
fn splits(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let cuts = name.match_indices('.').map(|(at, _)| at + 1).take(DEEPEST);
    std::iter::once(0).chain(cuts).map(|at| name.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::architectures;

    fn parts() -> [String; 2] {
        ["conv1", "layer1"].map(str::to_owned)
    }

    fn renames(file: &[&str]) -> Renames {
        let wanted = [
            "conv1.weight",
            "layer1.0.conv1.weight",
            "layer1.0.bn1.weight",
            "fc.bias",
        ];
        let wanted = wanted.map(|name| (name.to_owned(), vec![1])).into();
        let file = file
            .iter()
            .map(|name| ((*name).to_owned(), vec![1]))
            .collect();
        Renames::new(
            &wanted,
            &parts(),
            file,
            |_, found, expected| found == expected,
            |name| name,
        )
    }

    #[test]
    fn any_prefix_in_front_of_a_network_is_found() {
        for prefix in [
            "",
            "module.",
            "_orig_mod.",
            "model.",
            "net.",
            "backbone.",
            "encoder.",
            "module._orig_mod.",
            "_orig_mod.module.",
            "model._orig_mod.module.net.",
            "student.backbone.body.",
        ] {
            let names = [
                "conv1.weight",
                "layer1.0.conv1.weight",
                "layer1.0.bn1.weight",
                "fc.bias",
            ];
            let file: Vec<_> = names.iter().map(|name| format!("{prefix}{name}")).collect();
            let file: Vec<_> = file.iter().map(String::as_str).collect();
            let found = renames(&file);
            assert!(found.names.keys().eq([
                "conv1.weight",
                "fc.bias",
                "layer1.0.bn1.weight",
                "layer1.0.conv1.weight"
            ]));
            assert_eq!(found.names["conv1.weight"], file[0]);
            assert!(
                found.beside.is_empty() && found.copies.is_empty(),
                "{found:?}"
            );
        }
    }

    #[test]
    fn wrappers_inside_a_name_are_passed_over() {
        let found = renames(&[
            "conv1.weight",
            "layer1.module.0.conv1.weight",
            "layer1.0._orig_mod.bn1.weight",
        ]);
        assert_eq!(
            found.names["layer1.0.conv1.weight"],
            "layer1.module.0.conv1.weight"
        );
        assert_eq!(
            found.names["layer1.0.bn1.weight"],
            "layer1.0._orig_mod.bn1.weight"
        );
    }

    #[test]
    fn of_two_copies_the_one_that_is_no_average_is_taken() {
        let names = [
            "conv1.weight",
            "layer1.0.conv1.weight",
            "layer1.0.bn1.weight",
            "fc.bias",
        ];
        let both: Vec<_> = ["ema.", "model."]
            .iter()
            .flat_map(|prefix| names.map(|name| format!("{prefix}{name}")))
            .collect();
        let both: Vec<_> = both.iter().map(String::as_str).collect();
        let found = renames(&both);
        assert_eq!(
            (found.prefix.as_str(), &found.copies[..]),
            ("model.", &["ema.".to_owned()][..])
        );
        assert_eq!(found.beside.len(), 4);
    }

    #[test]
    fn a_few_names_in_common_make_no_prefix() {
        let found = renames(&["x.fc.bias", "x.other.weight"]);
        assert_eq!(found.prefix, "");
        assert!(found.beside.is_empty());
    }

    #[test]
    fn the_numbered_children_of_a_network_are_its_parts() {
        let found = renames(&[
            "0.0.weight",
            "0.4.0.bn1.weight",
            "0.4.0.conv1.weight",
            "1.2.weight",
        ]);
        assert_eq!(found.names["layer1.0.conv1.weight"], "0.4.0.conv1.weight");
        assert_eq!((found.prefix.as_str(), found.names.len()), ("0.", 3));
        assert_eq!(found.beside, ["1.2.weight"]);
        // One tensor more or less, and it is another network.
        for names in [
            &["0.0.weight", "0.4.0.bn1.weight"][..],
            &[
                "0.0.weight",
                "0.4.0.bn1.weight",
                "0.4.0.conv1.weight",
                "0.4.1.conv1.weight",
            ],
        ] {
            let found = renames(names);
            assert!(!found.names.contains_key("conv1.weight"), "{found:?}");
        }
    }

    #[test]
    fn no_network_has_a_layer_that_is_called_like_a_wrapper() {
        for architecture in architectures() {
            for (name, _) in architecture.published_graph().tensors() {
                assert_eq!(unwrapped(&name), name, "{}", architecture.name);
            }
        }
    }
}
