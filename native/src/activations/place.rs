//! Where shelves lie, how much of the disk they may take, and who computed what lies on them.

use std::path::Path;
use std::time::UNIX_EPOCH;

/// What the disk is taken to have free where the system does not tell.
const UNKNOWN: u64 = 32 << 30;

/// The bytes that the disk of this folder has free for us; the folder itself may not be there yet.
pub fn free_bytes(folder: &Path) -> u64 {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    there.and_then(told).unwrap_or(UNKNOWN)
}

#[cfg(unix)]
fn told(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn told(_folder: &Path) -> Option<u64> {
    None
}

/// Which program computes: another build of Rekindle may compute in another order, and its rows are not mixed with
/// this one's.
pub fn program() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let build = std::env::current_exe().and_then(std::fs::metadata);
    let build = build.ok().and_then(|file| {
        let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{} {}", file.len(), changed.as_nanos()))
    });
    format!("{version} {}", build.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(&folder.path().join("a/b"));
        let above = free_bytes(folder.path());
        // Others write meanwhile.
        assert!(free > 0 && free.abs_diff(above) < above / 2 + (1 << 30));
    }

    #[test]
    fn a_program_goes_by_its_version_and_build() {
        let known = program();
        assert!(known.starts_with(env!("CARGO_PKG_VERSION")) && known == program());
        assert_eq!(known.split(' ').count(), 3, "{known}");
    }
}
