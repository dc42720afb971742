//! A convolution and the depthwise one that takes what it makes, strip by strip: what is between them stays in the
//! nearest caches instead of going to memory and back.

#![allow(unsafe_code)] // Strips are parts of maps that are not there as a whole.

use std::ops::Range;

use crate::activation::Activation;
use crate::dense::Dense;
use crate::depthwise::{Depthwise, Lines};
use crate::source::Source;
use crate::threads::{Output, chunk, parallel, threads, with_scratch};
use crate::view::{View, ViewMut};

/// Numbers of a strip between the two, if a window's rows are not more: so many stay in the second-level cache, with room
/// for what is read and written meanwhile.
const STRIP: usize = 48 * 1024;

/// Shares to a core. Where two shares meet, some lines are computed twice.
const SHARES: usize = 2;

/// Two convolutions whose maps in between are of one size.
struct Pair<'a> {
    first: &'a Dense,
    source: &'a Source,
    activation: Activation,
    second: &'a Depthwise,
    lines: Lines<'a>,
    /// Rows and columns in between,
    size: [usize; 2],
    /// and channels.
    channels: usize,
    /// Rows of the maps that come out.
    out_rows: usize,
}

impl Pair<'_> {
    /// Rows in between that a strip holds.
    fn height(&self) -> usize {
        let geometry = self.second.geometry();
        let window = (geometry.kernel[0] - 1) * geometry.dilation[0] + 1;
        (STRIP / (self.size[1] * self.channels)).max(window)
    }

    /// The rows in between that a line of a map is made of.
    fn rows(&self, line: usize) -> Range<usize> {
        let geometry = self.second.geometry();
        let (first, last, start) = geometry.clip(0, line, self.size[0]);
        // Where the window lies beyond the map there is none.
        match last.saturating_sub(first) {
            0 => 0..0,
            taps => start..start + (taps - 1) * geometry.dilation[0] + 1,
        }
    }

    /// Some lines of a map, with room for [`Pair::height`] rows.
    ///
    /// # Safety
    /// Nobody else may write to these lines.
    unsafe fn lines(&self, map: usize, lines: Range<usize>, strip: &mut [f32]) {
        let width = self.size[1] * self.channels;
        let height = self.height();
        let pixel = |row: usize| (map * self.size[0] + row) * self.size[1];
        let mut there = 0..0;
        let mut line = lines.start;
        while line < lines.end {
            let mut needed = self.rows(line);
            let from = needed.start;
            // As many lines as the strip has rows for.
            let mut next = line + 1;
            while next < lines.end && self.rows(next).end <= from + height {
                needed.end = needed.end.max(self.rows(next).end);
                next += 1;
            }
            // What the last strip had of it is kept.
            let kept = match there.contains(&from) {
                true => from..there.end.min(needed.end),
                false => from..from,
            };
            if !kept.is_empty() {
                let skipped = (from - there.start) * width;
                strip.copy_within(skipped..skipped + kept.len() * width, 0);
            }
            // Where the maps in between would begin.
            let start = (strip.as_mut_ptr()).wrapping_sub(pixel(from) * self.channels);
            let start = Output::reading(start);
            // SAFETY: the strip has room for these rows; the lines read no others, and are the caller's.
            unsafe {
                let pixels = pixel(kept.end)..pixel(needed.end.max(kept.end));
                self.first
                    .pixels(self.source, pixels, self.activation, start);
                let first = map * self.out_rows;
                self.lines.compute(start, first + line..first + next);
            }
            there = needed;
            line = next;
        }
    }
}

/// second(first(input)), where the first is dense and the second depthwise, over maps in between of `size` rows and
/// columns; the shapes have been checked.
pub(crate) fn run(
    first: (&Dense, Activation),
    second: (&Depthwise, Activation),
    input: View<'_>,
    size: [usize; 2],
    output: ViewMut<'_>,
) {
    let (maps, out_rows) = (output.batch, output.rows);
    let channels = output.channels;
    // What the second reads: no map, but of its shape.
    let between = View {
        data: &[],
        batch: maps,
        rows: size[0],
        columns: size[1],
        channels,
        pitch: channels,
    };
    let lines = second.0.lines(between, None, second.1, output);
    first.0.with_source(input, size, |source| {
        let pair = Pair {
            first: first.0,
            source,
            activation: first.1,
            second: second.0,
            lines,
            size,
            channels,
            out_rows,
        };
        let all = maps * out_rows;
        let count = (threads() * SHARES).min(all);
        parallel(count, |index| {
            let mine = chunk(all, 1, index, count);
            with_scratch(pair.height() * size[1] * channels, |strip| {
                for map in mine.start / out_rows..mine.end.div_ceil(out_rows) {
                    let line = |line: usize| line.saturating_sub(map * out_rows).min(out_rows);
                    // SAFETY: each line is one chunk's.
                    unsafe { pair.lines(map, line(mine.start)..line(mine.end), strip) };
                }
            });
        });
    });
}
