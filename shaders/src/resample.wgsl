// One of the two passes of Pillow's resize, for each picture of a batch: whole numbers, 22 bits behind the point.
//
// In:  pixels   with `bytes` three bytes a pixel, without gaps; without it one u32 a pixel,
//               red | green << 8 | blue << 16
//      records  16 words for each picture:
//                 0 the first pixel that is read    1 pixels from one row to the next
//                 2 how many pixels lie in the pass's direction
//                 3 where in `plan` the first pixels of the sums stand    4 where the weights stand
//                 5 weights of a sum    6 1: rows are added up, 0: columns
//                 7 the first pixel that is written    8 9 columns and rows that are written
//                 10 11 12 13 the part of them that is not black: left, top, columns, rows
//                 14 1: left and right of that part change places    15 1: colours become their luminance
//      plan     weights as the bits of an i32
// Out: made     one u32 a pixel
//
// Tiling: PARTS workgroups a picture, an invocation a pixel, over and over.
// Cost for a shrink by s: 2 s loads of a pixel (4 s bicubic) and three multiply-adds each.

const HALF = 1i << 21u;

fn taken(pixel: u32, grey: bool) -> vec3<i32> {
    //: if bytes
    let byte = 3u * pixel;
    let shift = 8u * (byte % 4u);
    var bits = pixels[byte / 4u] >> shift;
    if shift > 8u {
        bits |= pixels[byte / 4u + 1u] << (32u - shift);
    }
    //: else
    let bits = pixels[pixel];
    //: end
    var colour = vec3<u32>(bits & 255u, (bits >> 8u) & 255u, (bits >> 16u) & 255u);
    if grey {
        colour = vec3<u32>((colour.x * 19595u + colour.y * 38470u + colour.z * 7471u + 32768u) >> 16u);
    }
    return vec3<i32>(colour);
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = id.y * FOLD + id.x;
    if group >= GROUPS {
        return;
    }
    let record = group / PARTS * 16u;
    let first = records[record];
    let pitch = records[record + 1u];
    let extent = records[record + 2u];
    let starts = records[record + 3u];
    let weights = records[record + 4u];
    let most = records[record + 5u];
    let down = records[record + 6u] != 0u;
    let columns = records[record + 8u];
    let count = columns * records[record + 9u];
    let width = records[record + 12u];
    let mirror = records[record + 14u] != 0u;
    let grey = records[record + 15u] != 0u;
    for (var at = group % PARTS * WORKGROUP + lane; at < count; at += PARTS * WORKGROUP) {
        // Before the first pixel wraps around to far beyond the last.
        var x = at % columns - records[record + 10u];
        let y = at / columns - records[record + 11u];
        var pixel = 0u;
        if x < width && y < records[record + 13u] {
            x = select(x, width - 1u - x, mirror);
            let along = select(x, y, down);
            let start = plan[starts + along];
            let origin = first + select(y * pitch + start, start * pitch + x, down);
            let step = select(1u, pitch, down);
            let taps = min(most, extent - start);
            var sum = vec3<i32>(HALF);
            for (var tap = 0u; tap < taps; tap++) {
                let weight = bitcast<i32>(plan[weights + along * most + tap]);
                sum += taken(origin + tap * step, grey) * weight;
            }
            let bytes = vec3<u32>(clamp(sum >> vec3<u32>(22u), vec3<i32>(), vec3<i32>(255)));
            pixel = bytes.x | (bytes.y << 8u) | (bytes.z << 16u);
        }
        made[records[record + 7u] + at] = pixel;
    }
}
