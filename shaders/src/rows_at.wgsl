// The numbers of a convolution whose window is one pixel: rows of channels, side by side.

fn place(row: u32, group: u32) -> vec4<u32> {
    return vec4<u32>(row * SOURCE_CHANNELS + group * DEPTH_OF_TAP, 0u, 0u, 0u);
}

fn start(place: vec4<u32>, tap: u32) -> u32 {
    return place.x;
}

fn weight_at(depth: u32, column: u32, group: u32) -> u32 {
    return depth * TARGET_CHANNELS + group * COLUMNS + column;
}

fn target_at(row: u32, column: u32, group: u32) -> u32 {
    return row * TARGET_CHANNELS + group * COLUMNS + column;
}

fn channel_of(column: u32, group: u32) -> u32 {
    return group * COLUMNS + column;
}
