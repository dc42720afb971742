//! Which kernel does a convolution: a pure function of its sizes and the class of adapter.

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use rekindle_shaders::{
    Activation, Conv, ConvDataGradient, Depthwise, DepthwiseDataGradient, Epilogue, Kernel, Side,
    Storage, Tier, Window, Winograd,
};

use crate::binding::LARGEST_BINDING;
use crate::graph::Nonlinearity;

/// A convolution's sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub channels: usize,
    pub filters: usize,
    pub groups: usize,
    pub window: Window,
}

impl Sizes {
    /// From `[N, C, H, W]`, filters, the kernel's rows and columns, and the rest.
    pub fn new(
        [batch, channels, height, width]: [usize; 4],
        filters: usize,
        kernel: [usize; 2],
        options: &ConvOptions<2>,
    ) -> Self {
        let side = |axis: usize, input: usize| {
            let (before, after) = options.padding[axis];
            let reach = options.dilation[axis] * (kernel[axis] - 1) + 1;
            Side {
                input: input as u32,
                output: ((input + before + after - reach) / options.stride[axis] + 1) as u32,
                kernel: kernel[axis] as u32,
                stride: options.stride[axis] as u32,
                dilation: options.dilation[axis] as u32,
                padding: before as u32,
            }
        };
        Self {
            batch,
            channels,
            filters,
            groups: options.groups,
            window: Window {
                rows: side(0, height),
                columns: side(1, width),
            },
        }
    }

    /// Of a dense convolution of stride 1: those of the convolution, of its output's gradient with the taps in the
    /// opposite order, that makes the gradient of its input.
    pub fn mirrored(&self) -> Self {
        let side = |side: Side| Side {
            input: side.output,
            output: side.input,
            padding: (side.dilation * (side.kernel - 1)).wrapping_sub(side.padding),
            ..side
        };
        let Window { rows, columns } = self.window;
        Self {
            channels: self.filters,
            filters: self.channels,
            window: Window {
                rows: side(rows),
                columns: side(columns),
            },
            ..*self
        }
    }

    /// Those of the convolution whose input's gradient a transposed convolution is: what comes in is that
    /// convolution's output. From `[N, C, H, W]`, the weight's `[C, filters / groups, rows, columns]`, and the rest.
    pub fn transposed(
        [batch, channels, height, width]: [usize; 4],
        [_, each, rows, columns]: [usize; 4],
        options: &ConvTransposeOptions<2>,
    ) -> Self {
        let side = |axis: usize, output: usize, kernel: usize| {
            let (stride, dilation) = (options.stride[axis], options.dilation[axis]);
            let reach = dilation * (kernel - 1) + 1;
            let whole = (output - 1) * stride + reach + options.padding_out[axis];
            Side {
                input: (whole - 2 * options.padding[axis]) as u32,
                output: output as u32,
                kernel: kernel as u32,
                stride: stride as u32,
                dilation: dilation as u32,
                padding: options.padding[axis] as u32,
            }
        };
        Self {
            batch,
            channels: each * options.groups,
            filters: channels,
            groups: options.groups,
            window: Window {
                rows: side(0, height, rows),
                columns: side(1, width, columns),
            },
        }
    }

    pub fn is_depthwise(&self) -> bool {
        self.groups == self.channels && self.filters == self.channels
    }

    /// The output's shape, channels last.
    pub fn output(&self) -> [usize; 4] {
        let Window { rows, columns } = self.window;
        [
            self.batch,
            rows.output as usize,
            columns.output as usize,
            self.filters,
        ]
    }

    /// The input's shape, channels last.
    pub fn input(&self) -> [usize; 4] {
        let Window { rows, columns } = self.window;
        [
            self.batch,
            rows.input as usize,
            columns.input as usize,
            self.channels,
        ]
    }

    /// The operation of the forward pass.
    pub fn forward(&self, epilogue: Epilogue, storage: Storage) -> Forward {
        match self.is_depthwise() {
            true => Forward::Depthwise(Depthwise {
                batch: self.batch as u32,
                channels: self.channels as u32,
                window: self.window,
                epilogue,
                storage,
            }),
            false => Forward::Dense(Conv {
                batch: self.batch as u32,
                channels: self.channels as u32,
                out_channels: self.filters as u32,
                groups: self.groups as u32,
                window: self.window,
                epilogue,
                storage,
            }),
        }
    }

    /// The same for whoever may transform the weights first: by Winograd's method on software adapters and on the largest
    /// GPUs, where it was measured to win (on an H200, ResNet-18 and 50, batch 32: a training step in 0.84 and 0.89 of the
    /// time). On others it moves more bytes than it saves multiplications, until somebody measures otherwise.
    pub fn frozen(&self, epilogue: Epilogue, storage: Storage, tier: Tier) -> Forward {
        match self.forward(epilogue, storage) {
            Forward::Dense(conv) if matches!(tier, Tier::Software | Tier::Full) => {
                let most = (LARGEST_BINDING / size_of::<f32>()) as u32;
                Winograd::of(&conv, most).map_or(Forward::Dense(conv), Forward::Winograd)
            }
            forward => forward,
        }
    }

    /// The operation that makes the input's gradient, or a transposed convolution.
    pub fn backward(&self, epilogue: Epilogue, storage: Storage) -> InputGradient {
        match self.is_depthwise() {
            true => InputGradient::Depthwise(DepthwiseDataGradient {
                batch: self.batch as u32,
                channels: self.channels as u32,
                window: self.window,
                epilogue,
                storage,
            }),
            false => InputGradient::Dense(ConvDataGradient {
                batch: self.batch as u32,
                channels: self.channels as u32,
                out_channels: self.filters as u32,
                groups: self.groups as u32,
                window: self.window,
                epilogue,
                storage,
            }),
        }
    }
}

/// How a convolution is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    /// As a product of matrices, the left one implicit.
    Dense(Conv),
    /// Directly: every channel has a window of its own.
    Depthwise(Depthwise),
    /// With fewer multiplications, from transformed weights.
    Winograd(Winograd),
}

impl Forward {
    /// Its kernels: one, or for Winograd's method three.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        match self {
            Self::Dense(conv) => vec![conv.kernel(tier)],
            Self::Depthwise(conv) => vec![conv.kernel(tier)],
            Self::Winograd(conv) => conv.kernels(tier),
        }
    }
}

/// How the gradient of a convolution's input is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputGradient {
    /// As products of matrices, one for each phase of the stride.
    Dense(ConvDataGradient),
    /// Directly: every channel has a window of its own.
    Depthwise(DepthwiseDataGradient),
}

impl InputGradient {
    /// Its kernels, one for each phase of the stride, in any order.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        match self {
            Self::Dense(gradient) => gradient.kernels(tier),
            Self::Depthwise(gradient) => gradient.kernels(tier),
        }
    }
}

/// What follows the sum, in the shaders' words.
pub(crate) fn epilogue(residual: bool, activation: Option<Nonlinearity>) -> Epilogue {
    Epilogue {
        bias: true,
        residual,
        activation: named(activation),
    }
}

/// An activation in the shaders' words.
pub(crate) fn named(activation: Option<Nonlinearity>) -> Activation {
    match activation {
        None => Activation::None,
        Some(Nonlinearity::Relu) => Activation::Relu,
        Some(Nonlinearity::Relu6) => Activation::Relu6,
        Some(Nonlinearity::Silu) => Activation::Silu,
        Some(Nonlinearity::HardSwish) => Activation::HardSwish,
        Some(Nonlinearity::HardSigmoid) => Activation::HardSigmoid,
        Some(Nonlinearity::Sigmoid) => Activation::Sigmoid,
        Some(Nonlinearity::Gelu) => Activation::Gelu,
        Some(Nonlinearity::Tanh) => Activation::Tanh,
    }
}
