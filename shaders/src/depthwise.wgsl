// Depthwise convolution: every channel has a window of its own.
//
// In:  x [image, y, x, channel], w [tap, channel], bias?, residual?     Out: result
//
// Tiling: an invocation computes a patch of pixels for one Lane (four channels, or one where they do
// not divide by four). Each pixel it needs is loaded once for all taps that meet it, and sums are a
// chain of values, never variables, which SwiftShader would mask on every store. Neighbouring
// invocations take neighbouring channels.
// Limits: none beyond 2^31 numbers a buffer.
// On paper, 3x3, stride 1, per number of the result: 18 operations; a strip of four reads 18 numbers
// of x for 12, of which caches keep all but 1 to 3, and writes 4 bytes: 0.5 to 0.9 bytes per
// operation. Memory-bound on every GPU: 2 to 4 % of a desktop's arithmetic, 80 to 90 % of its bandwidth;
// integrated and phones alike. About 40 registers, 64 invocations.

fn load(y: u32, x: u32, image: u32, channel: u32) -> Lane {
    let at = ((image * SOURCE_Y + y) * SOURCE_X + x) * CHANNELS + channel;
//: if inside
    return Lane(x_[at / LANE]);
//: else
    let outside = y >= SOURCE_Y || x >= SOURCE_X;
    return select(Lane(x_[select(at / LANE, 0u, outside)]), Lane(), outside);
//: end
}

fn weight(tap: u32, channel: u32) -> Lane {
    return Lane(w[(tap * CHANNELS + channel) / LANE]);
}

fn store(sum: Lane, y: u32, x: u32, image: u32, channel: u32) {
    if y >= VISITED_Y || x >= VISITED_X {
        return;
    }
    let at = target_pixel((image * VISITED_Y + y) * VISITED_X + x) * CHANNELS + channel;
//: if by_four
    finish(sum, at, channel, 4u);
//: else
    finish(vec4<f32>(sum, 0.0, 0.0, 0.0), at, channel, 1u);
//: end
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= PATCHES {
        return;
    }
    let channel = number % LANES * LANE;
    let strip = number / LANES;
    let image = strip / (PATCHES_X * PATCHES_Y);
    let y = strip / PATCHES_X % PATCHES_Y * PATCH_Y;
    let x = strip % PATCHES_X * PATCH_X;
    let first = first_tap(y, x);
//: body
}
