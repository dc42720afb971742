//! What a frozen network is compiled to: fewer, larger steps that carry their numbers.

mod lowering;
mod shape;
mod work;

pub use lowering::{CompileError, Condition, Lowering, maps};
pub use shape::Shape;
pub use work::{Ending, SelfAttention, Weight, Work};
pub(crate) use work::{Folding, Tail};

use crate::graph::{Flow, Schedule};

/// A value by its place in [`Program::shapes`]; 0 is the image.
pub type ValueId = usize;

/// A frozen network: every step in the order in which it runs. Large weights stay where they are, `'t`.
#[derive(Debug, Clone)]
pub struct Program<'t> {
    /// The shape of each value.
    pub shapes: Vec<Shape>,
    /// The steps.
    pub steps: Vec<Step<'t>>,
    /// The values that were asked for, in the order of asking.
    pub outputs: Vec<ValueId>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step<'t> {
    /// The name of the layer that it stands for: where several were fused, of the first.
    pub name: String,
    /// The node of the graph that it does the work of, or some of it.
    pub node: usize,
    /// What it does.
    pub work: Work<'t>,
    /// What it takes. Where a step adds a residual, that comes last.
    pub inputs: Vec<ValueId>,
    /// What it puts out.
    pub output: ValueId,
}

/// A step made ready for a device: what it does there is a `K`.
#[derive(Debug)]
pub(crate) struct Job<K> {
    pub name: String,
    /// Multiply-adds for one image.
    pub macs: u64,
    pub kind: K,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
}

/// How long one step took.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// The step's name.
    pub name: String,
    /// The kind of kernel that did it.
    pub kind: &'static str,
    /// Multiply-adds that the step is made of, for the whole batch; zero for what is none of convolution,
    /// linear map and attention.
    pub macs: u64,
    /// Those that are carried out: Winograd's method saves some.
    pub executed: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Program<'_> {
    /// How long each of its values is needed.
    pub(crate) fn schedule(&self) -> Schedule {
        let mut flows = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            flows.push(Flow {
                inputs: &step.inputs,
                output: step.output,
            });
        }
        match Schedule::new(&flows, &[0], &self.outputs) {
            Ok(schedule) => schedule,
            Err(error) => unreachable!("a program's values follow from the image: {error}"),
        }
    }

    /// Numbers of all weights.
    pub(crate) fn weights(&self) -> usize {
        self.steps.iter().map(|step| step.work.weights()).sum()
    }

    /// The steps as jobs: `ready` is given each one's number, its work and the shape of its first input.
    pub(crate) fn jobs<K>(
        &mut self,
        mut ready: impl FnMut(usize, Work<'_>, Shape) -> K,
    ) -> Vec<Job<K>> {
        let steps = std::mem::take(&mut self.steps).into_iter();
        let jobs = steps.enumerate().map(|(index, step)| {
            let (input, output) = (self.shapes[step.inputs[0]], self.shapes[step.output]);
            Job {
                name: step.name,
                macs: step.work.multiply_adds(input, output) as u64,
                kind: ready(index, step.work, input),
                inputs: step.inputs,
                output: step.output,
            }
        });
        jobs.collect()
    }
}
