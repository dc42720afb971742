//! What commands do with networks that put several labels on photos, or estimate values of them.

pub mod evaluate;
pub mod predict;
