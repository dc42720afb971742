//! What follows a sum: bias, residual, activation.

use crate::text::Text;

/// The function applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// The number itself.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · sigmoid(x)`.
    Silu,
    /// `x · relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `x · Φ(x)` with the error function, not its tanh likeness.
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Relu,
        Self::Relu6,
        Self::Silu,
        Self::HardSwish,
        Self::HardSigmoid,
        Self::Sigmoid,
        Self::Gelu,
        Self::Tanh,
    ];

    fn flag(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Silu => "silu",
            Self::HardSwish => "hard_swish",
            Self::HardSigmoid => "hard_sigmoid",
            Self::Sigmoid => "sigmoid",
            Self::Gelu => "gelu",
            Self::Tanh => "tanh",
        }
    }
}

/// `activation(sum + bias + residual)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Epilogue {
    /// Whether a buffer with one number per output channel is added.
    pub bias: bool,
    /// Whether a buffer as long as the output is added.
    pub residual: bool,
    /// What is applied last.
    pub activation: Activation,
}

impl Activation {
    /// Adds `fn activation(v: vec4<f32>) -> vec4<f32>`.
    pub(crate) fn write(self, text: &mut Text) {
        text.flag(self.flag(), true)
            .piece(include_str!("activation.wgsl"));
    }

    /// Whether the derivative follows from what it makes; that of the others follows from what they are given.
    pub fn keeps_output(self) -> bool {
        !matches!(self, Self::Silu | Self::HardSwish | Self::Gelu)
    }

    /// Adds `fn derived(v: Lane) -> Lane`, the derivative by what is kept; the lane must have been said.
    pub(crate) fn write_derivative(self, text: &mut Text) {
        text.flag(self.flag(), true)
            .piece(include_str!("derivative.wgsl"));
    }

    /// Adds `fn slope_at(v: Lane) -> Lane`, the derivative by what the function is given; the lane must have been said.
    pub(crate) fn write_slope(self, text: &mut Text) {
        self.write_lane(text);
        self.write_derivative(text);
        let kept = if self.keeps_output() {
            "activated(v)"
        } else {
            "v"
        };
        text.piece(&format!(
            "fn slope_at(v: Lane) -> Lane {{\n    return derived({kept});\n}}"
        ));
    }

    /// Adds `fn activated(v: Lane) -> Lane`; the lane must have been said.
    pub(crate) fn write_lane(self, text: &mut Text) {
        self.write(text);
        text.piece(include_str!("activated.wgsl"));
    }
}

impl Epilogue {
    /// Binds bias, residual and `result`, in this order, and adds
    /// `fn finish(sum: vec4<f32>, at: u32, channel: u32, left: u32)`: `at` is the index in the
    /// output of the first of four numbers, `channel` that in the bias, and `left` is how many
    /// there are; with `by_four` that is always at least four.
    pub(crate) fn write(self, text: &mut Text, by_four: bool) {
        if self.bias {
            text.bind_numbers("bias", by_four);
        }
        if self.residual {
            text.bind_numbers("residual", by_four);
        }
        text.bind_numbers("result", by_four);
        text.flag("bias", self.bias)
            .flag("residual", self.residual)
            .flag("by_four", by_four);
        self.activation.write(text);
        text.piece(include_str!("epilogue.wgsl"));
    }
}
