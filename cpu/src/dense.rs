//! Convolutions as matrix products whose rows are read where they lie in the maps.

#![allow(unsafe_code)] // Pointers into the maps, handed to the product.

use std::ops::Range;

use crate::activation::Activation;
use crate::gemm::{BLOCK, Packed, Product};
use crate::geometry::{ConvGeometry, Filters};
use crate::simd::Level;
use crate::source::{Source, reads_whole_rows, with_source};
use crate::threads::{Output, chunk, chunks, parallel};
use crate::view::{View, ViewMut};

/// Rows per core below which the work is divided by output channels instead: fewer would not be worth
/// reading the weights for.
const FEW_ROWS: usize = 24;

/// A multiple of the rows of every tile.
const UNIT: usize = 24;

/// Packed weights of a convolution, one matrix per group.
#[derive(Debug)]
pub(crate) struct Dense {
    geometry: ConvGeometry,
    /// With few channels, the taps of a kernel's row are neighbours in memory once the maps are
    /// padded: one long tap instead of many short ones.
    whole_rows: bool,
    groups: Vec<Packed>,
    /// What a tap reads outside the maps.
    zeros: Vec<f32>,
}

/// How many groups to multiply as one, with zeros where they do not see each other: groups of fewer columns
/// than a vector has would leave the rest of it idle.
pub(crate) fn groups_together(groups: usize, columns: usize, lanes: usize) -> usize {
    let most = (lanes / columns.max(1)).max(1);
    (1..=most.min(groups))
        .rev()
        .find(|together| groups.is_multiple_of(*together))
        .unwrap_or(1)
}

/// The weights of one group, `[output, kernel columns, input, kernel rows]`.
fn by_columns(weights: &Filters<'_>, geometry: &ConvGeometry) -> Vec<f32> {
    let [rows, columns] = geometry.kernel;
    let mut turned = vec![0.0; geometry.output * columns * geometry.input * rows];
    let filters = turned.chunks_exact_mut(columns * geometry.input * rows);
    for (output, filter) in filters.enumerate() {
        for input in 0..geometry.input {
            let own = weights.from(output, input);
            for (row, line) in weights.taps().chunks_exact(columns).enumerate() {
                for (column, &at) in line.iter().enumerate() {
                    filter[(column * geometry.input + input) * rows + row] = own[at];
                }
            }
        }
    }
    turned
}

impl Dense {
    /// Packs weights.
    pub(crate) fn new(
        level: Level,
        geometry: ConvGeometry,
        weights: &Filters<'_>,
        bias: &[f32],
    ) -> Self {
        let [kernel_rows, kernel_columns] = geometry.kernel;
        let taps = geometry.taps();
        let whole_rows = reads_whole_rows(&geometry);
        let depth = geometry.input / geometry.groups;
        let width = geometry.output / geometry.groups;
        let together = groups_together(geometry.groups, width, level.lanes());
        let groups = (0..geometry.groups / together)
            .map(|group| {
                let bias = match bias {
                    [] => &[],
                    bias => &bias[group * together * width..][..together * width],
                };
                let first = group * together * width;
                let element = |column: usize, tap: usize, k: usize| {
                    if column / width != k / depth {
                        return 0.0;
                    }
                    weights.weight(first + column, k % depth, tap)
                };
                let width = width * together;
                if whole_rows {
                    let depth = kernel_columns * geometry.input;
                    let filters = by_columns(weights, &geometry);
                    let mut packed =
                        Packed::zeros(level, kernel_rows, depth, width).with_bias(bias);
                    packed.fill_columns(width, |column| {
                        let numbers = &filters[column * depth * kernel_rows..];
                        (&numbers[..depth * kernel_rows], weights.factor(column))
                    });
                    packed
                } else if together == 1 {
                    let mut packed = Packed::zeros(level, taps, depth, width).with_bias(bias);
                    if weights.has_whole_outputs() {
                        packed.fill_columns(width, |column| {
                            let numbers = weights.from(first + column, 0);
                            (&numbers[..depth * taps], weights.factor(first + column))
                        });
                    } else {
                        packed.fill_turned(weights, first);
                    }
                    packed
                } else {
                    Packed::new(level, taps, depth * together, width, bias, element)
                }
            })
            .collect();
        Self {
            geometry,
            whole_rows,
            groups,
            zeros: vec![0.0; geometry.input],
        }
    }

    /// One word for listings.
    pub(crate) fn name(&self) -> &'static str {
        match (self.whole_rows, self.geometry.groups, self.geometry.taps()) {
            (true, ..) => "rows",
            (_, 1, 1) => "gemm",
            (_, 1, _) => "indirect",
            _ => "grouped",
        }
    }

    /// The convolution; the shapes have been checked.
    pub(crate) fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        let size = [output.rows, output.columns];
        self.with_source(input, size, |source| {
            self.multiply(source, residual, activation, output);
        });
    }

    fn multiply(
        &self,
        source: &Source,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        let pixels = output.pixels();
        let packed = &self.groups[0];
        let panels = packed.panels() * self.groups.len();
        let weights = packed.taps() * packed.depth() * packed.columns();
        let (by_rows, by_panels) = divide(pixels, panels, pixels * weights * self.groups.len());
        let (start, start_pitch) = match &residual {
            Some(residual) => (residual.data.as_ptr(), residual.pitch),
            None => (std::ptr::null(), 0),
        };
        let target = Target {
            start: Output::reading(start),
            start_pitch,
            pitch: output.pitch,
            output: Output::new(output.data),
            activation,
        };
        parallel(by_rows * by_panels, |index| {
            let rows = chunk(pixels, UNIT.min(pixels), index % by_rows, by_rows);
            let mine = chunk(panels, 1, index / by_rows, by_panels);
            // SAFETY: the views were checked; chunks differ in their rows or in their panels.
            unsafe { self.part(source, rows, mine, &target) };
        });
    }

    /// Computes some pixels' channels, those of some panels of all groups.
    ///
    /// # Safety
    /// These pixels of the target must be writable, and what they start from readable; nobody else may write there
    /// meanwhile.
    unsafe fn part(
        &self,
        source: &Source,
        rows: Range<usize>,
        mine: Range<usize>,
        target: &Target,
    ) {
        let packed = &self.groups[0];
        let (width, depth) = (packed.columns(), packed.depth());
        let (start, pitch) = (target.start, target.pitch);
        let blocks = rows.len().div_ceil(BLOCK);
        let mut pointers = Vec::with_capacity(packed.taps() * BLOCK.min(rows.len()));
        for block in 0..blocks {
            let inner = chunk(rows.len(), UNIT.min(BLOCK), block, blocks);
            let (from, count) = (rows.start + inner.start, inner.len());
            source.pointers(from..from + count, &mut pointers);
            let mut panel = mine.start;
            while panel < mine.end {
                let group = panel / packed.panels();
                let first = panel % packed.panels();
                let last = (first + mine.end - panel).min(packed.panels());
                if group > 0 && (panel == mine.start || first == 0) {
                    let shift = if panel == mine.start { group } else { 1 };
                    for pointer in &mut pointers {
                        *pointer = pointer.wrapping_add(shift * depth);
                    }
                }
                let product = Product {
                    pointers: &pointers,
                    rows: count,
                    start: if start.is_null() {
                        std::ptr::null()
                    } else {
                        let at = from * target.start_pitch + group * width;
                        start.at(at).cast_const()
                    },
                    start_pitch: target.start_pitch,
                    output: target.output.at(from * pitch + group * width),
                    output_pitch: pitch,
                    activation: target.activation,
                };
                // SAFETY: the caller's.
                unsafe { self.groups[group].multiply(&product, first..last) };
                panel += last - first;
            }
        }
    }

    /// Computes all channels of some pixels of maps that would begin at `output`, without gaps, and of which only
    /// these need be there.
    ///
    /// # Safety
    /// As above.
    pub(crate) unsafe fn pixels(
        &self,
        source: &Source,
        pixels: Range<usize>,
        activation: Activation,
        output: Output,
    ) {
        let target = Target {
            start: Output::reading(std::ptr::null()),
            start_pitch: 0,
            output,
            pitch: self.geometry.output,
            activation,
        };
        let panels = self.groups[0].panels() * self.groups.len();
        // SAFETY: the caller's.
        unsafe { self.part(source, pixels, 0..panels, &target) };
    }

    /// Lends `work` maps as the taps see them whose output has so many rows and columns.
    pub(crate) fn with_source(
        &self,
        input: View<'_>,
        output: [usize; 2],
        work: impl FnOnce(&Source),
    ) {
        with_source(&self.geometry, input, output, &self.zeros, work);
    }
}

/// Where results go.
struct Target {
    /// What to start from besides the bias, or null; as the output.
    start: Output,
    start_pitch: usize,
    output: Output,
    pitch: usize,
    activation: Activation,
}

/// Into how many parts to divide the rows and the panels.
fn divide(rows: usize, panels: usize, cost: usize) -> (usize, usize) {
    let count = chunks(rows.div_ceil(UNIT) * panels, cost);
    if rows / count >= FEW_ROWS {
        return (count, 1);
    }
    let by_panels = count.min(panels);
    ((count / by_panels).clamp(1, rows.div_ceil(UNIT)), by_panels)
}
