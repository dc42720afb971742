//! Networks with numbers, as Burn's modules: run step by step, and trained.

mod head;
mod layer;
mod parameters;
mod perceptron;
mod pool;
mod run;
mod scores;

pub use head::Head;
pub use layer::Layer;
pub use parameters::{NamedTensor, collect, fill, filled, list, shard_name};
pub use perceptron::MlpHead;
pub use pool::{global_average, pool};
pub use run::{Activation, Network};
