//! The dictionaries of tensors in a PyTorch file, and which of them is meant.
//!
//! Training scripts save the weights among much else, under names that differ: `state_dict`, `model`,
//! `ema`, or the pickled module itself. Every dictionary that can be reached by names and holds named
//! tensors counts; what optimisers keep goes by numbers and does not.

use std::collections::BTreeSet;

use super::error::{MAX_NAME, WeightsError, shown};
use super::names::{AVERAGED, beginnings, behind};
use super::pickle::{Entries, Pickle, Value, ValueId};
use crate::sorting::{gathered, sorted};

/// Where training scripts put the weights in a checkpoint, the usual place first.
const WRAPPERS: [&str; 11] = [
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "net_state_dict",
    "module",
    "weights",
    "params",
    "backbone",
];

/// How deep dictionaries are looked for. Checkpoints in use go three levels down.
const MAX_DEPTH: usize = 6;

/// The first places in a list, as they are named. Longer lists hold other things than networks.
const PLACES: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
];

/// How deep modules may nest, and how many tensors they may hold together, counted as often as they are
/// shared.
const MAX_MODULE_DEPTH: usize = 64;
const MAX_MODULES: usize = 1 << 16;

/// How much of a file is read through in search of its dictionaries: entries, and names by the line of 64 bytes.
/// What is shared counts as often as it is met. A checkpoint of a network of ten thousand tensors with its average
/// and its optimiser takes some hundred thousand.
const MOST_WORK: usize = 1 << 20;

/// How many times the layers of another dictionary make one too small for a network.
const SMALL: usize = 4;

/// The longest path of names that is followed into modules, in bytes.
const LONGEST_PATH: usize = 512;

/// A dictionary of tensors in a weight file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorDict {
    /// The names that lead to it, joined by dots; empty for the file itself.
    pub key: String,
    /// How many tensors it holds.
    pub tensors: usize,
    /// Whether they are averages over the course of a training (EMA, SWA), by its name or by the counter
    /// that `torch.optim.swa_utils.AveragedModel` leaves.
    pub averaged: bool,
}

/// One of them with what it holds.
#[derive(Debug)]
pub(super) struct Dictionary {
    pub part: TensorDict,
    pub tensors: Vec<(String, ValueId)>,
    /// Whether it is so much smaller than another that it is no network beside it: metrics, arguments.
    pub is_small: bool,
}

/// All dictionaries of tensors, the one that is meant when nobody says otherwise first.
pub(super) fn dictionaries(pickle: &Pickle<'_>) -> Result<Vec<Dictionary>, WeightsError> {
    let mut found = Vec::new();
    let mut work = Work(0);
    let mut seen = BTreeSet::new();
    let mut open = vec![(pickle.root_id(), Vec::new())];
    while let Some((id, path)) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let value = pickle.value(id);
        // `torch.save([model.state_dict(), …])`, `torch.save((model.state_dict(), epoch))`.
        if let Value::List(items) | Value::Tuple(items) = value {
            work.charge(items.len().min(PLACES.len()))?;
            for (&item, place) in items.iter().zip(PLACES) {
                if path.len() < MAX_DEPTH && leads_on(pickle.value(item)) {
                    open.push((item, [&path[..], &[place]].concat()));
                }
            }
            continue;
        }
        let tensors = match pickle.entries(value) {
            Some(entries) => {
                for (name, id) in named(pickle, entries, &mut work)? {
                    if path.len() < MAX_DEPTH {
                        open.push((id, [&path[..], &[name]].concat()));
                    }
                }
                direct(pickle, entries, &mut work)?
            }
            None => of_module(pickle, id, &mut work)?,
        };
        if !tensors.is_empty() {
            found.push((path, tensors));
        }
    }
    let is_layer = |(_, value): &&(String, ValueId)| match pickle.value(*value) {
        Value::Tensor(tensor) => pickle
            .extents(tensor.shape)
            .is_ok_and(|shape| shape.len() > 1),
        _ => false,
    };
    let layers = |tensors: &[(String, ValueId)]| tensors.iter().filter(is_layer).count();
    let most = found.iter().map(|(_, tensors)| layers(tensors)).max();
    let dictionary = |(path, tensors): (Vec<&str>, Vec<(String, ValueId)>)| Dictionary {
        part: TensorDict {
            averaged: path.iter().any(|name| is_average(name))
                || tensors.iter().any(|(name, _)| name == AVERAGED),
            key: path.join("."),
            tensors: tensors.len(),
        },
        is_small: SMALL * layers(&tensors) < most.unwrap_or_default(),
        tensors,
    };
    let found = found.into_iter().map(dictionary);
    let ranked = found.map(|dictionary| (dictionary.rank(), dictionary));
    let ranked = sorted(ranked.collect(), |(a, _), (b, _)| a.cmp(b));
    Ok(ranked.into_iter().map(|(_, found)| found).collect())
}

impl Dictionary {
    /// What comes first: dictionaries under the usual names, then the largest; averages behind those, and what
    /// is no network last.
    fn rank(&self) -> impl Ord + use<> {
        let path = self.part.key.split('.');
        let place = |name: &str| WRAPPERS.iter().position(|wrapper| *wrapper == name);
        let usual: Option<Vec<usize>> = path.map(place).collect();
        (
            self.is_small,
            self.part.averaged,
            usual.is_none(),
            usual,
            std::cmp::Reverse(self.tensors.len()),
            self.part.key.clone(),
        )
    }
}

/// Whether a name says that weights are averages: `ema`, `model_ema`, `EMACallback`, `swa_state_dict`.
pub fn is_average(name: &str) -> bool {
    let mut words = vec![String::new()];
    let letters: Vec<char> = name.chars().collect();
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1);
        // `modelEma`, `EMAModel`: a capital begins a word after a small letter, or before one.
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_uppercase() && after.is_some_and(|after| after.is_lowercase())
            });
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    let averages = ["ema", "swa", "averaged", "average", "averaging", "polyak"];
    words.iter().any(|word| averages.contains(&word.as_str()))
}

/// What has been done in search of dictionaries. A file can say of one long dictionary or name as often as it
/// likes that it is part of something else, at the cost of a few bytes.
struct Work(usize);

impl Work {
    /// Counts entries or names that are read through, and stops a file that asks for too many.
    fn charge(&mut self, amount: usize) -> Result<(), WeightsError> {
        self.0 = self.0.saturating_add(amount);
        if self.0 > MOST_WORK {
            return Err(WeightsError::TooLarge {
                what: "the number of entries in the dictionaries of the file".into(),
                limit: MOST_WORK,
            });
        }
        Ok(())
    }

    /// Counts a name that is copied.
    fn name(&mut self, name: &str) -> Result<(), WeightsError> {
        WeightsError::check_name(name)?;
        self.charge(name.len() / 64)
    }
}

/// Whether there may be tensors by name in a value.
fn leads_on(value: &Value<'_>) -> bool {
    match value {
        Value::Dict(_) | Value::Object(_) => true,
        Value::List(items) | Value::Tuple(items) => !items.is_empty(),
        _ => false,
    }
}

/// What a file is that holds no tensors by name.
pub(super) fn described(value: &Value<'_>) -> &'static str {
    match value {
        Value::Dict(entries) if entries.is_empty() => "an empty dictionary",
        Value::Dict(_) => "a dictionary of other things",
        Value::List(items) | Value::Tuple(items) if items.is_empty() => "an empty list",
        Value::List(_) | Value::Tuple(_) => "a list of other things",
        Value::Tensor(_) | Value::StrangeTensor(_) => "one tensor without a name",
        Value::Int(_) | Value::Long(_) | Value::Bool(_) => "a number",
        Value::Str(_) => "a text",
        Value::Global(_) => "the name of a class or function",
        Value::Storage(_) | Value::Object(_) | Value::Inert => "something else",
    }
}

/// The entries that go by a name, which may lead to more.
fn named<'p>(
    pickle: &'p Pickle<'_>,
    entries: &'p Entries,
    work: &mut Work,
) -> Result<impl Iterator<Item = (&'p str, ValueId)>, WeightsError> {
    work.charge(entries.len())?;
    Ok(entries.iter().filter_map(|&(key, value)| {
        let leads_on = leads_on(pickle.value(value));
        match pickle.value(key) {
            Value::Str(name) if leads_on && name.len() <= LONGEST_PATH => Some((*name, value)),
            _ => None,
        }
    }))
}

/// The tensors among some entries. Of equal names the last counts, as in Python.
fn direct(
    pickle: &Pickle<'_>,
    entries: &Entries,
    work: &mut Work,
) -> Result<Vec<(String, ValueId)>, WeightsError> {
    work.charge(entries.len())?;
    let mut tensors = Vec::new();
    for &(key, value) in entries {
        if let (Value::Str(name), Value::Tensor(_) | Value::StrangeTensor(_)) =
            (pickle.value(key), pickle.value(value))
        {
            work.name(name)?;
            tensors.push(((*name).to_owned(), value));
        }
    }
    Ok(tensors)
}

/// What `state_dict()` of a pickled module would hold: its parameters, its buffers, and those of the
/// modules in it. Nothing for other objects.
fn of_module(
    pickle: &Pickle<'_>,
    root: ValueId,
    work: &mut Work,
) -> Result<Vec<(String, ValueId)>, WeightsError> {
    let too_large = |limit| WeightsError::TooLarge {
        what: "the nesting of modules in the file".into(),
        limit,
    };
    let mut tensors = Vec::new();
    let mut visited = 0;
    let mut open = vec![(root, String::new(), 0)];
    while let Some((id, prefix, depth)) = open.pop() {
        visited += 1;
        work.charge(1)?;
        if visited > MAX_MODULES {
            return Err(too_large(MAX_MODULES));
        }
        let value = pickle.value(id);
        let Some(attributes) = pickle.attributes(value) else {
            // A compiled module is pickled as its class and the module that was compiled.
            open.extend(pickle.made_of(value).map(|inner| (inner, prefix, depth)));
            continue;
        };
        // Four of them are looked up by name.
        work.charge(attributes.len())?;
        let part = |name: &str| {
            let part = pickle.entry(attributes, name)?;
            pickle.entries(part)
        };
        // Both are set by `torch.nn.Module` itself.
        if pickle.entry(attributes, "_modules").is_none() {
            continue;
        }
        let unsaved = match pickle.entry(attributes, "_non_persistent_buffers_set") {
            Some(Value::List(names) | Value::Tuple(names)) => &names[..],
            _ => &[],
        };
        work.charge(unsaved.len())?;
        let unsaved = unsaved.iter().filter_map(|&name| match pickle.value(name) {
            Value::Str(name) if name.len() <= MAX_NAME => Some(*name),
            _ => None,
        });
        let unsaved: BTreeSet<&str> = gathered(unsaved);
        let parameters = part("_parameters").unwrap_or_default();
        let buffers = part("_buffers").unwrap_or_default();
        let own = direct(pickle, parameters, work)?.into_iter();
        let mut buffers = direct(pickle, buffers, work)?;
        buffers.retain(|(name, _)| !unsaved.contains(name.as_str()));
        for (name, value) in own.chain(buffers) {
            work.name(&prefix)?;
            tensors.push((format!("{prefix}{name}"), value));
        }
        let modules = part("_modules").unwrap_or_default();
        for (name, module) in named(pickle, modules, work)? {
            let prefix = format!("{prefix}{name}.");
            if depth == MAX_MODULE_DEPTH || prefix.len() > LONGEST_PATH {
                return Err(too_large(MAX_MODULE_DEPTH));
            }
            open.push((module, prefix, depth + 1));
        }
        if visited + open.len() + tensors.len() > MAX_MODULES {
            return Err(too_large(MAX_MODULES));
        }
    }
    Ok(tensors)
}

/// The dictionary of that key among some; where there is none, the tensors whose names begin with it.
pub(super) fn choose(
    dictionaries: &[Dictionary],
    key: &str,
) -> Result<Vec<(String, ValueId)>, WeightsError> {
    if let Some(exact) = dictionaries.iter().find(|found| found.part.key == key) {
        return Ok(exact.tensors.clone());
    }
    for found in dictionaries {
        let whole = |name: &str| match found.part.key.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        for full in [false, true] {
            let tensors = found.tensors.iter().filter_map(|(name, value)| {
                let name = if full { whole(name) } else { name.clone() };
                Some((behind(&name, key)?.to_owned(), *value))
            });
            let tensors: Vec<_> = tensors.collect();
            if !tensors.is_empty() {
                return Ok(tensors);
            }
        }
    }
    let networks = dictionaries.iter().filter(|found| !found.is_small);
    let keys = networks.clone().map(|found| found.part.key.clone());
    let mut keys = sorted(keys.collect(), Ord::cmp);
    for found in networks {
        keys.extend(beginnings(
            found.tensors.iter().map(|(name, _)| name.as_str()),
        ));
    }
    Err(no_part(key, keys))
}

/// The error for a key that leads to nothing, where there are these keys or beginnings of names.
pub(super) fn no_part(key: &str, mut there: Vec<String>) -> WeightsError {
    const MOST: usize = 8;
    let mut seen = BTreeSet::new();
    there.retain(|key| !key.is_empty() && seen.insert(key.clone()));
    let mut names: Vec<_> = there
        .iter()
        .take(MOST)
        .map(|key| format!("`{}`", shown(key)))
        .collect();
    if there.len() > MOST {
        names.push("…".to_owned());
    }
    WeightsError::NoPart {
        key: shown(key),
        there: names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_told_by_the_words_of_their_names() {
        for name in [
            "ema",
            "model_ema",
            "state_dict_ema",
            "ema_state_dict",
            "EMACallback",
            "modelEma",
            "ModelEmaV2",
            "swa_model",
            "average_model",
        ] {
            assert!(is_average(name), "{name}");
        }
        for name in ["model", "schema", "emanuel", "swap", "state_dict", "cinema"] {
            assert!(!is_average(name), "{name}");
        }
    }
}
