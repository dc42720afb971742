// Winograd convolution, once for all: every channel's window of 3 x 3, transformed.
//
// In:  w [tap, channel, out channel]     Out: result [number of the tile's, channel, out channel]
//
// Tiling: one invocation a channel and an out channel. Cost: negligible, once per weights.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= LANES {
        return;
    }
    let a$i_$j = w[($iu * 3u + $ju) * LANES + number];
//: transform
    result[($pu * SIDE + $qu) * LANES + number] = c$p_$q;
}
