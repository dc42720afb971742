// Pictures to a network's input: every byte of a channel through its table.
//
// In:  pixels   [picture, PIXELS], red | green << 8 | blue << 16
//      plan     from its beginning the tables of red, green and blue, 256 numbers each, as the bits of an f32
// Out: result   [picture, PIXELS, 3]
//
// Tiling: one invocation a pixel.
// Cost: 16 bytes a pixel; bound by memory.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= BATCH * PIXELS {
        return;
    }
    let pixel = pixels[number];
    result[3u * number] = bitcast<f32>(plan[pixel & 255u]);
    result[3u * number + 1u] = bitcast<f32>(plan[256u + ((pixel >> 8u) & 255u)]);
    result[3u * number + 2u] = bitcast<f32>(plan[512u + ((pixel >> 16u) & 255u)]);
}
