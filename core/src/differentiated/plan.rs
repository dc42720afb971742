//! What is done of a course while some of its numbers learn: how far back gradients go, and what is kept for that.

use super::course::Course;
use super::job::{Ending, Job, Kind};
use super::parameters::TensorId;
use crate::program::ValueId;

/// What the way back takes, for what learns now.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of each tensor, whether it learns: whether gradients move it or, of a running statistic, whether it follows the
    /// batches.
    pub(super) learns: Vec<bool>,
    /// Of each value, whether a gradient goes back to it.
    pub(super) carries: Vec<bool>,
    /// Of each job, the values that may be let go of once it is done on the way forward, and on the way back.
    pub(super) done_there: Vec<Vec<ValueId>>,
    pub(super) done_back: Vec<Vec<ValueId>>,
}

impl Course {
    /// What is done while these tensors learn.
    pub fn plan(&self, learns: Vec<bool>) -> Plan {
        let count = self.shapes.len();
        let mut carries = vec![false; count];
        for job in &self.jobs {
            let moves = job.kind.learnt().iter().any(|&tensor| learns[tensor]);
            let has = job.inputs.iter().any(|&value| carries[self.roots[value]]);
            carries[job.output] = moves || has;
        }
        let carries: Vec<bool> = self.roots.iter().map(|&root| carries[root]).collect();
        let mut last_there = vec![None; count];
        let mut first_back = vec![None; count];
        for (index, job) in self.jobs.iter().enumerate() {
            for &value in job.inputs.iter().chain([&job.output]) {
                last_there[self.roots[value]] = Some(index);
            }
            if !carries[job.output] {
                continue;
            }
            for value in kept(job, &learns) {
                first_back[self.roots[value]].get_or_insert(index);
            }
        }
        let mut done_there = vec![Vec::new(); self.jobs.len()];
        let mut done_back = vec![Vec::new(); self.jobs.len()];
        for value in (0..count).filter(|&value| self.roots[value] == value) {
            match (first_back[value], last_there[value]) {
                (Some(job), _) => done_back[job].push(value),
                (None, Some(job)) if value != self.roots[self.output] => {
                    done_there[job].push(value)
                }
                _ => {}
            }
        }
        Plan {
            learns,
            carries,
            done_there,
            done_back,
        }
    }
}

impl Plan {
    pub(super) fn learns(&self, tensor: TensorId) -> bool {
        self.learns[tensor]
    }
}

/// The values that a job takes or makes, and needs again on its way back.
fn kept(job: &Job, learns: &[bool]) -> Vec<ValueId> {
    let input = job.inputs[0];
    let any = |tensors: Vec<TensorId>| tensors.iter().any(|&tensor| learns[tensor]);
    let of_output = |ending: Ending| match ending.activation {
        rekindle_cpu::Activation::None => false,
        function => function.keeps_output(),
    };
    let mut kept = Vec::new();
    match &job.kind {
        Kind::Product(product) => {
            let norm = product.norm.iter().flat_map(|norm| [norm.gamma, norm.mean]);
            if any([product.weight].into_iter().chain(norm).collect()) {
                kept.push(input);
            }
            if of_output(product.ending) {
                kept.push(job.output);
            }
        }
        Kind::BatchNorm(norm, ending) => {
            if any(vec![norm.gamma, norm.mean]) {
                kept.push(input);
            }
            if of_output(*ending) {
                kept.push(job.output);
            }
        }
        Kind::Activate(function) => kept.push(match function.keeps_output() {
            true => job.output,
            false => input,
        }),
        Kind::Add(rekindle_cpu::Activation::None) => {}
        Kind::Add(_) => kept.push(job.output),
        Kind::Scale(factors) => {
            if learns[*factors] {
                kept.push(input);
            }
        }
        // Each is a factor of the other's gradient.
        Kind::Gate => kept.extend(&job.inputs),
        Kind::LayerNorm(_) | Kind::MaxPool(_) | Kind::Attention(_) => kept.push(input),
        Kind::Affine(..)
        | Kind::AvgPool(_)
        | Kind::AdaptiveAvgPool
        | Kind::Concat
        | Kind::Chunk(_)
        | Kind::Shuffle(_)
        | Kind::FlattenMaps
        | Kind::ClassToken(_)
        | Kind::FirstToken
        | Kind::Positions(_)
        | Kind::Gather(_)
        | Kind::MergePatches
        | Kind::LeaveOut(_) => {}
    }
    kept
}
