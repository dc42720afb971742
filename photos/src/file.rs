//! Getting at a photo's bytes: regular files only, no larger than the limit.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::error::PhotoProblem;
use super::limits::Limits;
use super::sniff::camera_raw;

/// The content of a file.
///
/// # Errors
/// What keeps it from being read, or that it is too large, or a camera's raw file by its name.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, PhotoProblem> {
    if let Some(raw) = camera_raw(path) {
        return Err(PhotoProblem::Foreign(raw));
    }
    let allowed = limits.max_file_bytes;
    let (file, len) = open_regular(path)?;
    if len > allowed {
        return Err(PhotoProblem::FileTooLarge {
            bytes: len,
            allowed,
        });
    }
    let mut bytes = Vec::with_capacity(len as usize);
    // The file may grow while it is read.
    file.take(allowed.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(PhotoProblem::from_io)?;
    if bytes.len() as u64 > allowed {
        return Err(PhotoProblem::FileTooLarge {
            bytes: bytes.len() as u64,
            allowed,
        });
    }
    Ok(bytes)
}

/// Opens a regular file and tells its length in bytes. Pipes and devices are refused before they
/// are opened, since opening a pipe would wait for its writer.
///
/// # Errors
/// What keeps the file from being opened, sorted into the problems a user can tell apart.
pub fn open_regular(path: &Path) -> Result<(File, u64), PhotoProblem> {
    let metadata = fs::metadata(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(link) if link.is_symlink() => PhotoProblem::BadLink,
        _ => PhotoProblem::from_io(error),
    })?;
    if metadata.is_dir() {
        return Err(PhotoProblem::Directory);
    }
    if !metadata.is_file() {
        return Err(PhotoProblem::NotAFile);
    }
    let file = File::open(path).map_err(PhotoProblem::from_io)?;
    Ok((file, metadata.len()))
}
