//! libjpeg-turbo's decoder, as libjpeg is set up.

use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat, RestartResyncStrategy, ResyncAction};

use super::outline::MOST_SCANS;
use super::problem::{corrupt, problem};
use crate::error::PhotoProblem;
use crate::picture::zeroed;

/// Decodes a mended file of so many pixels to samples of this format.
pub fn run_decoder(
    bytes: &[u8],
    format: PixelFormat,
    pixels: usize,
) -> Result<Vec<u8>, PhotoProblem> {
    let limits = DecodeLimits {
        max_width: usize::MAX,
        max_height: usize::MAX,
        max_pixels: u64::MAX,
        max_scans: MOST_SCANS,
        max_memory: None,
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(problem)?;
    // As libjpeg does unless told otherwise: blocks whose details were never sent are smoothed.
    decoder.set_block_smoothing(true);
    decoder.set_resync_strategy(NoResync);
    decoder.set_output_format(format);
    let mut out = zeroed(pixels * format.bytes_per_pixel())?;
    let info = decoder.decode_image_into(&mut out).map_err(problem)?;
    if info.bytes_written != out.len() {
        return Err(corrupt("another number of pixels than announced"));
    }
    Ok(out)
}

/// Restart markers out of step mean that something is missing.
struct NoResync;

impl RestartResyncStrategy for NoResync {
    fn on_desync(&mut self, _expected: u8, _found: Option<u8>) -> ResyncAction {
        ResyncAction::Abort
    }
}
