// What norm_join.wgsl made of each channel, joined over the channels of its group.
//
// Forward:  In: channel_mean, squares [image, channel]     Out: mean, inverse_std [image, channel], the group's
// Gradient: In: products (Σ dy · unit), slopes (Σ dy) [image, channel], gamma [channel]
//           Out: product_share, slope_share [image, channel], the group's means of both times gamma;
//           dgamma, dbeta [channel], summed over the images
//
// Tiling: one invocation a channel of an image, which goes over the channels of its group: each group's sums are taken
// as often as it has channels, which is cheaper than another pass.
// Limits: none beyond 2^31 numbers.
// Cost: SHARE * 16 bytes a channel, from caches: a million loads for an image of 1024 channels in one group, bound by
// latency (some 20 microseconds on a GPU), a few thousand in groups of eight.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= IMAGES * CHANNELS {
        return;
    }
    let channel = number % CHANNELS;
    let group = channel / SHARE * SHARE;
    let first = number - channel + group;
    //: if gradient
    var product = 0.0;
    var slope = 0.0;
    for (var at = 0u; at < SHARE; at++) {
        product = fma(gamma[group + at], products[first + at], product);
        slope = fma(gamma[group + at], slopes[first + at], slope);
    }
    product_share[number] = product / (f32(ROWS) * f32(SHARE));
    slope_share[number] = slope / (f32(ROWS) * f32(SHARE));
    if number < CHANNELS {
        product = 0.0;
        slope = 0.0;
        for (var image = 0u; image < IMAGES; image++) {
            product += products[image * CHANNELS + channel];
            slope += slopes[image * CHANNELS + channel];
        }
        dgamma[channel] = product;
        dbeta[channel] = slope;
    }
    //: else
    let origin = channel_mean[first];
    var distances = 0.0;
    for (var at = 0u; at < SHARE; at++) {
        distances += channel_mean[first + at] - origin;
    }
    let centre = origin + distances / f32(SHARE);
    var sum = 0.0;
    for (var at = 0u; at < SHARE; at++) {
        let distance = channel_mean[first + at] - centre;
        sum += fma(f32(ROWS) * distance, distance, squares[first + at]);
    }
    mean[number] = centre;
    inverse_std[number] = inverseSqrt(sum / (f32(ROWS) * f32(SHARE)) + EPSILON);
    //: end
}
