//! Which tensors of a file are meant by a network's names.
//!
//! Training scripts keep a network inside something else, and its tensors' names grow at the front:
//! `module.` from DataParallel, `_orig_mod.` from `torch.compile`, `model.` from Lightning, `backbone.` from
//! one's own. The prefix is found, not listed: the one under which most of the network lies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::sorting::gathered;
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
    /// The file's names that do not begin with the prefix, or belong to one of the copies.
    pub beside: Vec<String>,
    /// Tensors that are called as another is once wrappers are left out, and are no whole copy of the network:
    /// the network's name for both, and the file's for this one.
    pub rivals: Vec<(String, String)>,
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
        let (file, rivals) = told_apart(file);
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
            && let Some(numbered) = Self::numbered(wanted, parts, [&file, &rivals])
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
                Some(rest) => renames.name(modern(rest.to_owned()), rest, original),
                None => renames.beside.push(original.clone()),
            }
        }
        renames.sort_out(&rivals, most, |name, shape| {
            let rest = name.strip_prefix(prefix)?;
            let known = modern(rest.to_owned());
            let expected = wanted.get(&known);
            let found = Found {
                names: usize::from(expected.is_some()),
                shapes: usize::from(expected.is_some_and(|expected| fits(&known, shape, expected))),
            };
            Some((known, rest.len(), found))
        });
        renames
    }

    /// Lets a tensor of the file be the network's of this name. Of two the one that is called so exactly is
    /// meant, as in PyTorch.
    fn name(&mut self, name: String, rest: &str, original: &str) {
        let exact = name == rest;
        match self.names.entry(name) {
            Entry::Vacant(free) => _ = free.insert(original.to_owned()),
            Entry::Occupied(mut taken) => {
                let name = taken.key().clone();
                let other = match exact {
                    true => taken.insert(original.to_owned()),
                    false => original.to_owned(),
                };
                self.rivals.push((name, other));
            }
        }
    }

    /// Finds whole copies of the network among tensors whose names are taken. `of` gives the network's name for
    /// one, how long that is in the file, and what it counts for.
    fn sort_out<'r>(
        &mut self,
        rivals: &'r [NamedShape],
        most: Found,
        of: impl Fn(&str, &[usize]) -> Option<(String, usize, Found)>,
    ) {
        // What stands before the network's own name, which is a prefix of its own unless a wrapper is inside.
        let front = |name: &str, original: &'r str, length: usize| {
            let front = original.get(..original.len().checked_sub(length)?)?;
            original
                .ends_with(&name[name.len() - length..])
                .then_some(front)
        };
        let mut copies: BTreeMap<&str, Found> = BTreeMap::new();
        for (name, original, shape) in rivals {
            if let Some((_, length, counts)) = of(name, shape)
                && let Some(front) = front(name, original, length)
            {
                let copy = copies.entry(front).or_default();
                copy.names += counts.names;
                copy.shapes += counts.shapes;
            }
        }
        copies.retain(|_, found| found.shapes > 0 && *found == most);
        for (name, original, shape) in rivals {
            match of(name, shape) {
                Some((known, length, _)) => match front(name, original, length) {
                    Some(front) if copies.contains_key(front) => {
                        self.beside.push(original.clone());
                    }
                    _ => self.rivals.push((known, original.clone())),
                },
                None => self.beside.push(original.clone()),
            }
        }
        self.copies.extend(copies.into_keys().map(str::to_owned));
    }

    /// A file whose network was cut up: `Sequential(*list(model.children())[:-1])`, as fastai and many scripts
    /// do, calls the parts by numbers, in the network's order. They are taken for the network's if every part
    /// of its backbone is there, in order, with all its tensors and no other.
    fn numbered(
        wanted: &Wanted,
        parts: &[String],
        [file, rivals]: [&[NamedShape]; 2],
    ) -> Option<Self> {
        let network = parts.iter().map(|part| {
            let of_part = wanted.iter().filter_map(|(name, shape)| {
                let rest = name.strip_prefix(part.as_str())?.strip_prefix('.')?;
                Some((rest, &shape[..]))
            });
            gathered::<BTreeMap<_, _>, _>(of_part)
        });
        let network: Vec<_> = network.collect();
        // The tensors of each number, under each prefix that leads to numbers.
        let mut numbered: BTreeMap<&str, Numbered<'_>> = BTreeMap::new();
        for (name, _, shape) in file {
            for (prefix, rest) in splits(name) {
                if let Some((number, leaf)) = of_number(rest)
                    && !is_counter(leaf)
                {
                    let groups = numbered.entry(prefix).or_default();
                    groups.entry(number).or_default().insert(leaf, shape);
                }
            }
        }
        numbered.into_iter().find_map(|(prefix, groups)| {
            if groups.len() < network.len() || !groups.values().take(network.len()).eq(&network) {
                return None;
            }
            let part_of: BTreeMap<usize, &String> = gathered(groups.keys().copied().zip(parts));
            let mut renames = Self {
                prefix: prefix.to_owned(),
                is_found: true,
                ..Self::default()
            };
            let known = |name: &str| {
                let (number, leaf) = name.strip_prefix(prefix).and_then(of_number)?;
                Some(format!("{}.{leaf}", part_of.get(&number)?))
            };
            for (name, original, _) in file {
                match known(name) {
                    Some(known) => _ = renames.names.insert(known, original.clone()),
                    None => renames.beside.push(original.clone()),
                }
            }
            for (name, original, _) in rivals {
                let name = known(name).unwrap_or_else(|| name.clone());
                renames.rivals.push((name, original.clone()));
            }
            Some(renames)
        })
    }
}

/// The tensors of parts that go by numbers: what follows the number, and the shape.
type Numbered<'f> = BTreeMap<usize, BTreeMap<&'f str, &'f [usize]>>;

/// A name that begins with a part's number, as Python writes it, as the number and what follows.
fn of_number(name: &str) -> Option<(usize, &str)> {
    let (number, leaf) = name.split_once('.')?;
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit())
        && (number.len() == 1 || !number.starts_with('0'));
    Some((is_plain.then(|| number.parse().ok())??, leaf))
}

/// A tensor of a file: its name without wrappers, with them, and its shape.
type NamedShape = (String, String, Vec<usize>);

/// The tensors of a file by their names without wrappers, and those of whose names another is nearer to what
/// both are without: it has fewer wrappers around it.
fn told_apart(file: Vec<(String, Vec<usize>)>) -> (Vec<NamedShape>, Vec<NamedShape>) {
    let file: Vec<NamedShape> = file
        .into_iter()
        .map(|(name, shape)| (unwrapped(&name), name, shape))
        .collect();
    // What is in no wrapper has a name of its own, unless something else comes out of one.
    let mut nearest: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, original, _) in &file {
        if name != original {
            let nearest = nearest.entry(name).or_insert(original);
            if original.len() < nearest.len() {
                *nearest = original;
            }
        }
    }
    for (name, original, _) in &file {
        if name == original
            && let Some(nearest) = nearest.get_mut(name.as_str())
        {
            *nearest = original;
        }
    }
    let is_nearest = |(name, original, _): &NamedShape| {
        nearest
            .get(name.as_str())
            .is_none_or(|nearest| nearest == original)
    };
    let is_nearest: Vec<bool> = file.iter().map(is_nearest).collect();
    let (own, rivals): (Vec<_>, Vec<_>) = file
        .into_iter()
        .zip(is_nearest)
        .partition(|(_, is_nearest)| *is_nearest);
    let tensors =
        |list: Vec<(NamedShape, bool)>| list.into_iter().map(|(tensor, _)| tensor).collect();
    (tensors(own), tensors(rivals))
}

/// The first of the names that lead to a tensor.
pub(super) fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The first names of a network's tensors, each once, in its own order.
pub(super) fn parts(tensors: impl Iterator<Item = (String, Vec<usize>)>) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for (name, _) in tensors {
        let part = first(&name);
        if !parts.iter().any(|known| known == part) {
            parts.push(part.to_owned());
        }
    }
    parts
}

/// Whether a name, wrappers left out, is one of some behind whatever stands in front.
pub(super) fn ends_in(name: &str, among: impl Fn(&str) -> bool) -> bool {
    splits(&unwrapped(name)).any(|(_, rest)| among(rest))
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
    fn of_two_tensors_of_one_name_the_exact_one_is_taken_and_the_other_is_told() {
        let names = [
            "conv1.weight",
            "layer1.0.conv1.weight",
            "layer1.0.bn1.weight",
            "fc.bias",
        ];
        for (prefix, front) in [
            ("", "module."),
            ("", "_orig_mod."),
            ("model.", "model.module."),
            ("model.", "module.model."),
            ("module.", "_orig_mod.module."),
        ] {
            let own = names.map(|name| format!("{prefix}{name}"));
            let copy = names.map(|name| format!("{front}{name}"));
            // Whichever comes first among the names.
            let both: Vec<&str> = copy.iter().chain(&own).map(String::as_str).collect();
            let found = renames(&both);
            for (name, own) in names.iter().zip(&own) {
                assert_eq!(&found.names[*name], own);
            }
            assert_eq!(found.copies, [front], "{front}");
            assert_eq!((found.beside.len(), found.rivals.len()), (4, 0));
            // A part of it is no copy.
            let found = renames(&both[1..]);
            assert_eq!(&found.names["conv1.weight"], &own[0]);
            assert!(found.copies.is_empty(), "{found:?}");
            let rivals = names[1..].iter().copied().zip(&copy[1..]);
            assert!(
                rivals.eq(found
                    .rivals
                    .iter()
                    .map(|(name, original)| (name.as_str(), original))),
                "{found:?}"
            );
        }
        // A wrapper inside a name, and two of which neither is exact.
        let mut inside = names.to_vec();
        inside.push("layer1.module.0.bn1.weight");
        let rivals = renames(&inside).rivals;
        assert_eq!(rivals[0].1, "layer1.module.0.bn1.weight");
    }

    #[test]
    fn many_names_of_numbers_are_passed_over_once() {
        let file: Vec<_> = (0..50_000).map(|at| format!("a{at}.0.weight")).collect();
        let file: Vec<_> = file.iter().map(String::as_str).collect();
        let found = renames(&file);
        assert!(!found.is_found && found.names.len() == 50_000);
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
