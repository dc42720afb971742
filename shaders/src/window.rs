//! Where the pixels and taps of a convolution meet.

use crate::text::Text;

/// One side of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// Pixels of the input.
    pub input: u32,
    /// Pixels of the output.
    pub output: u32,
    /// Taps of the window.
    pub kernel: u32,
    /// Input pixels from one window to the next.
    pub stride: u32,
    /// Input pixels from one tap to the next.
    pub dilation: u32,
    /// Pixels imagined before the input's first; those after its last follow from `output`.
    pub padding: u32,
}

impl Side {
    /// A side whose output is as long as PyTorch makes it with the same padding at both ends.
    pub fn new(input: u32, kernel: u32, stride: u32, dilation: u32, padding: u32) -> Self {
        let reach = dilation * (kernel - 1) + 1;
        Self {
            input,
            output: (input + 2 * padding - reach) / stride + 1,
            kernel,
            stride,
            dilation,
            padding,
        }
    }

    /// No tap of any window lies outside the input.
    fn inside(self) -> bool {
        self.padding == 0
            && (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation < self.input
    }

    /// Each output pixel is the input pixel of the same number.
    fn same(self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0 && self.input == self.output
    }

    /// The forward direction: pixels of the output are visited, those of the input read.
    fn forward(self) -> Walk {
        Walk {
            visited: self.output,
            source: self.input,
            target: self.output,
            taps: self.kernel,
            kernel: self.kernel,
            step: self.stride,
            first: self.padding.wrapping_neg(),
            tap_step: self.dilation,
            pick: 1,
            pick_first: 0,
            put: 1,
            put_first: 0,
            inside: self.inside(),
        }
    }

    /// The gradient's direction: pixels of the input are visited, those of the output read. Only
    /// every so many taps meet a pixel, the same ones for pixels a stride apart: each phase is a
    /// plain convolution with part of the window.
    fn backward(self) -> Vec<Walk> {
        let common = gcd(self.stride, self.dilation);
        let (period, reverse) = (self.stride / common, self.dilation / common);
        (0..self.stride.min(self.input))
            .map(|phase| {
                let met = |tap: &u32| {
                    let (pixel, tap) = (phase + self.padding, tap * self.dilation);
                    pixel % self.stride == tap % self.stride
                };
                let first_tap = (0..self.kernel.min(period)).find(met);
                let taps = first_tap.map_or(0, |first| (self.kernel - first).div_ceil(period));
                let first = i64::from(phase + self.padding)
                    - i64::from(first_tap.unwrap_or(0) * self.dilation);
                Walk {
                    visited: (self.input - phase).div_ceil(self.stride),
                    source: self.output,
                    target: self.input,
                    taps,
                    kernel: self.kernel,
                    step: 1,
                    // Exact where there is a tap at all; negative numbers wrap as in the text.
                    first: first.div_euclid(i64::from(self.stride)) as u32,
                    tap_step: reverse.wrapping_neg(),
                    pick: period,
                    pick_first: first_tap.unwrap_or(0),
                    put: self.stride,
                    put_first: phase,
                    inside: false,
                }
            })
            .collect()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The pixels that are visited along one side, and the taps that each of them meets. All numbers
/// wrap around: a negative place is a huge one, and outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Walk {
    /// How many pixels are visited.
    pub(crate) visited: u32,
    /// Length of the map that is read.
    pub(crate) source: u32,
    /// Length of the map that is written.
    target: u32,
    /// How many taps each pixel meets.
    pub(crate) taps: u32,
    /// How many the window has.
    kernel: u32,
    /// From one visited pixel to the next, in the source.
    pub(crate) step: u32,
    /// Where the first visited pixel's first tap lies in the source.
    first: u32,
    /// From one tap to the next, in the source.
    pub(crate) tap_step: u32,
    /// From one tap to the next, in the window.
    pick: u32,
    /// The first tap.
    pick_first: u32,
    /// From one visited pixel to the next, in the target.
    put: u32,
    /// The first visited pixel, in the target.
    put_first: u32,
    /// No tap lies outside the source.
    inside: bool,
}

/// Both sides of a window sliding over the maps of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Top to bottom.
    pub rows: Side,
    /// Left to right.
    pub columns: Side,
}

impl Window {
    /// The output's pixels are the input's.
    pub(crate) fn same(&self) -> bool {
        self.rows.same() && self.columns.same()
    }

    /// `3x3_s2`, for names.
    pub(crate) fn name(&self) -> String {
        let (rows, columns) = (self.rows, self.columns);
        format!("{}x{}_s{}", rows.kernel, columns.kernel, columns.stride)
    }

    pub(crate) fn forward(&self) -> Walks {
        Walks {
            rows: self.rows.forward(),
            columns: self.columns.forward(),
        }
    }

    pub(crate) fn backward(&self) -> Vec<Walks> {
        let columns = self.columns.backward();
        self.rows
            .backward()
            .into_iter()
            .flat_map(|rows| columns.iter().map(move |&columns| Walks { rows, columns }))
            .collect()
    }
}

/// Both sides of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Walks {
    pub(crate) rows: Walk,
    pub(crate) columns: Walk,
}

impl Walks {
    pub(crate) fn visited(&self) -> u32 {
        self.rows.visited * self.columns.visited
    }

    pub(crate) fn taps(&self) -> u32 {
        self.rows.taps * self.columns.taps
    }

    pub(crate) fn inside(&self) -> bool {
        self.rows.inside && self.columns.inside
    }

    /// Every tap of the window is met in its own order, every pixel of the target written in its.
    pub(crate) fn whole(&self) -> bool {
        let whole = |side: Walk| side.pick == 1 && side.put == 1 && side.taps == side.kernel;
        whole(self.rows) && whole(self.columns)
    }

    /// The constants of `window.wgsl`.
    pub(crate) fn write(&self, text: &mut Text) {
        for (side, walk) in [("Y", self.rows), ("X", self.columns)] {
            for (name, value) in [
                ("VISITED", walk.visited),
                ("SOURCE", walk.source),
                ("TARGET", walk.target),
            ] {
                text.size(&format!("{name}_{side}"), value);
            }
            for (name, value) in [
                // Zero taps are no divisor.
                ("TAPS", walk.taps.max(1)),
                ("KERNEL", walk.kernel),
                ("STEP", walk.step),
                ("FIRST", walk.first),
                ("TAP_STEP", walk.tap_step),
                ("PICK", walk.pick),
                ("PICK_FIRST", walk.pick_first),
                ("PUT", walk.put),
                ("PUT_FIRST", walk.put_first),
            ] {
                text.set(&format!("{name}_{side}"), value);
            }
        }
        text.flag("whole", self.whole());
        text.piece(include_str!("window.wgsl"));
    }
}
