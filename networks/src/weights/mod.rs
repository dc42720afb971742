//! Filling networks with other people's numbers, and handing ours back.
//!
//! Files are read from bytes ([`WeightFile`]): safetensors, and PyTorch's pickles, which are parsed
//! and never executed. [`take`] matches tensors to what a network wants by torchvision's names, exactly.

mod error;
mod file;
mod foreign;
mod formats;
mod names;
mod parts;
mod pickle;
mod safetensors;
mod source;
mod synthetic;
mod tensors;
mod torch;
mod view;
mod write;

pub(crate) use error::shown;
pub use error::{WeightsError, quoted};
pub use file::{WeightFile, WeightFormat};
pub use names::is_counter;
pub(crate) use names::unwrapped;
pub use parts::{TensorDict, is_average};
pub use source::{FillReport, Kept, Misshaped, TensorSource, take};
pub use synthetic::Generated;
pub use tensors::{Numbers, StateDict, Tensors, state_dict};
pub(crate) use view::all_finite;
pub use view::{Dtype, TensorView, first_strange};
pub use write::{StorageDtype, write_safetensors};
