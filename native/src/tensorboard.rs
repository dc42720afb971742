//! TensorBoard's event files: scalars that are followed while a training goes on.
//!
//! A file is a list of records, each framed as TensorFlow's `TFRecord` frames it (its length, a checksum of that, the
//! bytes, a checksum of those; `tensorflow/core/lib/io/record_writer.h`). The checksum is CRC-32C, masked. Each record
//! is an `Event` in protocol buffers' encoding (`tensorflow/core/util/event.proto`), of which few fields are needed.
//!
//! Whoever goes on with a training begins another file with the event that says from which step on what was there before
//! is void: PyTorch's `SummaryWriter(purge_step=…)`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::WriteError;

/// An event file that is being written. What was told is on its way to the disk at once: a kill loses nothing.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    file: File,
}

impl Board {
    /// Begins a file in a folder, which is made. With `purge`, what other files there tell of that step and those behind
    /// it is void.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn begin(folder: &Path, purge: Option<u64>) -> Result<Self, WriteError> {
        fs::create_dir_all(folder).map_err(|cause| WriteError {
            path: folder.to_owned(),
            cause,
        })?;
        let now = now();
        let mut number = 0;
        let (path, file) = loop {
            let path = folder.join(name(now as u64, &host(), std::process::id(), number));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(cause) => return Err(WriteError { path, cause }),
            }
        };
        let mut board = Self { path, file };
        let writer = bytes(WRITER, b"rekindle");
        board.put(&event(
            now,
            0,
            &[(FILE_VERSION, VERSION.as_bytes()), (SOURCE, &writer)],
        ))?;
        if let Some(step) = purge {
            let start = whole_number(STATUS, STATUS_START);
            board.put(&event(now, step, &[(SESSION_LOG, &start)]))?;
        }
        Ok(board)
    }

    /// Tells figures of a step. What is no number is left out.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn tell(&mut self, step: u64, figures: &[(&str, Option<f64>)]) -> Result<(), WriteError> {
        let mut summary = Vec::new();
        for (tag, figure) in figures {
            let Some(figure) = figure.filter(|figure| figure.is_finite()) else {
                continue;
            };
            let mut value = bytes(TAG, tag.as_bytes());
            value.extend(key(SIMPLE_VALUE, FOUR_BYTES));
            value.extend((figure as f32).to_le_bytes());
            summary.extend(bytes(VALUE, &value));
        }
        match summary.is_empty() {
            true => Ok(()),
            false => self.put(&event(now(), step, &[(SUMMARY, &summary)])),
        }
    }

    fn put(&mut self, event: &[u8]) -> Result<(), WriteError> {
        // One call for the whole record, so that a reader or a kill never sees half of one.
        let written = self.file.write_all(&framed(event));
        written.map_err(|cause| WriteError {
            path: self.path.clone(),
            cause,
        })
    }
}

/// The version that TensorBoard knows.
const VERSION: &str = "brain.Event:2";

/// Fields of an `Event`.
const WALL_TIME: u32 = 1;
const STEP: u32 = 2;
const FILE_VERSION: u32 = 3;
const SUMMARY: u32 = 5;
const SESSION_LOG: u32 = 7;
const SOURCE: u32 = 10;
/// A field of what an event's source is.
const WRITER: u32 = 1;
/// Fields of a `SessionLog`, and the status that says that something begins anew.
const STATUS: u32 = 1;
const STATUS_START: u64 = 1;
/// Fields of a `Summary`, and of a value in it.
const VALUE: u32 = 1;
const TAG: u32 = 1;
const SIMPLE_VALUE: u32 = 2;

/// How a field's value is written.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH_AND_BYTES: u32 = 2;
const FOUR_BYTES: u32 = 5;

fn event(wall_time: f64, step: u64, what: &[(u32, &[u8])]) -> Vec<u8> {
    let mut event = key(WALL_TIME, EIGHT_BYTES);
    event.extend(wall_time.to_le_bytes());
    // Nothing is written of what is zero.
    if step > 0 {
        event.extend(whole_number(STEP, step));
    }
    for (field, value) in what {
        event.extend(bytes(*field, value));
    }
    event
}

fn key(field: u32, kind: u32) -> Vec<u8> {
    varint(u64::from(field << 3 | kind))
}

fn whole_number(field: u32, value: u64) -> Vec<u8> {
    let mut all = key(field, VARINT);
    all.extend(varint(value));
    all
}

fn bytes(field: u32, value: &[u8]) -> Vec<u8> {
    let mut all = key(field, LENGTH_AND_BYTES);
    all.extend(varint(value.len() as u64));
    all.extend(value);
    all
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut all = Vec::new();
    while value >= 0x80 {
        all.push(value as u8 | 0x80);
        value >>= 7;
    }
    all.push(value as u8);
    all
}

fn framed(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let mut all = length.to_vec();
    all.extend(checksum(&length).to_le_bytes());
    all.extend(record);
    all.extend(checksum(record).to_le_bytes());
    all
}

/// CRC-32C, turned and moved so that a checksum of bytes that hold checksums is none of a kind.
fn checksum(bytes: &[u8]) -> u32 {
    const MOVED_BY: u32 = 0xa282_ead8;
    crc(bytes).rotate_right(15).wrapping_add(MOVED_BY)
}

/// CRC-32C, bit by bit: some hundred bytes an epoch need no table.
fn crc(bytes: &[u8]) -> u32 {
    /// Castagnoli's polynomial, its bits in reverse.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let bit = |crc: u32| match crc & 1 {
        1 => crc >> 1 ^ POLYNOMIAL,
        _ => crc >> 1,
    };
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc));
    !bytes.iter().fold(!0, byte)
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// A name as TensorBoard looks for: the earlier files come first.
fn name(seconds: u64, host: &str, process: u32, number: u32) -> String {
    format!("events.out.tfevents.{seconds:010}.{host}.{process}.{number}")
}

/// The machine's name, as far as it can be part of a file's.
fn host() -> String {
    let variable = |name: &str| std::env::var(name).ok();
    let file = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = file()
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| variable("COMPUTERNAME"));
    let host: String = host
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .take(64)
        .collect();
    if host.is_empty() {
        "localhost".to_owned()
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PyTorch 2's `SummaryWriter` wrote, with its clock stopped: `make_tensorboard_fixture.py`.
    const OF_PYTORCH: &[u8] = include_bytes!("tensorboard/pytorch.tfevents");
    /// The time at which it stood.
    const STOPPED: f64 = 1_700_000_000.25;

    #[test]
    fn files_are_pytorchs_to_the_byte() {
        let scalar = |tag: &str, value: f32| {
            let mut all = bytes(TAG, tag.as_bytes());
            all.extend(key(SIMPLE_VALUE, FOUR_BYTES));
            all.extend(value.to_le_bytes());
            bytes(VALUE, &all)
        };
        let start = whole_number(STATUS, STATUS_START);
        let writer = bytes(WRITER, b"tensorboard.summary.writer.event_file_writer");
        let version = (FILE_VERSION, VERSION.as_bytes());
        let events = [
            event(STOPPED, 0, &[version, (SOURCE, &writer)]),
            event(STOPPED, 300, &[version]),
            event(STOPPED, 300, &[(SESSION_LOG, &start)]),
            event(STOPPED, 0, &[(SUMMARY, &scalar("loss/training", 0.1))]),
            event(STOPPED, 7, &[(SUMMARY, &scalar("accuracy/held_out", 1.0))]),
            event(
                STOPPED,
                1 << 40,
                &[(SUMMARY, &scalar("learning_rate", -5e-4))],
            ),
        ];
        let ours: Vec<u8> = events.iter().flat_map(|event| framed(event)).collect();
        assert_eq!(ours, OF_PYTORCH);
    }

    #[test]
    fn a_second_file_of_the_same_second_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("runs/one");
        for purge in [None, Some(5)] {
            let mut board = Board::begin(&inner, purge).unwrap();
            board
                .tell(
                    3,
                    &[("loss", Some(0.5)), ("none", None), ("nan", Some(f64::NAN))],
                )
                .unwrap();
            board.tell(4, &[("none", None)]).unwrap();
        }
        let mut sizes: Vec<u64> = fs::read_dir(&inner)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        sizes.sort_unstable();
        // Frames of 16 bytes; a time of 9, the version of 15, the writer of 12; a step of 2, a summary of 2 + 2 + 6 + 5.
        let one = (16 + 9 + 15 + 12) + (16 + 9 + 2 + 15);
        assert_eq!(sizes, [one, one + (16 + 9 + 2 + 4)]);
    }
}
