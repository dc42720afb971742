//! Why a file does not fit a network, most likely.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::ModelCard;
use super::described::whole_graph;
use super::renames::{Renames, Wanted, ends_in, first, parts};
use crate::backbone::{Architecture, architectures};
use crate::graph::Options;
use crate::sorting::gathered;
use crate::weights::{FillReport, TensorSource, is_counter, unwrapped};

/// What a file that does not fit most likely is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The network itself, with another head.
    OtherHead {
        /// How many classes it tells apart; `None` if no such head is in the file.
        classes: Option<usize>,
    },
    /// The network itself, with a head of other layers, or under another name.
    StrangeHead {
        /// The first tensor of it.
        name: String,
    },
    /// The network itself, with a part of its head.
    PartOfHead {
        /// The first tensor of the head that is not there.
        name: String,
    },
    /// The network itself, and behind it or beside it more layers than it has.
    MoreLayers {
        /// The first tensor too many.
        name: String,
    },
    /// The network itself, and some of its tensors once more behind what a wrapper puts before their names.
    Twice {
        /// The first of them.
        name: String,
    },
    /// The weights of this network, by names and shapes.
    OtherNetwork(&'static str),
    /// A network of hidden layers of other sizes before the head, or none: the bare network fits.
    OtherHidden,
    /// Weights of transformers, the library: it has names of its own for every layer.
    Transformers,
    /// No name in it is any of the network's.
    OtherNames,
    /// Nothing that can be told.
    Unknown,
}

impl Cause {
    /// Looks for the reason why a source does not fit the network of this card.
    pub(super) fn of(
        architecture: &'static Architecture,
        card: &ModelCard,
        report: &FillReport,
        source: &dyn TensorSource,
    ) -> Self {
        let file: Vec<(String, Vec<usize>)> = source
            .names()
            .into_iter()
            .map(|name| {
                let shape = source.shape(&name, &[]).unwrap_or_default();
                (name, shape)
            })
            .collect();
        let slot = card.slot(architecture);
        let is_head = |name: &str| {
            let rest = name.strip_prefix(slot.name);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let graph = architecture.published_graph();
        let among = |name: &str| is_head(name) || graph.tensors().any(|(known, _)| known == name);
        if report.missing.is_empty()
            && report.misshaped.is_empty()
            && let Some(name) = report.unexpected.first()
            && unwrapped(name) != *name
            && ends_in(name, among)
        {
            return Self::Twice { name: name.clone() };
        }
        // First of all: networks that share a backbone differ in their heads alone.
        let other = Self::other(architecture, &file);
        if other != Self::Unknown {
            return other;
        }
        let mut amiss = report
            .missing
            .iter()
            .chain(report.misshaped.iter().map(|m| &m.name));
        if report.filled > 0 && amiss.clone().all(|name| is_head(name)) {
            if let Some(classes) = Self::classes(architecture, card, report) {
                let classes = Some(classes);
                return Self::OtherHead { classes };
            }
            let mut misshaped = report.misshaped.iter();
            let weight = misshaped.find(|tensor| tensor.name == format!("{}.weight", slot.name));
            let is_weight = |name: &&String| name.ends_with(".weight");
            let mut unexpected = report.unexpected.iter();
            let stranger = unexpected.find(is_weight).or(report.unexpected.first());
            return match (amiss.next(), stranger) {
                (Some(_), Some(name))
                    if weight.is_none()
                        && (!Self::is_part(architecture, name)
                            || first(name) == first(slot.name)) =>
                {
                    Self::StrangeHead { name: name.clone() }
                }
                (None, Some(name)) if !Self::is_part(architecture, name) => {
                    Self::MoreLayers { name: name.clone() }
                }
                (None, _) => Self::Unknown,
                // Of a head that is there in part the missing tensor is named.
                _ if weight.is_none() && file.iter().any(|(name, _)| ends_in(name, is_head)) => {
                    let name = report.missing.first().cloned();
                    name.map_or(Self::Unknown, |name| Self::PartOfHead { name })
                }
                _ => Self::OtherHead {
                    classes: weight.and_then(|tensor| tensor.found.first().copied()),
                },
            };
        }
        // What stands between features and classifier, and can be left out.
        let hidden = architecture.head.bare.filter(|_| !card.bare);
        let is_hidden =
            |name: &String| hidden.is_some_and(|hidden| name.starts_with(&format!("{hidden}.")));
        if report.filled > 0 && amiss.all(is_hidden) {
            return Self::OtherHidden;
        }
        let says = |words: &str| file.iter().any(|(name, _)| name.contains(words));
        if says("encoder.layer.") && says(".attention.attention.")
            || says("encoder.stages.") && says(".layers.")
            || says(".convolution.weight")
        {
            return Self::Transformers;
        }
        let known: BTreeSet<String> = gathered(graph.tensors().map(|(name, _)| name));
        match file
            .iter()
            .any(|(name, _)| known.contains(&unwrapped(name)))
        {
            true => Self::Unknown,
            false => Self::OtherNames,
        }
    }

    /// How many classes a head tells apart that differs from the card's in nothing but their number.
    pub(super) fn classes(
        architecture: &Architecture,
        card: &ModelCard,
        report: &FillReport,
    ) -> Option<usize> {
        /// More are a damaged shape.
        const MOST: usize = 1 << 20;
        if !report.missing.is_empty() || !report.unexpected.is_empty() {
            return None;
        }
        let tensor = report.misshaped.first()?;
        let mut sides = tensor.found.iter().zip(&tensor.expected);
        let (&classes, _) = sides.find(|(found, expected)| found != expected)?;
        if !(1..=MOST).contains(&classes) {
            return None;
        }
        let side = card.preset.side() as usize;
        let tensors = |card: &ModelCard| -> Option<Wanted> {
            let graph = whole_graph(architecture, card, [side; 2]).ok()?;
            Some(gathered(graph.tensors()))
        };
        let other = ModelCard {
            classes: vec![String::new(); classes],
            ..card.clone()
        };
        let (own, other) = (tensors(card)?, tensors(&other)?);
        let changed = other
            .iter()
            .filter(|(name, shape)| own.get(*name) != Some(shape));
        let found: Wanted = gathered(
            report
                .misshaped
                .iter()
                .map(|tensor| (tensor.name.clone(), tensor.found.clone())),
        );
        changed.eq(&found).then_some(classes)
    }

    /// Whether a name begins as one of the network's does.
    fn is_part(architecture: &Architecture, name: &str) -> bool {
        let graph = architecture.published_graph();
        let mut tensors = graph.tensors();
        tensors.any(|(known, _)| first(&known) == first(name))
    }

    /// Another network to whose backbone all of the file fits; of several the one of which most is in the file, its
    /// head included.
    fn other(architecture: &'static Architecture, file: &[(String, Vec<usize>)]) -> Self {
        // Whatever their names: a network of whose tensors some shape is not there, or not often enough, is ruled
        // out at once. What remains is looked at name by name.
        let mut shapes: BTreeMap<&[usize], usize> = BTreeMap::new();
        for (_, shape) in file {
            *shapes.entry(shape).or_default() += 1;
        }
        let by_name: BTreeMap<&str, &Vec<usize>> =
            gathered(file.iter().map(|(name, shape)| (name.as_str(), shape)));
        let fitting = architectures().enumerate().filter_map(|(place, other)| {
            // Without auxiliary classifiers, which many files leave out.
            let side = other.input_size;
            let graph = other.graph([3, side, side], &Options::default()).ok()?;
            let wanted: Wanted = gathered(graph.tensors());
            let mut needed: BTreeMap<&[usize], usize> = BTreeMap::new();
            for shape in wanted.values() {
                *needed.entry(shape).or_default() += 1;
            }
            let is_there = |(shape, count): (&&[usize], &usize)| shapes.get(shape) >= Some(count);
            if !needed.iter().all(is_there) {
                return None;
            }
            let equal = |_: &str, found: &[usize], wanted: &[usize]| found == wanted;
            let parts = parts(graph.tensors());
            let renames = Renames::new(&wanted, &parts, file.to_vec(), equal, other.modern_name);
            let shape_of = |name: &String| {
                let original = renames.names.get(name)?;
                by_name.get(original.as_str()).copied()
            };
            // All of the network, and no more in any part of it: EfficientNet is its Lite with more in between.
            let fits = wanted
                .iter()
                .all(|(name, shape)| shape_of(name) == Some(shape))
                && renames.names.keys().all(|name| {
                    let is_part = || parts.iter().any(|part| part == first(name));
                    let is_constant = || graph.constants().iter().any(|c| c.name == *name);
                    wanted.contains_key(name)
                        || is_counter(name)
                        || first(name) == first(other.head.name)
                        || is_constant()
                        || !is_part()
                });
            if !fits {
                return None;
            }
            let of_head = head_tensors(other)?;
            let is_there = |(name, shape): &&(String, Vec<Option<usize>>)| {
                shape_of(name).is_some_and(|found| {
                    let mut sides = shape.iter().zip(found);
                    found.len() == shape.len()
                        && sides.all(|(wanted, found)| wanted.is_none_or(|wanted| wanted == *found))
                })
            };
            let found = wanted.len() + of_head.iter().filter(is_there).count();
            // Of equals the one that was asked for, then the one that is listed first.
            let is_own = other.name == architecture.name;
            Some(((found, is_own, Reverse(place)), other))
        });
        match fitting.max_by_key(|(found, _)| *found) {
            Some((_, other)) if other.name != architecture.name => Self::OtherNetwork(other.name),
            _ => Self::Unknown,
        }
    }
}

/// The tensors of a network's head, the sides left open that depend on the number of classes.
fn head_tensors(architecture: &Architecture) -> Option<Vec<(String, Vec<Option<usize>>)>> {
    let side = architecture.input_size;
    let graph = |classes| {
        let graph = architecture.whole_graph([3, side, side], &Options::default(), classes);
        graph.ok()
    };
    let (two, three) = (graph(2)?, graph(3)?);
    let tensors = two.tensors_of(true).zip(three.tensors_of(true));
    let open = tensors.map(|((name, two), (_, three))| {
        let sides = two.into_iter().zip(three);
        let sides = sides.map(|(two, three)| (two == three).then_some(two));
        (name, sides.collect())
    });
    Some(open.collect())
}
