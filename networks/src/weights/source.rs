//! Where tensors come from, how a network takes them by name, and what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{WeightsError, shown};
use super::file::WeightFile;
use super::names::is_counter;
use super::tensors::{Numbers, Tensors};
use super::view::{Dtype, TensorView, all_finite};
use crate::sorting::gathered;

/// Where [`take`] finds numbers.
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

/// A weight file whose bytes are kept: whoever [takes](take) from it shares them, where they are as we need
/// them, instead of copying.
pub struct Kept<'a> {
    file: &'a WeightFile<'a>,
    bytes: &'a Arc<Vec<u8>>,
}

impl<'a> Kept<'a> {
    /// What `file` read in these bytes.
    pub fn new(file: &'a WeightFile<'a>, bytes: &'a Arc<Vec<u8>>) -> Self {
        Self { file, bytes }
    }
}

impl TensorSource for Kept<'_> {
    fn names(&self) -> Vec<String> {
        self.file.names()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        self.file.shape(name, wanted)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        self.file.values(name, shape)
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Numbers, WeightsError> {
        let Some(numbers) = self.file.get(name).and_then(TensorView::as_f32) else {
            return self.values(name, shape).map(Numbers::from);
        };
        let start = numbers
            .as_ptr()
            .addr()
            .checked_sub(self.bytes.as_ptr().addr());
        let range = start.map(|start| start..start + size_of_val(numbers));
        Ok(match range {
            Some(range) if range.end <= self.bytes.len() => Numbers::in_file(self.bytes, range),
            _ => Numbers::from(numbers.to_vec()),
        })
    }
}

impl TensorSource for Tensors {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn shape(&self, name: &str, _wanted: &[usize]) -> Option<Vec<usize>> {
        self.get(name).map(|(shape, _)| shape.clone())
    }

    fn values(&self, name: &str, _shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let numbers = self.get(name).map(|(_, numbers)| numbers.to_vec());
        Ok(numbers.unwrap_or_default())
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
        let theirs: BTreeSet<_> = gathered(other.unexpected);
        // What is unexpected in both is unexpected; what either took is not.
        self.unexpected.retain(|name| theirs.contains(name));
        self
    }
}

/// Takes tensors of these names and shapes out of a source. What it does not have, or in another shape,
/// is reported and left out.
///
/// # Errors
///
/// When a tensor that matches by name and shape cannot be read, or holds NaN or an infinity: a network with
/// those gives answers all the same, for comparisons with NaN come out false and a ReLU turns it into zero.
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
                let numbers = source.numbers(&name, &expected)?;
                all_finite(&name, &numbers)?;
                tensors.insert(name.clone(), (expected, numbers));
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
}
