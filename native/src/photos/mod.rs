//! Many photos: what one is, `rekindle-photos` knows; here they are decoded on all cores, in order.

mod parallel;

pub use parallel::{DecodeOptions, StreamError, decode_stream};
pub use rekindle_photos::*;
