//! One shelf: rows of one length, put in at the end and read at any place.
//!
//! Three files in a folder: `rows`, the rows one behind the other; `index`, an entry for each ([`Record`]), written
//! after its row; `lock`, held by the one process that writes, whose time of change says when the shelf was used last.
//! A process that is killed leaves a row without an entry, or half an entry, and the next writer cuts both off. Rows
//! and entries bear checksums: what is damaged counts as not there.

use rekindle_core::rows::Encoding;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::record::{ENTRY, Record, RowKey};

pub(super) const ROWS: &str = "rows";
pub(super) const INDEX: &str = "index";
pub(super) const LOCK: &str = "lock";

/// Rows of one length by their keys.
#[derive(Debug)]
pub struct Shelf {
    encoding: Encoding,
    width: usize,
    /// The place of each row, and what is known of it.
    index: HashMap<RowKey, Kept>,
    disk: Option<Disk>,
    memory: Memory,
    /// Why the disk takes no more, until somebody asks.
    trouble: Option<io::Error>,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy)]
struct Kept {
    place: u32,
    exponent: i32,
    checksum: u32,
}

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    rows: Arc<File>,
    /// `None` where another process writes, or the disk takes no more: rows are then read alone.
    writer: Option<Writer>,
    /// Whether another process was writing when this one came.
    is_taken: bool,
}

#[derive(Debug)]
struct Writer {
    index: File,
    /// Rows in the files, damaged ones too.
    count: u32,
    /// Bytes that may still be written.
    room: u64,
    /// Held as long as this lives.
    _lock: File,
}

/// Rows as bytes, by their places.
#[derive(Debug)]
struct Memory {
    rows: HashMap<u32, Arc<[u8]>>,
    /// Bytes that may still be taken.
    left: u64,
}

impl Shelf {
    /// The shelf in this folder, which is made if it is not there. It takes rows as soon as it has been given
    /// [room](Self::allow); where another process is putting rows in, what is there can be read.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn open(
        folder: &Path,
        width: usize,
        encoding: Encoding,
        memory: u64,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = ours(&folder.join(LOCK))?;
        // Also what is only read is in use.
        let _ = lock.set_modified(SystemTime::now());
        let is_writer = lock.try_lock().is_ok();
        let (rows, index) = (ours(&folder.join(ROWS))?, ours(&folder.join(INDEX))?);
        let length = row_bytes(width, encoding);
        let whole =
            (rows.metadata()?.len() / length as u64).min(index.metadata()?.len() / ENTRY as u64);
        let count = u32::try_from(whole).unwrap_or(u32::MAX);
        let known = read_index(&index, count)?;
        let writer = match is_writer {
            true => {
                rows.set_len(u64::from(count) * length as u64)?;
                index.set_len(u64::from(count) * ENTRY as u64)?;
                Some(Writer {
                    index,
                    count,
                    room: 0,
                    _lock: lock,
                })
            }
            false => None,
        };
        let disk = Some(Disk {
            folder: folder.to_owned(),
            rows: Arc::new(rows),
            writer,
            is_taken: !is_writer,
        });
        Ok(Self {
            index: known,
            disk,
            ..Self::in_memory(width, encoding, memory)
        })
    }

    /// A shelf that is gone with the process, for so many bytes.
    pub(super) fn in_memory(width: usize, encoding: Encoding, memory: u64) -> Self {
        Self {
            encoding,
            width,
            index: HashMap::new(),
            disk: None,
            memory: Memory {
                rows: HashMap::new(),
                left: memory,
            },
            trouble: None,
        }
    }

    /// The same with something to be said about the disk.
    pub(super) fn with_trouble(self, trouble: io::Error) -> Self {
        Self {
            trouble: Some(trouble),
            ..self
        }
    }

    /// How many rows there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether there is a row of this key. That it is undamaged shows when it is [read](Self::read).
    pub fn holds(&self, key: &RowKey) -> bool {
        self.index.contains_key(key)
    }

    /// Bytes that one more row takes.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.width, self.encoding)
    }

    /// A row as it comes back once it was kept; one that holds no numbers stays as it is, to be told where it is used.
    pub fn rounded(&self, row: &[f32]) -> Vec<f32> {
        let mut rounded = row.to_vec();
        if let Some((bytes, exponent)) = self.encoding.encode(row) {
            self.encoding.decode(&bytes, exponent, &mut rounded);
        }
        rounded
    }

    /// Whether this process puts rows on the disk.
    #[cfg(test)]
    pub fn writes(&self) -> bool {
        self.writer().is_some()
    }

    /// Whether another process puts rows on this shelf, so that this one does not.
    pub fn is_taken(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.is_taken)
    }

    /// Lets so many more bytes be written to the disk.
    pub(super) fn allow(&mut self, bytes: u64) {
        if let Some(writer) = self.disk.as_mut().and_then(|disk| disk.writer.as_mut()) {
            writer.room = bytes;
        }
    }

    /// Takes no more rows into memory: for who has them himself.
    pub(super) fn leave_memory(&mut self) {
        self.memory.left = 0;
    }

    /// Bytes that may still be written to the disk, or kept in memory where there is no disk.
    pub fn room(&self) -> u64 {
        match &self.disk {
            Some(_) => self.writer().map_or(0, |writer| writer.room),
            None => self.memory.left,
        }
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        self.disk.as_ref().map(|disk| disk.folder.as_path())
    }

    fn writer(&self) -> Option<&Writer> {
        self.disk.as_ref().and_then(|disk| disk.writer.as_ref())
    }

    /// Why the disk takes no more rows, told once; the rows in hand are not lost by it.
    pub fn trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    /// Puts a row in and returns whether it is kept: not where there is no room, or a number is none. A row of the same
    /// key stays as it is.
    ///
    /// # Panics
    ///
    /// When the row has another length than the shelf's.
    pub fn put(&mut self, key: RowKey, row: &[f32]) -> bool {
        assert_eq!(row.len(), self.width, "a row of another shelf");
        if self.holds(&key) {
            return true;
        }
        let needed = self.record_bytes();
        if self.room() < needed {
            return false;
        }
        let Some((bytes, exponent)) = self.encoding.encode(row) else {
            return false;
        };
        let record = Record {
            key,
            exponent,
            checksum: crc32fast::hash(&bytes),
        };
        let place = match &mut self.disk {
            None => u32::try_from(self.index.len()).ok(),
            Some(disk) => match disk.append(&record, &bytes) {
                Ok(place) => place,
                Err(error) => {
                    self.trouble.get_or_insert(error);
                    None
                }
            },
        };
        let Some(place) = place else {
            return false;
        };
        self.memory.keep(place, bytes);
        self.index.insert(
            key,
            Kept {
                place,
                exponent,
                checksum: record.checksum,
            },
        );
        true
    }

    /// Writes the row of this key into `row` and returns whether there is one. A damaged row is forgotten.
    ///
    /// # Panics
    ///
    /// When `row` has another length than the shelf's rows.
    pub fn read(&mut self, key: &RowKey, row: &mut [f32]) -> bool {
        let Some(found) = self.find(key) else {
            return false;
        };
        let read = found.read(row);
        self.settle(key, read)
    }

    /// Where the row of this key lies, if there is one: it is read there without the shelf, and [settled](Self::settle)
    /// afterwards.
    pub fn find(&self, key: &RowKey) -> Option<Found> {
        let &kept = self.index.get(key)?;
        let source = match self.memory.rows.get(&kept.place) {
            Some(bytes) => Source::Memory(Arc::clone(bytes)),
            None => Source::Disk(Arc::clone(&self.disk.as_ref()?.rows)),
        };
        Some(Found {
            source,
            kept,
            encoding: self.encoding,
            width: self.width,
        })
    }

    /// Takes note of how a row was read, and returns whether it was: it may stay in memory, and a damaged one is
    /// forgotten.
    pub fn settle(&mut self, key: &RowKey, read: Read) -> bool {
        match read {
            Read::Known => true,
            Read::Fresh(place, bytes) => {
                self.memory.keep(place, bytes);
                true
            }
            Read::Damaged(place) => {
                // Another one may have been put in its place meanwhile.
                if self.index.get(key).is_some_and(|kept| kept.place == place) {
                    self.index.remove(key);
                }
                false
            }
        }
    }
}

/// Where a row lies.
pub struct Found {
    source: Source,
    kept: Kept,
    encoding: Encoding,
    width: usize,
}

enum Source {
    Memory(Arc<[u8]>),
    Disk(Arc<File>),
}

/// How a row was read.
pub enum Read {
    /// From memory.
    Known,
    /// From the disk: its place and its bytes.
    Fresh(u32, Vec<u8>),
    /// Not at all.
    Damaged(u32),
}

impl Found {
    /// Writes the row into `row`.
    ///
    /// # Panics
    ///
    /// When `row` has another length than the shelf's rows.
    pub fn read(self, row: &mut [f32]) -> Read {
        assert_eq!(row.len(), self.width, "a row of another shelf");
        let Kept {
            place,
            exponent,
            checksum,
        } = self.kept;
        let file = match self.source {
            Source::Memory(bytes) => {
                self.encoding.decode(&bytes, exponent, row);
                return Read::Known;
            }
            Source::Disk(file) => file,
        };
        let mut bytes = vec![0; row_bytes(self.width, self.encoding)];
        let at = u64::from(place) * bytes.len() as u64;
        let is_read = read_at(&file, &mut bytes, at).is_ok();
        if !is_read || crc32fast::hash(&bytes) != checksum {
            return Read::Damaged(place);
        }
        self.encoding.decode(&bytes, exponent, row);
        Read::Fresh(place, bytes)
    }
}

impl Disk {
    /// Puts a row at the end and returns its place; `None` where this process does not write.
    fn append(&mut self, record: &Record, bytes: &[u8]) -> io::Result<Option<u32>> {
        let Some(writer) = &mut self.writer else {
            return Ok(None);
        };
        let place = writer.count;
        let at = [
            place as u64 * bytes.len() as u64,
            u64::from(place) * ENTRY as u64,
        ];
        // The entry last: what it stands for is then there.
        let written = write_at(&self.rows, bytes, at[0])
            .and_then(|()| write_at(&writer.index, &record.bytes(), at[1]));
        if let Err(error) = written {
            // What is whole stays; half a row would be cut off by the next writer at the latest.
            let _ = writer.index.set_len(at[1]);
            let _ = self.rows.set_len(at[0]);
            self.writer = None;
            return Err(error);
        }
        writer.room = writer.room.saturating_sub((bytes.len() + ENTRY) as u64);
        match place.checked_add(1) {
            Some(count) => writer.count = count,
            None => self.writer = None,
        }
        Ok(Some(place))
    }
}

impl Memory {
    fn keep(&mut self, place: u32, bytes: Vec<u8>) {
        let needed = (bytes.len() + ENTRY) as u64;
        if needed <= self.left {
            self.left -= needed;
            self.rows.insert(place, bytes.into());
        }
    }
}

fn row_bytes(width: usize, encoding: Encoding) -> usize {
    width.max(1) * encoding.bytes()
}

/// Bytes on the disk of a row of so many numbers, with its entry.
pub(super) fn record_bytes(width: usize, encoding: Encoding) -> u64 {
    (row_bytes(width, encoding) + ENTRY) as u64
}

/// A file of a shelf, to be read and written. What is in it stays.
fn ours(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// The first entries of an index. Of two with one key the later one counts: the earlier was damaged.
fn read_index(index: &File, count: u32) -> io::Result<HashMap<RowKey, Kept>> {
    let mut reader = BufReader::with_capacity(1 << 16, index);
    let mut known = HashMap::new();
    let mut bytes = [0; ENTRY];
    for place in 0..count {
        reader.read_exact(&mut bytes)?;
        if let Some(record) = Record::read(&bytes) {
            let kept = Kept {
                place,
                exponent: record.exponent,
                checksum: record.checksum,
            };
            known.insert(record.key, kept);
        }
    }
    Ok(known)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (bytes, at) = (&mut bytes[read..], at + read as u64),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => (bytes, at) = (&bytes[written..], at + written as u64),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 6;

    fn key(number: u64) -> RowKey {
        let mut content = [0; 32];
        content[..8].copy_from_slice(&(number / 2).to_le_bytes());
        RowKey {
            content,
            view: number % 2,
        }
    }

    fn row(number: u64) -> Vec<f32> {
        (0..WIDTH as u64)
            .map(|at| (number * 10 + at) as f32)
            .collect()
    }

    fn open(folder: &Path) -> Shelf {
        let mut shelf = Shelf::open(folder, WIDTH, Encoding::Full, 0).unwrap();
        shelf.allow(1 << 20);
        shelf
    }

    fn filled(folder: &Path, count: u64) {
        let mut shelf = open(folder);
        assert!((0..count).all(|number| shelf.put(key(number), &row(number))));
    }

    /// The numbers of the rows that are there; what is there must be right.
    fn found(shelf: &mut Shelf, count: u64) -> Vec<u64> {
        let there = |&number: &u64| {
            let mut read = [f32::NAN; WIDTH];
            let is_there = shelf.read(&key(number), &mut read);
            assert!(
                !is_there || read[..] == row(number),
                "row {number}: {read:?}"
            );
            is_there
        };
        (0..count).filter(there).collect()
    }

    #[test]
    fn rows_are_there_again_in_another_process_s_hands() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 9);
        let mut shelf = open(folder.path());
        assert_eq!(shelf.len(), 9);
        assert_eq!(found(&mut shelf, 10), (0..9).collect::<Vec<_>>());
        assert!(shelf.put(key(9), &row(9)));
        assert_eq!(found(&mut shelf, 10).len(), 10);
    }

    #[test]
    fn a_kill_at_any_byte_loses_the_last_row_at_most() {
        const COUNT: u64 = 4;
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), COUNT);
        let [rows, index] = [ROWS, INDEX].map(|name| fs::read(folder.path().join(name)).unwrap());
        let length = rows.len() / COUNT as usize;
        // The process had written the rows so far, and of the last one, or of its entry, this many bytes.
        let last = COUNT as usize - 1;
        let in_row = (0..=length).map(|more| (last * length + more, last * ENTRY));
        let in_entry = (0..=ENTRY).map(|more| (rows.len(), last * ENTRY + more));
        for (rows_written, index_written) in in_row.chain(in_entry) {
            let killed = tempfile::tempdir().unwrap();
            fs::write(killed.path().join(ROWS), &rows[..rows_written]).unwrap();
            fs::write(killed.path().join(INDEX), &index[..index_written]).unwrap();
            let mut shelf = open(killed.path());
            let kept = found(&mut shelf, COUNT).len();
            let expected = last + usize::from(index_written == index.len());
            assert_eq!(kept, expected, "{rows_written} {index_written}");
            // And it goes on from there.
            assert!((0..COUNT).all(|number| shelf.put(key(number), &row(number))));
            drop(shelf);
            let mut shelf = open(killed.path());
            assert_eq!(found(&mut shelf, COUNT).len(), COUNT as usize);
            assert_eq!(fs::read(killed.path().join(ROWS)).unwrap(), rows);
        }
    }

    #[test]
    fn a_damaged_byte_anywhere_costs_its_own_row_and_is_never_used() {
        const COUNT: u64 = 3;
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), COUNT);
        for name in [ROWS, INDEX] {
            let path = folder.path().join(name);
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x41;
                fs::write(&path, &damaged).unwrap();
                let mut shelf = open(folder.path());
                let bad = (at / (whole.len() / COUNT as usize)) as u64;
                let others: Vec<u64> = (0..COUNT).filter(|&number| number != bad).collect();
                assert_eq!(found(&mut shelf, COUNT), others, "{name} at {at}");
            }
            fs::write(&path, &whole).unwrap();
        }
    }

    #[test]
    fn a_damaged_row_is_put_in_anew() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 3);
        let path = folder.path().join(ROWS);
        let mut bytes = fs::read(&path).unwrap();
        bytes[30] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut shelf = open(folder.path());
        assert_eq!(found(&mut shelf, 3), [0, 2]);
        assert!(!shelf.holds(&key(1)));
        assert!(shelf.put(key(1), &row(1)));
        drop(shelf);
        assert_eq!(found(&mut open(folder.path()), 3), [0, 1, 2]);
    }

    #[test]
    fn a_file_that_is_missing_or_foreign_is_an_empty_shelf() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 3);
        fs::write(folder.path().join(INDEX), [7; 1000]).unwrap();
        assert!(found(&mut open(folder.path()), 3).is_empty());
        fs::remove_file(folder.path().join(ROWS)).unwrap();
        let mut shelf = open(folder.path());
        assert!(found(&mut shelf, 3).is_empty() && shelf.put(key(0), &row(0)));
        drop(shelf);
        assert_eq!(found(&mut open(folder.path()), 3), [0]);
    }

    #[test]
    fn the_second_process_reads_and_does_not_write() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 2);
        let mut first = open(folder.path());
        let mut second = open(folder.path());
        assert!(first.writes() && !second.writes() && second.is_taken());
        assert_eq!(found(&mut second, 2), [0, 1]);
        assert!(first.put(key(2), &row(2)));
        assert!(!second.put(key(3), &row(3)));
        assert!(second.trouble().is_none());
        drop((first, second));
        assert_eq!(found(&mut open(folder.path()), 4), [0, 1, 2]);
    }

    #[test]
    fn no_more_is_written_than_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path(), WIDTH, Encoding::Half, 0).unwrap();
        shelf.allow(2 * shelf.record_bytes() + 1);
        let kept = (0..5).filter(|&number| shelf.put(key(number), &row(number)));
        assert_eq!(kept.count(), 2);
        let written =
            [ROWS, INDEX].map(|name| fs::metadata(folder.path().join(name)).unwrap().len());
        assert_eq!(written.iter().sum::<u64>(), 2 * shelf.record_bytes());
    }

    #[test]
    fn memory_is_used_up_to_its_bound_and_the_disk_beyond() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 8);
        let bound = 3 * record_bytes(WIDTH, Encoding::Full);
        let mut shelf = Shelf::open(folder.path(), WIDTH, Encoding::Full, bound).unwrap();
        for _ in 0..2 {
            assert_eq!(found(&mut shelf, 8).len(), 8);
        }
        assert_eq!((shelf.memory.rows.len(), shelf.memory.left), (3, 0));
        // Without a disk there is memory alone.
        let mut shelf = Shelf::in_memory(WIDTH, Encoding::Full, bound);
        let kept = (0..5).filter(|&number| shelf.put(key(number), &row(number)));
        assert_eq!(kept.count(), 3);
        assert_eq!(found(&mut shelf, 5), [0, 1, 2]);
    }

    /// `/dev/full` takes no byte.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_once_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 2);
        let mut shelf = open(folder.path());
        let writer = shelf.disk.as_mut().and_then(|disk| disk.writer.as_mut());
        writer.unwrap().index = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(!shelf.put(key(2), &row(2)));
        assert!(!shelf.put(key(3), &row(3)));
        let trouble = shelf.trouble().unwrap();
        assert_eq!(trouble.kind(), io::ErrorKind::StorageFull);
        assert!(shelf.trouble().is_none());
        assert_eq!(found(&mut shelf, 4), [0, 1]);
        drop(shelf);
        assert_eq!(found(&mut open(folder.path()), 4), [0, 1]);
    }
}
