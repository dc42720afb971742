//! Labels from a file: CSV or JSONL of paths and of what is on the photos.
//!
//! A file becomes a [`table`], whatever its format; columns are chosen by name ([`columns`]); what the labels
//! mean is found from them or said by the user ([`meaning`]); and each row's photo is found in the folder ([`places`]).
//! What is wrong with a line is an error that names it: nothing is left out but photos that are not there or cannot be
//! read, as in any other data set.

mod columns;
mod csv;
mod file;
mod jsonl;
mod meaning;
mod places;
mod read;
mod spread;
mod table;
#[cfg(test)]
mod tests;

pub use read::{Labels, scan_labels};
