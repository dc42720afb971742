//! Inks to light, without a colour profile.

/// One channel of light where `ink` (255 = full) lies over a ground that black ink left at `white`
/// (255 = no black), rounded as Pillow's conversion from CMYK to RGB rounds.
pub(super) fn ink_over(ink: u8, white: u8) -> u8 {
    let product = u32::from(ink) * u32::from(white) + 128;
    let taken = ((product >> 8) + product) >> 8;
    white.saturating_sub(taken as u8)
}
