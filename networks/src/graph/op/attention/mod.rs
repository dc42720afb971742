//! Multi-head self-attention.

mod export;
mod positions;

pub use positions::{log_offsets, relative_position_index, shift_mask};

use super::{Exported, Operation, Site, Title, maps};
use crate::graph::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// Which positions attend to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbourhood {
    /// Every token to every other.
    All,
    /// Square windows of this side, moved by this shift; maps are padded to whole windows (Swin).
    Window {
        /// Side of a window.
        side: usize,
        /// How far windows are shifted down and right, with wrap-around.
        shift: usize,
    },
    /// Square windows of this side that tile the map exactly (MaxViT's "block").
    Block {
        /// Side of a window.
        side: usize,
    },
    /// A square grid of this side spread over the whole map (MaxViT's "grid").
    Grid {
        /// Side of the grid.
        side: usize,
    },
}

/// How queries, keys and values lie in the packed projection's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `[3, heads, depth]`: all queries, all keys, all values.
    Projection,
    /// `[heads, 3, depth]`: head by head.
    Head,
}

/// What is added to attention scores by relative position.
#[derive(Debug, Clone, PartialEq)]
pub enum RelativeBias {
    /// Nothing.
    None,
    /// A learnt table of `[(2·side − 1)², heads]`.
    Table(LayerId),
    /// A small perceptron over log-spaced offsets (Swin v2).
    Continuous {
        /// Its hidden layer.
        hidden: LayerId,
        /// Its output layer.
        output: LayerId,
    },
}

/// Multi-head self-attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Heads.
    pub heads: usize,
    /// Who attends to whom.
    pub neighbourhood: Neighbourhood,
    /// The packed projection to queries, keys and values.
    pub qkv: LayerId,
    /// Their layout.
    pub packing: Packing,
    /// The projection of the result.
    pub output: LayerId,
    /// The bias by relative position.
    pub bias: RelativeBias,
    /// What scores are multiplied by, when they are dot products.
    pub scale: f64,
    /// Cosine attention's learnt scale per head, in logarithms (Swin v2).
    pub logit_scale: Option<LayerId>,
}

impl Attention {
    /// What is added to scores by relative position, `[heads, positions, positions]`, for windows of so many
    /// positions; `number` finds a tensor of the state_dict by its name.
    ///
    /// # Errors
    ///
    /// Those of `number`.
    pub fn position_bias<'t, E>(
        &self,
        layers: &[LayerSpec],
        positions: usize,
        number: impl Fn(&str) -> Result<&'t [f32], E>,
    ) -> Result<Option<Vec<f32>>, E> {
        let side = (positions as f64).sqrt().round() as usize;
        let continuous;
        let table = match &self.bias {
            RelativeBias::None => return Ok(None),
            RelativeBias::Table(layer) => number(&layers[layer.0].name)?,
            RelativeBias::Continuous { hidden, output } => {
                let tensor = |layer: &LayerId, leaf| number(&layers[layer.0].tensor(leaf));
                let hidden = [tensor(hidden, "weight")?, tensor(hidden, "bias")?];
                continuous = positions::continuous_table(hidden, tensor(output, "weight")?, side);
                &continuous
            }
        };
        Ok(Some(positions::spread(table, side, self.heads)))
    }
}

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
