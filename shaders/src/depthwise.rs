//! Depthwise convolution and its gradient with respect to the input.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::epilogue::Epilogue;
use crate::text::Text;
use crate::window::{Walk, Walks, Window};
use crate::{Kernel, Storage, Tier};

/// `activation(depthwise(x, w) + bias + residual)`.
///
/// Buffers: x `[batch, rows.input, columns.input, channels]`, w
/// `[rows.kernel, columns.kernel, channels]`, bias `[channels]` if any, residual
/// `[batch, rows.output, columns.output, channels]` if any, result like the residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Depthwise {
    /// Images.
    pub batch: u32,
    /// Channels of input and output.
    pub channels: u32,
    /// The sliding window.
    pub window: Window,
    /// What follows.
    pub epilogue: Epilogue,
    /// How numbers are stored.
    pub storage: Storage,
}

impl Depthwise {
    /// The kernel; binds x, w, bias?, residual?, result.
    pub fn kernel(&self, tier: Tier) -> Kernel {
        let name = format!("depthwise_{}_{}", self.window.name(), self.channels);
        let (batch, channels) = (self.batch, self.channels);
        let walks = self.window.forward();
        kernel(
            &name,
            batch,
            channels,
            walks,
            self.epilogue,
            self.storage,
            tier,
        )
    }
}

/// The gradient of a depthwise convolution's input, which is a transposed convolution, and what follows.
///
/// Buffers: dy `[batch, rows.output, columns.output, channels]`, w as in the forward pass, bias `[channels]` if any,
/// residual `[batch, rows.input, columns.input, channels]` if any, dx like the residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseDataGradient {
    /// Images.
    pub batch: u32,
    /// Channels of input and output.
    pub channels: u32,
    /// The convolution's window.
    pub window: Window,
    /// What follows; nothing in a gradient.
    pub epilogue: Epilogue,
    /// How numbers are stored.
    pub storage: Storage,
}

impl DepthwiseDataGradient {
    /// One kernel for each phase of the stride, in any order; all bind dy, w, bias?, residual?, dx, and together
    /// they write every number of dx once.
    pub fn kernels(&self, tier: Tier) -> Vec<Kernel> {
        let name = format!(
            "depthwise_data_gradient_{}_{}",
            self.window.name(),
            self.channels
        );
        let phases = self.window.backward();
        let one = |walks| {
            kernel(
                &name,
                self.batch,
                self.channels,
                walks,
                self.epilogue,
                self.storage,
                tier,
            )
        };
        phases.into_iter().map(one).collect()
    }
}

fn kernel(
    name: &str,
    batch: u32,
    channels: u32,
    walks: Walks,
    epilogue: Epilogue,
    storage: Storage,
    tier: Tier,
) -> Kernel {
    let by_four = channels.is_multiple_of(4);
    let lane = if by_four { 4 } else { 1 };
    let (down, across) = patch(&walks, tier);
    let patches_y = walks.rows.visited.div_ceil(down);
    let patches_x = walks.columns.visited.div_ceil(across);
    let patches = batch * patches_y * patches_x * (channels / lane);
    let mut text = Text::new(storage, tier);
    text.set_all([("LANE", lane), ("PATCH_Y", down), ("PATCH_X", across)]);
    text.size_all([
        ("CHANNELS", channels),
        ("LANES", channels / lane),
        ("PATCHES_Y", patches_y),
        ("PATCHES_X", patches_x),
        ("PATCHES", patches),
    ]);
    text.bind_numbers("x_", by_four).bind_numbers("w", by_four);
    epilogue.write(&mut text, by_four);
    // Patches that stick out of the result load what the last window may not reach.
    let even =
        walks.rows.visited.is_multiple_of(down) && walks.columns.visited.is_multiple_of(across);
    text.flag("inside", walks.inside() && even);
    walks.write(&mut text);
    text.piece(if by_four {
        "alias Lane = vec4<f32>;"
    } else {
        "alias Lane = f32;"
    });
    text.piece(&include_str!("depthwise.wgsl").replace("//: body\n", &body(&walks, down, across)));
    let workgroup = if tier == Tier::Software { 16 } else { 64 };
    text.kernel(name, workgroup, patches.div_ceil(workgroup))
}

/// Rows and columns of the patch that takes the fewest loads and wastes the fewest pixels.
fn patch(walks: &Walks, tier: Tier) -> (u32, u32) {
    let reach = |walk: &Walk, pixels: u32| u64::from(offsets(walk, pixels).len() as u32);
    // GPUs have caches for rows and too few registers for more than a strip.
    let (tallest, most) = if tier == Tier::Software {
        (4, 100)
    } else {
        (1, 320)
    };
    let columns = match tier {
        Tier::Software => &[8, 7, 6, 5, 4, 2, 1][..],
        _ => &[4, 2, 1][..],
    };
    let taps = walks.taps().max(1);
    let cost = |&(down, across): &(u32, u32)| {
        let patches = walks.rows.visited.div_ceil(down) * walks.columns.visited.div_ceil(across);
        let loads = reach(&walks.rows, down) * reach(&walks.columns, across) + u64::from(taps);
        // An invocation's own arithmetic costs about as much as a few loads.
        let each = 4 * loads + u64::from(down * across * taps) + 24;
        u64::from(patches) * each
    };
    (1..=tallest)
        .flat_map(|down| columns.iter().map(move |&across| (down, across)))
        .filter(|(down, across)| down * across * taps <= most || down * across == 1)
        .min_by_key(cost)
        .unwrap_or((1, 1))
}

/// Places in the source that `pixels` neighbours meet, from the first one's first tap.
fn offsets(walk: &Walk, pixels: u32) -> BTreeSet<i32> {
    let taps = 0..walk.taps;
    taps.flat_map(|tap| (0..pixels).map(move |pixel| offset(walk, pixel, tap)))
        .collect()
}

fn offset(walk: &Walk, pixel: u32, tap: u32) -> i32 {
    (pixel * walk.step) as i32 + tap as i32 * walk.tap_step as i32
}

/// Loads and sums of a patch, row by row of the source, each weight when it is first needed.
fn body(walks: &Walks, down: u32, across: u32) -> String {
    let (rows, columns) = (&walks.rows, &walks.columns);
    let pixels = || (0..down).flat_map(move |r| (0..across).map(move |s| (r, s)));
    // Names cannot have a minus; numbers wrap in the text.
    let tag = |number: i32| number.to_string().replace('-', "m");
    let mut out = String::new();
    let mut loaded = BTreeSet::new();
    let mut links = vec![0; (down * across) as usize];
    // A phase without taps is zero, but every binding must be used.
    let nothing = if walks.taps() == 0 {
        "select(Lane(), load(0u, 0u, image, channel) * weight(0u, channel), LANES == 0u)"
    } else {
        "Lane()"
    };
    for (r, s) in pixels() {
        let _ = writeln!(out, "    let sum{r}_{s}_0 = {nothing};");
    }
    for y in offsets(rows, down) {
        for x in offsets(columns, across) {
            let _ = writeln!(
                out,
                "    let x{}_{} = load(first.x + {}u, first.y + {}u, image, channel);",
                tag(y),
                tag(x),
                y as u32,
                x as u32
            );
        }
        for tap_y in 0..rows.taps {
            let Some(r) = (0..down).find(|&r| offset(rows, r, tap_y) == y) else {
                continue;
            };
            for tap_x in 0..columns.taps {
                if loaded.insert((tap_y, tap_x)) {
                    let tap = tap_y * columns.taps + tap_x;
                    let _ = writeln!(
                        out,
                        "    let w{tap_y}_{tap_x} = weight(window_tap({tap}u), channel);"
                    );
                }
            }
            for s in 0..across {
                let link = &mut links[(r * across + s) as usize];
                for tap_x in 0..columns.taps {
                    let x = offset(columns, s, tap_x);
                    let _ = writeln!(
                        out,
                        "    let sum{r}_{s}_{} = fma(x{}_{}, w{tap_y}_{tap_x}, sum{r}_{s}_{link});",
                        *link + 1,
                        tag(y),
                        tag(x)
                    );
                    *link += 1;
                }
            }
        }
    }
    for (r, s) in pixels() {
        let link = links[(r * across + s) as usize];
        let _ = writeln!(
            out,
            "    store(sum{r}_{s}_{link}, y + {r}u, x + {s}u, image, channel);"
        );
    }
    out
}
