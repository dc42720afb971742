// Weight gradient of a convolution, for adapters that are a CPU in disguise.
//
// In:  left (x), right (dy)     Out: result, for each part [tap, channel, out channel]
//
// Tiling: an invocation sums, over the lines of its part, $#p channels of one tap against $#q fours
// of output channels in plain variables, $#u pixels at a time; see product_lanes.wgsl for why. The
// pixels whose tap lies in the padding are left out rather than multiplied by zero. Where there are few channels, a tap is a
// whole line of the window (`by_line`), whose numbers are neighbours: those in the padding are zeros then.
// Limits: none beyond 2^31 numbers a buffer.
// Cost per pixel: $#p + 4 * $#q loads, 8 * $#p * $#q operations.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if tile >= TILES {
        return;
    }
    let column = (tile % COLUMN_TILES) * (4u * $#qu);
    let row = (tile / COLUMN_TILES) % ROW_TILES * $#pu;
    let tap = tile / (COLUMN_TILES * ROW_TILES) % WINDOW_TAPS;
    let group = tile / (COLUMN_TILES * ROW_TILES * WINDOW_TAPS) % CHANNEL_GROUPS;
    let part = tile / (COLUMN_TILES * ROW_TILES * WINDOW_TAPS * CHANNEL_GROUPS);
    let column$q = min(column + 4u * $qu, (COLUMNS - 1u) / 4u * 4u);
    let row$p = group * TAP_CHANNELS + min(row + $pu, TAP_CHANNELS - 1u);
    var sum$p_$q = vec4<f32>();

    //: if by_line
    let first = first_tap(0u, 0u) + vec2<u32>(tap * TAP_STEP_Y, 0u);
    let begin = 0u;
    let end = VISITED_X;
    let across$p = first.y + row$p / SOURCE_CHANNELS;
    //: else
    let first = first_tap(0u, 0u) + vec2<u32>(tap / TAPS_X * TAP_STEP_Y, tap % TAPS_X * TAP_STEP_X);
    // Columns of the output from which this tap meets the map: none before, none after.
    let before = select(0u, 0u - first.y, first.y >= SOURCE_X);
    let begin = (before + STEP_X - 1u) / STEP_X;
    // Negative as a signed number if the tap lies wholly beyond the map.
    let beyond = i32(SOURCE_X + STEP_X - 1u) - i32(first.y);
    let end = min(u32(max(beyond, 0)) / STEP_X, VISITED_X);
    //: end
    let last_line = min((part + 1u) * PART_LINES, LINES);

    for (var line = part * PART_LINES; line < last_line; line++) {
        let y = line % VISITED_Y * STEP_Y + first.x;
        if y >= SOURCE_Y {
            continue;
        }
        let map_line = (line / VISITED_Y * SOURCE_Y + y) * SOURCE_X + first.y;
        for (var x = begin; x < end; x += $#uu) {
            let x$u = min(x + $uu, end - 1u);
            //: each u
            let right$u_$q = right_four((line * VISITED_X + x$u) * TARGET_CHANNELS + group * COLUMNS + column$q, COLUMNS - column$q);
            let pixel$u = (map_line + x$u * STEP_X) * SOURCE_CHANNELS;
            //: end
            //: each p
            //: if by_line
            let inside$p_$u = x + $uu < end && across$p + x$u * STEP_X < SOURCE_X;
            let left$p_$u = select(0.0, f32(left[select(0u, pixel$u + row$p, inside$p_$u)]), inside$p_$u);
            //: else
            let left$p_$u = select(0.0, f32(left[pixel$u + row$p]), x + $uu < end);
            //: end
            //: each q
            let chain$p_$q_0 = sum$p_$q;
            let chain$p_$q_$>u = fma(vec4<f32>(left$p_$u), right$u_$q, chain$p_$q_$u);
            sum$p_$q = chain$p_$q_$#u;
            //: end
            //: end
        }
    }

    //: each p
    if row + $pu < TAP_CHANNELS {
        let target$p = ((part * WINDOW_TAPS + tap) * TAP_CHANNELS + row + $pu) * TARGET_CHANNELS + group * COLUMNS;
        //: each q
        if column + 4u * $qu < COLUMNS {
            finish(sum$p_$q, target$p + column$q, 0u, COLUMNS - column$q);
        }
        //: end
    }
    //: end
}
