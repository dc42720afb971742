//! Values at a cut, computed once and kept on the disk: what the frozen part of a network makes of each view of each
//! photo.
//!
//! A *shelf* holds the rows of one cut: one network's frozen part with its numbers, one way to prepare photos, one way
//! to keep numbers. Within it a row goes by the photo's content and the view. The *store* is the folder with all
//! shelves and the budget that they share. Nothing here is needed: a cache that is damaged, deleted, full or in use by
//! another process costs time and nothing else.

mod extract;
mod key;
mod need;
mod place;
mod record;
mod shelf;
mod store;

pub use extract::{Activations, Known, Rows, Views, WAITING};
pub use store::Store;
