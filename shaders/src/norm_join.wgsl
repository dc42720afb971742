// The parts' sums of each channel of each image, joined; see norm_parts.wgsl.
//
// Forward:  In: parts     Out: mean [image, channel], and inverse_std, or squares: Σ(x − mean)²; running statistics that
//           follow, running_mean and running_variance [channel], are moved by a SHARE of the way, the variance to the unbiased one
// Gradient: In: parts     Out: dgamma, dbeta [image, channel]; where they are used further, once more in sums [2, channel]
//
// Tiling: on software adapters one invocation a Lane, which takes the parts in their order; on GPUs a workgroup, whose
// invocations take parts WORKGROUP apart and are joined in the order of a tree. The same on every run.
// Limits: none beyond 2^31 numbers; 2.3 KiB of workgroup memory.
// Cost: 8 bytes a part and channel, some 3 microseconds on a GPU.

//: if team
var<workgroup> all_one: array<Lane, WORKGROUP>;
var<workgroup> all_two: array<Lane, WORKGROUP>;
//: if gradient
//: else
var<workgroup> all_counts: array<f32, WORKGROUP>;
//: end
//: end

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    //: if team
    let number = id.y * FOLD + id.x;
    let member = lane;
    let step = WORKGROUP;
    //: else
    let number = (id.y * FOLD + id.x) * WORKGROUP + lane;
    let member = 0u;
    let step = 1u;
    //: end
    if number >= IMAGES * LANES {
        return;
    }
    let first = number / LANES * PARTS;
    let channel = number % LANES;
    var one = Lane();
    var two = Lane();
    //: if gradient
    //: else
    var before = 0.0;
    //: end
    for (var part = member; part < PARTS; part += step) {
        let part_one = parts[((first + part) * 2u) * LANES + channel];
        let part_two = parts[((first + part) * 2u + 1u) * LANES + channel];
        //: if gradient
        one += part_one;
        two += part_two;
        //: else
        // Chan, Golub and LeVeque: means and squared distances of two sets joined.
        let count = f32(min(PART_ROWS, ROWS - part * PART_ROWS));
        let distance = part_one - one;
        one = fma(distance, Lane(count / (before + count)), one);
        two += part_two + distance * distance * (before * count / (before + count));
        before += count;
        //: end
    }
    //: if team
    all_one[member] = one;
    all_two[member] = two;
    //: if gradient
    //: else
    all_counts[member] = before;
    //: end
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if member < half {
            //: if gradient
            all_one[member] += all_one[member + half];
            all_two[member] += all_two[member + half];
            //: else
            let count = all_counts[member + half];
            if count > 0.0 {
                let so_far = all_counts[member];
                let distance = all_one[member + half] - all_one[member];
                all_one[member] = fma(distance, Lane(count / (so_far + count)), all_one[member]);
                all_two[member] += all_two[member + half] + distance * distance * (so_far * count / (so_far + count));
                all_counts[member] = so_far + count;
            }
            //: end
        }
        workgroupBarrier();
    }
    if member > 0u {
        return;
    }
    one = all_one[0];
    two = all_two[0];
    //: end
    //: if gradient
    dgamma[number] = one;
    dbeta[number] = two;
    //: if summed
    sums[number] = one;
    sums[LANES + number] = two;
    //: end
    //: else
    mean[number] = one;
    //: if grouped
    squares[number] = two;
    //: else
    inverse_std[number] = inverseSqrt(two / f32(ROWS) + EPSILON);
    //: if follows
    running_mean[number] = fma(one, Lane(SHARE), running_mean[number] * (1.0 - SHARE));
    let unbiased = two / max(f32(ROWS) - 1.0, 1.0);
    running_variance[number] = fma(unbiased, Lane(SHARE), running_variance[number] * (1.0 - SHARE));
    //: end
    //: end
    //: end
}
