// The average of each channel over an image's pixels.
//
// In:  x [image, pixel, channel]     Out: result [image, channel]
//
// Tiling: neighbours take neighbouring channels. On software adapters one invocation sums one Lane over all pixels; on GPUs
// a workgroup takes ACROSS lanes, its invocations pixels DOWN apart, and adds up in workgroup memory, in the order of a tree.
// Limits: none beyond 2^31 numbers; 4 KiB of workgroup memory.
// Cost: 4 bytes and one addition a number: bound by bandwidth, 50 to 80 % of it.

//: if team
var<workgroup> partial: array<Lane, WORKGROUP>;
//: end

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    //: if team
    let group = id.y * FOLD + id.x;
    let number = group * ACROSS + lane % ACROSS;
    let member = lane / ACROSS;
    let step = DOWN;
    let exists = number < BATCH * LANES;
    let first = select(0u, number / LANES * PIXELS * LANES + number % LANES, exists);
    //: else
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= BATCH * LANES {
        return;
    }
    let member = 0u;
    let step = 1u;
    let first = number / LANES * PIXELS * LANES + number % LANES;
    //: end
    var sum = Lane();
    for (var pixel = member; pixel < PIXELS; pixel += step) {
        sum += Lane(x[first + pixel * LANES]);
    }
    //: if team
    partial[lane] = sum;
    workgroupBarrier();
    for (var half = DOWN / 2u; half > 0u; half /= 2u) {
        if member < half {
            partial[lane] += partial[lane + half * ACROSS];
        }
        workgroupBarrier();
    }
    sum = partial[lane];
    if member > 0u || !exists {
        return;
    }
    //: end
    result[number] = StoredLane(sum / f32(PIXELS));
}
