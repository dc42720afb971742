//! The sheet that a network is written on: everything that has been said so far.

use std::collections::HashMap;

use super::layer::{LayerId, LayerKind, LayerSpec};
use super::{Constant, GraphError, Node, Output, Stage};

/// What may be asked of a network beside its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// For images of some 32 pixels: the first convolution does not stride, the first pool is left
    /// out (He et al.'s CIFAR layout).
    pub small_stem: bool,
    /// Leave out the hidden layers that some networks have between the features and the classifier:
    /// what PyTorch users do with `model.classifier = torch.nn.Linear(…)`.
    pub bare: bool,
    /// Also build the auxiliary classifiers that help in training, for so many classes.
    pub auxiliary: Option<usize>,
    /// The first step turns torchvision's normalisation into Inception's.
    pub transform_input: bool,
}

/// The sheet that all values of a network are written on.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) input: Vec<usize>,
    pub(super) nodes: Vec<Node>,
    pub(super) layers: Vec<LayerSpec>,
    pub(super) by_name: HashMap<String, LayerId>,
    pub(super) constants: Vec<Constant>,
    pub(super) stages: Vec<Stage>,
    /// The nodes that belong to a stage already.
    pub(super) staged: usize,
    /// The outputs of auxiliary classifiers.
    pub(super) auxiliary: Vec<Output>,
    pub(super) taps: Vec<Tap>,
    /// How many stages there were when the head began.
    pub(super) backbone: Option<usize>,
    pub(super) scope: Vec<String>,
    pub(super) options: Options,
    pub(super) error: Option<GraphError>,
}

/// An inner value with a name.
pub(super) struct Tap {
    pub(super) name: String,
    pub(super) id: usize,
    pub(super) stride: Option<usize>,
}

impl Sheet {
    pub(super) fn name(&self, name: &str) -> String {
        let mut parts: Vec<&str> = self.scope.iter().map(String::as_str).collect();
        if !name.is_empty() {
            parts.push(name);
        }
        parts.join(".")
    }

    /// The layer of this name; it is one layer however often it is written, as PyTorch's modules are.
    pub(super) fn layer(&mut self, name: &str, joint: &'static str, kind: LayerKind) -> LayerId {
        let spec = LayerSpec {
            name: self.name(name),
            joint,
            kind,
        };
        let key = format!("{}{joint}", spec.name);
        if let Some(&known) = self.by_name.get(&key) {
            if self.layers[known.0] != spec {
                self.error.get_or_insert(GraphError {
                    step: spec.name,
                    op: "a layer",
                    what: "has the name of another",
                    input: Vec::new(),
                });
            }
            return known;
        }
        let id = LayerId(self.layers.len());
        self.by_name.insert(key, id);
        self.layers.push(spec);
        id
    }
}
