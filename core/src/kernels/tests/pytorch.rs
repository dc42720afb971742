//! Group norm, resizing and transposed convolution against numbers that PyTorch 2.15 printed, on every device and by
//! the processor's kernels on slices. Inputs are `made`:
//!
//! ```python
//! def made(seed, *shape):
//!     n = math.prod(shape)
//!     return torch.tensor([((i * 7919 + seed * 101) % 23 - 11) / 8 for i in range(n)]).view(*shape)
//! ```

use burn::tensor::{Device, Tensor};
use rekindle_cpu as cpu;
use rekindle_shaders::Tier;

use super::{adapter, channels_last, compare, read, tensor};
use crate::graph::{ConvTranspose, Resample};
use crate::kernels::adapter::pretend;
use crate::kernels::{conv_transpose2d, group_norm, resize};

fn made(seed: usize, count: usize) -> Vec<f32> {
    let number = |index: usize| ((index * 7919 + seed * 101) % 23) as f32 - 11.0;
    (0..count).map(|index| number(index) / 8.0).collect()
}

/// Where the tests run: on the processor by Burn's operations, and on an adapter.
fn devices() -> Vec<Device> {
    pretend(Tier::Software);
    let all = [Some(Device::flex()), adapter()];
    all.into_iter().flatten().collect()
}

fn wanted<const D: usize>(made: &Tensor<D>, device: &Device, seed: usize) -> Tensor<D> {
    let count = made.dims().iter().product();
    tensor(&self::made(seed, count), made.dims(), device)
}

/// ```python
/// x, gamma, beta = (made(seed, *shape).requires_grad_() for seed, shape in ((1, (2, 6, 1, 2)), (2, (6,)), (3, (6,))))
/// y = torch.nn.functional.group_norm(x, 3, gamma, beta, 1e-3)
/// y.backward(made(4, *y.shape))
/// ```
#[test]
fn group_norm_is_pytorchs() {
    #[rustfmt::skip]
    let y = [
        -0.7216657, 0.3516741, 1.577152, 0.197144, 0.8311902, 0.5245217, -2.001196, -1.234524,
        -1.722074, 1.767287, 0.8034332, 0.2483076, -2.048323, -1.266108, -0.5028527, -1.508558,
        1.063346, 0.7857834, -0.2080514, -1.794125, -0.4909538, -2.177631, 1.325957, 0.7126196,
    ];
    #[rustfmt::skip]
    let dx = [
        -0.462357, 0.5945023, 0.6321718, -0.7643169, -0.4418278, 0.04135115, -0.07420851, 0.4746852,
        1.63118, 0.5968475, -0.7287686, -1.499259, 0.09831682, 0.4611282, -1.219398, 0.6599531,
        0.1758158, 0.2454116, -0.1608145, -0.2604129, 0.06979442, -0.2466495, -0.2900206, 0.4668754,
    ];
    let dgamma = [
        2.570795, 0.3327138, -1.061995, -1.191468, 1.276735, 1.640292,
    ];
    let dbeta = [0.75, -0.875, 0.375, -1.25, 0.0, 1.25];
    let x = made(1, 24);
    let (gamma, beta) = (made(2, 6), made(3, 6));
    for device in devices().into_iter().map(Device::autodiff) {
        let x = tensor(&x, [2, 6, 1, 2], &device).require_grad();
        let [gamma, beta] =
            [&gamma, &beta].map(|vector| tensor(vector, [6], &device).require_grad());
        let made = group_norm(x.clone(), 3, gamma.clone(), beta.clone(), 1e-3);
        let gradients = (made.clone() * wanted(&made, &device, 4)).sum().backward();
        compare("forward", &read(made), &y);
        compare("gradient of x", &read(x.grad(&gradients).unwrap()), &dx);
        let found = read(gamma.grad(&gradients).unwrap());
        compare("gradient of gamma", &found, &dgamma);
        let found = read(beta.grad(&gradients).unwrap());
        compare("gradient of beta", &found, &dbeta);
    }
    let mut found = vec![f32::NAN; 24];
    let x = channels_last(&x, 6, 2);
    let (from, to) = (
        cpu::View::new(&x, 2, 1, 2, 6),
        cpu::ViewMut::new(&mut found, 2, 1, 2, 6),
    );
    cpu::group_norm(from, 3, &gamma, &beta, 1e-3, cpu::Activation::None, to);
    compare("on slices", &found, &channels_last(&y, 6, 2));
}

/// Rows and columns, of which some grow and some shrink.
fn resized(filter: Resample, from: [usize; 2], to: [usize; 2], y: &[f64], dx: &[f64]) {
    let x = made(5, from[0] * from[1]);
    for device in devices().into_iter().map(Device::autodiff) {
        let x = tensor(&x, [1, 1, from[0], from[1]], &device).require_grad();
        let made = resize(x.clone(), to, filter);
        let gradients = (made.clone() * wanted(&made, &device, 6)).sum().backward();
        compare("forward", &read(made), y);
        compare("gradient", &read(x.grad(&gradients).unwrap()), dx);
    }
    let mut found = vec![f32::NAN; y.len()];
    let filter = match filter {
        Resample::Nearest => cpu::Filter::Nearest,
        Resample::Bilinear => cpu::Filter::Bilinear,
    };
    let input = cpu::View::new(&x, 1, from[0], from[1], 1);
    let output = cpu::ViewMut::new(&mut found, 1, to[0], to[1], 1);
    cpu::resize(filter, input, output);
    compare("on slices", &found, y);
}

/// ```python
/// x = made(5, 1, 1, 3, 5).requires_grad_()
/// y = torch.nn.functional.interpolate(x, size=(5, 3), mode="bilinear", align_corners=False)
/// y.backward(made(6, *y.shape))
/// ```
#[test]
fn bilinear_resizing_is_pytorchs() {
    #[rustfmt::skip]
    let y = [
        0.7083334, 0.25, -0.208333, 0.5416666, -0.3, 0.008333456, 0.2916667, -1.125, 0.3333332,
        -0.5333335, -0.2249998, 0.08333341, -1.083333, 0.375, -0.08333304,
    ];
    #[rustfmt::skip]
    let dx = [
        -0.5, -0.25, 0.65, 0.6833336, 1.366666, -1.05, -0.5249999, 0.0, 0.5250003, 1.05, -1.366667,
        -0.6833333, -0.65, 0.25, 0.5,
    ];
    resized(Resample::Bilinear, [3, 5], [5, 3], &y, &dx);
}

/// ```python
/// x = made(5, 1, 1, 5, 3).requires_grad_()
/// y = torch.nn.functional.interpolate(x, size=(3, 7), mode="nearest")
/// y.backward(made(6, *y.shape))
/// ```
#[test]
fn resizing_to_the_nearest_is_pytorchs() {
    #[rustfmt::skip]
    let y = [
        1.375, 1.375, 1.375, -0.625, -0.625, 0.25, 0.25, 1.125, 1.125, 1.125, -0.875, -0.875, 0.0, 0.0,
        0.625, 0.625, 0.625, -1.375, -1.375, -0.5, -0.5,
    ];
    #[rustfmt::skip]
    let dx = [
        1.5, -0.375, 0.25, -0.25, 0.375, -1.875, 0.0, 0.0, 0.0, 0.875, 1.125, -1.125, 0.0, 0.0, 0.0,
    ];
    resized(Resample::Nearest, [5, 3], [3, 7], &y, &dx);
}

/// ```python
/// x = made(7, 1, 4, 2, 3).requires_grad_()
/// conv = torch.nn.ConvTranspose2d(4, 2, (3, 2), stride=(2, 1), padding=(1, 0), output_padding=(1, 0),
///                                 dilation=(1, 2), groups=2)
/// conv.weight.data, conv.bias.data = made(8, 4, 1, 3, 2), made(9, 2)
/// y = conv(x)
/// y.backward(made(10, *y.shape))
/// ```
#[test]
fn transposed_convolution_is_pytorchs() {
    #[rustfmt::skip]
    let y = [
        0.75, -0.53125, -1.03125, 2.953125, -0.390625, -0.875, -0.5625, 0.421875, -1.21875, 0.71875,
        0.5, 1.375, -1.25, -0.609375, -0.359375, -0.0625, -1.15625, 1.59375, 0.8125, -0.1875, 1.625,
        0.75, 0.34375, 1.40625, 0.265625, -0.21875, 0.546875, 5.453125, -0.015625, 0.21875, 1.875, 1.0,
        -0.3125, 1.21875, 1.875, 0.6875, 0.359375, 1.28125, 0.9375, -0.375,
    ];
    #[rustfmt::skip]
    let dx = [
        0.203125, -2.28125, 2.0625, 0.4375, -3.03125, 3.203125, 0.5625, 0.28125, 0.0, 1.234375,
        1.609375, -1.96875, 0.90625, -0.40625, 0.4375, 1.953125, 0.421875, -1.46875, 2.203125, 1.65625,
        -2.125, 0.921875, 1.796875, -1.640625,
    ];
    #[rustfmt::skip]
    let dw = [
        1.75, -1.453125, 1.5, 1.4375, 1.34375, -1.953125, 2.0625, -0.890625, -1.46875, 4.0, 3.9375,
        -2.09375, -0.9375, 1.390625, 0.625, 1.203125, 1.171875, 0.671875, -1.0, 1.578125, 3.015625,
        -2.015625, -2.015625, 3.015625,
    ];
    let db = [1.5, 0.75];
    let conv = ConvTranspose {
        stride: [2, 1],
        padding: [1, 0],
        output_padding: [1, 0],
        dilation: [1, 2],
        groups: 2,
        bias: true,
        ..ConvTranspose::rectangle(2, [3, 2])
    };
    assert_eq!(conv.outputs([2, 3]), Some([4, 5]));
    let (x, weight, bias) = (made(7, 24), made(8, 24), made(9, 2));
    for device in devices().into_iter().map(Device::autodiff) {
        let x = tensor(&x, [1, 4, 2, 3], &device).require_grad();
        let weight = tensor(&weight, [4, 1, 3, 2], &device).require_grad();
        let bias = tensor(&bias, [2], &device).require_grad();
        let made = conv_transpose2d(x.clone(), weight.clone(), Some(bias.clone()), &conv);
        let gradients = (made.clone() * wanted(&made, &device, 10)).sum().backward();
        compare("forward", &read(made), &y);
        compare("gradient of x", &read(x.grad(&gradients).unwrap()), &dx);
        let found = read(weight.grad(&gradients).unwrap());
        compare("gradient of the weight", &found, &dw);
        let found = read(bias.grad(&gradients).unwrap());
        compare("gradient of the bias", &found, &db);
    }
    let geometry = cpu::ConvGeometry {
        input: 4,
        output: 2,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        dilation: conv.dilation,
        groups: conv.groups,
    };
    let packed = cpu::ConvTranspose::new(geometry, weight[..].into(), &bias, [2, 3]);
    let mut found = vec![f32::NAN; 40];
    let x = channels_last(&x, 4, 6);
    let input = cpu::View::new(&x, 1, 2, 3, 4);
    let output = cpu::ViewMut::new(&mut found, 1, 4, 5, 2);
    packed.run(input, None, cpu::Activation::None, output);
    compare("on slices", &found, &channels_last(&y, 2, 20));
}
