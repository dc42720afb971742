//! Photos: from a path to an upright 8-bit RGB picture, or to an error that says what is wrong with
//! the file.
//!
//! Users' folders hold everything: pictures from phones lying on their side, palettes, 16-bit
//! scans, CMYK from a print shop, half-finished downloads, web pages named `.jpg`. Whatever a
//! network is shown must be the picture a person sees, or nothing: a file that is cut off is an
//! error, never a picture with a grey half.
//!
//! - [`sniff`](sniff::sniff) looks at the first bytes (the extension of a file is only a hint),
//! - [`decode_stream`] decodes many, each within [`Limits`], on all cores, in order, within a memory
//!   budget.

mod colour;
mod decode;
mod error;
mod exif;
mod ifd;
mod jpeg;
mod limits;
mod parallel;
mod pnm;
mod sniff;
mod tiff;
mod webp;

pub use decode::open_regular;
pub use error::{PhotoError, PhotoProblem};
pub use limits::Limits;
pub use parallel::{DecodeOptions, StreamError, decode_stream};
pub use sniff::{Content, SNIFF_BYTES, is_photo_name, sniff};
