//! What a network puts out, turned into an answer: one file a [task](crate::task::Task).

mod classify;
mod labels;
mod mask;
mod segment;

pub use classify::{Prediction, softmax, top_k};
pub use labels::{LabelAnswer, labels, sigmoid};
pub use mask::{Mask, VOID, overlay, palette_colour};
pub use segment::{Scores, ScoresError, Winners};
