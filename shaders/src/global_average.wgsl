// The average of each channel over an image's pixels.
//
// In:  x [image, pixel, channel]     Out: result [image, channel]
//
// Tiling: one invocation sums one Lane over all pixels; neighbours take neighbouring channels.
// Limits: none beyond 2^31 numbers.
// Cost: 4 bytes and one addition a number. 7 x 7 pixels of 1280 channels are 320 invocations of 49
// loads: bound by latency on large GPUs (some 5 microseconds), by bandwidth on small ones.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= BATCH * LANES {
        return;
    }
    let first = number / LANES * PIXELS * LANES + number % LANES;
    var sum = Lane();
    for (var pixel = 0u; pixel < PIXELS; pixel++) {
        sum += Lane(x[first + pixel * LANES]);
    }
    result[number] = StoredLane(sum / f32(PIXELS));
}
