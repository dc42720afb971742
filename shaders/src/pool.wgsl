// Pooling: the largest or the average number of each window.
//
// In:  x [image, y, x, channel]     Out: result
//
// Tiling: one invocation computes one Lane (four channels, or one where they do not divide by four)
// of one pixel; neighbours take neighbouring channels.
// Limits: none beyond 2^31 numbers.
// Cost per number, 3x3: 9 loads, mostly from caches, 9 operations (72 for the largest), 4 bytes written. Memory-bound:
// 60 to 80 % of bandwidth on every GPU.

//: if largest
// By its bits: max may make a number of NaN.
//: if by_four
fn is_nan(v: Lane) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}
//: else
fn is_nan(v: Lane) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}
//: end
//: end

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= PIXELS * LANES {
        return;
    }
    let at = visit(number / LANES);
    let first = first_tap(at.y, at.z);
    //: if largest
    var value = Lane(-3.4028234e38);
    //: else
    var value = Lane();
    var count = 0u;
    //: end
    for (var tap_y = 0u; tap_y < KERNEL_Y; tap_y++) {
        let y = first.x + tap_y * TAP_STEP_Y;
        if y >= SOURCE_Y {
            continue;
        }
        for (var tap_x = 0u; tap_x < KERNEL_X; tap_x++) {
            let x = first.y + tap_x * TAP_STEP_X;
            if x >= SOURCE_X {
                continue;
            }
            let next = Lane(x_[((at.x * SOURCE_Y + y) * SOURCE_X + x) * LANES + number % LANES]);
            //: if largest
            let larger = select(max(value, next), next, is_nan(next));
            value = select(larger, value, is_nan(value));
            //: else
            value += next;
            count += 1u;
            //: end
        }
    }
    //: if largest
    result[number] = StoredLane(value);
    //: else
    //: if padding_counts
    // What lies inside the map and its padding, which is as wide after it as before.
    let down = min(KERNEL_Y, SOURCE_Y + 2u * PADDING_Y - at.y * STEP_Y);
    let across = min(KERNEL_X, SOURCE_X + 2u * PADDING_X - at.z * STEP_X);
    count = down * across;
    //: end
    result[number] = StoredLane(value / f32(max(count, 1u)));
    //: end
}
