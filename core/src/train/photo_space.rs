//! A head that learns as photos come and go: photos by their features, the inner products between
//! them, and the last solution.
//!
//! The best linear head is a mixture of its photos (see [`logistic`](super::logistic)), so all that a
//! fit needs of them beyond their features is how each pair is alike. A photo's row of inner products
//! is worked out as it is added, at the cost of a single look at all the others; every later fit and
//! every fold of a cross-validation then reads the same rows.
//!
//! Fits are done in pieces, without a clock: a piece is some tens of millions of multiply-adds, about ten
//! milliseconds of WebAssembly on a desktop processor, so that a page can answer in between.

mod fit;
mod folds;
mod kept;
mod photos;
#[cfg(test)]
mod tests;

pub use fit::HeadFit;
pub use folds::{FoldFits, FoldProgress};
pub use photos::PhotoSpace;
