// The parts' sums of each channel of each image, joined in their order; see norm_parts.wgsl.
//
// Forward:  In: parts     Out: mean [image, channel], and inverse_std, or squares: Σ(x − mean)²
// Gradient: In: parts     Out: dgamma, dbeta [image, channel]
//
// Tiling: one invocation a Lane.
// Limits: none beyond 2^31 numbers.
// Cost: 8 bytes a part and channel, negligible.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= IMAGES * LANES {
        return;
    }
    let first = number / LANES * PARTS;
    let channel = number % LANES;
    var one = Lane();
    var two = Lane();
    for (var part = 0u; part < PARTS; part++) {
        let part_one = parts[((first + part) * 2u) * LANES + channel];
        let part_two = parts[((first + part) * 2u + 1u) * LANES + channel];
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
    dgamma[number] = one;
    dbeta[number] = two;
    //: else
    mean[number] = one;
    //: if grouped
    squares[number] = two;
    //: else
    inverse_std[number] = inverseSqrt(two / f32(ROWS) + EPSILON);
    //: end
    //: end
}
