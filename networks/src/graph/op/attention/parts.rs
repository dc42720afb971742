//! What attention is made of.

use super::positions;
use crate::graph::layer::{LayerId, LayerSpec};

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
