//! Published files, and those of other people's trainings, seen as the network wants them.

use std::collections::{BTreeMap, BTreeSet};

use super::ModelCard;
use super::channels::{Channels, IN_FRONT, port_kernels};
use super::renames::{Renames, Wanted, first, parts};
use crate::backbone::{Architecture, interpolate_position_embedding, interpolate_relative_bias};
use crate::graph::{Convolution, Graph, Op};
use crate::sorting::gathered;
use crate::weights::{TensorSource, WeightsError, all_finite, is_average, is_counter, unwrapped};

/// What a file's weights are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To answer with the head that is in the file: all of it must be there, and nothing that might have
    /// been meant to stand behind it.
    Answer,
    /// To train a new head: the one in the file may have any size, or be missing.
    NewHead,
}

/// How a file was read that others have written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// What was taken off the front of its names: empty, or with a dot at its end.
    pub prefix: String,
    /// Other prefixes under which the whole network lies once more.
    pub copies: Vec<String>,
    /// Tensors that were left aside, by the file's names: auxiliary classifiers, losses. The head that a new
    /// one takes the place of is not among them, nor are counters.
    pub aside: Vec<String>,
}

impl Reading {
    /// Whether a tensor of [`aside`](Self::aside) is an auxiliary classifier's, which only helps in training.
    pub fn is_auxiliary(&self, name: &str) -> bool {
        let name = unwrapped(name);
        let own = name.strip_prefix(self.prefix.as_str()).unwrap_or(&name);
        is_auxiliary(own)
    }
}

/// Whether a network's tensor is called as auxiliary classifiers are: `aux1`, `AuxLogits`, `aux_classifier`.
fn is_auxiliary(name: &str) -> bool {
    first(name).to_ascii_lowercase().starts_with("aux")
}

/// A source whose names and shapes are brought up to the network's: what stands in front of its names is
/// taken off, old names become today's, what belongs to no part of the network is left aside, and learnt
/// positions are resampled to the images' size.
pub(super) struct Ported<'a> {
    source: &'a dyn TensorSource,
    /// Today's name to the file's.
    renames: Renames,
    channels: Channels,
    /// The weight of the convolution that sees the image.
    stem: Option<String>,
    /// What the names of a head begin with that is not taken from the file: it starts at zero.
    new_head: Option<String>,
    /// The file's names of what was left aside.
    aside: Vec<String>,
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

impl<'a> Ported<'a> {
    /// This source for this network.
    ///
    /// # Errors
    ///
    /// When a head that is left aside holds NaN or an infinity: then so may the rest, or will.
    pub fn new(
        architecture: &Architecture,
        graph: &Graph,
        card: &ModelCard,
        purpose: Purpose,
        source: &'a dyn TensorSource,
    ) -> Result<Self, WeightsError> {
        let stem = graph.nodes().iter().find_map(|node| match node.op {
            Op::Convolution(Convolution { layer, .. }) => {
                Some(graph.layers()[layer.0].tensor("weight"))
            }
            _ => None,
        });
        let head = format!("{}.", card.slot(architecture).name);
        let of_backbone: Wanted = graph.tensors_of(false).collect();
        let wanted = match purpose {
            Purpose::Answer => graph.tensors().collect(),
            Purpose::NewHead => of_backbone.clone(),
        };
        let file = source.names().into_iter().map(|name| {
            let shape = source.shape(&name, &[]).unwrap_or_default();
            (name, shape)
        });
        let mut ported = Self {
            source,
            renames: Renames::default(),
            channels: card.channels,
            stem,
            new_head: None,
            aside: Vec::new(),
        };
        ported.renames = Renames::new(
            &wanted,
            &parts(graph.tensors_of(false)),
            file.collect(),
            |name, found, wanted| ported.fits(name, found, wanted),
            architecture.modern_name,
        );
        // A bare network has a new layer where the file has hidden ones and another classifier.
        let names = &ported.renames.names;
        let is_new = !names.is_empty() && !names.contains_key(&format!("{head}weight"));
        if purpose == Purpose::NewHead || card.bare && is_new {
            ported.check_head(&head)?;
            ported.new_head = Some(head.clone());
        }

        let is_known = |name: &str| {
            wanted.contains_key(name)
                || of_backbone.contains_key(name)
                || graph
                    .constants()
                    .iter()
                    .any(|constant| constant.name == name)
        };
        let is_replaced = |name: &str| {
            let new_head = ported.new_head.as_deref();
            new_head.is_some_and(|head| name.starts_with(head))
        };
        // Nothing that answers: counters, and classifiers that only help to train.
        let is_idle = |name: &str| {
            let helps = |prefix: &&str| name.starts_with(*prefix);
            is_counter(name) || is_auxiliary(name) || architecture.auxiliary.iter().any(helps)
        };
        // A module of which the backbone has nothing, or the one in which the head is.
        let modules: BTreeSet<&str> = gathered(of_backbone.keys().map(|name| first(name)));
        let is_elsewhere = |name: &str| {
            let module = first(name);
            module == first(&head) || !modules.contains(module)
        };
        // A number by itself, of the epoch, say; what is called as layers call theirs might be one's.
        let is_bare = |name: &str, original: &str| {
            let of_layer = [".weight", ".bias"].iter().any(|leaf| name.ends_with(leaf));
            is_elsewhere(name)
                && !of_layer
                && first(name) != first(&head)
                && source
                    .shape(original, &[])
                    .is_some_and(|shape| matches!(shape[..], [] | [1]))
        };
        // The whole network once more, under another prefix.
        let is_copy = |copies: &[String], original: &str| {
            let name = unwrapped(original);
            copies.iter().any(|copy| {
                let rest = name.strip_prefix(copy.as_str());
                rest.is_some_and(|rest| !copy.is_empty() || wanted.contains_key(rest))
                    || !copy.is_empty() && original.starts_with(copy.as_str())
            })
        };
        let mut aside = Vec::new();
        let names = std::mem::take(&mut ported.renames.names);
        let mut kept = BTreeMap::new();
        for (name, original) in names {
            let leave = match is_known(&name) {
                true => is_replaced(&name),
                false => {
                    is_replaced(&name)
                        || is_idle(&name)
                        || is_copy(&ported.renames.copies, &original)
                        || is_bare(&name, &original)
                        || purpose == Purpose::NewHead
                            && ported.renames.is_found
                            && is_elsewhere(&name)
                }
            };
            match leave {
                true if is_replaced(&name) => {}
                true => aside.push(original),
                false => _ = kept.insert(name, original),
            }
        }
        // Beside a prefix lie losses, metrics, averages, other networks. A layer that might have been meant
        // to stand behind this one is not passed over where the answer is wanted.
        let beside = std::mem::take(&mut ported.renames.beside);
        // Of a layer its weight has several axes; its bias, and the norms beside it, belong to it all the same.
        let has_axes = |original: &String| {
            let shape = source.shape(original, &[]);
            shape.is_some_and(|shape| shape.len() > 1)
        };
        let layers = beside
            .iter()
            .filter(|original| has_axes(original))
            .map(|original| first(&unwrapped(original)).to_owned());
        let layers: BTreeSet<String> = gathered(layers);
        for original in beside {
            let is_layer = || layers.contains(first(&unwrapped(&original)));
            let leave = purpose == Purpose::NewHead
                || is_idle(&original)
                || !is_layer()
                || original.split('.').any(is_average)
                || is_copy(&ported.renames.copies, &original);
            match leave {
                true => aside.push(original),
                false => _ = kept.insert(original.clone(), original),
            }
        }
        // Which of two tensors is meant that fall on one name is not guessed: the second stays under its own, too
        // many, unless the answer needs neither.
        for (name, original) in std::mem::take(&mut ported.renames.rivals) {
            match is_known(&name) {
                _ if is_replaced(&name) => {}
                false if purpose == Purpose::NewHead || is_idle(&name) => aside.push(original),
                _ => _ = kept.insert(original.clone(), original),
            }
        }
        ported.renames.names = kept;
        ported.aside = aside;
        Ok(ported)
    }

    /// How the file was read.
    pub fn reading(&self) -> Reading {
        Reading {
            prefix: self.renames.prefix.clone(),
            copies: self.renames.copies.clone(),
            aside: self
                .aside
                .iter()
                .filter(|name| !is_counter(name))
                .cloned()
                .collect(),
        }
    }

    /// Whether the numbers of a head that is left aside are numbers.
    fn check_head(&self, head: &str) -> Result<(), WeightsError> {
        let of_head = self
            .renames
            .names
            .iter()
            .filter(|(name, _)| name.starts_with(head) && !is_counter(name));
        for (_, original) in of_head {
            let shape = self.source.shape(original, &[]).unwrap_or_default();
            all_finite(original, &self.source.numbers(original, &shape)?)?;
        }
        Ok(())
    }

    /// Whether a tensor of this shape can be made the network's.
    fn fits(&self, name: &str, found: &[usize], wanted: &[usize]) -> bool {
        found == wanted
            || positions(name, found, wanted).is_some()
            || self.is_ported(name, found, wanted)
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

    /// Whether a tensor is that of the convolution in front, which published files do not have.
    fn is_new_in_front(&self, name: &str) -> bool {
        let in_front = name.strip_prefix(IN_FRONT) == Some(".weight");
        in_front && self.source.shape(name, &[]).is_none()
    }

    fn original<'n>(&'n self, name: &'n str) -> &'n str {
        self.renames.names.get(name).map_or(name, String::as_str)
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

impl TensorSource for Ported<'_> {
    fn names(&self) -> Vec<String> {
        self.renames.names.keys().cloned().collect()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        if self.is_new_in_front(name) || self.is_new_head(name) {
            return Some(wanted.to_vec());
        }
        let found = self.source.shape(self.original(name), wanted)?;
        Some(match self.fits(name, &found, wanted) {
            true => wanted.to_vec(),
            false => found,
        })
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        if self.is_new_in_front(name) {
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
