//! A folder of photos, one folder a class, with or without `train/`, `val/` and `test/` above the
//! classes.
//!
//! The conventions are those of torchvision's `ImageFolder` and of fastai: class names are folder
//! names in sorted order, photos may lie in folders inside a class folder. Names are compared in
//! Unicode's composed form. Folders that divide the data go by their usual names, and what lies a
//! level deeper than it should, as archives unpack, is found and said. Scanning finds what can
//! be said without decoding: it lists and hashes the files, tells pictures from other things by
//! their first bytes, and refuses what training could not use, before any network is loaded. Photos
//! that turn out damaged when they are decoded are taken out again by [`Dataset::leave_out`], under
//! the same rules. A file of paths and labels may stand in for the class folders ([`scan_labels`]).

mod data;
mod error;
mod labels;
mod layout;
mod masks;
mod scan;
mod split;
#[cfg(test)]
mod tests;
mod warning;

pub use data::{ClassCount, Dataset, Item, Targets};
pub use error::DatasetError;
pub use labels::{Labels, scan_labels};
pub use layout::{Remark, nfc};
pub use masks::{HELP as MASKS_HELP, MaskFolder, Pair, holds_masks};
pub use scan::{ScanOptions, Wanted, check_root, classes_of, scan, scan_to_measure};
pub use split::Split;
