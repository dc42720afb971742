// Bilinear resampling of maps, and its gradient.
//
// Forward:  In: x [image, y, x, channel]        Out: result [image, out y, out x, channel]
// Gradient: In: x is dy, shaped like the output  Out: result is dx, shaped like the input
//
// Tiling: one invocation a Lane (four channels, or one where they do not divide by four) of a pixel
// that is written. The gradient gathers from the output's pixels that lean on this one, so nothing
// is added atomically. Places are exact fractions of whole numbers: no rounding picks a neighbour.
// Limits: (2 * out side + 1) * side below 2^32.
// Cost: 4 loads and 8 operations a number forward; backward 4 times the enlargement's square.
// Memory-bound on every GPU, 60 to 80 % of bandwidth.

// Where a pixel of the output lies between two of the input: the first of them, and the share of
// the next.
fn between(at: u32, side: u32, out_side: u32) -> vec2<f32> {
    //: if align_corners
    let numerator = at * (side - 1u);
    let denominator = max(out_side - 1u, 1u);
    //: else
    let twice = (2u * at + 1u) * side;
    let numerator = select(twice - out_side, 0u, twice < out_side);
    let denominator = 2u * out_side;
    //: end
    return vec2<f32>(f32(numerator / denominator), f32(numerator % denominator) / f32(denominator));
}

//: if gradient
// How much of a pixel of the input is in one of the output.
fn share(at: u32, pixel: u32, side: u32, out_side: u32) -> f32 {
    let place = between(at, side, out_side);
    let first = u32(place.x);
    let next = min(first + 1u, side - 1u);
    return select(0.0, 1.0 - place.y, first == pixel) + select(0.0, place.y, next == pixel);
}

// The pixels of the output that may lean on one of the input: the first, and one past the last.
fn leaning(pixel: u32, side: u32, out_side: u32) -> vec2<u32> {
    //: if align_corners
    let steps = max(side - 1u, 1u);
    let first = max(pixel, 1u) - 1u;
    let begin = first * (out_side - 1u) / steps;
    let end = (pixel + 1u) * (out_side - 1u) / steps + 2u;
    //: else
    let first = select((2u * max(pixel, 1u) - 1u) * out_side / side / 2u, 0u, pixel == 0u);
    let begin = max(first, 1u) - 1u;
    let end = (2u * pixel + 3u) * out_side / side / 2u + 2u;
    //: end
    return vec2<u32>(begin, select(min(end, out_side), out_side, pixel + 1u == side));
}
//: end

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= BATCH * WRITTEN_Y * WRITTEN_X * LANES {
        return;
    }
    let channel = number % LANES;
    let pixel = number / LANES;
    let at_x = pixel % WRITTEN_X;
    let at_y = pixel / WRITTEN_X % WRITTEN_Y;
    let image = pixel / (WRITTEN_X * WRITTEN_Y);
    //: if gradient
    let rows = leaning(at_y, SIDE_Y, OUT_SIDE_Y);
    let columns = leaning(at_x, SIDE_X, OUT_SIDE_X);
    var sum = Lane();
    for (var y = rows.x; y < rows.y; y++) {
        let share_y = share(y, at_y, SIDE_Y, OUT_SIDE_Y);
        for (var column = columns.x; column < columns.y; column++) {
            let part = share_y * share(column, at_x, SIDE_X, OUT_SIDE_X);
            sum += part * x[((image * OUT_SIDE_Y + y) * OUT_SIDE_X + column) * LANES + channel];
        }
    }
    result[number] = sum;
    //: else
    let y = between(at_y, SIDE_Y, OUT_SIDE_Y);
    let column = between(at_x, SIDE_X, OUT_SIDE_X);
    let left = u32(column.x);
    let right = min(left + 1u, SIDE_X - 1u);
    let top = (image * SIDE_Y + u32(y.x)) * SIDE_X;
    let bottom = (image * SIDE_Y + min(u32(y.x) + 1u, SIDE_Y - 1u)) * SIDE_X;
    let above = mix(x[(top + left) * LANES + channel], x[(top + right) * LANES + channel], Lane(column.y));
    let below = mix(x[(bottom + left) * LANES + channel], x[(bottom + right) * LANES + channel], Lane(column.y));
    result[number] = mix(above, below, Lane(y.y));
    //: end
}
