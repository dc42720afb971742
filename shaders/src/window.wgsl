// Where visited pixels and taps meet, as y, x. Places before a map's first pixel wrap around to
// numbers far beyond its last one.

// The visited pixel of a number: image, y, x.
fn visit(number: u32) -> vec3<u32> {
    let line = number / VISITED_X;
    return vec3<u32>(line / VISITED_Y, line % VISITED_Y, number % VISITED_X);
}

// Where that pixel's first tap lies in the source.
fn first_tap(y: u32, x: u32) -> vec2<u32> {
    return vec2<u32>(y * STEP_Y + FIRST_Y, x * STEP_X + FIRST_X);
}

// The pixel's number in the target.
fn target_pixel(number: u32) -> u32 {
//: if whole
    return number;
//: else
    let at = visit(number);
    return (at.x * TARGET_Y + at.y * PUT_Y + PUT_FIRST_Y) * TARGET_X + at.z * PUT_X + PUT_FIRST_X;
//: end
}

// The number of a tap in the whole window.
fn window_tap(tap: u32) -> u32 {
//: if whole
    return tap;
//: else
    return (tap / TAPS_X * PICK_Y + PICK_FIRST_Y) * KERNEL_X + tap % TAPS_X * PICK_X + PICK_FIRST_X;
//: end
}
