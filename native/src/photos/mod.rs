//! Many photos: what one is, `rekindle-photos` knows; here they are decoded on all cores, in order.

mod loader;
mod parallel;

pub use loader::{LoadOptions, Loader, load};
pub use parallel::{DecodeOptions, StreamError, decode_stream};
pub use rekindle_photos::*;
