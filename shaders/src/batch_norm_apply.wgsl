// Batch normalisation of every number, or its gradient.
//
// Forward:  In: x [row, channel], mean, inverse_std, gamma, beta [channel]
//           Out: result like x
// Gradient: In: x, dy, mean, inverse_std, gamma, dgamma, dbeta     Out: result (dx) like x
//
// Tiling: one invocation a Lane (four channels, or one where they do not divide by four).
// Cost: 8 bytes and 4 operations a number (12 and 8 for the gradient): memory-bound, 80 to 90 % of
// bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= ROWS * LANES {
        return;
    }
    let channel = number % LANES;
    let unit = (x[number] - mean[channel]) * inverse_std[channel];
    //: if gradient
    let share = (dbeta[channel] + unit * dgamma[channel]) / f32(ROWS);
    result[number] = gamma[channel] * inverse_std[channel] * (dy[number] - share);
    //: else
    result[number] = fma(unit, gamma[channel], beta[channel]);
    //: end
}
