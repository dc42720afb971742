// Winograd convolution, last pass: the products transformed back, bias, residual, activation.
//
// In:  m [number of the tile's, tile, channel], bias?, residual?
// Out: result [image, y, x, channel]
//
// Tiling: one invocation takes one Lane of a tile and makes MADE x MADE pixels of it.
// Cost: SIDE^2 loads, about 2 SIDE^2 additions and MADE^2 stores. Memory-bound, 70 % of bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= TILES * LANES {
        return;
    }
    let channel = number % LANES * LANE;
    let tile = number / LANES;
    let image = tile / (TILES_X * TILES_Y);
    let y = tile / TILES_X % TILES_Y * MADE;
    let x = tile % TILES_X * MADE;
    let a$p_$q = m[($pu * SIDE + $qu) * (TILES * LANES) + number];
//: transform
    //: each i
    //: each j
    if y + $iu < VISITED_Y && x + $ju < VISITED_X {
        let at = ((image * VISITED_Y + y + $iu) * VISITED_X + x + $ju) * CHANNELS + channel;
        //: if by_four
        finish(c$i_$j, at, channel, 4u);
        //: else
        finish(vec4<f32>(c$i_$j, 0.0, 0.0, 0.0), at, channel, 1u);
        //: end
    }
    //: end
    //: end
}
