//! Norms.

#[cfg(feature = "burn")]
use burn::tensor::{Tensor, module};

use super::Compute;
#[cfg(feature = "burn")]
use super::layout::{channels_first, channels_last};
#[cfg(feature = "burn")]
use super::run::each_rank;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{
    BatchNorm, ChannelLayerNorm, GroupNorm, LayerId, LayerKind, LayerNorm, Node, Norm,
};
#[cfg(feature = "burn")]
use crate::kernels;
use crate::program::{CompileError, Lowering, ValueId, Work};

impl Compute for BatchNorm {
    /// Its running statistics make it a factor and a summand per channel.
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let norm = norm(&program.layers()[self.layer.0].kind);
        let gamma = program.tensor(self.layer, "weight")?;
        let beta = program.tensor(self.layer, "bias")?;
        let mean = program.tensor(self.layer, "running_mean")?;
        let variance = program.tensor(self.layer, "running_var")?;
        let (scale, shift) = (0..gamma.len())
            .map(|c| {
                let scale = f64::from(gamma[c]) / (f64::from(variance[c]) + norm.epsilon).sqrt();
                let shift = f64::from(beta[c]) - f64::from(mean[c]) * scale;
                (scale as f32, shift as f32)
            })
            .unzip();
        let work = Work::Affine {
            scale,
            shift,
            activation: None,
        };
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        each_rank!(only(inputs), x => batch_norm(x, self.layer, run))
    }
}

/// The numbers of a batch norm's layer.
fn norm(kind: &LayerKind) -> Norm {
    match kind {
        LayerKind::BatchNorm { norm, .. } => *norm,
        other => unreachable!("a batch norm's layer is {other:?}"),
    }
}

/// Batch norm by the batch's statistics in training, by the running ones otherwise and where these are frozen.
#[cfg(feature = "burn")]
fn batch_norm<const D: usize>(x: Tensor<D>, layer: LayerId, run: &mut Run<'_>) -> Tensor<D> {
    let Norm { epsilon, momentum } = norm(run.kind(layer));
    let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|index| run.tensor::<1>(layer, index));
    if !run.is_training() || !run.follows_batches(layer) {
        return by_running(x, [gamma, beta, mean, variance], epsilon);
    }
    let made = kernels::batch_norm_by_batch(x, gamma, beta, epsilon);
    let followed = |running: Tensor<1>, batch: Tensor<1>| {
        (running * (1.0 - momentum) + batch.detach() * momentum).detach()
    };
    let mean = followed(mean, made.mean);
    let variance = followed(variance, made.variance);
    run.statistics.push((layer, [mean, variance]));
    made.output
}

/// By the running statistics, which make it a factor and a summand per channel: two passes over the maps, forward and
/// back, of which gradients need one.
#[cfg(feature = "burn")]
fn by_running<const D: usize>(
    x: Tensor<D>,
    [gamma, beta, mean, variance]: [Tensor<1>; 4],
    epsilon: f64,
) -> Tensor<D> {
    let scale = gamma / (variance + epsilon).sqrt();
    let shift = beta - mean * scale.clone();
    let mut shape = [1; D];
    shape[1] = x.dims()[1];
    x * scale.reshape(shape) + shift.reshape(shape)
}

impl Compute for LayerNorm {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        layer_norm_work(self.layer, node, inputs, program)
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        each_rank!(only(inputs), x => layer_norm(x, self.layer, run))
    }
}

impl Compute for ChannelLayerNorm {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        layer_norm_work(self.layer, node, inputs, program)
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        let maps = channels_last(only(inputs).maps());
        Batch::Maps(channels_first(layer_norm(maps, self.layer, run)))
    }
}

/// What is added to the variance by a layer norm's layer.
fn epsilon(kind: &LayerKind) -> f64 {
    match kind {
        LayerKind::LayerNorm { epsilon, .. } => *epsilon,
        other => unreachable!("a layer norm's layer is {other:?}"),
    }
}

fn layer_norm_work(
    layer: LayerId,
    node: &Node,
    inputs: &[ValueId],
    program: &mut Lowering<'_, '_>,
) -> Result<ValueId, CompileError> {
    let work = Work::LayerNorm {
        gamma: program.tensor(layer, "weight")?.to_vec(),
        beta: program.tensor(layer, "bias")?.to_vec(),
        epsilon: epsilon(&program.layers()[layer.0].kind) as f32,
    };
    let shape = program.shape(inputs[0]);
    Ok(program.step(&node.name, work, inputs, shape))
}

#[cfg(feature = "burn")]
fn layer_norm<const D: usize>(x: Tensor<D>, layer: LayerId, run: &Run<'_>) -> Tensor<D> {
    let (gamma, beta) = (run.tensor(layer, 0), run.tensor(layer, 1));
    module::layer_norm(x, gamma, Some(beta), epsilon(run.kind(layer)))
}

impl Compute for GroupNorm {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let work = Work::GroupNorm {
            groups: self.groups,
            gamma: program.tensor(self.layer, "weight")?.to_vec(),
            beta: program.tensor(self.layer, "bias")?.to_vec(),
            epsilon: group_epsilon(&program.layers()[self.layer.0].kind) as f32,
            activation: None,
        };
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        let (gamma, beta) = (run.tensor(self.layer, 0), run.tensor(self.layer, 1));
        let epsilon = group_epsilon(run.kind(self.layer));
        let map = only(inputs).maps();
        Batch::Maps(kernels::group_norm(map, self.groups, gamma, beta, epsilon))
    }
}

/// What is added to the variance by a group norm's layer.
fn group_epsilon(kind: &LayerKind) -> f64 {
    match kind {
        LayerKind::GroupNorm { epsilon, .. } => *epsilon,
        other => unreachable!("a group norm's layer is {other:?}"),
    }
}
