// Batch or group normalisation of every number, or its gradient. Batch normalisation takes the rows of all images for
// one image's.
//
// Forward:  In: x, residual? [image, row, channel], mean, inverse_std [image, channel], gamma, beta [channel]
//           Out: result like x
// Gradient: In: x, dy, mean, inverse_std, gamma, and what norm_join.wgsl or norm_groups.wgsl made: dgamma, dbeta or
//           product_share, slope_share     Out: result (dx) like x
//
// Tiling: one invocation a Lane (four channels, or one where they do not divide by four).
// Limits: none beyond 2^31 numbers.
// Cost: 8 bytes and 4 operations a number (12 and 8 for the gradient): memory-bound, 80 to 90 % of
// bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= IMAGES * ROWS * LANES {
        return;
    }
    let channel = number % LANES;
    let at = number / (ROWS * LANES) * LANES + channel;
    let unit = (Lane(x[number]) - mean[at]) * inverse_std[at];
    //: if gradient
    //: if grouped
    let share = fma(unit, product_share[at], slope_share[at]);
    result[number] = StoredLane(inverse_std[at] * fma(Lane(gamma[channel]), Lane(dy[number]), -share));
    //: else
    let share = (dbeta[channel] + unit * dgamma[channel]) / f32(ROWS);
    result[number] = StoredLane(Lane(gamma[channel]) * inverse_std[at] * (Lane(dy[number]) - share));
    //: end
    //: else
    var value = fma(unit, Lane(gamma[channel]), Lane(beta[channel]));
    //: if residual
    value += Lane(residual[number]);
    //: end
    result[number] = StoredLane(activated(value));
    //: end
}
