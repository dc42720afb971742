// The parts' sums, joined in their order; see batch_norm_parts.wgsl.
//
// Forward:  In: parts     Out: mean, inverse_std [channel]
// Gradient: In: parts     Out: dgamma, dbeta [channel]
//
// Tiling: one invocation a Lane. Cost: 8 bytes a part and channel, negligible.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if channel >= LANES {
        return;
    }
    var one = Lane();
    var two = Lane();
    for (var part = 0u; part < PARTS; part++) {
        let part_one = parts[(part * 2u) * LANES + channel];
        let part_two = parts[(part * 2u + 1u) * LANES + channel];
        //: if gradient
        one += part_one;
        two += part_two;
        //: else
        // Chan, Golub and LeVeque: means and squared distances of two sets joined.
        let before = f32(part * PART_ROWS);
        let count = f32(min(PART_ROWS, ROWS - part * PART_ROWS));
        let distance = part_one - one;
        one = fma(distance, Lane(count / (before + count)), one);
        two += part_two + distance * distance * (before * count / (before + count));
        //: end
    }
    //: if gradient
    dgamma[channel] = one;
    dbeta[channel] = two;
    //: else
    mean[channel] = one;
    inverse_std[channel] = inverseSqrt(two / f32(ROWS) + EPSILON);
    //: end
}
