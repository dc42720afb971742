//! Which convolutions are done together with the depthwise one behind them, strip by strip: where the maps between the
//! two are too large to stay in the nearest caches.

use crate::program::{Program, ValueId, Work};

/// Numbers in between from which it pays.
const LARGE: usize = 256 << 10;

/// For each step, whether it and the next are a pair. Other steps take nothing of what is in between.
pub(super) fn pairs(program: &Program<'_>) -> Vec<bool> {
    let schedule = program.schedule();
    let is_pair = |first: usize| {
        let (step, Some(next)) = (&program.steps[first], program.steps.get(first + 1)) else {
            return false;
        };
        step.output == next.inputs[0]
            && schedule.uses(step.output) == 1
            && program.shapes[step.output].numbers() >= LARGE
            && is_plain(&step.work).is_some_and(|groups| groups == 1)
            && is_plain(&next.work).is_some_and(|groups| groups > 1)
    };
    // A page's code is to be small, and it computes longer for each number that it fetches.
    let possible = !cfg!(target_family = "wasm");
    let steps = 0..program.steps.len();
    steps.map(|first| possible && is_pair(first)).collect()
}

/// The groups of a convolution that adds nothing to what it computes.
fn is_plain(work: &Work<'_>) -> Option<usize> {
    match work {
        Work::Conv { conv, ending, .. } if !ending.residual => Some(conv.groups),
        _ => None,
    }
}

/// For each pair, what its first step reads and what its second puts out: the one is read until the other is written.
pub(super) fn ends(program: &Program<'_>, pairs: &[bool]) -> impl Iterator<Item = [ValueId; 2]> {
    let steps = program.steps.windows(2).zip(pairs);
    let steps = steps.filter(|(_, is_pair)| **is_pair);
    steps.map(|(steps, _)| [steps[0].inputs[0], steps[1].output])
}
