//! What `predict` and `evaluate` do with networks that give each pixel a class.

pub mod evaluate;
pub mod out;
pub mod predict;
