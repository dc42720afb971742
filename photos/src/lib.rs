//! Photos: from a path to an upright 8-bit RGB picture, or to an error that says what is wrong with
//! the file.
//!
//! Users' folders hold everything: pictures from phones lying on their side, palettes, 16-bit
//! scans, CMYK from a print shop, half-finished downloads, web pages named `.jpg`. Whatever a
//! network is shown must be the picture a person sees, or nothing: a file that is cut off is an
//! error, never a picture with a grey half.
//!
//! - [`sniff`](sniff::sniff) looks at the first bytes (the extension of a file is only a hint),
//! - [`decode_file`] and [`decode_bytes`] decode one photo within [`Limits`],
//! - [`decode_within`] does it when a [`MemoryBudget`] that many share has room for it,
//! - [`decode_mask`] reads a PNG whose pixels are classes, and [`encode_mask`] writes one.

mod bmp;
mod colour;
mod decode;
mod error;
mod exif;
mod file;
mod foreign;
mod gif;
mod guard;
#[cfg(feature = "heif")]
mod heif;
mod ifd;
mod jpeg;
mod limits;
mod mask;
mod picture;
mod png;
mod pnm;
mod sniff;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

pub use decode::{decode_bytes, decode_file, decode_within, format_names, formats_help};
pub use error::{PhotoError, PhotoProblem};
pub use exif::orientation as exif_orientation;
pub use file::open_regular;
pub use guard::hush_decoder_panics;
pub use image::metadata::Orientation;
pub use limits::{Limits, MemoryBudget, Permit};
pub use mask::{decode_mask, encode_mask, encode_picture, read_mask};
pub use sniff::{Content, SNIFF_BYTES, is_photo_name, sniff};
