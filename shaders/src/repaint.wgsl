// One operation on each picture of a batch, each its own: Pillow's arithmetic in whole numbers and tables.
//
// In:  pixels   [picture, HEIGHT, WIDTH], red | green << 8 | blue << 16
//      records  8 words for each picture: 0 what is done, 1 where in `plan` its numbers stand, others as follow
//                 KEEP            nothing
//                 THROUGH         a table of 256 bytes for all channels
//                 CONTRAST, EQUALIZE, AUTO_CONTRAST    the channels' tables in `tables`
//                 SATURATION, SHARPNESS    blended with its grey, with itself smoothed; the table of a factor
//                 HUE             2 steps of 255; 8 words, a bit for each hue that Pillow's floats find one too low
//                 GREY            luminance
//                 WALK            2 the colour of what comes from outside; where pixels come from: x and y for each
//                                 column, then for each row, with 16 bits behind the point, to be added
//                 ERASE           2 the colour, 3 4 left and top, 5 6 right and bottom of a part
//               what lies beyond is for `warp.wgsl`
//      plan     see above
//      tables   see `tones.wgsl`
// Out: made     as pixels
//
// Tiling: one invocation a pixel.
// Cost: 8 bytes a pixel, 40 with sharpness; bound by memory.

fn colour_of(pixel: u32) -> vec3<u32> {
    return vec3<u32>(pixel & 255u, (pixel >> 8u) & 255u, (pixel >> 16u) & 255u);
}

fn pixel_of(colour: vec3<u32>) -> u32 {
    return colour.x | (colour.y << 8u) | (colour.z << 16u);
}

fn luminance(colour: vec3<u32>) -> u32 {
    return (colour.x * 19595u + colour.y * 38470u + colour.z * 7471u + 32768u) >> 16u;
}

fn blended_all(base: vec3<u32>, to: vec3<u32>, table: u32) -> vec3<u32> {
    return vec3<u32>(blended(base.x, to.x, table), blended(base.y, to.y, table), blended(base.z, to.z, table));
}

// Of the value, saturation and distance from where a colour of the sixth is pure, in 85ths.
fn part(value: u32, saturation: u32, away: u32) -> u32 {
    return (2u * value * (21675u - saturation * away) + 21675u) / 43350u;
}

fn turned(colour: vec3<u32>, steps: u32, missed: u32) -> vec3<u32> {
    let most = max(max(colour.x, colour.y), colour.z);
    let range = most - min(min(colour.x, colour.y), colour.z);
    if range == 0u {
        return colour;
    }
    let circle = 6u * range;
    var place = 4u * range + colour.x - colour.y;
    if colour.x == most {
        place = circle + colour.y - colour.z;
    } else if colour.y == most {
        place = 2u * range + colour.z - colour.x;
    }
    let fine = place % circle * 255u;
    var hue = fine / circle;
    if fine % circle == 0u {
        hue -= (plan[missed + hue / 32u] >> (hue % 32u)) & 1u;
    }
    let twice = 2u * ((hue + steps) % 256u);
    let saturation = range * 255u / most;
    let falling = part(most, saturation, twice % 85u);
    let rising = part(most, saturation, 85u - twice % 85u);
    let low = part(most, saturation, 85u);
    switch twice / 85u {
        case 1u: { return vec3<u32>(falling, most, low); }
        case 2u: { return vec3<u32>(low, most, rising); }
        case 3u: { return vec3<u32>(low, falling, most); }
        case 4u: { return vec3<u32>(rising, low, most); }
        case 5u: { return vec3<u32>(most, low, falling); }
        default: { return vec3<u32>(most, rising, low); }
    }
}

fn smoothed(at: u32) -> vec3<u32> {
    var sum = 4u * colour_of(pixels[at]);
    for (var y = 0u; y < 3u; y++) {
        let row = at + y * WIDTH - WIDTH;
        sum += colour_of(pixels[row - 1u]) + colour_of(pixels[row]) + colour_of(pixels[row + 1u]);
    }
    return (2u * sum + 13u) / 26u;
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
    let kind = records[record];
    if kind > LAST {
        return;
    }
    let at = records[record + 1u];
    let colour = colour_of(pixels[number]);
    var painted = colour;
    switch kind {
        case THROUGH: {
            let words = vec3<u32>(plan[at + colour.x / 4u], plan[at + colour.y / 4u], plan[at + colour.z / 4u]);
            painted = (words >> (8u * (colour % vec3<u32>(4u)))) & vec3<u32>(255u);
        }
        case CONTRAST, EQUALIZE, AUTO_CONTRAST: {
            let table = picture * 768u;
            painted = vec3<u32>(tables[table + colour.x], tables[table + 256u + colour.y], tables[table + 512u + colour.z]);
        }
        case SATURATION: {
            painted = blended_all(vec3<u32>(luminance(colour)), colour, at);
        }
        case SHARPNESS: {
            if x > 0u && y > 0u && x + 1u < WIDTH && y + 1u < HEIGHT {
                painted = blended_all(smoothed(number), colour, at);
            }
        }
        case HUE: {
            painted = turned(colour, records[record + 2u], at);
        }
        case GREY: {
            painted = vec3<u32>(luminance(colour));
        }
        case WALK: {
            let column = at + 2u * x;
            let row = at + 2u * (WIDTH + y);
            // Before the first pixel wraps around to far beyond the last.
            let from_x = u32(bitcast<i32>(plan[column] + plan[row]) >> 16u);
            let from_y = u32(bitcast<i32>(plan[column + 1u] + plan[row + 1u]) >> 16u);
            painted = colour_of(records[record + 2u]);
            if from_x < WIDTH && from_y < HEIGHT {
                painted = colour_of(pixels[(picture * HEIGHT + from_y) * WIDTH + from_x]);
            }
        }
        case ERASE: {
            let is_right = x >= records[record + 3u] && x < records[record + 5u];
            let is_below = y >= records[record + 4u] && y < records[record + 6u];
            if is_right && is_below {
                painted = colour_of(records[record + 2u]);
            }
        }
        default: {}
    }
    made[number] = pixel_of(painted);
}
