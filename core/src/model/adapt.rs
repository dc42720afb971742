//! Published files, seen as the network wants them.

use std::collections::BTreeMap;

use super::ModelCard;
use super::channels::{ADAPTER, Channels, port_kernels};
use crate::backbone::{Architecture, interpolate_position_embedding, interpolate_relative_bias};
use crate::graph::{Graph, Op};
use crate::weights::{TensorSource, WeightsError};

/// A source whose names and shapes are brought up to the network's: old names become today's,
/// auxiliary classifiers that were not built are left aside, and learnt positions are resampled to the images' size.
pub(super) struct Adapted<'a> {
    source: &'a dyn TensorSource,
    /// Today's name to the file's.
    names: BTreeMap<String, String>,
    channels: Channels,
    /// The weight of the convolution that sees the image.
    stem: Option<String>,
    /// What the names of a head begin with that the file does not have: it starts at zero.
    new_head: Option<String>,
}

/// What a tensor that is indexed by position looks like.
enum Positions {
    /// `[1, 1 + side², width]`
    Embedding {
        from: usize,
        to: usize,
        width: usize,
    },
    /// `[(2·side − 1)², heads]`
    Bias {
        from: usize,
        to: usize,
        heads: usize,
    },
}

impl<'a> Adapted<'a> {
    /// This source for this network.
    pub fn new(
        architecture: &Architecture,
        graph: &Graph,
        card: &ModelCard,
        source: &'a dyn TensorSource,
    ) -> Self {
        let is_built = |prefix: &&str| {
            let mut layers = graph.layers().iter();
            layers.any(|layer| layer.name.starts_with(*prefix))
        };
        let mut aside: Vec<String> = architecture
            .auxiliary
            .iter()
            .filter(|prefix| !is_built(prefix))
            .map(|prefix| (*prefix).to_owned())
            .collect();
        // A bare network has a new layer where the file has hidden ones and another classifier.
        let bare = card.slot(architecture).name;
        let is_new = |leaf: &str| source.shape(&format!("{bare}.{leaf}"), &[]).is_none();
        let new_head = (card.bare && is_new("weight")).then(|| format!("{bare}."));
        aside.extend(new_head.clone());
        let names = source
            .names()
            .into_iter()
            .map(|name| ((architecture.modern_name)(name.clone()), name))
            .filter(|(name, _)| !aside.iter().any(|prefix| name.starts_with(prefix.as_str())))
            .collect();
        let stem = graph.nodes().iter().find_map(|node| match node.op {
            Op::Conv(_, layer) => Some(graph.layers()[layer.0].parameters()[0].0.clone()),
            _ => None,
        });
        Self {
            source,
            names,
            channels: card.channels,
            stem,
            new_head,
        }
    }

    /// Whether a tensor is the first convolution's, trained on three colours, where another number of
    /// channels is wanted.
    fn is_ported(&self, name: &str, found: &[usize], wanted: &[usize]) -> bool {
        let of_colours = |shape: &[usize]| matches!(shape, [_, 3, _, _]);
        self.stem.as_deref() == Some(name)
            && of_colours(found)
            && !of_colours(wanted)
            && found[0] == wanted[0]
            && found[2..] == wanted[2..]
    }

    fn is_new_head(&self, name: &str) -> bool {
        let prefix = self.new_head.as_ref();
        prefix.is_some_and(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Whether a tensor is the adapter's, which published files do not have.
    fn is_new_adapter(&self, name: &str) -> bool {
        let adapter = name.strip_prefix(ADAPTER) == Some(".weight");
        adapter && self.source.shape(name, &[]).is_none()
    }

    fn original<'n>(&'n self, name: &'n str) -> &'n str {
        self.names.get(name).map_or(name, String::as_str)
    }
}

/// How to get from one shape to the other, where both belong to learnt positions.
fn positions(name: &str, from: &[usize], to: &[usize]) -> Option<Positions> {
    let root = |square: usize| {
        let side = (square as f64).sqrt().round() as usize;
        (side * side == square && side > 0).then_some(side)
    };
    let leaf = name.rsplit('.').next().unwrap_or(name);
    match (leaf, from, to) {
        ("pos_embedding" | "pos_embed", &[1, from, width], &[1, to, same]) if width == same => {
            Some(Positions::Embedding {
                from: root(from.checked_sub(1)?)?,
                to: root(to.checked_sub(1)?)?,
                width,
            })
        }
        ("relative_position_bias_table", &[from, heads], &[to, same]) if heads == same => {
            Some(Positions::Bias {
                from: root(from)?.div_ceil(2),
                to: root(to)?.div_ceil(2),
                heads,
            })
        }
        _ => None,
    }
}

impl TensorSource for Adapted<'_> {
    fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        if self.is_new_adapter(name) || self.is_new_head(name) {
            return Some(wanted.to_vec());
        }
        let found = self.source.shape(self.original(name), wanted)?;
        let fits =
            positions(name, &found, wanted).is_some() || self.is_ported(name, &found, wanted);
        Some(if fits { wanted.to_vec() } else { found })
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        if self.is_new_adapter(name) {
            return Ok(vec![1.0 / 3.0; shape.iter().product()]);
        }
        if self.is_new_head(name) {
            return Ok(vec![0.0; shape.iter().product()]);
        }
        let original = self.original(name);
        let found = self.source.shape(original, shape);
        let found = found.unwrap_or_else(|| shape.to_vec());
        let values = self.source.values(original, &found)?;
        if found == shape {
            return Ok(values);
        }
        if self.is_ported(name, &found, shape) {
            let area = found[2..].iter().product();
            let shares = self.channels.shares();
            return Ok(port_kernels(&values, area, shape[1], shares));
        }
        Ok(match positions(name, &found, shape) {
            Some(Positions::Embedding { from, to, width }) => {
                interpolate_position_embedding(&values, width, from, to)
            }
            Some(Positions::Bias { from, to, heads }) => {
                interpolate_relative_bias(&values, heads, from, to)
            }
            None => values,
        })
    }
}
