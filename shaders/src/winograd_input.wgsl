// Winograd convolution, first pass: every tile of the map, transformed.
//
// In:  x [image, y, x, channel]     Out: result [number of the tile's, tile, channel]
//
// Tiling: one invocation takes one Lane (four channels, or one where they do not divide by four) of
// a tile of SIDE x SIDE pixels, of which neighbours share two rows or columns, through both
// directions' transforms in registers.
// Cost: SIDE^2 loads and stores, about 2 SIDE^2 additions for MADE^2 pixels of the result.
// Memory-bound: 36 bytes a number (MADE 2) or 22 (MADE 4), 70 % of bandwidth.

fn load(y: u32, x: u32, image: u32, lane: u32) -> Lane {
    let outside = y >= SOURCE_Y || x >= SOURCE_X;
    let at = ((image * SOURCE_Y + y) * SOURCE_X + x) * LANES + lane;
    return select(x_[select(at, 0u, outside)], Lane(), outside);
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= TILES * LANES {
        return;
    }
    let channel = number % LANES;
    let tile = number / LANES;
    let image = tile / (TILES_X * TILES_Y);
    // Before the first pixel wraps around to far beyond the last.
    let y = tile / TILES_X % TILES_Y * MADE - PADDING_Y;
    let x = tile % TILES_X * MADE - PADDING_X;
    let a$p_$q = load(y + $pu, x + $qu, image, channel);
//: transform
    result[($pu * SIDE + $qu) * (TILES * LANES) + number] = c$p_$q;
}
