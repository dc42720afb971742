// The derivative of the activation, four numbers at a time, by what the activation made where that tells it, and by what
// it was given where it does not (silu, hard_swish, gelu). Cost: 0 to 25 operations a number.

//: if relu
fn derivative(v: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(1.0), v > vec4<f32>());
}
//: end
//: if relu6
fn derivative(v: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(1.0), (v > vec4<f32>()) & (v < vec4<f32>(6.0)));
}
//: end
//: if sigmoid
fn derivative(v: vec4<f32>) -> vec4<f32> {
    return v * (1.0 - v);
}
//: end
//: if tanh
fn derivative(v: vec4<f32>) -> vec4<f32> {
    return 1.0 - v * v;
}
//: end
//: if hard_sigmoid
fn derivative(v: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(1.0 / 6.0), (v > vec4<f32>()) & (v < vec4<f32>(1.0)));
}
//: end
//: if silu
fn derivative(v: vec4<f32>) -> vec4<f32> {
    let s = 1.0 / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0))));
    return s * (1.0 + v * (1.0 - s));
}
//: end
//: if hard_swish
fn derivative(v: vec4<f32>) -> vec4<f32> {
    let inner = select(vec4<f32>(1.0), v / 3.0 + 0.5, v < vec4<f32>(3.0));
    return select(vec4<f32>(), inner, v > vec4<f32>(-3.0));
}
//: end
//: if gelu
// Φ(x) + x · φ(x), with erf by Abramowitz and Stegun 7.1.26 (error below 1.5e-7).
fn derivative(v: vec4<f32>) -> vec4<f32> {
    let x = min(abs(v) * 0.70710678, vec4<f32>(9.0));
    let t = 1.0 / (1.0 + 0.3275911 * x);
    let polynomial = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
        + 0.254829592) * t;
    let bell = exp(-x * x);
    let erf = sign(v) * (1.0 - polynomial * bell);
    return 0.5 * (1.0 + erf) + v * bell * 0.39894228;
}
//: end
//: if identity
fn derivative(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(1.0);
}
//: end

fn derived(v: Lane) -> Lane {
//: if by_four
    return derivative(v);
//: else
    return derivative(vec4<f32>(v, 0.0, 0.0, 0.0)).x;
//: end
}
