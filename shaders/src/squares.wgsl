// Squares of the parts of a buffer, added to what there is of others.
//
// Tiling: one invocation a part, which takes every PARTS-th Lane (four numbers, or one where they do not come in
// fours). The order of the additions is that of the text, so the result is the same on every run.
// Limits: none beyond 2^31 numbers.
// Cost: 4 bytes and 2 operations a number: memory-bound everywhere.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if part >= PARTS {
        return;
    }
    var sum = Lane();
    for (var place = part; place < LANES; place += PARTS) {
        let number = Lane(numbers[place]);
        sum = fma(number, number, sum);
    }
    //: if by_four
    sums[part] += sum.x + sum.y + sum.z + sum.w;
    //: else
    sums[part] += sum;
    //: end
}
