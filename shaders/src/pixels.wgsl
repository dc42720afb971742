// Photos to a network's input: crop, antialiased resize, mirroring, colours, normalisation.
//
// In:  pixels  one u32 a pixel, red | green << 8 | blue << 16 | alpha << 24 (not premultiplied, laid over
//              white), photos one after the other
//      views   16 words for each image of the batch; those marked f are the bits of an f32:
//                0 the photo's first pixel     1 its width
//                2 3 4 5 the part that is seen: left, top, width, height
//                6 7 the length to which that part's width and height are resized
//                8 9 where the network's square begins in the resized part: left, top (signed;
//                    what lies outside is black)
//                10 1: mirror; 2: the vertical pass first (as Pillow 13 decides); 4: grey
//                11f brightness  12f contrast  13f the grey that contrast turns about, 0 to 1
//                14f saturation  15 unused
// Out: result  [image, y, x, 3], or [image, 3, y, x]
//
// Tiling: one invocation a pixel of the result. It goes through all pixels under the filter and
// rounds to a byte between the two directions, as Pillow does; weights are computed, not stored.
// Limits: (2 * resized + 1) * length below 2^32 on both sides.
// Cost for a shrink by s: (2 s)^2 loads of 4 bytes with a triangle, (4 s)^2 bicubic, about 20
// operations each. Neighbours share most of them in caches: bound by arithmetic on integrated GPUs
// and phones (a 12-megapixel photo to 224: 5 to 20 ms on a phone), by latency on a desktop (1 ms).

struct Taps {
    first: u32,
    count: u32,
    // The first tap's distance from the centre, the filter's widening, and what the weights add up to.
    distance: f32,
    widening: f32,
    sum: f32,
}

fn filter_weight(distance: f32) -> f32 {
    let x = abs(distance);
    //: if bicubic
    let near = ((1.5 * x - 2.5) * x) * x + 1.0;
    let far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return select(select(0.0, far, x < 2.0), near, x < 1.0);
    //: else
    return max(1.0 - x, 0.0);
    //: end
}

fn taps_of(at: u32, length: u32, resized: u32) -> Taps {
    let widening = max(f32(length) / f32(resized), 1.0);
    let support = SUPPORT * widening;
    // The centre as a whole number and a fraction: f32 alone would lose it on large photos.
    let twice = (2u * at + 1u) * length;
    let whole = i32(twice / (2u * resized));
    let fraction = f32(twice % (2u * resized)) / f32(2u * resized);
    let first = max(whole + i32(floor(fraction - support + 0.5)), 0);
    let end = min(whole + i32(floor(fraction + support + 0.5)), i32(length));
    var taps = Taps(u32(first), u32(max(end - first, 0)), f32(first - whole) - fraction + 0.5, widening, 0.0);
    for (var tap = 0u; tap < taps.count; tap++) {
        taps.sum += filter_weight((taps.distance + f32(tap)) / widening);
    }
    return taps;
}

fn to_byte(value: vec3<f32>) -> vec3<f32> {
    return clamp(floor(value + 0.5), vec3<f32>(), vec3<f32>(255.0));
}

//: if colours
fn luminance(colour: vec3<f32>) -> f32 {
    return dot(colour, vec3<f32>(0.299, 0.587, 0.114));
}
//: end

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
    let image = number / (WIDTH * HEIGHT);
    let view = image * 16u;
    let flags = views[view + 10u];
    let resized_x = views[view + 6u];
    let resized_y = views[view + 7u];
    // Before the first pixel wraps around to far beyond the last.
    let at_x = select(x, WIDTH - 1u - x, (flags & 1u) != 0u) + views[view + 8u];
    let at_y = y + views[view + 9u];

    var colour = vec3<f32>();
    if at_x < resized_x && at_y < resized_y {
        let columns = taps_of(at_x, views[view + 4u], resized_x);
        let rows = taps_of(at_y, views[view + 5u], resized_y);
        let width = views[view + 1u];
        let corner = views[view] + (views[view + 3u] + rows.first) * width + views[view + 2u] + columns.first;
        let vertical_first = (flags & 2u) != 0u;
        var inner = columns;
        var outer = rows;
        if vertical_first {
            inner = rows;
            outer = columns;
        }
        let inner_step = select(1u, width, vertical_first);
        let outer_step = select(width, 1u, vertical_first);
        var sum = vec3<f32>();
        for (var far = 0u; far < outer.count; far++) {
            var line = vec3<f32>();
            for (var near = 0u; near < inner.count; near++) {
                let pixel = pixels[corner + far * outer_step + near * inner_step];
                let alpha = pixel >> 24u;
                var bytes = vec3<u32>(pixel & 255u, (pixel >> 8u) & 255u, (pixel >> 16u) & 255u);
                bytes = (bytes * alpha + 255u * (255u - alpha) + 127u) / 255u;
                if (flags & 4u) != 0u {
                    bytes = vec3<u32>((bytes.x * 19595u + bytes.y * 38470u + bytes.z * 7471u + 32768u) >> 16u);
                }
                let weight = filter_weight((inner.distance + f32(near)) / inner.widening);
                line = fma(vec3<f32>(bytes), vec3<f32>(weight), line);
            }
            let weight = filter_weight((outer.distance + f32(far)) / outer.widening);
            sum = fma(to_byte(line / inner.sum), vec3<f32>(weight), sum);
        }
        colour = to_byte(sum / outer.sum) / 255.0;
    }

    //: if colours
    let white = vec3<f32>(1.0);
    let brightness = bitcast<f32>(views[view + 11u]);
    let contrast = bitcast<f32>(views[view + 12u]);
    let pivot = bitcast<f32>(views[view + 13u]);
    let saturation = bitcast<f32>(views[view + 14u]);
    colour = clamp(colour * brightness, vec3<f32>(), white);
    colour = clamp(mix(vec3<f32>(pivot), colour, vec3<f32>(contrast)), vec3<f32>(), white);
    colour = clamp(mix(vec3<f32>(luminance(colour)), colour, vec3<f32>(saturation)), vec3<f32>(), white);
    //: end
    colour = (colour - vec3<f32>(MEAN_0, MEAN_1, MEAN_2)) / vec3<f32>(STD_0, STD_1, STD_2);
    //: if planes
    let at = image * (3u * HEIGHT * WIDTH) + y * WIDTH + x;
    result[at] = colour.x;
    result[at + HEIGHT * WIDTH] = colour.y;
    result[at + 2u * HEIGHT * WIDTH] = colour.z;
    //: else
    result[3u * number] = colour.x;
    result[3u * number + 1u] = colour.y;
    result[3u * number + 2u] = colour.z;
    //: end
}
