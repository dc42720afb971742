// Batch or group normalisation of every number, or its gradient. Batch normalisation takes the rows of all images for
// one image's.
//
// Forward:  In: x, residual? [image, row, channel], mean, inverse_std [image, channel], gamma, beta [channel]
//           Out: result like x
// Gradient: In: x, dy, mean, inverse_std, gamma, beta?, and what norm_join.wgsl or norm_groups.wgsl made: sums [2, channel] or
//           product_share, slope_share     Out: result (dx) like x
//
// Tiling: one invocation takes one Lane (four channels, or one where they do not divide by four) of up to EACH rows, BLOCKS
// apart, so that what is the same for all rows is read once and neighbours read neighbouring numbers.
// Limits: none beyond 2^31 numbers.
// Cost: 8 bytes and 4 operations a number (12 and 8 for the gradient): memory-bound, 80 to 90 % of
// bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= IMAGES * BLOCKS * LANES {
        return;
    }
    let channel = number % LANES;
    let image = number / LANES / BLOCKS;
    let at = image * LANES + channel;
    let centre = mean[at];
    let scale = inverse_std[at];
    let factor = Lane(gamma[channel]);
    //: if gradient
    //: if grouped
    let product = product_share[at];
    let slope_of_all = slope_share[at];
    //: else
    let outer = factor * scale;
    let product = sums[channel] / f32(ROWS);
    let slope_of_all = sums[LANES + channel] / f32(ROWS);
    //: end
    //: else
    let summand = Lane(beta[channel]);
    //: end
    //: if ending
    let summand = Lane(beta[channel]);
    //: end
    for (var row = number / LANES % BLOCKS; row < ROWS; row += BLOCKS) {
        let place = (image * ROWS + row) * LANES + channel;
        let unit = (Lane(x[place]) - centre) * scale;
        //: if gradient
        //: if ending
        let slope = Lane(dy[place]) * slope_at(fma(unit, factor, summand));
        //: else
        let slope = Lane(dy[place]);
        //: end
        let share = fma(unit, product, slope_of_all);
        //: if grouped
        result[place] = StoredLane(scale * fma(factor, slope, -share));
        //: else
        result[place] = StoredLane(outer * (slope - share));
        //: end
        //: else
        var value = fma(unit, factor, summand);
        //: if residual
        value += Lane(residual[place]);
        //: end
        result[place] = StoredLane(activated(value));
        //: end
    }
}
