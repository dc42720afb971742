// Batch normalisation that keeps its statistics, as a factor and a summand of each channel.
//
// In: gamma, beta, mean, variance, bias? [channel]     Out: inverse, scale, shift [channel]
//
// Tiling: one invocation a channel. Limits: none. Cost: negligible.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if channel >= CHANNELS {
        return;
    }
    let rooted = inverseSqrt(variance[channel] + EPSILON);
    let factor = gamma[channel] * rooted;
    //: if bias
    let off = bias[channel] - mean[channel];
    //: else
    let off = -mean[channel];
    //: end
    inverse[channel] = rooted;
    scale[channel] = factor;
    shift[channel] = fma(off, factor, beta[channel]);
}
