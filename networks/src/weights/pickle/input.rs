//! The bytes of a pickle, taken from the front.

use crate::weights::error::WeightsError;

/// A place in the file.
pub struct Input<'a> {
    pub bytes: &'a [u8],
    /// In bytes from the start of the file.
    pub at: usize,
}

impl<'a> Input<'a> {
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], WeightsError> {
        let taken = self.bytes[self.at..]
            .get(..len)
            .ok_or_else(|| WeightsError::Truncated {
                what: "the end of a value in the pickle".into(),
                at: self.at.saturating_add(len),
                len: self.bytes.len(),
            })?;
        self.at += len;
        Ok(taken)
    }

    pub fn skip(&mut self, len: usize) -> Result<(), WeightsError> {
        self.take(len).map(drop)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WeightsError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn len8(&mut self) -> Result<usize, WeightsError> {
        let [len] = self.array()?;
        Ok(len.into())
    }

    pub fn len32(&mut self) -> Result<usize, WeightsError> {
        // Where an address has 32 bits the file is shorter than that, and `take` says so.
        Ok(usize::try_from(u32::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    pub fn len64(&mut self) -> Result<usize, WeightsError> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    /// The text up to the next line feed.
    pub fn line(&mut self) -> Result<&'a str, WeightsError> {
        let at = self.at;
        let rest = &self.bytes[at..];
        let len = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len());
        let line = self.take(len)?;
        self.skip(1)?;
        std::str::from_utf8(line).map_err(|_| WeightsError::corrupt("a name is not UTF-8", at))
    }
}
