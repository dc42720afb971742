//! From a network's graph and its numbers to a program.
//!
//! Two things happen on the way. What means nothing once a network is frozen falls away: dropout,
//! stochastic depth, whatever does not lead to a wanted value. And all values become channels last, so that the steps
//! that only turn axes fall away too. What each kind of step becomes is said in [`crate::operations`].

use crate::graph::Graph;
use crate::operations::compute;
use crate::program::{CompileError, Lowering, Program, Shape, ValueId};
use crate::weights::{StateDict, Tensors};

/// Turns a graph into a program that puts out the values in `wanted`, with the tensors as its numbers.
///
/// # Errors
///
/// When a tensor that the graph names is missing.
pub fn lower<'t>(
    graph: &Graph,
    tensors: &StateDict<'t>,
    wanted: &[usize],
) -> Result<Program<'t>, CompileError> {
    let mut lowering = Lowering::new(Shape::of(graph.input()), graph.layers(), tensors);
    let mut values = vec![0; graph.nodes().len() + 1];
    for &index in graph.schedule(&[0], wanted)?.steps() {
        let node = &graph.nodes()[index];
        let inputs: Vec<ValueId> = node.inputs.iter().map(|&value| values[value]).collect();
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
