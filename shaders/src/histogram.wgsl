// How often each value occurs in each channel of pictures of which that is asked, and what their luminances add up to.
//
// In:  pixels   [picture, PIXELS], red | green << 8 | blue << 16
//      records  8 words for each picture, the first is what is done to it (see `repaint.wgsl`)
// Out: counts   1024 words for each picture, 0 beforehand: 256 for red, green and blue each, then the sum
//
// Tiling: PARTS workgroups a picture; counted in the buffer itself, which every adapter can.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = id.y * FOLD + id.x;
    if group >= GROUPS {
        return;
    }
    let picture = group / PARTS;
    let kind = records[picture * 8u];
    let counts_of = picture * 1024u;
    let is_mean = kind == CONTRAST;
    if !is_mean && kind != EQUALIZE && kind != AUTO_CONTRAST {
        return;
    }
    var sum = 0u;
    for (var at = group % PARTS * WORKGROUP + lane; at < PIXELS; at += PARTS * WORKGROUP) {
        let pixel = pixels[picture * PIXELS + at];
        let colour = vec3<u32>(pixel & 255u, (pixel >> 8u) & 255u, (pixel >> 16u) & 255u);
        if is_mean {
            sum += (colour.x * 19595u + colour.y * 38470u + colour.z * 7471u + 32768u) >> 16u;
        } else {
            atomicAdd(&counts[counts_of + colour.x], 1u);
            atomicAdd(&counts[counts_of + 256u + colour.y], 1u);
            atomicAdd(&counts[counts_of + 512u + colour.z], 1u);
        }
    }
    if is_mean {
        atomicAdd(&counts[counts_of + 768u], sum);
    }
}
