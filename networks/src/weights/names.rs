//! Where tensors come from, and what came of looking for them by name.

use std::collections::BTreeSet;

use super::{Numbers, WeightFile, WeightsError};

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
        self.get(name)
            .map_or_else(|| Ok(Vec::new()), |view| view.to_f32())
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

/// What came of filling a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FillReport {
    /// Parameters that were filled.
    pub filled: usize,
    /// Parameters that the source has nothing for.
    pub missing: Vec<String>,
    /// Tensors of the source that no parameter is called after (PyTorch's `num_batches_tracked`
    /// counters, which nothing uses, are not counted).
    pub unexpected: Vec<String>,
    /// Tensors of the right name and the wrong shape.
    pub misshaped: Vec<Misshaped>,
}

impl FillReport {
    /// Notes what the source has beside what was `known`.
    pub fn finish(&mut self, source: &dyn TensorSource, known: &BTreeSet<String>) {
        let unused =
            |name: &String| !known.contains(name) && !name.ends_with("num_batches_tracked");
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
