//! A shelf's index: one entry for each row, in the order of the rows.

/// What a row goes by within its shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// SHA-256 of the photo's file.
    pub content: [u8; 32],
    /// Which view of the photo: a number that says all of how the view was drawn.
    pub view: u64,
}

/// An entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub key: RowKey,
    /// The power of two that the row's numbers were divided by.
    pub exponent: i32,
    /// CRC-32 of the row's bytes.
    pub checksum: u32,
}

/// Bytes of an entry: the content, the view, the exponent, the row's checksum, the entry's own.
pub const ENTRY: usize = 32 + 8 + 4 + 4 + 4;

impl Record {
    /// Its bytes, little-endian.
    pub fn bytes(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..32].copy_from_slice(&self.key.content);
        bytes[32..40].copy_from_slice(&self.key.view.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.exponent.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.checksum.to_le_bytes());
        let own = crc32fast::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// The entry of these bytes; `None` if they are damaged.
    pub fn read(bytes: &[u8; ENTRY]) -> Option<Self> {
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if u32::from_le_bytes(four(48)) != crc32fast::hash(&bytes[..48]) {
            return None;
        }
        let (mut content, mut view) = ([0; 32], [0; 8]);
        content.copy_from_slice(&bytes[..32]);
        view.copy_from_slice(&bytes[32..40]);
        Some(Self {
            key: RowKey {
                content,
                view: u64::from_le_bytes(view),
            },
            exponent: i32::from_le_bytes(four(40)),
            checksum: u32::from_le_bytes(four(44)),
        })
    }
}
