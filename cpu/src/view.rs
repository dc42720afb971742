//! Batches of maps, channels last, as the kernels see them.

use std::ops::Range;

/// A batch of maps, channels last: element (n, y, x, c) is
/// `data[((n * rows + y) * columns + x) * pitch + c]`.
///
/// Tokens `[N, T, C]` are the same thing with one row of T columns. A `pitch` greater than `channels`
/// means a slice of the channels of a wider map.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The elements; may be longer than needed.
    pub data: &'a [f32],
    /// Maps.
    pub batch: usize,
    /// Rows of a map.
    pub rows: usize,
    /// Columns of a map.
    pub columns: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// From one pixel to the next, in elements.
    pub pitch: usize,
}

/// A [`View`] that can be written.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// The elements; may be longer than needed.
    pub data: &'a mut [f32],
    /// Maps.
    pub batch: usize,
    /// Rows of a map.
    pub rows: usize,
    /// Columns of a map.
    pub columns: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// From one pixel to the next, in elements.
    pub pitch: usize,
}

/// Panics unless `length` elements hold the maps: the kernels read and write without further checks.
fn check(length: usize, pixels: usize, channels: usize, pitch: usize) {
    assert!(
        pitch >= channels,
        "a pitch of {pitch} is less than the {channels} channels of a pixel"
    );
    if pixels == 0 || channels == 0 {
        return;
    }
    let needed = (pixels - 1)
        .checked_mul(pitch)
        .and_then(|start| start.checked_add(channels))
        .unwrap_or(usize::MAX);
    assert!(
        length >= needed,
        "{pixels} pixels of {channels} channels at a pitch of {pitch} need {needed} elements, not {length}"
    );
}

/// The number of pixels; panics where it does not fit the machine.
fn count(batch: usize, rows: usize, columns: usize) -> usize {
    batch
        .checked_mul(rows)
        .and_then(|lines| lines.checked_mul(columns))
        .unwrap_or_else(|| panic!("{batch} maps of {rows}×{columns} pixels are too many"))
}

impl<'a> View<'a> {
    /// Dense maps (pitch = channels). Panics if `data` is too short.
    pub fn new(
        data: &'a [f32],
        batch: usize,
        rows: usize,
        columns: usize,
        channels: usize,
    ) -> Self {
        Self::with_pitch(data, batch, rows, columns, channels, channels)
    }

    /// Maps whose pixels are `pitch` elements apart. Panics if `data` is too short.
    pub fn with_pitch(
        data: &'a [f32],
        batch: usize,
        rows: usize,
        columns: usize,
        channels: usize,
        pitch: usize,
    ) -> Self {
        let view = Self {
            data,
            batch,
            rows,
            columns,
            channels,
            pitch,
        };
        view.check();
        view
    }

    /// The same pixels with some of their channels. Panics if there are not that many.
    pub fn slice_channels(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.channels);
        let from = range.start.min(self.data.len());
        Self {
            data: &self.data[from..],
            channels: range.end - range.start,
            ..self
        }
    }

    /// Pixels of all maps together.
    pub fn pixels(&self) -> usize {
        count(self.batch, self.rows, self.columns)
    }

    /// Whether pixel follows pixel without a gap.
    pub fn is_dense(&self) -> bool {
        self.pitch == self.channels
    }

    /// Panics unless the data hold the maps.
    pub(crate) fn check(&self) {
        check(self.data.len(), self.pixels(), self.channels, self.pitch);
    }
}

impl<'a> ViewMut<'a> {
    /// Dense maps (pitch = channels). Panics if `data` is too short.
    pub fn new(
        data: &'a mut [f32],
        batch: usize,
        rows: usize,
        columns: usize,
        channels: usize,
    ) -> Self {
        Self::with_pitch(data, batch, rows, columns, channels, channels)
    }

    /// Maps whose pixels are `pitch` elements apart. Panics if `data` is too short.
    pub fn with_pitch(
        data: &'a mut [f32],
        batch: usize,
        rows: usize,
        columns: usize,
        channels: usize,
        pitch: usize,
    ) -> Self {
        let view = Self {
            data,
            batch,
            rows,
            columns,
            channels,
            pitch,
        };
        view.check();
        view
    }

    /// The same pixels with some of their channels. Panics if there are not that many.
    pub fn slice_channels(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.channels);
        let from = range.start.min(self.data.len());
        Self {
            data: &mut self.data[from..],
            channels: range.end - range.start,
            ..self
        }
    }

    /// The same maps, to be handed on while this view lives on.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut {
            data: self.data,
            ..*self
        }
    }

    /// The same maps, to be read.
    pub fn as_view(&self) -> View<'_> {
        View {
            data: self.data,
            batch: self.batch,
            rows: self.rows,
            columns: self.columns,
            channels: self.channels,
            pitch: self.pitch,
        }
    }

    /// Pixels of all maps together.
    pub fn pixels(&self) -> usize {
        count(self.batch, self.rows, self.columns)
    }

    /// Panics unless the data hold the maps.
    pub(crate) fn check(&self) {
        check(self.data.len(), self.pixels(), self.channels, self.pitch);
    }
}
