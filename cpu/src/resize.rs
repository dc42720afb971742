//! Resizing of maps inside networks.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::simd::{Floats, Level, load_up_to, splat, store, store_some};
use crate::threads::{Output, chunk, chunks, parallel};
use crate::view::{View, ViewMut};

/// Multiply-adds in the time that an element takes: it waits for memory.
const COST: usize = 4;

/// Which pixels one that is written is made of; never antialiased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The one that [`nearest`] says.
    Nearest,
    /// The four around it, by distance; the maps' edges fall together (`align_corners=False`).
    Bilinear,
}

/// Along one axis, which of `input` pixels the one at `at` of `output` is when maps are resized to the nearest:
/// `⌊at · input / output⌋`. Both operations are rounded to `f32`, as PyTorch does it, which now and then picks the
/// pixel before.
pub fn nearest(at: usize, input: usize, output: usize) -> usize {
    let scale = input as f32 / output as f32;
    ((at as f32 * scale) as usize).min(input.saturating_sub(1))
}

/// Two pixels along an axis, and the share of the second.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

/// Between which pixels each of the output's lies.
fn places(input: usize, output: usize) -> Vec<Between> {
    let scale = input as f64 / output as f64;
    let place = |at: usize| {
        let place = ((at as f64 + 0.5) * scale - 0.5).max(0.0);
        let first = (place as usize).min(input - 1);
        Between {
            first,
            second: (first + 1).min(input - 1),
            share: (place - first as f64) as f32,
        }
    };
    (0..output).map(place).collect()
}

/// One line of the output.
struct Line<'a> {
    /// The line or lines of the input that it is made of, and the share of the second.
    lines: [*const f32; 2],
    share: f32,
    columns: &'a [Between],
    /// Elements that can be read from either line's start.
    room: usize,
    input_pitch: usize,
    output: *mut f32,
    output_pitch: usize,
    channels: usize,
    filter: Filter,
}

impl Line<'_> {
    /// Writes every pixel: `of` makes some of its channels.
    #[inline(always)]
    unsafe fn each<S: Simd>(&self, of: impl Fn(&Between, usize, usize) -> Floats<S>) {
        let lanes = S::lanes32();
        if self.channels < lanes {
            // SAFETY: the caller's.
            return unsafe { self.each_narrow::<S>(of) };
        }
        // SAFETY: whoever made the line vouches for its pixels.
        unsafe {
            for (x, place) in self.columns.iter().enumerate() {
                let to = self.output.add(x * self.output_pitch);
                let mut channel = 0;
                while channel + lanes <= self.channels {
                    store(to.add(channel), of(place, channel, lanes));
                    channel += lanes;
                }
                if channel < self.channels {
                    // Some channels again rather than fewer than a vector holds.
                    let last = self.channels - lanes;
                    store(to.add(last), of(place, last, lanes));
                }
            }
        }
    }

    /// The same for pixels narrower than a vector.
    #[inline(always)]
    unsafe fn each_narrow<S: Simd>(&self, of: impl Fn(&Between, usize, usize) -> Floats<S>) {
        let lanes = S::lanes32();
        // What a whole vector writes beyond its pixel, the pixels after it write anew, if they follow without a gap.
        let dense = self.output_pitch == self.channels;
        // SAFETY: whoever made the line vouches for its pixels.
        unsafe {
            for (x, place) in self.columns.iter().enumerate() {
                let to = self.output.add(x * self.output_pitch);
                let left = (self.columns.len() - x) * self.output_pitch;
                let read = place.first.max(place.second) * self.input_pitch + lanes;
                if dense && left >= lanes && read <= self.room {
                    store(to, of(place, 0, lanes));
                } else {
                    store_some(to, of(place, 0, self.channels), self.channels);
                }
            }
        }
    }
}

/// Some channels between two pixels.
#[inline(always)]
unsafe fn mix<S: Simd>(a: *const f32, b: *const f32, share: Floats<S>, count: usize) -> Floats<S> {
    // SAFETY: the caller's.
    let (a, b) = unsafe { (load_up_to::<S>(a, count), load_up_to::<S>(b, count)) };
    (b - a).mul_add(share, a)
}

impl WithSimd for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let pitch = self.input_pitch;
        let [top, bottom] = self.lines;
        let down = splat::<S>(self.share);
        // SAFETY: places lie within the lines, which whoever made this vouches for.
        unsafe {
            match self.filter {
                Filter::Nearest => self.each::<S>(
                    #[inline(always)]
                    |place, channel, count| {
                        load_up_to(top.add(place.first * pitch + channel), count)
                    },
                ),
                Filter::Bilinear => self.each::<S>(
                    #[inline(always)]
                    |place, channel, count| {
                        let left = place.first * pitch + channel;
                        let right = place.second * pitch + channel;
                        let across = splat::<S>(place.share);
                        let above = mix(top.add(left), top.add(right), across, count);
                        let below = mix(bottom.add(left), bottom.add(right), across, count);
                        (below - above).mul_add(down, above)
                    },
                ),
            }
        }
    }
}

/// Maps of another size, as `torch.nn.functional.interpolate(size=…)` makes them. The output's rows and columns say
/// which.
///
/// # Panics
/// If batches or channels differ, or there is no pixel to make others of.
pub fn resize(filter: Filter, input: View<'_>, output: ViewMut<'_>) {
    input.check();
    output.check();
    assert_eq!(
        [input.batch, input.channels],
        [output.batch, output.channels],
        "maps and channels of input and output"
    );
    if output.pixels() == 0 || output.channels == 0 {
        return;
    }
    assert!(input.rows * input.columns > 0, "maps without a pixel");
    let along = |input: usize, output: usize| match filter {
        Filter::Bilinear => places(input, output),
        Filter::Nearest => {
            let place = |at| Between {
                first: nearest(at, input, output),
                second: 0,
                share: 0.0,
            };
            (0..output).map(place).collect()
        }
    };
    let down = along(input.rows, output.rows);
    let across = along(input.columns, output.columns);
    let level = Level::best();
    let lines = output.batch * output.rows;
    let (rows, columns, pitch) = (output.rows, output.columns, output.pitch);
    let cost = lines * columns * input.channels * COST;
    let to = Output::new(output.data);
    let count = chunks(lines, cost);
    parallel(count, |index| {
        for line in chunk(lines, 1, index, count) {
            let place = down[line % rows];
            let first = line / rows * input.rows;
            let from = |row: usize| &input.data[(first + row) * input.columns * input.pitch..];
            let lines = [from(place.first), from(place.second)];
            level.run(Line {
                room: lines[0].len().min(lines[1].len()),
                lines: lines.map(<[f32]>::as_ptr),
                share: place.share,
                columns: &across,
                input_pitch: input.pitch,
                output: to.at(line * columns * pitch),
                output_pitch: pitch,
                channels: input.channels,
                filter,
            });
        }
    });
}
