//! SHA-256 of files.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a file or of a whole data set; shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash(pub [u8; 32]);

impl FileHash {
    /// Its first eight bytes as a number: enough to tell photos apart by their content.
    pub fn key(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for FileHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The SHA-256 of the file at `path`, read in pieces.
///
/// # Errors
/// What the operating system says.
pub fn hash_file(path: &Path) -> io::Result<FileHash> {
    match hash_opened(&mut File::open(path)?, |_| Ok::<(), Infallible>(())) {
        Ok(hash) => hash,
        Err(never) => match never {},
    }
}

/// The SHA-256 of a text.
pub fn hash_text(text: &str) -> FileHash {
    FileHash(Sha256::digest(text).into())
}

/// The SHA-256 of an opened file; `each` sees its bytes as they come, and may end the reading.
pub fn hash_opened<E>(
    file: &mut File,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<io::Result<FileHash>, E> {
    let mut buffer = vec![0; 128 * 1024];
    let mut hasher = Sha256::new();
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error)),
            Ok(read) => read,
        };
        each(&buffer[..read])?;
        if read == 0 {
            return Ok(Ok(FileHash(hasher.finalize().into())));
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256_in_hexadecimal() {
        // The test vectors of FIPS 180-2 for "abc" and for a million times "a".
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_file(&path).unwrap().to_string(), abc);
        std::fs::write(&path, "a".repeat(1_000_000)).unwrap();
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(hash_file(&path).unwrap().to_string(), million);
    }
}
