//! The functions and classes a weight file may refer to.

use super::super::file::{Dtype, WeightsError, shown};

/// What a name in a pickle stands for.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.Size`, a tuple.
    Size,
    /// `torch.FloatStorage` and its like.
    StorageType(Dtype),
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, which begin with the same arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter` and its like: the first argument is the tensor.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a call wrapped in a call.
    RebuildFromType,
    /// Something whose result is of no interest.
    Inert,
}

/// Looks a function or class up by name, in the list of those that may occur.
pub(super) fn global(module: &str, name: &str) -> Result<Global, WeightsError> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch", "Size") => Global::Size,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter" | "torch.nn", "Parameter") => Global::RebuildParameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Global::RebuildFromType,
        // `torch.cuda` is where PyTorch kept the types of storages on a GPU.
        ("torch" | "torch.cuda", _) if name.ends_with("Storage") => {
            Global::StorageType(storage_type(name)?)
        }
        ("torch._utils", _) if name.starts_with("_rebuild_") => {
            let what = format!("a tensor made by torch._utils.{}", shown(name));
            return Err(WeightsError::unsupported(what));
        }
        // What checkpoints hold beside their weights: element types and devices, arguments of the
        // training script, metrics as NumPy scalars, and Python 2's sets and bytes.
        (
            "torch",
            "Tensor" | "device" | "float" | "float16" | "float32" | "float64" | "bfloat16" | "int8"
            | "int16" | "int32" | "int64" | "uint8" | "bool",
        )
        | ("argparse", "Namespace")
        | ("collections", "Counter" | "defaultdict")
        | ("_codecs", "encode")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
        | (
            "builtins" | "__builtin__",
            "set" | "frozenset" | "bytearray" | "complex" | "slice" | "list" | "dict" | "int"
            | "float",
        ) => Global::Inert,
        _ => {
            let what = format!("`{}.{}`", shown(module), shown(name));
            return Err(WeightsError::Refused { what });
        }
    })
}

fn storage_type(name: &str) -> Result<Dtype, WeightsError> {
    Ok(match name {
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        _ => {
            let what = format!("a tensor of torch.{}", shown(name));
            return Err(WeightsError::unsupported(what));
        }
    })
}
