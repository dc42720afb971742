// The numbers of a batch of matrices; a group is a product of the batch.

fn place(row: u32, group: u32) -> vec4<u32> {
    return vec4<u32>(group * (ROWS * DEPTH_OF_TAP) + row * LEFT_ROW_STEP, 0u, 0u, 0u);
}

fn start(place: vec4<u32>, tap: u32) -> u32 {
    return place.x;
}

fn weight_at(depth: u32, column: u32, group: u32) -> u32 {
    return group * (DEPTH_OF_TAP * COLUMNS) + depth * RIGHT_STEP + column * RIGHT_COLUMN_STEP;
}

fn target_at(row: u32, column: u32, group: u32) -> u32 {
    return (group * ROWS + row) * COLUMNS + column;
}

fn channel_of(column: u32, group: u32) -> u32 {
    return column;
}
