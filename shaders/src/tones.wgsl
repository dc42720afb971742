// Tables for the channels of a picture that follow from all of its pixels.
//
// In:  counts   see `histogram.wgsl`
//      records  8 words for each picture (see `repaint.wgsl`)
//      plan     the tables of blending
// Out: tables   [picture, 3, 256]
//
// Tiling: one invocation a value.
// Cost: up to 256 loads each.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= BATCH * 768u {
        return;
    }
    let picture = number / 768u;
    let kind = records[picture * 8u];
    let value = number % 256u;
    let channel = picture * 1024u + number % 768u / 256u * 256u;
    var made = value;
    if kind == CONTRAST {
        let sum = counts[picture * 1024u + 768u];
        let rest = sum % PIXELS;
        let mean = sum / PIXELS + select(0u, 1u, rest >= PIXELS - rest);
        made = blended(mean, value, records[picture * 8u + 1u]);
    } else if kind == EQUALIZE || kind == AUTO_CONTRAST {
        var different = 0u;
        var least = 0u;
        var most = 0u;
        var below = 0u;
        for (var at = 0u; at < 256u; at++) {
            let count = counts[channel + at];
            if count > 0u {
                least = select(least, at, different == 0u);
                most = at;
                different += 1u;
            }
            below += select(0u, count, at < value);
        }
        if kind == EQUALIZE {
            let step = (PIXELS - counts[channel + most]) / 255u;
            if different > 1u && step > 0u {
                made = min((step / 2u + below) / step, 255u);
            }
        } else if different > 1u {
            let scale = over(whole(255), whole(i32(most - least)));
            let offset = negated(times(whole(i32(least)), scale));
            let stretched = plus(times(whole(i32(value)), scale), offset);
            made = select(u32(clamp(cut(stretched), 0, 255)), 0u, is_below(stretched));
        }
    }
    tables[number] = made;
}
