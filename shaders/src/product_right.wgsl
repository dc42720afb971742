// Four columns of the right matrix from the number `at` on, of which `columns` exist.
fn right_four(at: u32, columns: u32) -> vec4<f32> {
//: if right_by_four
    return vec4<f32>(right[at / 4u]);
//: else
    return vec4<f32>(
        f32(right[at]),
        f32(right[at + min(1u, columns - 1u) * RIGHT_COLUMN_STEP]),
        f32(right[at + min(2u, columns - 1u) * RIGHT_COLUMN_STEP]),
        f32(right[at + min(3u, columns - 1u) * RIGHT_COLUMN_STEP]),
    );
//: end
}
