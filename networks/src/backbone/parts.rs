//! The parts that several families share.

use crate::graph::{Conv, Nonlinearity, Norm, Value};

/// torchvision's `Conv2dNormActivation`: `name.0` convolves, `name.1` normalises.
pub(super) fn conv_norm_act(
    x: &Value,
    name: impl ToString,
    conv: Conv,
    norm: Norm,
    function: Option<Nonlinearity>,
) -> Value {
    x.within(name, |x| {
        let x = x.conv("0", conv).batch_norm("1", norm);
        function.map_or_else(|| x.clone(), |function| x.activate(function))
    })
}

/// The same for the first layer of a network, which keeps the resolution in a small stem.
pub(super) fn stem_norm_act(
    x: &Value,
    name: impl ToString,
    conv: Conv,
    norm: Norm,
    function: Nonlinearity,
) -> Value {
    x.within(name, |x| {
        x.stem_conv("0", conv)
            .batch_norm("1", norm)
            .activate(function)
    })
}

/// Squeeze-and-excitation (Hu et al., <https://arxiv.org/abs/1709.01507>): each channel is weighed by
/// what all channels' means say. Names are torchvision's.
pub(super) fn squeeze_excite(
    x: &Value,
    name: impl ToString,
    squeeze: usize,
    function: Nonlinearity,
    gate: Nonlinearity,
) -> Value {
    let channels = x.channels();
    let weights = x.within(name, |x| {
        x.global_average()
            .conv("fc1", Conv::new(squeeze, 1).bias())
            .activate(function)
            .conv("fc2", Conv::new(channels, 1).bias())
            .activate(gate)
    });
    x.multiply(&weights)
}

/// A transformer's two-layer perceptron, the layers called `names`, with GELU between them.
pub(super) fn perceptron(x: &Value, names: [&str; 2], hidden: usize) -> Value {
    let width = x.width();
    x.linear(names[0], hidden)
        .activate(Nonlinearity::Gelu)
        .linear(names[1], width)
}

/// An inverted residual's end: what went in is added where a block of this stride, from `x` to `y`,
/// keeps resolution and channels.
pub(super) fn skip(x: &Value, y: Value, stride: usize) -> Value {
    match stride == 1 && x.channels() == y.channels() {
        true => y + x.clone(),
        false => y,
    }
}

/// The nearest multiple of `divisor`, but never less than nine tenths of `value`: how mobile networks
/// round their channels.
pub(super) fn make_divisible(value: f64, divisor: usize) -> usize {
    let step = divisor as f64;
    let rounded = ((value + step / 2.0) / step).floor() * step;
    let rounded = rounded.max(step);
    (if rounded < 0.9 * value {
        rounded + step
    } else {
        rounded
    }) as usize
}

/// Layer `index` of `count`: the share of residual branches to drop in training grows with depth.
pub(super) fn depth_share(last: f64, index: usize, count: usize) -> f64 {
    last * index as f64 / count as f64
}
