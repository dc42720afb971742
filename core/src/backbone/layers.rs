//! The parts that several families share.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::Device;

/// A convolution as torchvision builds most of them: square kernel, "same-ish" symmetric padding
/// `dilation · (kernel − 1) / 2`, no bias because a batch norm follows.
pub(super) fn conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
) -> Conv2dConfig {
    let padding = (kernel - 1) / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(symmetric(padding))
        .with_groups(groups)
        .with_bias(false)
}

/// A convolution of TensorFlow's making: padding that depends on the input's size, more of it at the
/// bottom and right where it cannot be split evenly.
pub(super) fn conv_same(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Same)
        .with_groups(groups)
        .with_bias(false)
        .init(device)
}

/// Batch norm with torchvision's epsilon.
pub(super) fn batch_norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).init(device)
}

/// The same padding on all four sides.
pub(super) fn symmetric(padding: usize) -> PaddingConfig2d {
    match padding {
        0 => PaddingConfig2d::Valid,
        p => PaddingConfig2d::Explicit(p, p, p, p),
    }
}
