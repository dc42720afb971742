//! torchvision's `adjust_sharpness`: blended with the smoothed picture, as Pillow does it.

use super::blend::blended;

/// 0 smooths the picture, 1 leaves it as it is, 2 sharpens it. Pixels at the edges keep their values, and so does a
/// picture with less than three rows or columns.
pub(super) fn sharpness(pixels: &mut [u8], width: usize, factor: f32) {
    let row = width * 3;
    let height = pixels.len() / row;
    if width < 3 || height < 3 {
        return;
    }
    let original = pixels.to_vec();
    let inner = pixels.chunks_exact_mut(row).skip(1).take(height - 2);
    let mut sums = vec![0_u16; row];
    for (row_above, to) in inner.enumerate() {
        let rows = &original[row_above * row..][..3 * row];
        let (above, rest) = rows.split_at(row);
        let (here, below) = rest.split_at(row);
        // Columns of three first, then three columns each.
        for (((sum, &above), &here), &below) in sums.iter_mut().zip(above).zip(here).zip(below) {
            *sum = u16::from(above) + u16::from(here) + u16::from(below);
        }
        let inner = 3..row - 3;
        let around = sums.iter().zip(&sums[3..]).zip(&sums[6..]);
        for (to, (&here, ((&left, &middle), &right))) in to[inner.clone()]
            .iter_mut()
            .zip(here[inner].iter().zip(around))
        {
            // The nine pixels, the middle one five times; rounded as Pillow's sum of floats is, which never comes
            // near a half: a thirteenth has none.
            let sum = left + middle + right + 4 * u16::from(here);
            let smooth = (2 * u32::from(sum) + 13) / 26;
            *to = blended(smooth as u8, here, factor);
        }
    }
}
