// The activation, four numbers at a time. exp is kept from overflowing: WGSL lets compilers assume
// that infinities do not happen. max, min and clamp may make a number of NaN, which must come through to
// the end, where somebody looks for it: it is told by its bits. Cost: 0 to 25 operations a number, against
// the hundreds of its sum.

//: if sigmoid
fn activation(v: vec4<f32>) -> vec4<f32> {
    let made = 1.0 / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0))));
    return select(made, v, (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
//: end
//: if silu
fn activation(v: vec4<f32>) -> vec4<f32> {
    return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0))));
}
//: end
//: if hard_sigmoid
fn activation(v: vec4<f32>) -> vec4<f32> {
    let made = clamp(v + 3.0, vec4<f32>(), vec4<f32>(6.0)) / 6.0;
    return select(made, v, (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
//: end
//: if hard_swish
fn activation(v: vec4<f32>) -> vec4<f32> {
    return v * clamp(v + 3.0, vec4<f32>(), vec4<f32>(6.0)) / 6.0;
}
//: end
//: if relu
fn activation(v: vec4<f32>) -> vec4<f32> {
    return select(max(v, vec4<f32>()), v, (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
//: end
//: if relu6
fn activation(v: vec4<f32>) -> vec4<f32> {
    let made = clamp(v, vec4<f32>(), vec4<f32>(6.0));
    return select(made, v, (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
//: end
//: if tanh
fn activation(v: vec4<f32>) -> vec4<f32> {
    let made = tanh(clamp(v, vec4<f32>(-15.0), vec4<f32>(15.0)));
    return select(made, v, (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
//: end
//: if gelu
// x · Φ(x), with erf by Abramowitz and Stegun 7.1.26 (error below 1.5e-7).
fn activation(v: vec4<f32>) -> vec4<f32> {
    let x = min(abs(v) * 0.70710678, vec4<f32>(9.0));
    let t = 1.0 / (1.0 + 0.3275911 * x);
    let polynomial = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
        + 0.254829592) * t;
    let erf = 1.0 - polynomial * exp(-x * x);
    return 0.5 * v * (1.0 + sign(v) * erf);
}
//: end
//: if identity
fn activation(v: vec4<f32>) -> vec4<f32> {
    return v;
}
//: end
