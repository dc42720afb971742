//! A network's numbers on the host.

use std::collections::{BTreeMap, BTreeSet};

use super::WeightsError;
use super::names::{FillReport, Misshaped, TensorSource};

/// Tensors by name: shape, and numbers in row-major order.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The same, looked at where they lie: a PyTorch state_dict, of one part of a network or of several.
pub type StateDict<'a> = BTreeMap<&'a str, (&'a [usize], &'a [f32])>;

/// The tensors of some parts of a network together.
pub fn state_dict<'a>(parts: impl IntoIterator<Item = &'a Tensors>) -> StateDict<'a> {
    let tensors = parts.into_iter().flatten();
    tensors
        .map(|(name, (shape, values))| (name.as_str(), (&shape[..], &values[..])))
        .collect()
}

/// Takes tensors of these names and shapes out of a source. What it does not have, or in another shape,
/// is reported and left out.
///
/// # Errors
///
/// When a tensor that matches by name and shape cannot be read.
pub fn take(
    wanted: impl IntoIterator<Item = (String, Vec<usize>)>,
    source: &dyn TensorSource,
) -> Result<(Tensors, FillReport), WeightsError> {
    let mut tensors = Tensors::new();
    let mut report = FillReport::default();
    let mut known = BTreeSet::new();
    for (name, expected) in wanted {
        match source.shape(&name, &expected) {
            None => report.missing.push(name.clone()),
            Some(found) if found == expected => {
                let values = source.values(&name, &expected)?;
                tensors.insert(name.clone(), (expected, values));
            }
            Some(found) => report.misshaped.push(Misshaped {
                name: name.clone(),
                expected,
                found,
            }),
        }
        known.insert(name);
    }
    report.filled = tensors.len();
    report.finish(source, &known);
    Ok((tensors, report))
}

impl TensorSource for Tensors {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn shape(&self, name: &str, _wanted: &[usize]) -> Option<Vec<usize>> {
        self.get(name).map(|(shape, _)| shape.clone())
    }

    fn values(&self, name: &str, _shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let values = self.get(name).map(|(_, values)| values.clone());
        Ok(values.unwrap_or_default())
    }
}
