//! Names of tensors: wrappers in them, what stands behind a key, and counters.

use std::collections::BTreeMap;

use crate::sorting::sorted;

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
        let here = sorted(here, |(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
        found.extend(here.iter().map(|(part, _)| path(part)));
        let one = here.iter().find(|(part, _)| !WRAPPERS.contains(part));
        match one {
            Some(&(part, count)) if 10 * count >= 9 * all => inside = path(part),
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

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
