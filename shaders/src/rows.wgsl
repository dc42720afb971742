// Softmax or layer normalisation of the rows of a matrix, or the gradient of their input.
//
// In:  x [row, column], for the normalisation gamma, beta [column]     Out: result like x
// Gradient: In: x, which for softmax is what it made, dy, for the normalisation gamma     Out: result (dx) like x,
//           for the normalisation stats [row, 2]: mean and inverse deviation
//
// Tiling: on GPUs a workgroup shares a row and adds up in workgroup memory, in the order of a tree;
// on software adapters an invocation takes a row for itself (TEAM is 1 and no memory is shared).
// Limits: none beyond 2^31 numbers.
// On paper: three passes over the row, of which caches serve two: 8 bytes and some 10 operations a
// number, memory-bound on every GPU, 50 to 70 % of bandwidth; 12 registers, up to 256 invocations.

//: if team
var<workgroup> partial: array<f32, WORKGROUP>;

fn total(value: f32, member: u32) -> f32 {
    partial[member] = value;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if member < half {
            partial[member] += partial[member + half];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

fn largest(value: f32, member: u32) -> f32 {
    partial[member] = value;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if member < half {
            partial[member] = max(partial[member], partial[member + half]);
        }
        workgroupBarrier();
    }
    let most = partial[0];
    workgroupBarrier();
    return most;
}
//: else
fn total(value: f32, member: u32) -> f32 {
    return value;
}

fn largest(value: f32, member: u32) -> f32 {
    return value;
}
//: end

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    //: if team
    let row = id.y * FOLD + id.x;
    let member = lane;
    //: else
    let row = (id.y * FOLD + id.x) * WORKGROUP + lane;
    let member = 0u;
    //: end
    if row >= ROWS {
        return;
    }
    let first = row * COLUMNS;

    //: if softmax
    //: if gradient
    var shared_slope = 0.0;
    for (var column = member; column < COLUMNS; column += TEAM) {
        shared_slope = fma(x[first + column], dy[first + column], shared_slope);
    }
    shared_slope = total(shared_slope, member);
    for (var column = member; column < COLUMNS; column += TEAM) {
        result[first + column] = x[first + column] * (dy[first + column] - shared_slope);
    }
    //: else
    var most = -3.4028234e38;
    for (var column = member; column < COLUMNS; column += TEAM) {
        most = max(most, f32(x[first + column]));
    }
    most = largest(most, member);
    var sum = 0.0;
    for (var column = member; column < COLUMNS; column += TEAM) {
        sum += exp(f32(x[first + column]) - most);
    }
    let share = 1.0 / total(sum, member);
    for (var column = member; column < COLUMNS; column += TEAM) {
        result[first + column] = Stored(exp(f32(x[first + column]) - most) * share);
    }
    //: end
    //: else
    var sum = 0.0;
    for (var column = member; column < COLUMNS; column += TEAM) {
        sum += f32(x[first + column]);
    }
    let mean = total(sum, member) / f32(COLUMNS);
    var squares = 0.0;
    for (var column = member; column < COLUMNS; column += TEAM) {
        let distance = f32(x[first + column]) - mean;
        squares = fma(distance, distance, squares);
    }
    let inverse = inverseSqrt(total(squares, member) / f32(COLUMNS) + EPSILON);
    //: if gradient
    var product = 0.0;
    var slope = 0.0;
    for (var column = member; column < COLUMNS; column += TEAM) {
        let scaled = dy[first + column] * gamma[column];
        product = fma(scaled, (x[first + column] - mean) * inverse, product);
        slope += scaled;
    }
    product = total(product, member) / f32(COLUMNS);
    slope = total(slope, member) / f32(COLUMNS);
    for (var column = member; column < COLUMNS; column += TEAM) {
        let unit = (x[first + column] - mean) * inverse;
        result[first + column] = inverse * (dy[first + column] * gamma[column] - fma(unit, product, slope));
    }
    if member == 0u {
        stats[row * 2u] = mean;
        stats[row * 2u + 1u] = inverse;
    }
    //: else
    for (var column = member; column < COLUMNS; column += TEAM) {
        let unit = (f32(x[first + column]) - mean) * inverse;
        result[first + column] = Stored(fma(unit, f32(gamma[column]), f32(beta[column])));
    }
    //: end
    //: end
}
