//! The functions and classes a weight file may refer to.

use crate::weights::error::{WeightsError, shown};
use crate::weights::view::Dtype;

/// The place of a class's name in its pickle.
#[derive(Debug, Clone, Copy)]
pub struct ClassId(pub u32);

/// What a name in a pickle stands for.
#[derive(Debug, Clone, Copy)]
pub enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// A dictionary of another kind, which is made empty or of a dictionary.
    Dict,
    /// A list or set, of the items of another.
    List,
    /// `torch.Size`, a tuple.
    Size,
    /// `torch.FloatStorage` and its like.
    Storage(Element),
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, which begin with the same arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter` and its like: the first argument is the tensor.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a call wrapped in a call.
    RebuildFromType,
    /// What makes a tensor of a kind that is not read here.
    RebuildStrange(ClassId),
    /// What makes an object whose class is its first argument, as old classes are pickled.
    Reconstruct,
    /// A function whose result is of no interest.
    Inert,
    /// A class or function that is not known here.
    Unknown(ClassId),
}

/// What a storage is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Numbers that can be read.
    Known(Dtype),
    /// Others: the storage's type, and bytes per element.
    Strange(&'static str, usize),
}

impl Element {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::Known(dtype) => dtype.size(),
            Self::Strange(_, size) => size,
        }
    }
}

/// Looks a function or class up by name. One that is not known is kept with what `intern` makes of its
/// name; one whose only use is to run code or to reach the system is refused.
pub fn global(
    module: &str,
    name: &str,
    intern: impl FnOnce() -> ClassId,
) -> Result<Global, WeightsError> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("collections", "Counter" | "defaultdict") | ("builtins" | "__builtin__", "dict") => {
            Global::Dict
        }
        ("builtins" | "__builtin__", "set" | "frozenset" | "list") => Global::List,
        ("torch", "Size") => Global::Size,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter" | "torch.nn", "Parameter") => Global::RebuildParameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Global::RebuildFromType,
        // `torch.cuda` is where PyTorch kept the types of storages on a GPU.
        ("torch" | "torch.cuda" | "torch.storage", _) if name.ends_with("Storage") => {
            Global::Storage(storage_type(name)?)
        }
        ("torch._utils", _) if name.starts_with("_rebuild_") => Global::RebuildStrange(intern()),
        ("copyreg" | "copy_reg", "_reconstructor" | "__newobj__") => Global::Reconstruct,
        // Element types and devices, NumPy scalars, Python 2's bytes.
        (
            "torch",
            "Tensor" | "device" | "float" | "float16" | "float32" | "float64" | "bfloat16" | "int8"
            | "int16" | "int32" | "int64" | "uint8" | "bool",
        )
        | ("_codecs", "encode")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
        | ("builtins" | "__builtin__", "bytearray" | "complex" | "slice" | "int" | "float") => {
            Global::Inert
        }
        _ if runs_code(module, name) => {
            let what = format!("`{}.{}`", shown(module), shown(name));
            return Err(WeightsError::Refused { what });
        }
        _ => Global::Unknown(intern()),
    })
}

/// Whether a pickle refers to this only to run code, or to reach files, processes or the network. Nothing
/// would come of it here, but a file that asks for it was not made by somebody saving weights.
fn runs_code(module: &str, name: &str) -> bool {
    let top = module.split('.').next().unwrap_or(module);
    match top {
        "builtins" | "__builtin__" => matches!(
            name,
            "__import__"
                | "breakpoint"
                | "compile"
                | "delattr"
                | "eval"
                | "exec"
                | "execfile"
                | "globals"
                | "input"
                | "locals"
                | "open"
                | "setattr"
                | "vars"
        ),
        "torch" => match module {
            "torch" => name == "load",
            // Not what lies below: a compiled module's class is `torch._dynamo.eval_frame`'s.
            "torch._dynamo" => true,
            _ => [
                "torch.hub",
                "torch._inductor",
                "torch.package",
                "torch.utils.cpp_extension",
            ]
            .iter()
            .any(|part| module.starts_with(part)),
        },
        _ => matches!(
            top,
            "_pickle"
                | "bdb"
                | "code"
                | "codeop"
                | "commands"
                | "ctypes"
                | "ftplib"
                | "http"
                | "imp"
                | "importlib"
                | "marshal"
                | "nt"
                | "os"
                | "pdb"
                | "pickle"
                | "pip"
                | "pkgutil"
                | "platform"
                | "popen2"
                | "posix"
                | "pty"
                | "pydoc"
                | "requests"
                | "runpy"
                | "shutil"
                | "smtplib"
                | "socket"
                | "ssl"
                | "subprocess"
                | "sys"
                | "tempfile"
                | "timeit"
                | "urllib"
                | "urllib2"
                | "venv"
                | "webbrowser"
        ),
    }
}

fn storage_type(name: &str) -> Result<Element, WeightsError> {
    Ok(Element::Known(match name {
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
        "ComplexHalfStorage" => return Ok(Element::Strange("ComplexHalfStorage", 4)),
        "ComplexFloatStorage" => return Ok(Element::Strange("ComplexFloatStorage", 8)),
        "ComplexDoubleStorage" => return Ok(Element::Strange("ComplexDoubleStorage", 16)),
        "QInt8Storage" => return Ok(Element::Strange("QInt8Storage", 1)),
        "QUInt8Storage" => return Ok(Element::Strange("QUInt8Storage", 1)),
        "QInt32Storage" => return Ok(Element::Strange("QInt32Storage", 4)),
        // Element types without a storage of their own, such as eight-bit floats, lie in plain bytes.
        "UntypedStorage" => return Ok(Element::Strange("UntypedStorage", 1)),
        _ => {
            let what = format!("a tensor of torch.{}", shown(name));
            return Err(WeightsError::unsupported(what));
        }
    }))
}
