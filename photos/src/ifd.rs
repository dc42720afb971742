//! Directories of tags: the one structure behind TIFF files and EXIF blocks (TIFF 6.0, section 2;
//! BigTIFF, where offsets have 64 bits).

/// Entries of a directory that are looked at; no writer makes as many.
const MOST_ENTRIES: usize = 4096;

/// Numbers of one entry that are looked at.
const MOST_NUMBERS: u64 = 1 << 24;

/// The first directory of a block.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// Whether offsets have 64 bits.
    is_big: bool,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the value lies, or the offset to it.
    field: usize,
}

impl<'a> Directory<'a> {
    /// Reads the header and the first directory. Entries that are cut off are left out.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut directory = Self {
            bytes,
            big_endian,
            is_big: false,
            entries: Vec::new(),
        };
        directory.is_big = match directory.number(2, 2)? {
            42 => false,
            43 => true,
            _ => return None,
        };
        let wide = directory.is_big;
        let start = usize::try_from(if wide {
            directory.number(8, 8)?
        } else {
            directory.number(4, 4)?
        });
        let (head, size) = if wide { (8, 20) } else { (2, 12) };
        let start = start.ok()?;
        let count = directory.number(start, head)?;
        let first = start.checked_add(head)?;
        for number in 0..(count as usize).min(MOST_ENTRIES) {
            let at = first.checked_add(number * size)?;
            let Some(entry) = directory.entry(at) else {
                break;
            };
            directory.entries.push(entry);
        }
        Some(directory)
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let (width, field) = if self.is_big { (8, 12) } else { (4, 8) };
        self.bytes.get(at..at.checked_add(field + width)?)?;
        Some(Entry {
            tag: self.number(at, 2)? as u16,
            kind: self.number(at + 2, 2)? as u16,
            count: self.number(at + 4, width)?,
            field: at + field,
        })
    }

    /// Whether numbers begin with their highest byte.
    pub(super) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// An unsigned number of `width` bytes.
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        let push = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        Some(if self.big_endian {
            bytes.iter().fold(0, push)
        } else {
            bytes.iter().rev().fold(0, push)
        })
    }

    fn find(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// Where an entry's values of `width` bytes each lie.
    fn place(&self, entry: &Entry, width: usize) -> Option<std::ops::Range<usize>> {
        let len = usize::try_from(entry.count).ok()?.checked_mul(width)?;
        let offset_width = if self.is_big { 8 } else { 4 };
        let start = if len <= offset_width {
            entry.field
        } else {
            usize::try_from(self.number(entry.field, offset_width)?).ok()?
        };
        let place = start..start.checked_add(len)?;
        self.bytes.get(place.clone())?;
        Some(place)
    }

    /// The numbers of an entry of whichever integer type, signed ones included; nothing when there is
    /// no such entry or its values are not there.
    pub(super) fn integers(&self, tag: u16) -> Option<Vec<i64>> {
        let entry = self.find(tag)?;
        let (width, is_signed) = match entry.kind {
            1 => (1, false),       // BYTE
            3 => (2, false),       // SHORT
            4 | 13 => (4, false),  // LONG, IFD
            16 | 18 => (8, false), // LONG8, IFD8
            6 => (1, true),        // SBYTE
            8 => (2, true),        // SSHORT
            9 => (4, true),        // SLONG
            17 => (8, true),       // SLONG8
            _ => return None,
        };
        if entry.count > MOST_NUMBERS {
            return None;
        }
        let place = self.place(entry, width)?;
        place
            .step_by(width)
            .map(|at| {
                let number = self.number(at, width)?;
                let unused = 64 - 8 * width as u32;
                Some(if is_signed {
                    (number << unused) as i64 >> unused
                } else {
                    i64::try_from(number).unwrap_or(i64::MAX)
                })
            })
            .collect()
    }

    /// The first number of an entry of whichever integer type.
    pub(super) fn integer(&self, tag: u16) -> Option<i64> {
        self.integers(tag)?.first().copied()
    }

    /// The bytes of an entry of type BYTE or UNDEFINED.
    pub(super) fn raw(&self, tag: u16) -> Option<&'a [u8]> {
        let entry = self.find(tag)?;
        let place = self.place(entry, 1)?;
        matches!(entry.kind, 1 | 7).then(|| &self.bytes[place])
    }
}
