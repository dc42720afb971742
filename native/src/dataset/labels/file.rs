//! From a file's bytes to a table.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::table::{HEAD, Table, at, failure};
use super::{csv, jsonl};
use crate::hash::FileHash;
use crate::ui::{ExitCode, Failure, advice};

/// The largest file that is read, in bytes: some ten million lines.
const MOST_BYTES: u64 = 1 << 30;

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is not text in UTF-8, or no such table.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let bytes = read(path).map_err(|error| {
            let what = format!("cannot read the labels in {name} ({error})");
            let help = match error.kind() {
                io::ErrorKind::NotFound => "--labels names a CSV or JSONL file",
                _ => advice(&error),
            };
            let code = match error.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => ExitCode::Data,
                _ => ExitCode::Io,
            };
            Failure::new(code, what).with_help(help)
        })?;
        use sha2::Digest as _;
        let hash = FileHash(sha2::Sha256::digest(&bytes).into());
        let mut table = Self::parse(&name, &bytes)?;
        table.hash = Some(hash);
        Ok(table)
    }

    /// Understands the bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, Failure> {
        if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
            return Err(failure(
                format!("{name} is text in UTF-16"),
                "save it as UTF-8",
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            at(
                name,
                line,
                "it is not text in UTF-8",
                "save the file as UTF-8",
            )
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table = match text.trim_start().chars().next() {
            None => return Err(failure(format!("{name} is empty"), HEAD)),
            Some('{') => jsonl::parse(name, text)?,
            Some('[') => {
                return Err(failure(
                    format!("{name} is one JSON list"),
                    "write JSONL: an object a line, such as {\"path\": \"a.jpg\", \"label\": \"cat\"}",
                ));
            }
            Some(_) => csv::parse(name, text)?,
        };
        if table.rows.is_empty() {
            return Err(failure(format!("{name} names no photos"), HEAD));
        }
        Ok(table)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    let refused = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    if about.is_dir() {
        return Err(refused("it is a folder"));
    }
    // A pipe has no size: what comes out of it is counted as it is read.
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err(refused("it is larger than 1 GiB")),
        false => Ok(bytes),
    }
}
