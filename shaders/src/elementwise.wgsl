// Number by number, with what there is one of per channel or per image and channel.
//
// Tiling: one invocation a Lane (four channels, or one where they do not divide by four).
// Limits: none beyond 2^31 numbers.
// Cost: 8 bytes a number (12 for a sum), 1 to 25 operations: memory-bound on every adapter, 80 to
// 90 % of bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= ROWS * LANES {
        return;
    }
    var value = Lane(x[number]);
    //: if add
    value += Lane(y[number]);
    //: end
    //: if affine
    value = fma(value, Lane(scale[number % LANES]), Lane(shift[number % LANES]));
    //: end
    //: if gate
    value *= Lane(gate[number / (IMAGE_ROWS * LANES) * LANES + number % LANES]);
    //: end
    result[number] = StoredLane(activated(value));
}
