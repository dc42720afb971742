// What an adapter can do at most: multiply-adds of numbers that never leave the registers.
//
// Tiling: one invocation halves CHAINS vectors of four and adds to them, ROUNDS times; none waits for
// another, and no two lanes are known to hold the same.
// Limits: none.
// Cost: 8 operations a vector and round; no memory to speak of. 90 to 100 % of what the data sheet says.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= INVOCATIONS {
        return;
    }
    let factor = vec4<f32>(x[0]);
    let addend = vec4<f32>(x[1], x[2], x[3], x[4]);
    var chain$c = addend * f32($cu);
    for (var round = 0u; round < ROUNDS; round++) {
        chain$c = fma(chain$c, factor, addend);
    }
    var total = vec4<f32>(0.0);
    total += chain$c;
    result[number] = total.x + total.y + total.z + total.w;
}
