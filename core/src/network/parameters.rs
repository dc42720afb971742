//! The bridge between Burn's module tree and PyTorch's state_dict.
//!
//! Module fields mirror torchvision's names, so what is left to say is small: enum variants add no
//! name, norms call their parameters `weight` and `bias`, and linear layers are stored transposed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData, Transaction};

use crate::device::DeviceError;
use crate::weights::{FillReport, Misshaped, Numbers, TensorSource, Tensors, WeightsError};

/// The name of part `shard` of `shards` of a tensor that is split along its first axis, because whole
/// it would not fit into a device's buffers.
pub fn shard_name(name: &str, shard: impl Display, shards: usize) -> String {
    format!("{name}#{shard}/{shards}")
}

/// A tensor's name in the file, which of its parts is meant and how many there are.
fn parse_shard(name: &str) -> (&str, usize, usize) {
    let parse = || {
        let (whole, part) = name.rsplit_once('#')?;
        let (shard, shards) = part.split_once('/')?;
        Some((whole, shard.parse().ok()?, shards.parse().ok()?))
    };
    parse().unwrap_or((name, 0, 1))
}

/// Fills a module's parameters and running statistics from a source.
///
/// `torch_name` turns a path in the module tree into the name to look for.
///
/// # Errors
///
/// Only when a tensor that matches by name and shape cannot be read. What does not match is reported,
/// and left as it was.
pub fn fill<M: Module>(
    module: M,
    source: &dyn TensorSource,
    torch_name: &dyn Fn(String) -> String,
) -> Result<(M, FillReport), WeightsError> {
    let mut filler = Filler {
        path: Path::default(),
        source,
        torch_name,
        report: FillReport::default(),
        taken: BTreeSet::new(),
        error: None,
    };
    let module = module.map(&mut filler);
    let Filler {
        mut report,
        taken,
        error,
        ..
    } = filler;
    if let Some(error) = error {
        return Err(error);
    }
    report.finish(source, &taken);
    Ok((module, report))
}

/// A module filled from tensors on the host, which are all there, in a form that records no gradients.
pub fn filled<M: Module>(blank: M, tensors: &Tensors, torch_name: &dyn Fn(String) -> String) -> M {
    match fill(blank, tensors, torch_name) {
        Ok((module, report)) => {
            debug_assert!(report.missing.is_empty() && report.misshaped.is_empty());
            module.valid()
        }
        Err(error) => unreachable!("tensors on the host can be read: {error}"),
    }
}

/// A parameter under its PyTorch name, still on the device.
#[derive(Debug, Clone)]
pub struct NamedTensor {
    /// The name in the state_dict.
    pub name: String,
    /// The shape PyTorch gives it.
    pub shape: Vec<usize>,
    values: Tensor<1>,
    transposed: bool,
}

/// Lists a module's parameters and running statistics under their PyTorch names.
pub fn list<M: Module>(module: &M, torch_name: &dyn Fn(String) -> String) -> Vec<NamedTensor> {
    let mut lister = Lister {
        path: Path::default(),
        torch_name,
        tensors: Vec::new(),
    };
    module.visit(&mut lister);
    lister.tensors
}

/// Reads tensors back to the host, all in one go.
///
/// # Errors
///
/// When the device fails.
pub async fn collect(tensors: Vec<NamedTensor>) -> Result<Tensors, DeviceError> {
    let transaction = tensors.iter().fold(Transaction::default(), |all, tensor| {
        all.register(tensor.values.clone())
    });
    let data = transaction
        .execute_async()
        .await
        .map_err(DeviceError::execution)?;
    let mut collected: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for (tensor, data) in tensors.into_iter().zip(data) {
        // Number by number only what is not f32 already: networks have millions.
        let values = match data.dtype() {
            DType::F32 => data.try_into_vec().map_err(DeviceError::execution)?,
            _ => data.iter::<f32>().collect(),
        };
        let values = match (tensor.transposed, &tensor.shape[..]) {
            (true, &[rows, columns]) => transpose(&values, columns, rows),
            _ => values,
        };
        // The parts of a tensor come in order, the first axis first.
        let (whole, ..) = parse_shard(&tensor.name);
        match collected.get_mut(whole) {
            Some((shape, joined)) => {
                shape[0] += tensor.shape[0];
                joined.extend(values);
            }
            None => {
                collected.insert(whole.to_owned(), (tensor.shape, values));
            }
        }
    }
    let own = |(name, (shape, values))| (name, (shape, Numbers::from(values)));
    Ok(collected.into_iter().map(own).collect())
}

/// The way from the module's root to a parameter, with what each step stands in.
#[derive(Default)]
struct Path(Vec<(String, String)>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    /// The dotted path in PyTorch's words, before the family's own renaming.
    fn name(&self) -> String {
        let mut parts: Vec<&str> = Vec::with_capacity(self.0.len());
        for (name, container) in &self.0 {
            if container.starts_with("Enum:") {
                continue;
            }
            let is_norm = matches!(container.as_str(), "Struct:BatchNorm" | "Struct:LayerNorm");
            parts.push(match name.as_str() {
                "gamma" if is_norm => "weight",
                "beta" if is_norm => "bias",
                other => other,
            });
        }
        parts.join(".")
    }

    /// Burn keeps linear weights as `[in, out]`, PyTorch as `[out, in]`.
    fn is_transposed(&self) -> bool {
        self.0
            .last()
            .is_some_and(|(name, container)| name == "weight" && container == "Struct:Linear")
    }
}

struct Filler<'a> {
    path: Path,
    source: &'a dyn TensorSource,
    torch_name: &'a dyn Fn(String) -> String,
    report: FillReport,
    taken: BTreeSet<String>,
    error: Option<WeightsError>,
}

impl ModuleMapper for Filler<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = (self.torch_name)(self.path.name());
        let shape = param.lazy_shape().to_vec();
        let transposed = self.path.is_transposed();
        let expected: Vec<usize> = if transposed {
            shape.iter().rev().copied().collect()
        } else {
            shape.clone()
        };

        let (whole, shard, shards) = parse_shard(&name);
        let mut full = expected.clone();
        if let Some(first) = full.first_mut() {
            *first *= shards;
        }
        // What is said of a tensor is said once, with its first part.
        let is_first = shard == 0;
        let Some(found) = self.source.shape(whole, &full) else {
            if is_first {
                self.report.missing.push(whole.to_owned());
            }
            return param;
        };
        self.taken.insert(whole.to_owned());
        if found != full {
            if is_first {
                self.report.misshaped.push(Misshaped {
                    name: whole.to_owned(),
                    expected: full,
                    found,
                });
            }
            return param;
        }
        let values = match self.source.values(whole, &full) {
            Ok(values) if shards > 1 => {
                let length = values.len() / shards;
                values[shard * length..(shard + 1) * length].to_vec()
            }
            Ok(values) => values,
            Err(error) => {
                self.error.get_or_insert(error);
                return param;
            }
        };
        let values = match (transposed, &expected[..]) {
            (true, &[rows, columns]) => transpose(&values, rows, columns),
            _ => values,
        };
        self.report.filled += usize::from(is_first);
        let device = param.lazy_device();
        let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), &device);
        let id = ParamId::new();
        param.transform_for_load(tensor, id)
    }
}

struct Lister<'a> {
    path: Path,
    torch_name: &'a dyn Fn(String) -> String,
    tensors: Vec<NamedTensor>,
}

impl ModuleVisitor for Lister<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let transposed = self.path.is_transposed();
        let mut shape = param.lazy_shape().to_vec();
        if transposed {
            shape.reverse();
        }
        self.tensors.push(NamedTensor {
            name: (self.torch_name)(self.path.name()),
            shape,
            values: param.val().flatten(0, D - 1),
            transposed,
        });
    }
}

/// `[rows, columns]` to `[columns, rows]`, in tiles that stay in the cache.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_is_the_identity() {
        let values: Vec<f32> = (0..37 * 65).map(|i| i as f32).collect();
        let turned = transpose(&values, 37, 65);
        assert_eq!(turned[1], values[65]);
        assert_eq!(transpose(&turned, 65, 37), values);
    }
}
