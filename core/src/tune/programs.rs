//! Programs with their ways back on an adapter: one for each value that a training was given so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Tensor;

use crate::differentiated::on_adapter::Numbers;
use crate::differentiated::{Course, Parameters, Plan};
use crate::graph::Graph;
use crate::network::{Batch, Network};

/// A way through the network, and what is done on it for what learns now.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub course: Course,
    pub plan: Plan,
}

/// The ways to a network's answers.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    graph: Arc<Graph>,
    /// Of each tensor, whether it learns.
    learns: Vec<bool>,
    ways: BTreeMap<usize, Way>,
}

impl Programs {
    /// Those of a network; none where a step has no way back here, or a tensor is kept in several parts.
    pub fn new(network: &Network) -> Option<Self> {
        if network
            .parameters()
            .any(|parameter| parameter.parts().len() != 1)
        {
            return None;
        }
        let mut programs = Self {
            graph: Arc::clone(network.graph()),
            learns: network.parameters().map(|_| true).collect(),
            ways: BTreeMap::new(),
        };
        programs.way_from(0)?;
        Some(programs)
    }

    /// Says which tensors learn from now on, in the network's order.
    pub fn learn(&mut self, learns: Vec<bool>) {
        self.learns = learns;
        for way in self.ways.values_mut() {
            way.plan = way.course.plan(self.learns.clone());
        }
    }

    /// The way from a value to the answers.
    pub fn way_from(&mut self, value: usize) -> Option<&Way> {
        if !self.ways.contains_key(&value) {
            let way = way(&self.graph, value, &self.learns)?;
            self.ways.insert(value, way);
        }
        self.ways.get(&value)
    }

    /// The same where nothing may change: made anew where it is not there.
    pub fn course(&self, value: usize) -> Option<Course> {
        match self.ways.get(&value) {
            Some(way) => Some(way.course.clone()),
            None => Some(way(&self.graph, value, &self.learns)?.course),
        }
    }
}

fn way(graph: &Graph, value: usize, learns: &[bool]) -> Option<Way> {
    // Only shapes are asked for.
    let course = Course::new(graph, &Parameters::zeros(graph), value).ok()?;
    let plan = course.plan(learns.to_vec());
    Some(Way { course, plan })
}

/// A network's numbers as programs take them, and where the gradients of some are to lie.
pub(super) fn numbers<'a>(
    network: &Network,
    of: impl Fn(&str) -> Option<&'a Vec<Tensor<1>>>,
    place: impl Fn(&str) -> Option<Tensor<1>>,
    device: &burn::tensor::Device,
) -> Numbers {
    let places = network
        .parameters()
        .map(|parameter| place(parameter.name()));
    let tensors = network.parameters().map(|parameter| {
        let parts = of(parameter.name()).map_or(parameter.parts(), Vec::as_slice);
        parts[0].clone().without_autodiff()
    });
    Numbers {
        tensors: tensors.collect(),
        places: places.collect(),
        device: device.clone(),
    }
}

/// A batch as programs take it, channels last.
pub(super) fn lying(batch: Batch) -> Tensor<4> {
    match batch {
        Batch::Maps(maps) => maps.permute([0, 2, 3, 1]),
        Batch::Tokens(tokens) => {
            let [images, tokens_each, width] = tokens.dims();
            tokens.reshape([images, 1, tokens_each, width])
        }
        Batch::Features(features) => {
            let [images, width] = features.dims();
            features.reshape([images, 1, 1, width])
        }
    }
}
