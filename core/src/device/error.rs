//! Why no device could be had, or why one failed.

use std::fmt;

use thiserror::Error;

/// Why no device could be had, or why one failed.
#[derive(Debug, Clone, Error)]
pub enum DeviceError {
    /// A word that names no device.
    #[error("'{0}' names no device: say auto, cpu, gpu, gpu:N or software")]
    UnknownPreference(String),
    /// A GPU was asked for and there is none.
    #[error("there is no {wanted} here (found: {found})")]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A GPU was asked for and this build has none of what drives it.
    #[error("this build has no graphics support")]
    NoGraphics,
    /// The driver refused.
    #[error("the graphics adapter could not be opened: {0}")]
    Open(String),
    /// The device computes wrongly.
    #[error(
        "{device} computes wrongly: its {operation} is off by {error:.1e} (allowed {allowed:.0e}); use --device cpu"
    )]
    Wrong {
        /// The device's name.
        device: String,
        /// Which operation.
        operation: &'static str,
        /// The relative error seen.
        error: f32,
        /// The relative error allowed.
        allowed: f32,
    },
    /// Half precision was asked for.
    #[error(
        "this device has no half-precision floats (WebGPU's shader-f16); leave --precision at full"
    )]
    NoHalf,
    /// A tensor that no buffer of the device can hold.
    #[error(
        "the device has no buffer of {} MiB: take fewer images at a time, or smaller ones",
        .bytes.div_ceil(1 << 20)
    )]
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// The device has no memory left for what was asked of it now.
    #[error("the device ran out of memory")]
    OutOfMemory,
    /// A network's numbers ran over on the way, so that there is no answer.
    #[error("the network gives {found} instead of an answer: its numbers run over")]
    NotFinite {
        /// NaN or an infinity.
        found: &'static str,
        /// Which of the images that were asked about: the first of which this is true.
        image: usize,
    },
    /// The device failed while it worked: lost, or out of memory.
    #[error("the device failed: {0}")]
    Execution(String),
}

impl DeviceError {
    /// From what Burn says of a failure. It has no kind for buffers that are too large, only the words of
    /// CubeCL's `BufferTooBig` at the end of a chain.
    pub fn execution(error: impl fmt::Display) -> Self {
        let text = error.to_string();
        let refused = text.split_once("can't allocate buffer of size: ");
        let bytes = refused.and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
        let has_none = ["out of device memory", "out-of-memory", "Out of Memory"];
        match bytes {
            Some(bytes) => Self::TooLarge { bytes },
            None if has_none.iter().any(|words| text.contains(words)) => Self::OutOfMemory,
            None => Self::Execution(text),
        }
    }

    /// Whether less at a time would help.
    pub fn is_for_want_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory | Self::TooLarge { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_too_large_is_told_by_its_size() {
        let chain =
            "An IO error happened\nCaused by:\n  can't allocate buffer of size: 157286400\n\n";
        let error = DeviceError::execution(chain);
        assert!(error.to_string().contains("150 MiB"), "{error}");
        let none_left = "out of device memory allocating 1024 bytes\n";
        let none_left = DeviceError::execution(none_left);
        assert!(matches!(none_left, DeviceError::OutOfMemory), "{none_left}");
        assert!(error.is_for_want_of_memory() && none_left.is_for_want_of_memory());
        let other = DeviceError::execution("lost");
        assert!(!other.is_for_want_of_memory());
        assert_eq!(other.to_string(), "the device failed: lost");
    }
}
