//! Convolution, dense or grouped, and its gradient with respect to the input.

use crate::epilogue::Epilogue;
use crate::product::Product;
use crate::text::Text;
use crate::window::{Walks, Window};
use crate::{Kernel, Storage, Tier};

/// `activation(conv(x, w) + bias + residual)`.
///
/// Buffers: x `[batch, rows.input, columns.input, channels]`, w
/// `[rows.kernel, columns.kernel, channels / groups, out_channels]`, bias `[out_channels]` if any,
/// residual `[batch, rows.output, columns.output, out_channels]` if any, result like the residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Images.
    pub batch: u32,
    /// Channels of the input.
    pub channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Parts into which both kinds of channels are divided.
    pub groups: u32,
    /// The sliding window.
    pub window: Window,
    /// What follows.
    pub epilogue: Epilogue,
    /// How numbers are stored.
    pub storage: Storage,
}

impl Conv {
    /// The kernel; binds x, w, bias?, residual?, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let walks = self.window.forward();
        let (channels, columns) = (self.channels / self.groups, self.out_channels / self.groups);
        let product = Product {
            name: format!(
                "conv_{}_{}x{}",
                self.window.name(),
                self.channels,
                self.out_channels
            ),
            storage: self.storage,
            groups: self.groups,
            rows: self.batch * walks.visited(),
            columns,
            taps: walks.taps(),
            channels,
            left_step: 1,
            left_turned: false,
            left_run: 1,
            right_step: self.out_channels,
            right_column_step: 1,
            inside: walks.inside(),
            epilogue: self.epilogue,
        };
        product.kernel(tier, |text| {
            address(
                text,
                walks,
                self.window.same(),
                self.channels,
                self.out_channels,
            );
        })
    }
}

/// Adds where a convolution's numbers lie.
fn address(text: &mut Text, walks: Walks, same: bool, source: u32, target: u32) {
    text.size("SOURCE_CHANNELS", source)
        .size("TARGET_CHANNELS", target);
    if same {
        text.piece(include_str!("rows_at.wgsl"));
    } else {
        walks.write(text);
        text.piece(include_str!("conv_at.wgsl"));
    }
}

/// The gradient of a convolution's input, which is a transposed convolution:
/// `dx = activation(conv_transposed(dy, w) + bias + residual)`.
///
/// Buffers: dy `[batch, rows.output, columns.output, out_channels]`, w turned so that loads are
/// contiguous, `[rows.kernel, columns.kernel, out_channels / groups, channels]` (the last axis runs
/// over the groups as in the forward pass: group, then channel within it), bias `[channels]` if any, residual
/// `[batch, rows.input, columns.input, channels]` if any, dx like the residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvDataGradient {
    /// Images.
    pub batch: u32,
    /// Channels of the convolution's input.
    pub channels: u32,
    /// Channels of its output.
    pub out_channels: u32,
    /// Parts into which both kinds of channels are divided.
    pub groups: u32,
    /// The convolution's window.
    pub window: Window,
    /// What follows; nothing in a gradient.
    pub epilogue: Epilogue,
    /// How numbers are stored.
    pub storage: Storage,
}

impl ConvDataGradient {
    /// One kernel for each phase of the stride, in any order; all bind dy, w, bias?, residual?, dx, and together
    /// they write every number of dx once.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let phases = self.window.backward();
        phases
            .into_iter()
            .map(|walks| self.phase(tier, walks))
            .collect()
    }

    fn phase(&self, tier: Tier, walks: Walks) -> Kernel {
        let product = Product {
            name: format!(
                "conv_data_gradient_{}_{}x{}",
                self.window.name(),
                self.channels,
                self.out_channels
            ),
            storage: self.storage,
            groups: self.groups,
            rows: self.batch * walks.visited(),
            columns: self.channels / self.groups,
            taps: walks.taps(),
            channels: self.out_channels / self.groups,
            left_step: 1,
            left_turned: false,
            left_run: 1,
            right_step: self.channels,
            right_column_step: 1,
            inside: false,
            epilogue: self.epilogue,
        };
        product.kernel(tier, |text| {
            address(
                text,
                walks,
                self.window.same(),
                self.out_channels,
                self.channels,
            );
        })
    }
}
