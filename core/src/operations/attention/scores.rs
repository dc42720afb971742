//! Attention on tensors: windows cut out and put together again, queries, keys and values, scores.

use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor, TensorData};

use crate::graph::{Attention, Neighbourhood, Packing, relative_position_index, shift_mask};

/// The rows of a bias table `[(2·side − 1)², heads]` for each pair of positions.
///
/// # Shapes
///
/// - returns: `[heads, side², side²]`
pub(super) fn gather_bias(table: Tensor<2>, side: usize, heads: usize) -> Tensor<3> {
    let positions = side * side;
    let index: Vec<i32> = relative_position_index(side)
        .into_iter()
        .map(|row| row as i32)
        .collect();
    let count = index.len();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [count]), &table.device());
    table
        .select(0, index)
        .reshape([positions, positions, heads])
        .permute([2, 0, 1])
}

/// Queries, keys and values out of the packed projection.
///
/// # Shapes
///
/// - projected: `[N, T, 3·C]`
/// - returns: `[N, heads, T, C / heads]` each
pub(super) fn unpack(projected: Tensor<3>, packing: Packing, heads: usize) -> [Tensor<4>; 3] {
    let [n, t, width] = projected.dims();
    let depth = width / 3 / heads;
    [0, 1, 2].map(|part| match packing {
        Packing::Projection => projected
            .clone()
            .narrow(2, part * heads * depth, heads * depth)
            .reshape([n, t, heads, depth])
            .swap_dims(1, 2),
        Packing::Head => projected
            .clone()
            .reshape([n, t, heads, 3 * depth])
            .narrow(3, part * depth, depth)
            .swap_dims(1, 2),
    })
}

/// Rows scaled to length one, as `torch.nn.functional.normalize` does.
pub(crate) fn unit(x: Tensor<4>) -> Tensor<4> {
    // Limited before the root: the keys of padding are zero, where the root's own slope is infinite.
    let length = x.clone().powi_scalar(2).sum_dim(3).clamp_min(1e-24).sqrt();
    x / length
}

/// Attention scores `[N, heads, T, T]`.
pub(super) struct Scores(pub Tensor<4>);

impl Scores {
    /// Adds `[heads, T, T]` for every sequence.
    pub fn plus_bias(self, bias: Tensor<3>) -> Self {
        Self(self.0 + bias.unsqueeze::<4>())
    }

    /// Adds `[windows, T, T]` for every head, where sequences are the windows of whole images.
    pub fn plus_mask(self, mask: Tensor<3>) -> Self {
        let [n, heads, t, _] = self.0.dims();
        let [windows, ..] = mask.dims();
        let mask = mask.reshape([1, windows, 1, t, t]);
        let scores = self.0.reshape([n / windows, windows, heads, t, t]) + mask;
        Self(scores.reshape([n, heads, t, t]))
    }
}

/// Cuts maps into windows, lets `attend` work on each, and puts them together again.
///
/// # Shapes
///
/// - map: `[N, H, W, C]`
/// - attend: tokens `[N·windows, T, C]` and, for shifted windows, the mask `[windows, T, T]` that
///   keeps apart what the shift brought together
pub(super) fn in_windows(
    attention: &Attention,
    map: Tensor<4>,
    attend: impl FnOnce(Tensor<3>, Option<Tensor<3>>) -> Tensor<3>,
) -> Tensor<4> {
    let [n, height, width, channels] = map.dims();
    match attention.neighbourhood {
        Neighbourhood::All => {
            let tokens = attend(map.reshape([n, height * width, channels]), None);
            let [_, _, channels] = tokens.dims();
            tokens.reshape([n, height, width, channels])
        }
        Neighbourhood::Block { side } => {
            let (rows, columns) = (height / side, width / side);
            // [N, rows, side, columns, side, C] → [N, rows, columns, side, side, C]
            let windows = map
                .reshape([n, rows, side, columns, side, channels])
                .permute([0, 1, 3, 2, 4, 5])
                .reshape([n * rows * columns, side * side, channels]);
            attend(windows, None)
                .reshape([n, rows, columns, side, side, channels])
                .permute([0, 1, 3, 2, 4, 5])
                .reshape([n, height, width, channels])
        }
        Neighbourhood::Grid { side } => {
            let (rows, columns) = (height / side, width / side);
            // [N, side, rows, side, columns, C] → [N, rows, columns, side, side, C]
            let grids = map
                .reshape([n, side, rows, side, columns, channels])
                .permute([0, 2, 4, 1, 3, 5])
                .reshape([n * rows * columns, side * side, channels]);
            attend(grids, None)
                .reshape([n, rows, columns, side, side, channels])
                .permute([0, 3, 1, 4, 2, 5])
                .reshape([n, height, width, channels])
        }
        Neighbourhood::Window { side, shift } => {
            let (rows, columns) = (height.div_ceil(side), width.div_ceil(side));
            let (full_height, full_width) = (rows * side, columns * side);
            let (below, right) = (full_height - height, full_width - width);
            let map = match below + right {
                0 => map,
                _ => map.pad(
                    [(0, 0), (0, below), (0, right), (0, 0)],
                    PadMode::Constant(0.0),
                ),
            };
            // A single window has nowhere to shift to.
            let shifts = [
                if side >= full_height { 0 } else { shift },
                if side >= full_width { 0 } else { shift },
            ];
            let is_shifted = shifts != [0, 0];
            let device = map.device();
            let map = roll(roll(map, 1, shifts[0]), 2, shifts[1]);
            let windows = map
                .reshape([n, rows, side, columns, side, channels])
                .permute([0, 1, 3, 2, 4, 5])
                .reshape([n * rows * columns, side * side, channels]);
            let mask = is_shifted.then(|| {
                let mask = shift_mask([full_height, full_width], side, shifts);
                let positions = side * side;
                let data = TensorData::new(mask, [rows * columns, positions, positions]);
                Tensor::<3>::from_data(data, &device)
            });
            let map = attend(windows, mask)
                .reshape([n, rows, columns, side, side, channels])
                .permute([0, 1, 3, 2, 4, 5])
                .reshape([n, full_height, full_width, channels]);
            let map = roll(
                roll(map, 1, (full_height - shifts[0]) % full_height),
                2,
                (full_width - shifts[1]) % full_width,
            );
            match below + right {
                0 => map,
                _ => map.slice([0..n, 0..height, 0..width, 0..channels]),
            }
        }
    }
}

/// Moves everything `by` positions towards the start of an axis, with wrap-around.
fn roll(map: Tensor<4>, axis: usize, by: usize) -> Tensor<4> {
    if by == 0 {
        return map;
    }
    let length = map.dims()[axis];
    let head = map.clone().narrow(axis, 0, by);
    let tail = map.narrow(axis, by, length - by);
    Tensor::cat(vec![tail, head], axis)
}
