//! Many photos: what one is, `rekindle-photos` knows; here they are decoded on all cores, in order.

#[cfg_attr(not(test), allow(dead_code))] // for training of whole networks
mod loader;
mod ordered;
mod parallel;

#[allow(unused_imports)] // for training of whole networks
pub use loader::{LoadOptions, Loader, Showing, Shown, load};
pub use parallel::{DecodeOptions, StreamError, decode_stream};
pub use rekindle_photos::*;
