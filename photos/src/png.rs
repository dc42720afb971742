//! PNG's chunks, as far as its decoder takes them on trust.

use super::PhotoProblem;

/// Checks what the decoder does not and then relies on: that a palette is made of triples.
///
/// # Errors
/// [`PhotoProblem::Corrupt`] if it is not.
pub(super) fn check(bytes: &[u8]) -> Result<(), PhotoProblem> {
    let mut at = 8; // behind the signature
    while let Some(&[a, b, c, d, ref name @ ..]) =
        bytes.get(at..).and_then(<[u8]>::first_chunk::<8>)
    {
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        match name {
            b"IDAT" | b"IEND" => break,
            b"PLTE" if !len.is_multiple_of(3) => {
                let why = format!("a palette of {len} bytes, which are no triples");
                return Err(PhotoProblem::Corrupt(why));
            }
            // A length, a name and a checksum stand around each chunk's content.
            _ => at = at.saturating_add(12).saturating_add(len),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Limits, decode_bytes};

    /// Found by fuzzing: png 0.18 panics on it. The chunk's checksum is right.
    const ODD_PALETTE: &[u8] = include_bytes!("../../fuzz/findings/png/palette_that_is_no_triples");

    #[test]
    fn a_palette_that_is_no_triples_is_damaged() {
        let told = decode_bytes(ODD_PALETTE, &Limits::default()).unwrap_err();
        assert_eq!(told.kind(), "corrupt");
        assert!(told.to_string().contains("palette of 49 bytes"), "{told}");
    }
}
