//! Which format a file's bytes are in, and who reads it.

use super::error::WeightsError;
use super::file::WeightFile;
use super::{foreign, safetensors, torch};

impl<'a> WeightFile<'a> {
    /// Opens a weight file, recognising its format by its content.
    ///
    /// From a PyTorch file comes the state dict, whether it is the file itself, lies under one of the usual
    /// keys (`state_dict`, `model`, `net` and their like; else the largest dictionary of tensors) or is
    /// that of a pickled module. Averages over a training (EMA) are taken only where there is nothing else:
    /// [`parts`](Self::parts) tells of them. Names are kept exactly as they are, a leading `module.`
    /// included. Everything else in a checkpoint (optimiser, epoch, arguments) is passed over.
    ///
    /// # Errors
    /// Any [`WeightsError`] that does not speak of single numbers or of memory: those are looked at when
    /// tensors are taken. The bytes may be hostile: they are parsed, never executed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        Self::of_part(bytes, None)
    }

    /// The same, of the dictionary of tensors of this key: the names that lead to it, joined by dots. Where
    /// no dictionary is called so, the tensors whose names begin with the key and a dot, without them, whatever
    /// wrappers (`module.`, `_orig_mod.`) stand before or in it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`WeightsError::NoPart`].
    pub fn parse_part(bytes: &'a [u8], key: &str) -> Result<Self, WeightsError> {
        Self::of_part(bytes, Some(key))
    }

    fn of_part(bytes: &'a [u8], key: Option<&str>) -> Result<Self, WeightsError> {
        // The length of a safetensors header comes first, and may begin like the mark of another format: one of
        // 640 bytes like a pickle. That it is far below 2³², and what follows it, settles the matter.
        if let [_, _, _, _, 0, 0, 0, 0, b'{', ..] = bytes {
            return Self::of_safetensors(bytes, key);
        }
        // A tar archive has its mark in the header of the first member, after a name of 100 bytes and more.
        if bytes.get(257..262) == Some(b"ustar") {
            return Err(WeightsError::unsupported(
                "a tar archive, as PyTorch wrote before version 0.1.10,",
            ));
        }
        match bytes {
            [b'P', b'K', 3, 4, ..] => torch::parse_zip(bytes, key),
            [0x80, 2..=5, ..] => torch::parse_legacy(bytes, key),
            [_, _, _, _, _, _, _, _, b'{', ..] => Self::of_safetensors(bytes, key),
            _ => Err(foreign::refuse(bytes)),
        }
    }

    fn of_safetensors(bytes: &'a [u8], key: Option<&str>) -> Result<Self, WeightsError> {
        let file = safetensors::parse(bytes)?;
        match key {
            Some(key) => file.narrowed(key),
            None => Ok(file),
        }
    }
}
