// The activation of a Lane.
fn activated(v: Lane) -> Lane {
//: if by_four
    return activation(v);
//: else
    return activation(vec4<f32>(v, 0.0, 0.0, 0.0)).x;
//: end
}
