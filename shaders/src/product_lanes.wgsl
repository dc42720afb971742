// Product of an implicit left matrix with a right one, for adapters that are a CPU in disguise.
//
// In:  left, right, bias?, residual?     Out: result
// Needs of the pieces before: place(row, group), where a row begins; start(place, tap), the index in
// `left` of a tap's first number, or NOWHERE in the padding; weight_at, target_at, channel_of.
//
// Tiling: one invocation computes a tile of $#p rows by $#q fours of columns in plain variables. A
// software adapter runs every load as a loop over the lanes of its SIMD vectors, at the price of
// tens of multiplications, so what counts is numbers loaded per multiplication:
// (rows + columns) / (rows * columns). Products of $#u depths are chained in values that are never
// variables: SwiftShader masks every store to one.
// Limits: none beyond 2^31 numbers a buffer.
// Cost per depth: $#p + 4 * $#q loads, 8 * $#p * $#q operations.

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
    let group = tile / (COLUMN_TILES * ROW_TILES);
    // Fours beyond the last column repeat one that exists, and are not stored.
    let column$q = min(column + 4u * $qu, (COLUMNS - 1u) / 4u * 4u);
    let place$p = place(min(row + $pu, ROWS - 1u), group);
    //: each p
    var sum$p_$q = vec4<f32>();
    //: end

    for (var tap = 0u; tap < TAPS; tap++) {
        let right_at$q = weight_at(tap * DEPTH_OF_TAP, column$q, group);
        //: if inside
        let at$p = start(place$p, tap);
        //: else
        let start$p = start(place$p, tap);
        let at$p = select(start$p, 0u, start$p == NOWHERE);
        //: end
        for (var c = 0u; c < DEPTH_OF_TAP; c += $#uu) {
            //: each u
            let right$u_$q = right_four(right_at$q + (c + $uu) * RIGHT_STEP, COLUMNS - column$q);
            //: end
            //: each p
            //: if inside
            let left$p_$u = f32(left[at$p + (c + $uu) * LEFT_STEP]);
            //: else
            let left$p_$u = select(f32(left[at$p + (c + $uu) * LEFT_STEP]), 0.0, start$p == NOWHERE);
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
    if row + $pu < ROWS {
        //: each q
        if column + 4u * $qu < COLUMNS {
            finish(sum$p_$q, target_at(row + $pu, column$q, group), channel_of(column$q, group), COLUMNS - column$q);
        }
        //: end
    }
    //: end
}
