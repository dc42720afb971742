// The gradient of pooling's input.
//
// Largest: In: x, y (what pooling made of it), dy [image, y, x, channel]     Out: result (dx) like x
//          The first of equal numbers of a window, row by row, takes its gradient, as in PyTorch.
// Average: In: dy     Out: result (dx)
//
// Tiling: one invocation computes one Lane (four channels, or one where they do not divide by four) of one pixel of the
// input, from the windows that it lies in; neighbours take neighbouring channels. Nothing is added by two at once, so the
// result is the same on every run.
// Limits: none beyond 2^31 numbers.
// Cost per number, 3x3 of stride 2: 2 windows, 8 bytes from caches each, 4 bytes read and 4 written: memory-bound, 50 to
// 70 % of bandwidth on every GPU.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= IMAGES * SOURCE_Y * SOURCE_X * LANES {
        return;
    }
    let channel = number % LANES;
    let pixel = number / LANES;
    let column = pixel % SOURCE_X;
    let row = pixel / SOURCE_X % SOURCE_Y;
    let image = pixel / (SOURCE_X * SOURCE_Y);
    //: if largest
    let own = x_[number];
    //: end
    // The windows that hold the pixel.
    let down = row + PADDING_Y;
    let across = column + PADDING_X;
    let first_y = (max(down + 1u, KERNEL_Y) - KERNEL_Y + STRIDE_Y - 1u) / STRIDE_Y;
    let first_x = (max(across + 1u, KERNEL_X) - KERNEL_X + STRIDE_X - 1u) / STRIDE_X;
    let end_y = min(down / STRIDE_Y + 1u, TARGET_Y);
    let end_x = min(across / STRIDE_X + 1u, TARGET_X);
    var sum = Lane();
    for (var window_y = first_y; window_y < end_y; window_y++) {
        for (var window_x = first_x; window_x < end_x; window_x++) {
            let window = ((image * TARGET_Y + window_y) * TARGET_X + window_x) * LANES + channel;
            //: if largest
            var takes = own == y_[window];
            if any(takes) {
                let tap = (down - window_y * STRIDE_Y) * KERNEL_X + across - window_x * STRIDE_X;
                // Numbers wrap around: what lies before the map is far behind its end.
                for (var before = 0u; before < tap; before++) {
                    let y = window_y * STRIDE_Y + before / KERNEL_X - PADDING_Y;
                    let x = window_x * STRIDE_X + before % KERNEL_X - PADDING_X;
                    if y < SOURCE_Y && x < SOURCE_X {
                        let other = x_[((image * SOURCE_Y + y) * SOURCE_X + x) * LANES + channel];
                        takes = takes & (other != own);
                    }
                }
                sum += select(Lane(), dy[window], takes);
            }
            //: else
            // What lies inside the map and its padding, which is as wide after it as before.
            let high = min(KERNEL_Y, SOURCE_Y + 2u * PADDING_Y - window_y * STRIDE_Y);
            let wide = min(KERNEL_X, SOURCE_X + 2u * PADDING_X - window_x * STRIDE_X);
            sum += dy[window] / f32(high * wide);
            //: end
        }
    }
    result[number] = sum;
}
