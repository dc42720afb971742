// Weight gradient of a depthwise convolution.
//
// In:  x_ [image, y, x, channel], dy like the output     Out: result, for each part [tap, channel]
//
// Tiling: an invocation sums, over the lines of its part, one row of the window for one Lane (four
// channels, or one where they do not divide by four), a few neighbouring pixels at a time, so that
// each number of x is loaded once for all taps of the row. Neighbours take neighbouring channels.
// Limits: none beyond 2^31 numbers a buffer.
// On paper, 3x3: each window row reads both maps once, 8 bytes for 6 operations, most of it from
// caches after the first row: memory-bound on every GPU, 50 to 80 % of bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= LANES * KERNEL_Y * PARTS {
        return;
    }
    let channel = number % LANES;
    let row = number / LANES % KERNEL_Y;
    let part = number / (LANES * KERNEL_Y);
    let first = first_tap(0u, 0u) + vec2<u32>(row * TAP_STEP_Y, 0u);
    let last_line = min((part + 1u) * PART_LINES, LINES);
    var sum$k = Lane();

    for (var line = part * PART_LINES; line < last_line; line++) {
        let y = line % VISITED_Y * STEP_Y + first.x;
        if y >= SOURCE_Y {
            continue;
        }
        let map_line = (line / VISITED_Y * SOURCE_Y + y) * SOURCE_X;
        for (var x = 0u; x < VISITED_X; x += $#uu) {
            let place$u = (line * VISITED_X + min(x + $uu, VISITED_X - 1u)) * LANES + channel;
            let dy$u = select(Lane(), Lane(dy[place$u]), x + $uu < VISITED_X);
            let origin = x * STEP_X + first.y;
//: body
        }
    }
    result[((part * KERNEL_Y + row) * KERNEL_X + $ku) * LANES + channel] = sum$k;
}
