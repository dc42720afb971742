//! Left for right, and top for bottom.

/// Swaps left and right of a picture `width` pixels wide, three bytes per pixel: torchvision's `hflip`.
pub(in crate::preprocess) fn mirror(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(width * 3) {
        row.reverse();
        // Reversing the bytes has turned every R G B into B G R.
        for pixel in row.chunks_exact_mut(3) {
            pixel.swap(0, 2);
        }
    }
}

/// Swaps top and bottom: torchvision's `vflip`.
pub(super) fn upside_down(pixels: &mut [u8], width: usize) {
    let row = width * 3;
    let middle = pixels.len().div_ceil(2 * row) * row;
    let (upper, lower) = pixels.split_at_mut(middle);
    let rows = upper.chunks_exact_mut(row);
    for (above, below) in rows.zip(lower.chunks_exact_mut(row).rev()) {
        above.swap_with_slice(below);
    }
}
