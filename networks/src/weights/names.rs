//! Where tensors come from, and what came of looking for them by name.

use std::collections::{BTreeMap, BTreeSet};

use super::file::shown;
use super::{Dtype, Numbers, WeightFile, WeightsError};

/// Where [`take`](super::take) finds numbers.
pub trait TensorSource {
    /// The names of all that there is.
    fn names(&self) -> Vec<String>;

    /// The shape of the tensor of that name, if there is one. A source that makes tensors up gives it
    /// the `wanted` shape.
    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>>;

    /// The values of a tensor that is there in this shape, in row-major order.
    ///
    /// # Errors
    ///
    /// When the tensor is damaged or not made of numbers.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError>;

    /// The same, shared with the source where it can be.
    ///
    /// # Errors
    ///
    /// As [`values`](Self::values).
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Numbers, WeightsError> {
        self.values(name, shape).map(Numbers::from)
    }
}

impl<S: TensorSource + ?Sized> TensorSource for &S {
    fn names(&self) -> Vec<String> {
        (**self).names()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        (**self).shape(name, wanted)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        (**self).values(name, shape)
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Numbers, WeightsError> {
        (**self).numbers(name, shape)
    }
}

impl TensorSource for WeightFile<'_> {
    fn names(&self) -> Vec<String> {
        self.tensors().keys().cloned().collect()
    }

    fn shape(&self, name: &str, _wanted: &[usize]) -> Option<Vec<usize>> {
        self.get(name).map(|view| view.shape().to_vec())
    }

    fn values(&self, name: &str, _shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let Some(view) = self.get(name) else {
            return Ok(Vec::new());
        };
        // PyTorch's `load_state_dict` would copy them as they are. No training leaves whole numbers in a
        // parameter: they are quantised, and mean nothing without the scales that belong to them.
        if !view.dtype().is_float() {
            return Err(WeightsError::NotFloats {
                name: shown(name),
                dtype: view.dtype().name(),
            });
        }
        let values = view.to_f32()?;
        // What is an infinity here may have been a number in the file.
        if view.dtype() == Dtype::F64
            && values.iter().any(|number| number.is_infinite())
            && let Some(index) = view.first_beyond_f32()
        {
            return Err(WeightsError::NotFinite {
                name: shown(name),
                found: "a number too large for 32 bits (beyond 3.4e38)",
                index,
                len: view.len(),
            });
        }
        Ok(values)
    }
}

/// A tensor whose shape is not the parameter's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshaped {
    /// The tensor's name.
    pub name: String,
    /// The parameter's shape, as PyTorch counts it.
    pub expected: Vec<usize>,
    /// The tensor's.
    pub found: Vec<usize>,
}

/// What `torch.optim.swa_utils.AveragedModel` calls its counter.
pub(super) const AVERAGED: &str = "n_averaged";

/// Whether a tensor of that name counts steps of a training, which nothing that answers uses: PyTorch's
/// `num_batches_tracked`, and the `n_averaged` of `torch.optim.swa_utils.AveragedModel`.
pub fn is_counter(name: &str) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    leaf == "num_batches_tracked" || leaf == AVERAGED
}

/// What wrappers put into names, wherever they stand: DataParallel around a part of a network
/// (`features.module.0.weight`), `torch.compile`, sharding, activation checkpoints, DeepSpeed. No network has
/// layers of such names.
const WRAPPERS: [&str; 5] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
];

/// A name without the names of wrappers in it.
pub(crate) fn unwrapped(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// What stands in a name behind a key and a dot, whatever wrappers stand between the names of the key.
pub(super) fn behind<'n>(name: &'n str, key: &str) -> Option<&'n str> {
    if let Some(rest) = name
        .strip_prefix(key)
        .and_then(|rest| rest.strip_prefix('.'))
    {
        return Some(rest);
    }
    let (mut rest, mut is_any) = (name, false);
    for wanted in key.split('.').filter(|part| !WRAPPERS.contains(part)) {
        loop {
            let (part, behind) = rest.split_once('.')?;
            rest = behind;
            match part == wanted {
                true => break,
                false if WRAPPERS.contains(&part) => {}
                false => return None,
            }
        }
        is_any = true;
    }
    is_any.then_some(rest)
}

/// What some tensors' names begin with that can be named as a key: the first names in them, and where nearly all
/// begin with the same, what follows it too; the most tensors first. Layers of a few tensors are not among them.
pub(super) fn beginnings<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
    /// How many levels of names are gone down.
    const DEEPEST: usize = 4;
    /// What holds less than one of so many tensors is no network among them.
    const PART: usize = 8;
    let (mut found, mut inside) = (Vec::new(), String::new());
    for _ in 0..DEEPEST {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut all = 0;
        for name in names.clone() {
            let rest = match inside.is_empty() {
                true => Some(name),
                false => behind(name, &inside),
            };
            let Some(rest) = rest else { continue };
            all += 1;
            // A wrapper is named as what is in it is; by itself it holds all of it.
            let parts = rest.split('.').filter(|part| !WRAPPERS.contains(part));
            let (wrapper, part) = (rest.split('.').next().unwrap_or(rest), parts.clone().next());
            if parts.count() > 1 {
                let inner = part.filter(|part| *part != wrapper);
                for part in [Some(wrapper), inner].into_iter().flatten() {
                    *counts.entry(part).or_default() += 1;
                }
            }
        }
        let path = |part: &str| match inside.is_empty() {
            true => part.to_owned(),
            false => format!("{inside}.{part}"),
        };
        let mut here: Vec<_> = counts.into_iter().collect();
        here.retain(|(_, count)| PART * count >= all);
        here.sort_by_key(|&(part, count)| (std::cmp::Reverse(count), part));
        found.extend(here.iter().map(|(part, _)| path(part)));
        let one = here.iter().find(|(part, _)| !WRAPPERS.contains(part));
        match one {
            Some(&(part, count)) if 10 * count >= 9 * all => inside = path(part),
            _ => break,
        }
    }
    found
}

/// What came of filling a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FillReport {
    /// Parameters that were filled.
    pub filled: usize,
    /// Parameters that the source has nothing for.
    pub missing: Vec<String>,
    /// Tensors of the source that no parameter is called after ([counters](is_counter) aside).
    pub unexpected: Vec<String>,
    /// Tensors of the right name and the wrong shape.
    pub misshaped: Vec<Misshaped>,
}

impl FillReport {
    /// Notes what the source has beside what was `known`.
    pub fn finish(&mut self, source: &dyn TensorSource, known: &BTreeSet<String>) {
        let unused = |name: &String| !known.contains(name) && !is_counter(name);
        self.unexpected = source.names().into_iter().filter(unused).collect();
    }

    /// Whether every parameter was filled and nothing was left over: PyTorch's `strict=True`.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshaped.is_empty()
    }

    /// Joins the reports of two parts of one model that were filled from the same source.
    pub fn join(mut self, other: Self) -> Self {
        self.filled += other.filled;
        self.missing.extend(other.missing);
        self.misshaped.extend(other.misshaped);
        let theirs: BTreeSet<_> = other.unexpected.into_iter().collect();
        // What is unexpected in both is unexpected; what either took is not.
        self.unexpected.retain(|name| theirs.contains(name));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_of_whole_numbers_is_refused_and_one_of_fractions_is_not() {
        for (dtype, bytes, word) in [
            ("F32", 4, ""),
            ("F16", 2, ""),
            ("F64", 8, ""),
            ("I64", 8, "int64"),
            ("I8", 1, "int8"),
            ("U8", 1, "uint8"),
            ("BOOL", 1, "bool"),
        ] {
            let header = format!(
                r#"{{"conv.weight":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{}]}}}}"#,
                2 * bytes
            );
            let length = (header.len() as u64).to_le_bytes();
            let file = [&length[..], header.as_bytes(), &vec![0; 2 * bytes]].concat();
            let file = WeightFile::parse(&file).unwrap();
            match file.values("conv.weight", &[2]) {
                Ok(values) => assert!(word.is_empty() && values == [0.0; 2], "{dtype}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(!word.is_empty(), "{told}");
                    assert!(
                        told.contains("conv.weight") && told.contains(word),
                        "{told}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_stands_behind_a_key_is_found_through_wrappers() {
        for (name, key, rest) in [
            ("ema.conv.weight", "ema", Some("conv.weight")),
            ("module.ema.conv.weight", "ema", Some("conv.weight")),
            ("module.ema.conv.weight", "module", Some("ema.conv.weight")),
            ("module.ema.conv.weight", "module.ema", Some("conv.weight")),
            ("a.module.ema._orig_mod.w", "a.ema", Some("_orig_mod.w")),
            ("a.ema.conv.weight", "ema", None),
            ("module.conv.weight", "_orig_mod", None),
            ("conv.weight", "", None),
            ("emanuel.weight", "ema", None),
        ] {
            assert_eq!(behind(name, key), rest, "{name} {key}");
        }
    }

    #[test]
    fn the_networks_among_names_can_be_named() {
        let layers = ["conv.weight", "conv.bias", "norm.weight", "fc.weight"];
        let both = |front: &str| -> Vec<String> {
            let keys = ["student", "teacher"].iter();
            keys.flat_map(|key| layers.map(|layer| format!("{front}{key}.{layer}")))
                .collect()
        };
        let found = |names: &[String]| beginnings(names.iter().map(String::as_str));
        assert_eq!(found(&both("")), ["student", "teacher"]);
        assert_eq!(found(&both("module.")), ["module", "student", "teacher"]);
        assert_eq!(
            found(&both("model.")),
            ["model", "model.student", "model.teacher"]
        );
    }

    #[test]
    fn a_number_that_only_64_bits_hold_is_no_infinity() {
        let told = |numbers: [f64; 2]| {
            let header = r#"{"w":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}"#;
            let length = (header.len() as u64).to_le_bytes();
            let numbers = numbers.map(f64::to_le_bytes).concat();
            let file = [&length[..], header.as_bytes(), &numbers].concat();
            let file = WeightFile::parse(&file).unwrap();
            match crate::weights::take([("w".to_owned(), vec![2])], &file) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        for beyond in [1e300, -1e39] {
            let told = told([1.0, beyond]);
            assert!(
                told.contains("`w` holds a number too large for 32 bits")
                    && told.contains("element 1 of 2"),
                "{told}"
            );
        }
        assert!(told([f64::INFINITY, 1.0]).contains("an infinity (element 0 of 2)"));
        assert!(told([1.0, f64::NAN]).contains("NaN"));
        assert_eq!(told([f64::from(f32::MAX), 1e-300]), "");
    }

    #[test]
    fn counters_are_told_by_the_last_part_of_their_names() {
        for name in [
            "num_batches_tracked",
            "bn1.num_batches_tracked",
            "ema.n_averaged",
        ] {
            assert!(is_counter(name), "{name}");
        }
        for name in ["bn1.weight", "n_averaged.weight", "my_n_averaged"] {
            assert!(!is_counter(name), "{name}");
        }
    }
}
