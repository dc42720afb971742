// Resizing of maps to the nearest or by the four pixels around, and its gradient.
//
// Forward:  In: x [image, y, x, channel]        Out: result [image, out y, out x, channel]
// Gradient: In: x is dy, shaped like the output  Out: result is dx, shaped like the input
//
// Tiling: one invocation a Lane (four channels, or one where they do not divide by four) of a pixel
// that is written. The gradient gathers from the output's pixels that lean on this one, so nothing
// is added atomically. Bilinear places are exact fractions of whole numbers: no rounding picks a neighbour.
// The nearest pixel is PyTorch's, floor(at * scale) with the product rounded to f32 and the scale divided by
// whoever made this text: products are exact to the last bit on every adapter, quotients are not.
// Limits: (2 * out side + 3) * side below 2^32; sides below 2^22, beyond which f32 misses pixels.
// Cost: 4 loads and 8 operations a number forward (nearest 1 and none); backward 4 times the enlargement's
// square (nearest once). Memory-bound on every GPU, 60 to 80 % of bandwidth.

//: if nearest
// The pixel of the input that one of the output is.
fn nearest(at: u32, side: u32, scale: u32) -> u32 {
    return min(u32(floor(f32(at) * bitcast<f32>(scale))), side - 1u);
}

//: if gradient
// The pixels of the output that may be one of the input: the first, and one past the last.
fn leaning(pixel: u32, side: u32, out_side: u32) -> vec2<u32> {
    // Rounding moves the border between two pixels by one at most.
    let begin = max(pixel * out_side / side, 1u) - 1u;
    let end = (pixel + 1u) * out_side / side + 2u;
    return vec2<u32>(begin, select(min(end, out_side), out_side, pixel + 1u == side));
}
//: end
//: else
// Where a pixel of the output lies between two of the input: the first of them, and the share of
// the next.
fn between(at: u32, side: u32, out_side: u32) -> vec2<f32> {
    let twice = (2u * at + 1u) * side;
    let numerator = select(twice - out_side, 0u, twice < out_side);
    let denominator = 2u * out_side;
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
    let first = select((2u * max(pixel, 1u) - 1u) * out_side / side / 2u, 0u, pixel == 0u);
    let begin = max(first, 1u) - 1u;
    let end = (2u * pixel + 3u) * out_side / side / 2u + 2u;
    return vec2<u32>(begin, select(min(end, out_side), out_side, pixel + 1u == side));
}
//: end
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
        //: if nearest
        if nearest(y, SIDE_Y, SCALE_Y) != at_y {
            continue;
        }
        //: else
        let share_y = share(y, at_y, SIDE_Y, OUT_SIDE_Y);
        //: end
        for (var column = columns.x; column < columns.y; column++) {
            let slope = x[((image * OUT_SIDE_Y + y) * OUT_SIDE_X + column) * LANES + channel];
            //: if nearest
            sum += select(Lane(), slope, nearest(column, SIDE_X, SCALE_X) == at_x);
            //: else
            sum += share_y * share(column, at_x, SIDE_X, OUT_SIDE_X) * slope;
            //: end
        }
    }
    result[number] = sum;
    //: else
    //: if nearest
    let row = image * SIDE_Y + nearest(at_y, SIDE_Y, SCALE_Y);
    result[number] = x[(row * SIDE_X + nearest(at_x, SIDE_X, SCALE_X)) * LANES + channel];
    //: else
    let y = between(at_y, SIDE_Y, OUT_SIDE_Y);
    let column = between(at_x, SIDE_X, OUT_SIDE_X);
    let left = u32(column.x);
    let right = min(left + 1u, SIDE_X - 1u);
    let top = (image * SIDE_Y + u32(y.x)) * SIDE_X;
    let bottom = (image * SIDE_Y + min(u32(y.x) + 1u, SIDE_Y - 1u)) * SIDE_X;
    let top_left = Lane(x[(top + left) * LANES + channel]);
    let top_right = Lane(x[(top + right) * LANES + channel]);
    let bottom_left = Lane(x[(bottom + left) * LANES + channel]);
    let bottom_right = Lane(x[(bottom + right) * LANES + channel]);
    let above = mix(top_left, top_right, Lane(column.y));
    let below = mix(bottom_left, bottom_right, Lane(column.y));
    result[number] = StoredLane(mix(above, below, Lane(y.y)));
    //: end
    //: end
}
