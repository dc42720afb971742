//! The learning rate of each parameter, and whether weight decay pulls at it.
//!
//! Layers nearer to the image are more general and should move less. Rates that fall towards the image are said in
//! one of two ways, geometric by layer ([`Rates::layer_decay`]) or geometric by stage ([`Rates::slice`]); single parts
//! can be given factors or rates of their own on top.

mod groups;

use std::collections::{BTreeMap, BTreeSet};

use rekindle_networks::graph::{Graph, LayerId, LayerKind, LayerSpec, Op, RelativeBias};
use rekindle_networks::parts::{UnknownPart, meant};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How rates differ between the parts of a network. Without anything, all have the base rate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Each layer has this factor of the rate of the layer behind it, the head the base rate: timm's
    /// `param_groups_layer_decay` (Bao et al., BEiT, <https://arxiv.org/abs/2106.08254>). A layer is a block (of
    /// MaxViT and CoAtNet a stage, as timm has it; of VGG with batch norms each convolution and each norm, likewise);
    /// the stem, to its pool or first separable convolution, is the first, and what follows that up to the blocks the
    /// second; a downsampling step counts with the block behind it, or, if a pool ends it, before it; trailing norms
    /// and 1×1 convolutions with the last block; what follows the pooling with the head. The adapter and auxiliary
    /// classifiers, which nobody pretrained for this, have the base rate.
    ///
    /// Networks that timm has not got follow the same rules: each convolution of AlexNet, each fire module of
    /// SqueezeNet, each unit of ShuffleNet and each inception module of GoogLeNet is a layer, and the convolutions
    /// between GoogLeNet's first two pools are one.
    pub layer_decay: Option<f64>,
    /// fastai's `slice(lo, hi)`: the rates of the first group of layers and of the last, geometric in between
    /// (`even_mults`). A group is a stage that holds blocks, with what follows it, the first with what stands before
    /// it; the head is the last group, and the adapter has its rate. (fastai itself cuts torchvision's networks into
    /// three groups by hand.)
    pub slice: Option<[f64; 2]>,
    /// Factors of the base rate for parts, by the words of [`meant`].
    pub factors: BTreeMap<String, f64>,
    /// Rates of parts, by the same words. Of two words for a parameter, here or among the factors, the more exact one
    /// decides: that which means fewer parameters, so a stage before the backbone, and a name before its stage.
    pub parts: BTreeMap<String, f64>,
}

/// What a parameter trains with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The learning rate that a schedule's factor multiplies.
    pub rate: f64,
    /// Whether weight decay pulls at it: at the weights of convolutions and linear maps. Not at norms, biases, and
    /// tables (position embeddings, class tokens, biases by relative position and the perceptrons that make them,
    /// logit scales, layer scales).
    pub decays: bool,
}

/// Rates that cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RatesError {
    /// A word that means no parameter.
    #[error(transparent)]
    Part(#[from] UnknownPart),
    /// Both ways of falling rates.
    #[error("layer decay and a slice both say how rates fall towards the image: leave one out")]
    DecayAndSlice,
    /// Something is not a rate.
    #[error("the {what} is {value}: it must be {range}")]
    OutOfRange {
        /// What it is of.
        what: String,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Two words, neither more exact, give a parameter two rates.
    #[error(
        "'{first}' and '{second}' give '{tensor}' two rates, and neither is more exact: say one of them more exactly"
    )]
    Ambiguous {
        /// A parameter that both mean.
        tensor: String,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
}

impl Rates {
    /// The rate of each learnable parameter, by name, where the base rate is `base`.
    ///
    /// # Errors
    ///
    /// When a word means no parameter, a number is no rate, or two words contradict one another.
    pub fn of(&self, graph: &Graph, base: f64) -> Result<BTreeMap<String, Rate>, RatesError> {
        self.check(base)?;
        let of_layer: Vec<f64> = match (self.layer_decay, self.slice) {
            (Some(decay), _) => geometric_by_layer(graph, base, decay),
            (None, Some([low, high])) => geometric_by_stage(graph, low, high),
            (None, None) => vec![base; graph.layers().len()],
        };
        let undecayed = position_perceptrons(graph);
        let mut rates = BTreeMap::new();
        for (index, layer) in graph.layers().iter().enumerate() {
            for (tensor, _) in layer.parameters() {
                let decays = decays(layer, &tensor) && !undecayed.contains(&LayerId(index));
                let rate = of_layer[index];
                rates.insert(tensor, Rate { rate, decays });
            }
        }
        for (tensor, said) in self.said(graph, base)? {
            if let Some(rate) = rates.get_mut(&tensor) {
                rate.rate = said;
            }
        }
        Ok(rates)
    }

    /// The rates that words give to parameters.
    fn said(&self, graph: &Graph, base: f64) -> Result<BTreeMap<String, f64>, RatesError> {
        let factors = self.factors.iter().map(|(word, x)| (word, x * base));
        let rates = self.parts.iter().map(|(word, &rate)| (word, rate));
        let mut words = Vec::new();
        for (word, rate) in factors.chain(rates) {
            words.push((meant(graph, word)?, rate, word));
        }
        // The most exact word comes first.
        words.sort_by_key(|(tensors, _, _)| tensors.len());
        let mut said: BTreeMap<String, (usize, f64, &String)> = BTreeMap::new();
        for (tensors, rate, word) in words {
            let count = tensors.len();
            for tensor in tensors {
                match said.get(&tensor) {
                    Some(&(exact, other, first)) if exact == count && other != rate => {
                        return Err(RatesError::Ambiguous {
                            tensor,
                            first: first.clone(),
                            second: word.clone(),
                        });
                    }
                    Some(_) => {}
                    None => {
                        said.insert(tensor, (count, rate, word));
                    }
                }
            }
        }
        let rates = said.into_iter();
        Ok(rates.map(|(tensor, (_, rate, _))| (tensor, rate)).collect())
    }

    fn check(&self, base: f64) -> Result<(), RatesError> {
        if self.layer_decay.is_some() && self.slice.is_some() {
            return Err(RatesError::DecayAndSlice);
        }
        let within = |what: String, value: f64, is_fine: bool, range| match is_fine {
            true => Ok(()),
            false => Err(RatesError::OutOfRange { what, value, range }),
        };
        let positive = |what: String, value: f64| {
            let is_fine = value > 0.0 && value.is_finite();
            within(
                what,
                value,
                is_fine,
                "above 0 (what shall not move is frozen)",
            )
        };
        positive("base rate".to_owned(), base)?;
        if let Some(decay) = self.layer_decay {
            let is_fine = decay > 0.0 && decay <= 1.0;
            within(
                "layer decay".to_owned(),
                decay,
                is_fine,
                "above 0 and at most 1",
            )?;
        }
        for rate in self.slice.into_iter().flatten() {
            positive("slice's rate".to_owned(), rate)?;
        }
        for (word, &factor) in &self.factors {
            positive(format!("factor of '{word}'"), factor)?;
        }
        for (word, &rate) in &self.parts {
            positive(format!("rate of '{word}'"), rate)?;
        }
        Ok(())
    }
}

/// The rates of the layers of a graph, each group's this factor of the rate of the group behind it.
fn geometric_by_layer(graph: &Graph, base: f64, decay: f64) -> Vec<f64> {
    let groups = groups::by_block(graph);
    let head = groups.iter().copied().max().unwrap_or(0);
    let rate = |group: usize| base * decay.powi((head - group) as i32);
    groups.into_iter().map(rate).collect()
}

/// The rates of the layers of a graph, even multiples from the first group to the head.
fn geometric_by_stage(graph: &Graph, low: f64, high: f64) -> Vec<f64> {
    let groups = groups::by_stage(graph);
    let head = groups.iter().copied().max().unwrap_or(0);
    let rate = |group: usize| match head {
        0 => high,
        _ => low * (high / low).powf(group as f64 / head as f64),
    };
    groups.into_iter().map(rate).collect()
}

fn decays(layer: &LayerSpec, tensor: &str) -> bool {
    match layer.kind {
        LayerKind::Conv { .. } | LayerKind::ConvTranspose { .. } | LayerKind::Linear { .. } => {
            tensor == layer.tensor("weight")
        }
        LayerKind::BatchNorm { .. }
        | LayerKind::GroupNorm { .. }
        | LayerKind::LayerNorm { .. }
        | LayerKind::Table(_) => false,
    }
}

/// The layers whose work is a bias by relative position (Swin v2's `cpb_mlp`): its authors and timm decay neither a
/// table of such biases nor what makes them.
fn position_perceptrons(graph: &Graph) -> BTreeSet<LayerId> {
    let attentions = graph.nodes().iter().filter_map(|node| match &node.op {
        Op::Attention(attention) => Some(&attention.bias),
        _ => None,
    });
    attentions
        .flat_map(|bias| match bias {
            RelativeBias::Continuous { hidden, output } => vec![*hidden, *output],
            RelativeBias::None | RelativeBias::Table(_) => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
