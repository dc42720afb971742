//! What can be wrong with a JPEG, in our own words.

use libjpeg_turbo_rs::JpegError;

use crate::error::PhotoProblem;

/// Says of which format it is that something is wrong.
pub fn corrupt(why: &str) -> PhotoProblem {
    PhotoProblem::Corrupt(format!("JPEG: {why}"))
}

/// A kind of JPEG that is not read.
pub fn unsupported(what: impl Into<String>) -> PhotoProblem {
    PhotoProblem::Unsupported(what.into())
}

/// What the decoder says.
pub fn problem(error: JpegError) -> PhotoProblem {
    match error {
        // The file is whole: its outline has been walked to its end.
        JpegError::UnexpectedEof => corrupt("the data of a scan end before it is whole"),
        JpegError::Unsupported(_) => unsupported("a JPEG of this kind"),
        JpegError::LimitExceeded { .. } => unsupported("a JPEG as intricate as this"),
        JpegError::AllocationFailed { .. } => PhotoProblem::OutOfMemory,
        JpegError::InvalidMarker(code) | JpegError::UnexpectedMarker(code) => {
            corrupt(&format!("a marker {code:#04x} where none belongs"))
        }
        _ => corrupt("the coded data make no sense"),
    }
}
