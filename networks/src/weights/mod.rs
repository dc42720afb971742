//! Filling networks with other people's numbers, and handing ours back.
//!
//! Files are read from bytes ([`WeightFile`]): safetensors, and PyTorch's pickles, which are parsed
//! and never executed. [`take`] matches tensors to what a network wants by torchvision's names, exactly.

mod file;
mod foreign;
mod names;
mod parts;
mod pickle;
mod safetensors;
mod synthetic;
mod tensors;
mod torch;
mod write;

pub use file::{Dtype, TensorView, WeightFile, WeightFormat, WeightsError};
pub(crate) use file::{all_finite, shown};
pub use file::{first_strange, quoted};
pub(crate) use names::unwrapped;
pub use names::{FillReport, Misshaped, TensorSource, is_counter};
pub use parts::{Part, is_average};
pub use synthetic::Generated;
pub use tensors::{Kept, Numbers, StateDict, Tensors, state_dict, take};
pub use write::{StorageDtype, write_safetensors};
