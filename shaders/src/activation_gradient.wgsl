// The way back through an activation: result = dy · f′(kept).
//
// Tiling: one invocation a Lane (four numbers, or one where they do not come in fours).
// Limits: none beyond 2^31 numbers.
// Cost: 12 bytes a number, 2 to 25 operations: memory-bound on every adapter, 80 to 90 % of bandwidth.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number < LANES {
        result[number] = dy[number] * derived(kept[number]);
    }
}
