// Product of an implicit left matrix with a right one, for GPUs.
//
// In:  left, right, bias?, residual?     Out: result
// Needs of the pieces before: place(row, group), where a row begins; start(place, tap), the index in
// `left` of a tap's first number, or NOWHERE in the padding; weight_at, target_at, channel_of.
//
// Tiling: a workgroup of ACROSS x DOWN invocations computes TILE_ROWS rows by 4 * TILE_FOURS columns.
// It stages slices of 4 * SLICE_FOURS depths of both matrices in workgroup memory while the next
// slice is on its way in registers; an invocation keeps $#p rows by $#q fours of columns. Its rows
// are DOWN apart and its fours ACROSS apart, so that neighbours read neighbouring banks.
// Limits: up to 16 KiB of workgroup memory (128 x 128: 16 KiB, 128 x 64: 12, 64 x 64: 8).
//
// On paper, per multiply-add pair, for 64 x 64 / 128 x 64 / 128 x 128 tiles:
//   bytes of memory      1/8 / 3/32 / 1/16     (4/rows + 4/columns of the tile, if nothing caches)
//   bytes of workgroup memory  2 / 1.5 / 1     (16 B for each of $#p + 4 * $#q reads in 16 * $#p * $#q)
//   registers            about 50 / 75 / 130 an invocation, 256 invocations
// A desktop GPU (10 TFLOP/s, 500 GB/s, 128 bytes of workgroup memory a cycle and core) is bound by
// workgroup memory at 64 x 64, near half of peak, and reaches about 60 to 70 % at 128 x 128. An
// integrated one (1.5 TFLOP/s, 60 GB/s): 40 to 60 %. A phone (0.5 TFLOP/s, 30 GB/s, f32): 25 to 40 %.

var<workgroup> left_slice: array<vec4<f32>, TILE_ROWS * SLICE_FOURS>;
var<workgroup> right_slice: array<vec4<f32>, 4u * SLICE_FOURS * TILE_FOURS>;

//: if rows_by_four
// Four rows at a depth, from the first one's place.
fn left_rows(place: vec4<u32>, depth: u32) -> vec4<f32> {
    let inner = min(depth, DEPTH - 1u);
    let begin = start(place, inner / DEPTH_OF_TAP);
    let outside = depth >= DEPTH || begin == NOWHERE;
    let at = select(begin + inner % DEPTH_OF_TAP * LEFT_STEP, 0u, outside);
    return select(vec4<f32>(left[at / 4u]), vec4<f32>(), outside);
}
//: else
//: if left_by_four
//: else
fn left_one(place: vec4<u32>, depth: u32) -> f32 {
    let inner = min(depth, DEPTH - 1u);
    let begin = start(place, inner / DEPTH_OF_TAP);
    let outside = depth >= DEPTH || begin == NOWHERE;
    let at = select(begin + inner % DEPTH_OF_TAP * LEFT_STEP, 0u, outside);
    return select(f32(left[at]), 0.0, outside);
}
//: end

// Four depths of a row; zero in the padding and beyond the last depth.
fn left_four(place: vec4<u32>, depth: u32) -> vec4<f32> {
//: if left_by_four
    let inner = min(depth, DEPTH - 4u);
    let begin = start(place, inner / DEPTH_OF_TAP);
    let outside = depth >= DEPTH || begin == NOWHERE;
    let at = select(begin + inner % DEPTH_OF_TAP, 0u, outside);
    return select(vec4<f32>(left[at / 4u]), vec4<f32>(), outside);
//: else
    return vec4<f32>(
        left_one(place, depth),
        left_one(place, depth + 1u),
        left_one(place, depth + 2u),
        left_one(place, depth + 3u),
    );
//: end
}
//: end

// Zero beyond the last depth, where the other factor is zero too but memory could hold a NaN.
fn right_inside(depth: u32, column: u32, group: u32) -> vec4<f32> {
    let existing = min(column, (COLUMNS - 1u) / 4u * 4u);
    let value = right_four(weight_at(min(depth, DEPTH - 1u), existing, group), COLUMNS - existing);
    return select(value, vec4<f32>(), depth >= DEPTH);
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = id.y * FOLD + id.x;
    if tile >= GROUPS {
        return;
    }
    let first_column = (tile % COLUMN_TILES) * (4u * TILE_FOURS);
    let first_row = (tile / COLUMN_TILES) % ROW_TILES * TILE_ROWS;
    let group = tile / (COLUMN_TILES * ROW_TILES);
    let across = lane % ACROSS;
    let down = lane / ACROSS;

    // What this invocation stages: neighbours take neighbouring addresses.
    //: each i
    let left_unit$i = lane + $iu * WORKGROUP;
    //: if rows_by_four
    let left_row$i = left_unit$i % (TILE_ROWS / 4u);
    let left_depth$i = left_unit$i / (TILE_ROWS / 4u);
    let place$i = place(min(first_row + 4u * left_row$i, ROWS - 4u), group);
    var next_left$i = left_rows(place$i, left_depth$i);
    //: else
    //: if left_turned
    let left_row$i = left_unit$i % TILE_ROWS;
    let left_depth$i = left_unit$i / TILE_ROWS;
    //: else
    let left_row$i = left_unit$i / SLICE_FOURS;
    let left_depth$i = left_unit$i % SLICE_FOURS;
    //: end
    let place$i = place(min(first_row + left_row$i, ROWS - 1u), group);
    var next_left$i = left_four(place$i, 4u * left_depth$i);
    //: end
    //: end
    //: each j
    let right_unit$j = lane + $ju * WORKGROUP;
    //: if right_turned
    let right_column$j = right_unit$j / (4u * SLICE_FOURS);
    let right_depth$j = right_unit$j % (4u * SLICE_FOURS);
    //: else
    let right_column$j = right_unit$j % TILE_FOURS;
    let right_depth$j = right_unit$j / TILE_FOURS;
    //: end
    var next_right$j = right_inside(right_depth$j, first_column + 4u * right_column$j, group);
    //: end
    //: if rows_by_four
    //: each m
    //: each r
    var sum$m_$r_$q = vec4<f32>();
    //: end
    //: end
    //: else
    //: each p
    var sum$p_$q = vec4<f32>();
    //: end
    //: end

    for (var slice = 0u; slice < SLICES; slice++) {
        //: each i
        //: if rows_by_four
        let left_place$i = left_depth$i * (TILE_ROWS / 4u) + left_row$i;
        //: else
        let left_place$i = left_row$i * SLICE_FOURS + left_depth$i;
        //: end
        //: if left_uneven
        if left_unit$i < TILE_ROWS * SLICE_FOURS {
            left_slice[left_place$i] = next_left$i;
        }
        //: else
        left_slice[left_place$i] = next_left$i;
        //: end
        //: end
        //: each j
        //: if right_uneven
        if right_unit$j < 4u * SLICE_FOURS * TILE_FOURS {
            right_slice[right_depth$j * TILE_FOURS + right_column$j] = next_right$j;
        }
        //: else
        right_slice[right_depth$j * TILE_FOURS + right_column$j] = next_right$j;
        //: end
        //: end
        workgroupBarrier();

        let after = (slice + 1u) * (4u * SLICE_FOURS);
        //: if rows_by_four
        next_left$i = left_rows(place$i, after + left_depth$i);
        //: else
        next_left$i = left_four(place$i, after + 4u * left_depth$i);
        //: end
        next_right$j = right_inside(after + right_depth$j, first_column + 4u * right_column$j, group);

        //: if rows_by_four
        for (var depth = 0u; depth < 4u * SLICE_FOURS; depth++) {
            let right_$q = right_slice[depth * TILE_FOURS + $qu * ACROSS + across];
            //: each m
            let left$m = left_slice[depth * (TILE_ROWS / 4u) + $mu * DOWN + down];
            sum$m_0_$q = fma(vec4<f32>(left$m.x), right_$q, sum$m_0_$q);
            sum$m_1_$q = fma(vec4<f32>(left$m.y), right_$q, sum$m_1_$q);
            sum$m_2_$q = fma(vec4<f32>(left$m.z), right_$q, sum$m_2_$q);
            sum$m_3_$q = fma(vec4<f32>(left$m.w), right_$q, sum$m_3_$q);
            //: end
        }
        //: else
        for (var four = 0u; four < SLICE_FOURS; four++) {
            //: each c
            let right$c_$q = right_slice[(4u * four + $cu) * TILE_FOURS + $qu * ACROSS + across];
            //: end
            //: each p
            let left$p = left_slice[($pu * DOWN + down) * SLICE_FOURS + four];
            //: each q
            let chain$p_$q_0 = fma(vec4<f32>(left$p.x), right0_$q, sum$p_$q);
            let chain$p_$q_1 = fma(vec4<f32>(left$p.y), right1_$q, chain$p_$q_0);
            let chain$p_$q_2 = fma(vec4<f32>(left$p.z), right2_$q, chain$p_$q_1);
            sum$p_$q = fma(vec4<f32>(left$p.w), right3_$q, chain$p_$q_2);
            //: end
            //: end
        }
        //: end
        workgroupBarrier();
    }

    //: if rows_by_four
    //: each m
    //: each r
    let row$m_$r = first_row + 4u * ($mu * DOWN + down) + $ru;
    //: each q
    let column$m_$r_$q = first_column + 4u * ($qu * ACROSS + across);
    if row$m_$r < ROWS && column$m_$r_$q < COLUMNS {
        finish(
            sum$m_$r_$q,
            target_at(row$m_$r, column$m_$r_$q, group),
            channel_of(column$m_$r_$q, group),
            COLUMNS - column$m_$r_$q,
        );
    }
    //: end
    //: end
    //: end
    //: else
    //: each p
    let row$p = first_row + $pu * DOWN + down;
    //: each q
    let column$p_$q = first_column + 4u * ($qu * ACROSS + across);
    if row$p < ROWS && column$p_$q < COLUMNS {
        finish(
            sum$p_$q,
            target_at(row$p, column$p_$q, group),
            channel_of(column$p_$q, group),
            COLUMNS - column$p_$q,
        );
    }
    //: end
    //: end
    //: end
}
