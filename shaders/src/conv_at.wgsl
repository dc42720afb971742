// A convolution's numbers, in maps [image, y, x, channel] and weights [tap, channel, out channel].

fn place(row: u32, group: u32) -> vec4<u32> {
    let at = visit(row);
    let image = at.x * (SOURCE_Y * SOURCE_X * SOURCE_CHANNELS) + group * DEPTH_OF_TAP;
    return vec4<u32>(first_tap(at.y, at.z), image, 0u);
}

fn start(place: vec4<u32>, tap: u32) -> u32 {
    let y = place.x + tap / TAPS_X * TAP_STEP_Y;
    let x = place.y + tap % TAPS_X * TAP_STEP_X;
    let at = place.z + (y * SOURCE_X + x) * SOURCE_CHANNELS;
//: if inside
    return at;
//: else
    return select(at, NOWHERE, y >= SOURCE_Y || x >= SOURCE_X);
//: end
}

fn weight_at(depth: u32, column: u32, group: u32) -> u32 {
//: if whole
    return depth * TARGET_CHANNELS + group * COLUMNS + column;
//: else
    let row = window_tap(depth / DEPTH_OF_TAP) * DEPTH_OF_TAP + depth % DEPTH_OF_TAP;
    return row * TARGET_CHANNELS + group * COLUMNS + column;
//: end
}

fn target_at(row: u32, column: u32, group: u32) -> u32 {
    return target_pixel(row) * TARGET_CHANNELS + group * COLUMNS + column;
}

fn channel_of(column: u32, group: u32) -> u32 {
    return group * COLUMNS + column;
}
