// Sums per channel over a part of an image's rows, for batch and group normalisation. A row is a pixel; batch
// normalisation takes those of all images for one image's.
//
// Forward:  In: x [image, row, channel]                        Out: result [image, part, 2, channel]: mean, Σ(x − mean)²
// Gradient: In: x, dy, mean, inverse_std [image, channel]      Out: result [image, part, 2, channel]:
//           Σ dy · (x − mean) · inverse_std, Σ dy; of layer normalisation mean and inverse_std are each row's, stats [row, 2];
//           where a function ends it, dy is the gradient of what that made, and gamma and beta [channel] come in, too;
//           of what is plain Σ dy · x, and neither mean nor inverse_std come in
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
    if number >= IMAGES * PARTS * LANES {
        return;
    }
    let channel = number % LANES;
    let part = number / LANES;
    let image = part / PARTS;
    let first = image * ROWS + part % PARTS * PART_ROWS;
    let end = min(first + PART_ROWS, (image + 1u) * ROWS);
    var one = Lane();
    var two = Lane();
    //: if gradient
    //: if by_row
    for (var row = first; row < end; row++) {
        let slope = Lane(dy[row * LANES + channel]);
        let unit = (Lane(x[row * LANES + channel]) - Lane(stats[row * 2u])) * stats[row * 2u + 1u];
        one = fma(slope, unit, one);
        two += slope;
    }
    //: else
    //: if plain
    let centre = Lane();
    let scale = Lane(1.0);
    //: else
    let centre = mean[image * LANES + channel];
    let scale = inverse_std[image * LANES + channel];
    //: end
    //: if ending
    let factor = Lane(gamma[channel]);
    let summand = Lane(beta[channel]);
    //: end
    for (var row = first; row < end; row++) {
        let unit = (Lane(x[row * LANES + channel]) - centre) * scale;
        //: if ending
        let slope = Lane(dy[row * LANES + channel]) * slope_at(fma(unit, factor, summand));
        //: else
        let slope = Lane(dy[row * LANES + channel]);
        //: end
        one = fma(slope, unit, one);
        two += slope;
    }
    //: end
    //: else
    let origin = Lane(x[first * LANES + channel]);
    for (var row = first; row < end; row++) {
        let distance = Lane(x[row * LANES + channel]) - origin;
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
