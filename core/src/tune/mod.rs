//! Fine-tuning: which parts of a network train, how fast, and on which examples in which order.

pub mod blocks;
#[cfg(test)]
mod fixture;
pub mod mixing;
pub mod order;
pub mod rates;
pub mod schedule;
