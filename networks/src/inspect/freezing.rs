//! Which parts of a network train, said as a person says it.

use thiserror::Error;

use crate::graph::Graph;

/// The layers of a graph that train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freezing {
    trains: Vec<bool>,
}

/// A part that a network does not have.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "there is no part called '{part}': say all, backbone, head, a stage ({}) or the beginning of a parameter's name",
    stages.join(", ")
)]
pub struct UnknownPart {
    part: String,
    stages: Vec<String>,
}

impl Freezing {
    /// Everything trains.
    pub fn none(graph: &Graph) -> Self {
        Self {
            trains: vec![true; graph.layers().len()],
        }
    }

    /// Freezes a part: `all`, `backbone`, `head`, a stage's name, or what parameters' names begin
    /// with, such as `classifier.3`.
    ///
    /// # Errors
    ///
    /// When the network has no such part.
    pub fn freeze(self, graph: &Graph, part: &str) -> Result<Self, UnknownPart> {
        self.set(graph, part, false)
    }

    /// Lets a part train again.
    ///
    /// # Errors
    ///
    /// When the network has no such part.
    pub fn unfreeze(self, graph: &Graph, part: &str) -> Result<Self, UnknownPart> {
        self.set(graph, part, true)
    }

    /// Whether a layer trains.
    pub fn trains(&self, layer: usize) -> bool {
        self.trains[layer]
    }

    fn set(mut self, graph: &Graph, part: &str, trains: bool) -> Result<Self, UnknownPart> {
        let stage = graph.stages().iter().position(|stage| stage.name == part);
        let mut found = false;
        for (index, layer) in graph.layers().iter().enumerate() {
            let at = graph.stage_of_layer(crate::graph::LayerId(index));
            let is_meant = match part {
                "all" => true,
                "backbone" => at < graph.backbone_stages(),
                "head" => at >= graph.backbone_stages(),
                _ if stage.is_some() => Some(at) == stage,
                _ => {
                    let rest = layer.name.strip_prefix(part);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                }
            };
            if is_meant {
                self.trains[index] = trains;
                found = true;
            }
        }
        if !found {
            return Err(UnknownPart {
                part: part.to_owned(),
                stages: graph
                    .stages()
                    .iter()
                    .map(|stage| stage.name.clone())
                    .collect(),
            });
        }
        Ok(self)
    }
}
