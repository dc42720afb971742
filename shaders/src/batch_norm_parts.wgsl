// Sums per channel over a part of the rows, for batch normalisation.
//
// Forward:  In: x [row, channel]                        Out: result [part, 2, channel]: mean, Σ(x − mean)²
// Gradient: In: x, dy, mean, inverse_std [channel]      Out: result [part, 2, channel]: Σ dy · (x − mean) · inverse_std, Σ dy
//
// Tiling: one invocation takes one Lane (four channels, or one where they do not divide by four) of
// PART_ROWS rows; neighbours take neighbouring channels. Squares are taken of distances to the
// part's first row, so that a large mean does not swallow a small variance.
// Limits: none beyond 2^31 numbers.
// Cost: 4 bytes and 4 operations a number (8 and 6 for the gradient): memory-bound, 70 to 90 % of
// bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= LANES * PARTS {
        return;
    }
    let channel = number % LANES;
    let part = number / LANES;
    let first = part * PART_ROWS;
    let end = min(first + PART_ROWS, ROWS);
    var one = Lane();
    var two = Lane();
    //: if gradient
    for (var row = first; row < end; row++) {
        let slope = dy[row * LANES + channel];
        one = fma(slope, (x[row * LANES + channel] - mean[channel]) * inverse_std[channel], one);
        two += slope;
    }
    //: else
    let origin = x[first * LANES + channel];
    for (var row = first; row < end; row++) {
        let distance = x[row * LANES + channel] - origin;
        one += distance;
        two = fma(distance, distance, two);
    }
    let mean = one / f32(end - first);
    two = max(two - one * mean, Lane());
    one = origin + mean;
    //: end
    result[(part * 2u) * LANES + channel] = one;
    result[(part * 2u + 1u) * LANES + channel] = two;
}
