//! Multi-head self-attention.

mod export;
mod parts;
mod positions;

pub use parts::{Attention, Neighbourhood, Packing, RelativeBias};
pub use positions::{log_offsets, relative_position_index, shift_mask};

use super::operation::{Exported, Operation, Site, Title, maps};
use crate::graph::layer::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// How many windows a map `[H, W, C]` (or a sequence `[T, C]`) falls into, and the positions in each.
fn windows(neighbourhood: Neighbourhood, shape: &[usize]) -> (usize, usize) {
    let (rows, columns) = (shape[0], if shape.len() == 3 { shape[1] } else { 1 });
    match neighbourhood {
        Neighbourhood::All => (1, rows * columns),
        Neighbourhood::Window { side, .. } | Neighbourhood::Block { side } => {
            (rows.div_ceil(side) * columns.div_ceil(side), side * side)
        }
        Neighbourhood::Grid { side } => (rows * columns / (side * side), side * side),
    }
}

impl Operation for Attention {
    fn title(&self) -> Title {
        Title::Module(match self.neighbourhood {
            Neighbourhood::All => "MultiheadAttention",
            Neighbourhood::Window { .. } => "ShiftedWindowAttention",
            Neighbourhood::Block { .. } | Neighbourhood::Grid { .. } => {
                "RelativePositionalMultiHeadAttention"
            }
        })
    }

    fn layers(&self) -> Vec<LayerId> {
        let mut layers = vec![self.qkv, self.output];
        match &self.bias {
            RelativeBias::None => {}
            RelativeBias::Table(table) => layers.push(*table),
            RelativeBias::Continuous { hidden, output } => layers.extend([*hidden, *output]),
        }
        layers.extend(self.logit_scale);
        layers
    }

    fn shape(&self, inputs: &[&[usize]], layers: &[LayerSpec]) -> Result<Vec<usize>, &'static str> {
        if let Neighbourhood::Block { side } | Neighbourhood::Grid { side } = self.neighbourhood {
            let [rows, columns, _] = maps(inputs[0])?;
            if !rows.is_multiple_of(side) || !columns.is_multiple_of(side) {
                return Err("needs maps that divide into its windows");
            }
        }
        let mut shape = inputs[0].to_vec();
        match (shape.last_mut(), layers[self.output.0].projection()) {
            (Some(last), Some([_, output])) => *last = output,
            _ => return Err("takes tokens or maps"),
        }
        Ok(shape)
    }

    fn multiply_adds(&self, site: &Site) -> u64 {
        let input = site.inputs[0];
        let width = input[input.len() - 1] as u64;
        let (windows, tokens) = windows(self.neighbourhood, input);
        let bias = match &self.bias {
            RelativeBias::Continuous { hidden, output } => {
                let side = (tokens as f64).sqrt().round() as usize;
                let offsets = (2 * side - 1).pow(2) as u64;
                let of = |layer: &LayerId| site.layers[layer.0].multiply_adds_at(offsets);
                of(hidden) + of(output)
            }
            RelativeBias::None | RelativeBias::Table(_) => 0,
        };
        let (windows, tokens) = (windows as u64, tokens as u64);
        let projected = |layer: LayerId| site.layers[layer.0].multiply_adds_at(windows * tokens);
        bias + projected(self.qkv) + projected(self.output) + 2 * windows * tokens * tokens * width
    }
}

impl Exported for Attention {
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError> {
        export::attention(self, site, inputs[0], writer)
    }
}
