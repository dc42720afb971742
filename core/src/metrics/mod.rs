//! How well a model did: one file a [task](crate::task::Task).

pub mod classify;
pub mod multilabel;
pub mod regress;
pub mod segment;
