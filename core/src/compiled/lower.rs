//! From a frozen network's graph and its numbers to a program.

use crate::graph::Graph;
use crate::program::{CompileError, Condition, Program};
use crate::weights::StateDict;

/// Turns a graph into a program that leads from the image to the values in `wanted`, with the tensors as its numbers.
///
/// # Errors
///
/// When a tensor that the graph names is missing.
pub fn lower<'t>(
    graph: &Graph,
    tensors: &StateDict<'t>,
    wanted: &[usize],
) -> Result<Program<'t>, CompileError> {
    crate::lower::lower(graph, tensors, Condition::Frozen, 0, wanted)
}
