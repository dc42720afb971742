//! The gradient of a depthwise convolution's weights.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::sums::{ColumnSums, split};
use crate::text::Text;
use crate::window::Window;
use crate::{Kernel, Storage, Tier};

/// `dw = Σ x · dy` over the pixels of all images, in parts that are then added in a fixed order.
///
/// Buffers: x `[batch, rows.input, columns.input, channels]`, dy
/// `[batch, rows.output, columns.output, channels]`, scratch if any, dw
/// `[rows.kernel, columns.kernel, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseWeightGradient {
    /// Images.
    pub batch: u32,
    /// Channels of input and output.
    pub channels: u32,
    /// The convolution's window.
    pub window: Window,
}

impl DepthwiseWeightGradient {
    /// Numbers (f32) of scratch memory; 0 if there is one kernel only.
    pub fn scratch(&self, tier: Tier) -> u32 {
        match self.parts(tier) {
            1 => 0,
            parts => parts * self.size(),
        }
    }

    /// One kernel that binds x, dy, dw; or two, of which the first binds x, dy, scratch and the
    /// second scratch, dw.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let parts = self.parts(tier);
        let mut kernels = vec![self.first(tier, parts)];
        if parts > 1 {
            let sum = ColumnSums {
                rows: parts,
                columns: self.size(),
            };
            kernels.push(sum.single(tier));
        }
        kernels
    }

    fn size(&self) -> u32 {
        self.window.rows.kernel * self.window.columns.kernel * self.channels
    }

    fn lanes(&self) -> u32 {
        if self.channels.is_multiple_of(4) {
            self.channels / 4
        } else {
            self.channels
        }
    }

    fn lines(&self) -> u32 {
        self.batch * self.window.rows.output
    }

    fn parts(&self, tier: Tier) -> u32 {
        let enough = if tier == Tier::Software { 256 } else { 16_384 };
        split(
            self.lines(),
            self.lanes() * self.window.rows.kernel,
            enough,
            4,
        )
    }

    fn first(&self, tier: Tier, parts: u32) -> Kernel {
        let workgroup = if tier == Tier::Software { 16 } else { 64 };
        let element = if self.channels.is_multiple_of(4) {
            "vec4<f32>"
        } else {
            "f32"
        };
        let invocations = self.lanes() * self.window.rows.kernel * parts;
        let pixels = self
            .window
            .columns
            .output
            .min(if tier == Tier::Software { 8 } else { 4 });
        let mut text = Text::new(Storage::F32, tier);
        text.bind("x_", element)
            .bind("dy", element)
            .bind("result", element);
        text.size_all([
            ("LANES", self.lanes()),
            ("LINES", self.lines()),
            ("PARTS", parts),
            ("PART_LINES", self.lines().div_ceil(parts)),
        ]);
        self.window.forward().write(&mut text);
        text.range('u', pixels)
            .range('k', self.window.columns.kernel);
        text.piece(&format!("alias Lane = {element};"));
        let piece = include_str!("depthwise_weight_gradient.wgsl");
        text.piece(&piece.replace("//: body\n", &self.body(pixels)));
        let name = format!(
            "depthwise_weight_gradient_{}_{}",
            self.window.name(),
            self.channels
        );
        text.kernel(&name, workgroup, invocations.div_ceil(workgroup))
    }

    /// Every number of x that some tap of some pixel meets, then each tap's chain of products.
    fn body(&self, pixels: u32) -> String {
        let side = self.window.columns;
        let offset = |pixel: u32, tap: u32| pixel * side.stride + tap * side.dilation;
        let met: BTreeSet<u32> = (0..pixels)
            .flat_map(|u| (0..side.kernel).map(move |k| offset(u, k)))
            .collect();
        let mut out = String::new();
        for x in met {
            let _ = writeln!(
                out,
                "            let outside{x} = origin + {x}u >= SOURCE_X;\n            \
                 let at{x} = (map_line + select(origin + {x}u, 0u, outside{x})) * LANES + channel;\n            \
                 let x{x} = select(Lane(x_[at{x}]), Lane(), outside{x});"
            );
        }
        for k in 0..side.kernel {
            let chain = (0..pixels).fold(format!("sum{k}"), |sum, u| {
                format!("fma(x{}, dy{u}, {sum})", offset(u, k))
            });
            let _ = writeln!(out, "            sum{k} = {chain};");
        }
        out
    }
}
