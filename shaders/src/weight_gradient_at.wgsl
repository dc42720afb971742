// The numbers of a weight gradient as a product: a row is a tap's channel, a depth is a pixel of the
// output, a group is a part of the pixels and within it a group of channels. x is [image, y, x,
// channel], dy is [image, y, x, out channel].

//: if same
// A window of one pixel: no tap lies elsewhere than its output.
fn place(row: u32, group: u32) -> vec4<u32> {
    return vec4<u32>(group % CHANNEL_GROUPS * TAP_CHANNELS + row, group / CHANNEL_GROUPS * TAPS, 0u, 0u);
}

fn start(place: vec4<u32>, tap: u32) -> u32 {
    let pixel = place.y + tap;
    return select(pixel * SOURCE_CHANNELS + place.x, NOWHERE, pixel >= PIXELS);
}
//: else
fn place(row: u32, group: u32) -> vec4<u32> {
    let tap = row / TAP_CHANNELS;
    return vec4<u32>(
        tap / TAPS_X * TAP_STEP_Y + FIRST_Y,
        tap % TAPS_X * TAP_STEP_X + FIRST_X,
        group % CHANNEL_GROUPS * TAP_CHANNELS + row % TAP_CHANNELS,
        group / CHANNEL_GROUPS * TAPS,
    );
}

fn start(place: vec4<u32>, tap: u32) -> u32 {
    let pixel = place.w + tap;
    let at = visit(pixel);
    let y = at.y * STEP_Y + place.x;
    let x = at.z * STEP_X + place.y;
    let outside = y >= SOURCE_Y || x >= SOURCE_X || pixel >= PIXELS;
    return select(((at.x * SOURCE_Y + y) * SOURCE_X + x) * SOURCE_CHANNELS + place.z, NOWHERE, outside);
}
//: end

fn weight_at(depth: u32, column: u32, group: u32) -> u32 {
    let pixel = min(group / CHANNEL_GROUPS * TAPS + depth, PIXELS - 1u);
    return pixel * TARGET_CHANNELS + group % CHANNEL_GROUPS * COLUMNS + column;
}

fn target_at(row: u32, column: u32, group: u32) -> u32 {
    let part = group / CHANNEL_GROUPS * ROWS + row;
    return part * TARGET_CHANNELS + group % CHANNEL_GROUPS * COLUMNS + column;
}

fn channel_of(column: u32, group: u32) -> u32 {
    return column;
}
