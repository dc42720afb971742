//! Zip archives as `torch.save` writes them: every entry stored, none compressed.
//!
//! Written out here so that entries stay slices of the file, and so that no number in the
//! file decides how much memory is taken: general zip readers reserve room for as many entries as the
//! file claims. The layout is that of PKWARE's APPNOTE, sections 4.3 and 4.5.3.

use std::collections::BTreeMap;

use super::super::error::{WeightsError, shown};

/// The most entries an archive may have. PyTorch writes one per storage.
const MAX_ENTRIES: usize = 1 << 16;

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const CENTRAL_HEADER: [u8; 4] = *b"PK\x01\x02";
const END_RECORD: [u8; 4] = *b"PK\x05\x06";
const END_RECORD_64: [u8; 4] = *b"PK\x06\x06";
const END_LOCATOR_64: [u8; 4] = *b"PK\x06\x07";

/// Sizes of the records' fixed parts.
const LOCAL_HEADER_SIZE: usize = 30;
const CENTRAL_HEADER_SIZE: usize = 46;
const END_RECORD_SIZE: usize = 22;
const END_LOCATOR_64_SIZE: usize = 20;

/// The kind of extra field that holds 64-bit sizes.
const EXTRA_ZIP64: u16 = 1;

/// What stands in a 32-bit field whose value is in the 64-bit extra field.
const IN_EXTRA: u64 = u32::MAX as u64;

/// One entry: where its content lies in the file, known to be inside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The first byte, from the start of the file.
    pub start: usize,
    pub content: &'a [u8],
}

/// The names in an archive's directory; whether the entries are sound is not asked.
pub(super) fn names(bytes: &[u8]) -> Result<Vec<&str>, WeightsError> {
    let file = File(bytes);
    let (count, mut at) = file.directory()?;
    let mut names = Vec::new();
    for _ in 0..count.min(MAX_ENTRIES) {
        let header = file.central_header(at)?;
        names.push(header.name);
        at = header.next;
    }
    Ok(names)
}

/// All entries of an archive by name, each with its checksum verified.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<&str, Entry<'_>>, WeightsError> {
    let file = File(bytes);
    let (count, mut at) = file.directory()?;
    if count > MAX_ENTRIES {
        let what = "the number of entries in the zip archive".into();
        return Err(WeightsError::TooLarge {
            what,
            limit: MAX_ENTRIES,
        });
    }
    let mut entries = BTreeMap::new();
    let mut unread = bytes.len();
    for _ in 0..count {
        let header = file.central_header(at)?;
        WeightsError::check_name(header.name)?;
        let corrupt =
            |why: &str| WeightsError::corrupt(format!("entry `{}` {why}", shown(header.name)), at);
        if header.method != 0 || header.encrypted {
            let what = format!(
                "the compressed or encrypted zip entry `{}`",
                shown(header.name)
            );
            return Err(WeightsError::unsupported(what));
        }
        // Entries that overlap would make a small file cost any amount of reading.
        unread = unread
            .checked_sub(header.size)
            .ok_or_else(|| corrupt("overlaps another"))?;
        let entry = file.content(&header)?;
        // PyTorch leaves the checksum zero when told not to compute it.
        if header.crc != 0 && header.crc != crc32fast::hash(entry.content) {
            return Err(corrupt("does not have the checksum recorded for it"));
        }
        if entries.insert(header.name, entry).is_some() {
            return Err(corrupt("is there twice"));
        }
        at = header.next;
    }
    Ok(entries)
}

/// What the directory says of an entry.
struct CentralHeader<'a> {
    name: &'a str,
    method: u16,
    encrypted: bool,
    crc: u32,
    size: usize,
    local_header: usize,
    /// Where the next header starts.
    next: usize,
}

/// The bytes of the file, read at any place.
struct File<'a>(&'a [u8]);

impl<'a> File<'a> {
    fn truncated(&self, what: &str, at: usize) -> WeightsError {
        WeightsError::Truncated {
            what: what.into(),
            at,
            len: self.0.len(),
        }
    }

    fn slice(&self, at: usize, len: usize) -> Result<&'a [u8], WeightsError> {
        let end = at.saturating_add(len);
        self.0
            .get(at..end)
            .ok_or_else(|| self.truncated("the end of a zip record", end))
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], WeightsError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(at, N)?);
        Ok(array)
    }

    fn u16(&self, at: usize) -> Result<u16, WeightsError> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, WeightsError> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, WeightsError> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn has(&self, signature: [u8; 4], at: usize) -> bool {
        self.array(at).is_ok_and(|found| found == signature)
    }

    /// The number of entries, and where the directory starts.
    fn directory(&self) -> Result<(usize, usize), WeightsError> {
        // The end record is followed by a comment of its own length, usually empty.
        let last = self.0.len().saturating_sub(END_RECORD_SIZE);
        let first = last.saturating_sub(usize::from(u16::MAX));
        let end = (first..=last).rev().find(|&at| {
            self.has(END_RECORD, at)
                && self
                    .u16(at + 20)
                    .is_ok_and(|len| at + END_RECORD_SIZE + usize::from(len) == self.0.len())
        });
        let Some(end) = end else {
            return Err(self.truncated("the directory at the end of the zip archive", self.0.len()));
        };
        if let Some(locator) = end.checked_sub(END_LOCATOR_64_SIZE)
            && self.has(END_LOCATOR_64, locator)
        {
            let record = address(self.u64(locator + 8)?);
            if !self.has(END_RECORD_64, record) {
                return Err(WeightsError::corrupt(
                    "the zip64 end record is missing",
                    record,
                ));
            }
            Ok((
                address(self.u64(record + 32)?),
                address(self.u64(record + 48)?),
            ))
        } else {
            Ok((
                self.u16(end + 10)?.into(),
                address(self.u32(end + 16)?.into()),
            ))
        }
    }

    fn central_header(&self, at: usize) -> Result<CentralHeader<'a>, WeightsError> {
        if !self.has(CENTRAL_HEADER, at) {
            return Err(WeightsError::corrupt(
                "the zip directory lacks an entry",
                at,
            ));
        }
        let name_len = usize::from(self.u16(at + 28)?);
        let extra_len = usize::from(self.u16(at + 30)?);
        let comment_len = usize::from(self.u16(at + 32)?);
        let name_at = at + CENTRAL_HEADER_SIZE;
        let extra_at = name_at + name_len;
        let name = std::str::from_utf8(self.slice(name_at, name_len)?)
            .map_err(|_| WeightsError::corrupt("the name of a zip entry is not UTF-8", name_at))?;
        let mut wide = self.wide_fields(extra_at, extra_len)?;
        let mut widen = |narrow: u32| match u64::from(narrow) {
            IN_EXTRA => wide.next().map(address).ok_or_else(|| {
                WeightsError::corrupt("a zip entry lacks its 64-bit sizes", extra_at)
            }),
            value => Ok(address(value)),
        };
        // The order in which the extra field has them: content, stored content, place.
        let size = widen(self.u32(at + 24)?)?;
        let stored = widen(self.u32(at + 20)?)?;
        let local_header = widen(self.u32(at + 42)?)?;
        let method = self.u16(at + 10)?;
        if method == 0 && size != stored {
            return Err(WeightsError::corrupt(
                "a stored zip entry has two sizes",
                at,
            ));
        }
        Ok(CentralHeader {
            name,
            method,
            encrypted: self.u16(at + 8)? & 1 != 0,
            crc: self.u32(at + 16)?,
            size,
            local_header,
            next: extra_at + extra_len + comment_len,
        })
    }

    /// The 64-bit values among the extra fields of an entry.
    fn wide_fields(
        &self,
        start: usize,
        len: usize,
    ) -> Result<impl Iterator<Item = u64> + use<'a>, WeightsError> {
        let mut extra = self.slice(start, len)?;
        let mut found: &[[u8; 8]] = &[];
        while let Some((&[kind_low, kind_high, len_low, len_high], rest)) =
            extra.split_first_chunk()
        {
            let field_len = usize::from(u16::from_le_bytes([len_low, len_high]));
            let Some((field, rest)) = rest.split_at_checked(field_len) else {
                break;
            };
            if u16::from_le_bytes([kind_low, kind_high]) == EXTRA_ZIP64 {
                found = field.as_chunks().0;
            }
            extra = rest;
        }
        Ok(found.iter().map(|&value| u64::from_le_bytes(value)))
    }

    /// The content of an entry, behind its local header.
    fn content(&self, entry: &CentralHeader<'a>) -> Result<Entry<'a>, WeightsError> {
        let header = entry.local_header;
        if !self.has(LOCAL_HEADER, header) {
            let what = format!(
                "entry `{}` is not where the directory says",
                shown(entry.name)
            );
            return Err(WeightsError::corrupt(what, header));
        }
        // Name and extra field may differ in length from the directory's: PyTorch pads here, so
        // that storages are aligned.
        let name_len = usize::from(self.u16(header + 26)?);
        let extra_len = usize::from(self.u16(header + 28)?);
        let start = header + LOCAL_HEADER_SIZE + name_len + extra_len;
        let end = start.saturating_add(entry.size);
        let content = self.0.get(start..end).ok_or_else(|| {
            self.truncated(
                &format!("the end of zip entry `{}`", shown(entry.name)),
                end,
            )
        })?;
        Ok(Entry { start, content })
    }
}

/// An address in the file. One beyond what this machine can address is beyond the file too.
fn address(value: u64) -> usize {
    // Not `usize::MAX`, so that fields of a record can be added to it without overflow.
    usize::try_from(value)
        .unwrap_or(usize::MAX)
        .min(usize::MAX >> 1)
}
