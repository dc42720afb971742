// Attention in one pass: softmax(q · kᵀ · SCALE + bias) · v, without the matrix of scores.
//
// In:  qkv [window, token, 3, head, number], bias [head, token, token]?
// Out: result [window, token, head, number]
//
// Tiling: an invocation keeps $#p queries and what they have gathered so far in registers and goes
// through the keys $#k at a time; when a larger score turns up, what was gathered is scaled down
// (flash attention). On GPUs a workgroup takes 64 queries of a head and stages SLICE_KEYS keys and
// values in workgroup memory, which all invocations read at the same address at the same time.
// Limits: heads of a multiple of four numbers; 16 KiB of workgroup memory.
// On paper, heads of 64 numbers: 4 bytes of workgroup memory per multiplication, broadcast; memory
// is read once per 64 queries, 0.06 bytes per operation. About 150 registers, 64 invocations: some
// 25 % of peak on a desktop GPU, 20 % on an integrated one, 10 % on a phone, against three launches
// and two trips of the scores through memory.

//: if slices
var<workgroup> key_slice: array<vec4<f32>, SLICE_KEYS * FOURS>;
var<workgroup> value_slice: array<vec4<f32>, SLICE_KEYS * FOURS>;
//: end

// Four numbers of a token: of its query (0), its key (1) or its value (2).
fn packed(window: u32, token: u32, which: u32, head: u32, four: u32) -> vec4<f32> {
    return vec4<f32>(qkv[(((window * TOKENS + token) * 3u + which) * HEADS + head) * FOURS + four]);
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    //: if slices
    let group = id.y * FOLD + id.x;
    if group >= GROUPS {
        return;
    }
    let first_query = group % QUERY_TILES * WORKGROUP + lane;
    let head = group / QUERY_TILES % HEADS;
    let window = group / (QUERY_TILES * HEADS);
    //: else
    let tile = (id.y * FOLD + id.x) * WORKGROUP + lane;
    if tile >= TILES {
        return;
    }
    let first_query = tile % QUERY_TILES * $#pu;
    let head = tile / QUERY_TILES % HEADS;
    let window = tile / (QUERY_TILES * HEADS);
    //: end

    let query$p = min(first_query + $pu, TOKENS - 1u);
    let q$p_$d = packed(window, query$p, 0u, head, $du) * SCALE;
    var out$p_$d = vec4<f32>();
    var most$p = -1.0e30;
    var sum$p = 0.0;

    //: if slices
    for (var slice = 0u; slice < TOKENS; slice += SLICE_KEYS) {
        for (var unit = lane; unit < SLICE_KEYS * FOURS; unit += WORKGROUP) {
            let token = min(slice + unit / FOURS, TOKENS - 1u);
            key_slice[unit] = packed(window, token, 1u, head, unit % FOURS);
            value_slice[unit] = packed(window, token, 2u, head, unit % FOURS);
        }
        workgroupBarrier();
        let end = min(SLICE_KEYS, TOKENS - slice);
    //: else
        let slice = 0u;
        let end = TOKENS;
    //: end
        for (var chunk = 0u; chunk < end; chunk += $#ku) {
            let key$k = min(chunk + $ku, end - 1u);
            //: if slices
            let k$k_$d = key_slice[key$k * FOURS + $du];
            let v$k_$d = value_slice[key$k * FOURS + $du];
            //: else
            let k$k_$d = packed(window, key$k, 1u, head, $du);
            let v$k_$d = packed(window, key$k, 2u, head, $du);
            //: end
            //: each p
            //: each k
            let score$p_$k_0 = vec4<f32>();
            let score$p_$k_$>d = fma(q$p_$d, k$k_$d, score$p_$k_$d);
            let dot$p_$k = dot(score$p_$k_$#d, vec4<f32>(1.0));
            //: if bias
            let biased$p_$k = dot$p_$k + f32(bias[(head * TOKENS + query$p) * TOKENS + slice + key$k]);
            //: else
            let biased$p_$k = dot$p_$k;
            //: end
            let final$p_$k = select(-1.0e30, biased$p_$k, chunk + $ku < end);
            //: end
            let most$p_0 = most$p;
            let most$p_$>k = max(most$p_$k, final$p_$k);
            let scale$p = exp(most$p - most$p_$#k);
            let weight$p_$k = exp(final$p_$k - most$p_$#k);
            let sum$p_0 = sum$p * scale$p;
            let sum$p_$>k = sum$p_$k + weight$p_$k;
            sum$p = sum$p_$#k;
            most$p = most$p_$#k;
            //: each d
            let out$p_$d_0 = out$p_$d * scale$p;
            let out$p_$d_$>k = fma(vec4<f32>(weight$p_$k), v$k_$d, out$p_$d_$k);
            out$p_$d = out$p_$d_$#k;
            //: end
            //: end
        }
    //: if slices
        workgroupBarrier();
    }
    //: end

    //: each p
    if first_query + $pu < TOKENS {
        let share$p = 1.0 / sum$p;
        result[((window * TOKENS + query$p) * HEADS + head) * FOURS + $du] = Stored4(out$p_$d * share$p);
    }
    //: end
}
