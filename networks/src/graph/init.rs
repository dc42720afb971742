//! How networks start that nobody trained: PyTorch's distributions, drawn from a seed.

use super::{Graph, LayerKind};
use crate::random::{Random, hash};
use crate::weights::{TensorSource, WeightsError};

/// A distribution to draw a tensor from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// PyTorch's default for convolutions and linear layers: uniform within ±1/√fan-in.
    Default,
    /// He et al.'s normal distribution by what comes in: deviation √(2 / fan-in).
    KaimingNormalFanIn,
    /// The same by what goes out: deviation √(2 / fan-out).
    KaimingNormalFanOut,
    /// He et al.'s uniform distribution: within ±√(6 / fan-in).
    KaimingUniform,
    /// Glorot and Bengio's uniform distribution: within ±√(6 / (fan-in + fan-out)).
    XavierUniform,
    /// Uniform within ±1/√fan-out.
    UniformFanOut,
    /// Uniform within ±√(3 / fan-in): PyTorch's `kaiming_uniform_(a=1)`.
    LecunUniform,
    /// Uniform within ±√(3 / fan-out).
    LecunUniformFanOut,
    /// Normal of this deviation, cut off at ±2 (PyTorch's `trunc_normal_`).
    Truncated(f32),
    /// Normal of deviation √(1 / fan-in), cut off at ±2.
    TruncatedFanIn,
    /// Normal of this deviation.
    Normal(f32),
    /// One number everywhere.
    Constant(f32),
}

/// How many numbers meet in an output of a weight, and how many outputs an input goes to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fans {
    fan_in: f32,
    fan_out: f32,
}

impl Fans {
    /// Of a weight of this shape, as PyTorch counts: groups are not looked at.
    fn of(weight: &[usize]) -> Self {
        let axis = |index: usize| weight.get(index).copied().unwrap_or(1);
        let receptive: usize = weight.iter().skip(2).product();
        Self {
            fan_in: (axis(1) * receptive) as f32,
            fan_out: (axis(0) * receptive) as f32,
        }
    }
}

impl Init {
    fn draw(self, count: usize, fans: Fans, random: &mut Random) -> Vec<f32> {
        let Fans { fan_in, fan_out } = fans;
        let mut uniform = |bound: f32| -> Vec<f32> {
            (0..count)
                .map(|_| bound * (2.0 * random.uniform() - 1.0))
                .collect()
        };
        match self {
            Self::Default => uniform(fan_in.sqrt().recip()),
            Self::KaimingUniform => uniform((6.0 / fan_in).sqrt()),
            Self::XavierUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Self::UniformFanOut => uniform(fan_out.sqrt().recip()),
            Self::LecunUniform => uniform((3.0 / fan_in).sqrt()),
            Self::LecunUniformFanOut => uniform((3.0 / fan_out).sqrt()),
            Self::Constant(value) => vec![value; count],
            Self::KaimingNormalFanIn => normal(count, (2.0 / fan_in).sqrt(), f32::MAX, random),
            Self::KaimingNormalFanOut => normal(count, (2.0 / fan_out).sqrt(), f32::MAX, random),
            Self::Normal(deviation) => normal(count, deviation, f32::MAX, random),
            Self::Truncated(deviation) => normal(count, deviation, 2.0, random),
            Self::TruncatedFanIn => normal(count, fan_in.sqrt().recip(), 2.0, random),
        }
    }
}

fn normal(count: usize, deviation: f32, bound: f32, random: &mut Random) -> Vec<f32> {
    let mut draw = || loop {
        let value = deviation * random.normal();
        if value.abs() <= bound {
            return value;
        }
    };
    (0..count).map(|_| draw()).collect()
}

/// How a family starts: what its paper, or torchvision, draws its layers from. Norms start as the
/// identity.
#[derive(Debug, Clone, Copy)]
pub struct InitRules {
    /// Convolutions' weights.
    pub conv: Init,
    /// Convolutions' biases; distributions that look at fans look at the weight's.
    pub conv_bias: Init,
    /// Linear layers' weights.
    pub linear: Init,
    /// Linear layers' biases.
    pub linear_bias: Init,
    /// Parameters whose names contain one of these words; the first that fits decides.
    pub special: &'static [(&'static str, Init)],
    /// Modules that start by rules of their own, such as a backbone within a network for segmentation.
    pub parts: &'static [(&'static str, &'static InitRules)],
}

impl InitRules {
    /// What PyTorch does when nobody says otherwise.
    pub const TORCH: Self = Self {
        conv: Init::Default,
        conv_bias: Init::Default,
        linear: Init::Default,
        linear_bias: Init::Default,
        special: &[],
        parts: &[],
    };

    /// The rules for the parameter of this name.
    fn of(&self, name: &str) -> &Self {
        let is_within = |module: &str| {
            let rest = name.strip_prefix(module);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let part = self.parts.iter().find(|(module, _)| is_within(module));
        part.map_or(self, |(_, rules)| rules)
    }
}

/// An untrained network's numbers, from a seed: the same seed, the same network.
#[derive(Debug)]
pub struct Scratch<'a> {
    graph: &'a Graph,
    rules: InitRules,
    seed: u64,
}

impl<'a> Scratch<'a> {
    /// The numbers of this network, which goes from the image to the answers.
    pub fn new(graph: &'a Graph, rules: InitRules, seed: u64) -> Self {
        Self { graph, rules, seed }
    }

    fn rule(&self, name: &str, shape: &[usize]) -> (Init, Fans) {
        let rules = self.rules.of(name);
        let layer = self.graph.layer_of(name);
        let layer = layer.map(|layer| &self.graph.layers()[layer.0]);
        let is_bias = name.ends_with("bias");
        let fans = match (is_bias, layer) {
            (false, _) => Fans::of(shape),
            (true, Some(layer)) => Fans::of(&layer.parameters()[0].1),
            // Of no layer of the graph, such as an adapter of channels.
            (true, None) => Fans::of(&[shape[0], self.graph.features()]),
        };
        if let Some(&(_, init)) = rules.special.iter().find(|(word, _)| name.contains(word)) {
            return (init, fans);
        }
        let (weight, bias) = match layer.map(|layer| &layer.kind) {
            Some(LayerKind::Conv { .. } | LayerKind::ConvTranspose { .. }) => {
                (rules.conv, rules.conv_bias)
            }
            Some(LayerKind::Linear { .. }) | None => (rules.linear, rules.linear_bias),
            Some(
                LayerKind::BatchNorm { .. }
                | LayerKind::GroupNorm { .. }
                | LayerKind::LayerNorm { .. },
            ) => (Init::Constant(1.0), Init::Constant(0.0)),
            Some(LayerKind::Table(_)) => (Init::Constant(0.0), Init::Constant(0.0)),
        };
        (if is_bias { bias } else { weight }, fans)
    }
}

impl TensorSource for Scratch<'_> {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn shape(&self, _name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        Some(wanted.to_vec())
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let count = shape.iter().product();
        if name.ends_with("running_mean") {
            return Ok(vec![0.0; count]);
        }
        if name.ends_with("running_var") {
            return Ok(vec![1.0; count]);
        }
        let (init, fans) = self.rule(name, shape);
        let mut random = Random::new(self.seed).fork(hash(name));
        Ok(init.draw(count, fans, &mut random))
    }
}
