//! From a network's graph and its numbers to a program.
//!
//! Two things happen on the way. What means nothing falls away: whatever does not lead to a wanted value and, of a
//! network that only answers, dropout and stochastic depth. And all values become channels last, so that the steps
//! that only turn axes fall away too. What each kind of step becomes is said in `operations`.

use crate::graph::Graph;
use crate::operations::compute;
use crate::program::{CompileError, Condition, Lowering, Program, Shape, ValueId};
use crate::weights::{StateDict, Tensors};

/// Turns a graph into a program that leads from the value `given` (0 is the image) to those in `wanted`, with the tensors
/// as its numbers.
///
/// # Errors
///
/// When a tensor that the graph names is missing, or a wanted value does not follow from the given one.
pub fn lower<'t>(
    graph: &Graph,
    tensors: &StateDict<'t>,
    condition: Condition,
    given: usize,
    wanted: &[usize],
) -> Result<Program<'t>, CompileError> {
    let shape = Shape::of(graph.shape_of(given));
    let mut lowering = Lowering::new(condition, shape, graph.layers(), tensors);
    let mut values = vec![0; graph.nodes().len() + 1];
    for &index in graph.schedule(&[given], wanted)?.steps() {
        let node = &graph.nodes()[index];
        let inputs: Vec<ValueId> = node.inputs.iter().map(|&value| values[value]).collect();
        lowering.begin(index);
        values[index + 1] = compute(&node.op).lower(node, &inputs, &mut lowering)?;
    }
    Ok(lowering.finish(wanted.iter().map(|&value| values[value]).collect()))
}

/// Numbers for every layer of a graph that mean nothing: for who asks how a network is run, not what it
/// answers.
pub fn blanks(graph: &Graph) -> Tensors {
    let blank = |(name, shape): (String, Vec<usize>)| {
        let count = shape.iter().product();
        (name, (shape, vec![1.0; count].into()))
    };
    graph.tensors().map(blank).collect()
}
