// result[at..at + 4] = activation(sum + bias + residual)
//
// Four channels from `channel` on, of which the output has `left` more (only asked where that can
// be fewer than four). Bytes per number: 4 written, 4 read for a residual, a bias from cache.

fn finish(sum: vec4<f32>, at: u32, channel: u32, left: u32) {
//: if by_four
    var value = sum;
    //: if bias
    value += vec4<f32>(bias[channel / 4u]);
    //: end
    //: if residual
    value += vec4<f32>(residual[at / 4u]);
    //: end
    result[at / 4u] = Stored4(activation(value));
//: else
    var value = sum;
    //: if bias
    if left > 0u { value.x += f32(bias[channel]); }
    if left > 1u { value.y += f32(bias[channel + 1u]); }
    if left > 2u { value.z += f32(bias[channel + 2u]); }
    if left > 3u { value.w += f32(bias[channel + 3u]); }
    //: end
    //: if residual
    if left > 0u { value.x += f32(residual[at]); }
    if left > 1u { value.y += f32(residual[at + 1u]); }
    if left > 2u { value.z += f32(residual[at + 2u]); }
    if left > 3u { value.w += f32(residual[at + 3u]); }
    //: end
    value = activation(value);
    if left > 0u { result[at] = Stored(value.x); }
    if left > 1u { result[at + 1u] = Stored(value.y); }
    if left > 2u { result[at + 2u] = Stored(value.z); }
    if left > 3u { result[at + 3u] = Stored(value.w); }
//: end
}
