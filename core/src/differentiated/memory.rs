//! How much memory a batch takes on its way there and back: what its rehearsal says.

use super::course::Course;
use super::parameters::Parameters;
use super::pass::Pass;
use crate::graph::Graph;

/// The bytes that so many images and their gradients hold at most on their way from the value `given` to the answers and
/// back, while the tensors learn that `learns` says, and with `recomputes`, segments are gone through again
/// ([`Course::recomputing`]); nothing where a step has no way back here.
pub fn pass_bytes(
    graph: &Graph,
    given: usize,
    images: usize,
    recomputes: bool,
    learns: impl Fn(&str) -> bool,
) -> Option<u64> {
    // Nobody reads them, so they take no memory.
    let parameters = Parameters::zeros(graph);
    let course = Course::new(graph, &parameters, given).ok()?;
    let all = 0..parameters.count();
    let learns = all.map(|tensor| learns(parameters.name(tensor))).collect();
    let plan = match recomputes {
        true => course.recomputing(learns, &parameters),
        false => course.plan(learns),
    };
    Some(Pass::rehearse(&course, &parameters, &plan, images, true, true).bytes())
}
