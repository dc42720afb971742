//! Files that are written whole or not at all: a full disk, a power cut or Ctrl-C leaves the old file as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use crate::interrupt::Unfinished;
use crate::ui::{ExitCode, Failure, advice};

/// A file that could not be written. It does not exist, or still has its former content.
#[derive(Debug, Error)]
#[error("cannot write the file ({cause}): {}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the operating system says.
    #[source]
    pub cause: io::Error,
}

impl WriteError {
    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self.cause.kind() {
            io::ErrorKind::NotFound => "make the folder first, or name another".into(),
            io::ErrorKind::IsADirectory => "name a file in it".into(),
            _ => advice(&self.cause).into(),
        }
    }
}

/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// Writes a file so that its path holds, at any moment and after a power cut, the old content or the new: beside
/// its place first, flushed to the disk, then renamed. A link stays one, and what is no file (a pipe, a device) is
/// written to as it is.
///
/// # Errors
/// [`WriteError`]; what was written beside the place is gone.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_beside(path, bytes).map_err(|cause| WriteError {
        path: path.to_owned(),
        cause,
    })
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&target).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return OpenOptions::new()
            .write(true)
            .open(&target)?
            .write_all(bytes);
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (scratch, mut file) = scratch(folder)?;
    let unfinished = Unfinished::new({
        let scratch = scratch.clone();
        move || _ = fs::remove_file(scratch)
    });
    let written = (|| {
        if let Some(before) = before {
            file.set_permissions(before.permissions())?;
        }
        // In pieces, between which the file can be taken away.
        for piece in bytes.chunks(PIECE) {
            file.write_all(piece)?;
        }
        // Without this a power cut may leave the new name with nothing behind it.
        file.sync_all()?;
        drop(file);
        fs::rename(&scratch, &target)
    })();
    match &written {
        Ok(()) => sync_folder(folder),
        Err(_) => _ = fs::remove_file(&scratch),
    }
    drop(unfinished);
    written
}

/// Refuses to write to one of the files that a command reads: what it reads would be gone.
///
/// # Errors
/// A usage error that names the file.
pub fn is_not_read(out: &Path, read: &[&Path]) -> Result<(), Failure> {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let same = |path: &&&Path| real(path).is_some_and(|read| real(out) == Some(read));
    match read.iter().find(same) {
        None => Ok(()),
        Some(path) => {
            let what = format!("--out would overwrite what is read: {}", path.display());
            Err(Failure::new(ExitCode::Usage, what).with_help("name another file with --out"))
        }
    }
}

/// A file of ours in the folder that was not there before.
fn scratch(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".rekindle-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            // Left by a process of the same number that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
}

/// Removes files of ours that a killed process did not finish, from a folder that no other process writes to.
pub fn remove_halves(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_half = name
            .to_str()
            .is_some_and(|name| name.starts_with(".rekindle-") && name.ends_with(".tmp"));
        if is_half {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Flushes a folder's entries where the platform can (on Windows folders cannot be opened as
/// files).
pub fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        write(&path, b"old, and longer").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".rekindle-17-3.tmp", "rekindle.tmp", ".rekindle-note"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_halves(folder.path());
        assert!(!folder.path().join(".rekindle-17-3.tmp").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_says_why_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let missing = write(&folder.path().join("no/such/x.svg"), b"x").unwrap_err();
        assert!(missing.help().contains("make the folder"), "{missing}");
        let taken = write(folder.path(), b"x").unwrap_err();
        assert!(taken.help().contains("name a file"), "{taken}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn links_permissions_and_devices_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        // As in `--out /dev/null`.
        let device = folder.path().join("null");
        symlink("/dev/null", &device).unwrap();
        write(&device, b"gone").unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }
}
