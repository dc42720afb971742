// Winograd convolution, once for all: every channel's window of 3 x 3, transformed.
//
// In:  w [tap, channel, out channel]     Out: result [number of the tile's, channel, out channel]
//
// Turned, w is [tap, out channel, channel], and its taps come in the opposite order: a convolution's weights as the gradient
// of its input takes them.
//
// Tiling: one invocation a channel and an out channel. Cost: negligible, once per weights.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    //: if turned
    let count = CHANNELS * OUT_CHANNELS;
    if number >= count {
        return;
    }
    let first = number % OUT_CHANNELS * CHANNELS + number / OUT_CHANNELS;
    let a$i_$j = w[(8u - ($iu * 3u + $ju)) * count + first];
    //: else
    let count = LANES;
    if number >= count {
        return;
    }
    let a$i_$j = w[($iu * 3u + $ju) * count + number];
    //: end
//: transform
    result[($pu * SIDE + $qu) * count + number] = c$p_$q;
}
