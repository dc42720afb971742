// Pictures turned, sheared and tilted: Pillow's bilinear and nearest pixels of places that 64-bit floats say.
//
// In:  pixels   [picture, HEIGHT, WIDTH], red | green << 8 | blue << 16
//      records  8 words for each picture (see `repaint.wgsl`); those with WARP: 1 where in `plan` its numbers stand,
//               2 the colour of what comes from outside, 3 1: places are divided by a depth, 4 1: the nearest pixel
//      plan     64-bit floats, the lower half first: what is added to x, to y, to the depth; then the same three of each
//               column; then of each row
// Out: made     as pixels
//
// Tiling: one invocation a pixel.
// Cost: some 30 sums and products of 64-bit floats, 60 operations each: bound by arithmetic, 1 ms for 64 pictures of
// 224 pixels on a GPU.

fn float_at(at: u32) -> Real {
    return real(plan[at], plan[at + 1u]);
}

// A number that begins with what a column gives.
fn sum_at(columns: u32, rows: u32, added: u32) -> Real {
    return plus(plus(float_at(columns), float_at(rows)), float_at(added));
}

// The two pixels beside a place along a side, and how far it is from the first.
struct Beside {
    first: u32,
    second: u32,
    share: Real,
}

fn beside(place: Real, side: u32) -> Beside {
    let from_middle = plus(place, Real(0x80000000u, 0u, -1i, true));
    let first = select(cut(from_middle), -1, is_below(from_middle));
    let share = plus(from_middle, whole(-first));
    return Beside(u32(max(first, 0)), min(u32(first + 1), side - 1u), share);
}

fn between(a: Real, b: Real, share: Real) -> Real {
    return plus(a, times(plus(b, negated(a)), share));
}

fn byte_of(pixel: u32, channel: u32) -> Real {
    return whole(i32((pixel >> (8u * channel)) & 255u));
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= BATCH * HEIGHT * WIDTH {
        return;
    }
    let x = number % WIDTH;
    let y = number / WIDTH % HEIGHT;
    let picture = number / (WIDTH * HEIGHT);
    let record = picture * 8u;
    if records[record] != WARP {
        return;
    }
    let at = records[record + 1u];
    let column = at + 6u * (1u + x);
    let row = at + 6u * (1u + WIDTH + y);
    var place_x = sum_at(column, row, at);
    var place_y = sum_at(column + 2u, row + 2u, at + 2u);
    if records[record + 3u] != 0u {
        let depth = sum_at(column + 4u, row + 4u, at + 4u);
        place_x = over(place_x, depth);
        place_y = over(place_y, depth);
    }
    let first = picture * HEIGHT * WIDTH;
    var painted = records[record + 2u];
    let is_inside = !is_below(place_x) && !is_below(place_y) && u32(cut(place_x)) < WIDTH && u32(cut(place_y)) < HEIGHT;
    if is_inside && records[record + 4u] != 0u {
        painted = pixels[first + u32(cut(place_y)) * WIDTH + u32(cut(place_x))];
    } else if is_inside {
        let across = beside(place_x, WIDTH);
        let down = beside(place_y, HEIGHT);
        let above = first + down.first * WIDTH;
        let below = first + down.second * WIDTH;
        let a = pixels[above + across.first];
        let b = pixels[above + across.second];
        let c = pixels[below + across.first];
        let d = pixels[below + across.second];
        painted = 0u;
        for (var channel = 0u; channel < 3u; channel++) {
            let upper = between(byte_of(a, channel), byte_of(b, channel), across.share);
            let lower = between(byte_of(c, channel), byte_of(d, channel), across.share);
            painted |= u32(min(cut(between(upper, lower, down.share)), 255)) << (8u * channel);
        }
    }
    made[number] = painted;
}
