//! Filling networks with other people's numbers, and handing ours back.
//!
//! Files are read from bytes ([`WeightFile`]): safetensors, and PyTorch's pickles, which are parsed
//! and never executed. [`fill`] matches tensors to parameters by torchvision's names, exactly;
//! [`collect`] reads a module's parameters back under the same names.

mod file;
mod names;
mod pickle;
mod safetensors;
mod synthetic;
mod torch;
mod write;

pub use file::{Dtype, TensorView, WeightFile, WeightFormat, WeightsError};
pub use names::{
    FillReport, Misshaped, NamedTensor, TensorSource, collect, fill, list, shard_name,
};
pub use synthetic::Generated;
pub use write::{StorageDtype, write_safetensors};
