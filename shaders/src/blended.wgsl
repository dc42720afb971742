// Pillow's blending by a table of 511 words for a factor: for each `to - base` what is added to `base`, in the lower
// half, and from which sum on the float is rounded up, in the upper.
fn blended(base: u32, to: u32, table: u32) -> u32 {
    let step = plan[table + to + 255u - base];
    let sum = i32(base) + (bitcast<i32>(step << 16u) >> 16u);
    let rounded = sum + select(0, 1, sum >= i32(step >> 16u));
    return u32(clamp(rounded, 0, 255));
}
