// A formula, number by number: what is written into a buffer at a place depends on what stood in the buffers there.
//
// Tiling: an invocation takes a Lane (four numbers, or one where they do not come in fours), and further ones at a
// distance of as many as there are invocations.
// Limits: 8 buffers; none beyond 2^31 numbers.
// Cost: 4 bytes a number that is read, 4 a number that is written: memory-bound everywhere.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var place = (id.y * FOLD + id.x) * WORKGROUP + lane; place < LANES; place += GROUPS * WORKGROUP) {
        compute(place);
    }
}
