// Packed 8-bit pixels to normalised feature maps: out = (byte / 255 - mean) / std.
//
// In:  pixels  N images of P pixels, one u32 each: red | green << 8 | blue << 16
//      colour  mean of red, green, blue, then their standard deviations
//      sizes   [P, N * P]
// Out: maps    [N, 3, P]
//
// Tiling: one thread a pixel, three writes each; the threads of a workgroup touch neighbouring
// addresses in all four streams.
// Limits: N * P < 65535 * 64 * 65535 pixels; the dispatch is folded into x and y.
// Cost per pixel: 4 bytes read, 12 written, 9 operations. Memory-bound everywhere. A third of the
// bytes cross the bus that uploading floats would need.

@group(0) @binding(0) var<storage, read_write> pixels: array<u32>;
@group(0) @binding(1) var<storage, read_write> colour: array<f32>;
@group(0) @binding(2) var<storage, read_write> sizes: array<u32>;
@group(0) @binding(3) var<storage, read_write> maps: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(global_invocation_id) thread: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let index = thread.y * groups.x * 64u + thread.x;
    let plane = sizes[0];
    if index >= sizes[1] {
        return;
    }
    let pixel = pixels[index];
    let image = index / plane;
    let first = image * 3u * plane + (index - image * plane);
    for (var channel = 0u; channel < 3u; channel++) {
        let byte = f32((pixel >> (8u * channel)) & 255u);
        maps[first + channel * plane] = (byte / 255.0 - colour[channel]) / colour[3u + channel];
    }
}
