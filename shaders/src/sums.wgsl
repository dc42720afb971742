// Column sums: result[part][column] = sum over the part's rows of rows[row][column].
//
// Tiling: one invocation sums one Lane of columns (four, or one where they do not divide by four)
// over PART_ROWS rows, neighbours taking neighbouring columns. The order of the additions is that
// of the text, so the result is the same on every run.
// Limits: none beyond 2^31 numbers.
// Cost: 4 bytes and one addition a number: memory-bound everywhere, 80 % of bandwidth and more.

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if number >= LANES * PARTS {
        return;
    }
    let first = number / LANES * PART_ROWS;
    let end = min(first + PART_ROWS, ROWS);
    var sum = Lane();
    for (var row = first; row < end; row++) {
        sum += Lane(rows[row * LANES + number % LANES]);
    }
    result[number] = sum;
}
