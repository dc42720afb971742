//! Making fewer steps of many: batch norms and learnt factors go into the weights before them,
//! activations and residual sums into the step that made the number.

use std::collections::BTreeMap;

use crate::graph::{Nonlinearity, Schedule};
use crate::program::{Ending, Folding, Program, Step, Tail, ValueId};

/// Fuses what can be fused. The values that the program puts out stay.
pub fn fuse(program: Program<'_>) -> Program<'_> {
    let schedule = program.schedule();
    let mut fused = Fused {
        steps: Vec::with_capacity(program.steps.len()),
        makers: BTreeMap::new(),
        schedule,
    };
    for step in program.steps {
        fused.take(step);
    }
    Program {
        steps: fused.steps,
        ..program
    }
}

struct Fused<'t> {
    steps: Vec<Step<'t>>,
    /// The step that makes each value.
    makers: BTreeMap<ValueId, usize>,
    /// How often each value is taken.
    schedule: Schedule,
}

impl<'t> Fused<'t> {
    /// Lets an earlier step do this one's work, or adds it.
    fn take(&mut self, step: Step<'t>) {
        let maker = match step.work.folding() {
            Folding::Affine(scale, shift) => self.scale(step.inputs[0], scale, shift),
            Folding::Activation(function) => self.activate(step.inputs[0], function),
            Folding::Sum => self.add(step.inputs[0], step.inputs[1]),
            Folding::Nothing => None,
        };
        let output = step.output;
        let index = match maker {
            Some(maker) => {
                self.steps[maker].output = output;
                maker
            }
            None => {
                self.steps.push(step);
                self.steps.len() - 1
            }
        };
        self.makers.insert(output, index);
    }

    /// The step that makes a value which nobody else takes.
    fn sole_maker(&self, value: ValueId) -> Option<usize> {
        let maker = *self.makers.get(&value)?;
        (self.schedule.uses(value) == 1).then_some(maker)
    }

    /// Multiplies the weights that made this value.
    fn scale(&mut self, value: ValueId, scale: &[f32], shift: &[f32]) -> Option<usize> {
        let maker = self.sole_maker(value)?;
        let (weight, biases) = match self.steps[maker].work.tail() {
            // Of a sum that is stored as it is.
            Tail::Scaled(weight, biases, ending) if *ending == Ending::default() => {
                (weight, biases)
            }
            Tail::Scaled(..) | Tail::Ending(_) | Tail::Activation(_) | Tail::Nothing => {
                return None;
            }
        };
        weight.scale(scale);
        for (filter, bias) in biases.iter_mut().enumerate() {
            *bias = *bias * scale[filter] + shift[filter];
        }
        Some(maker)
    }

    /// Lets the step that made this value apply a function to it.
    fn activate(&mut self, value: ValueId, function: Nonlinearity) -> Option<usize> {
        let maker = self.sole_maker(value)?;
        let activation = match self.steps[maker].work.tail() {
            Tail::Scaled(_, _, ending) | Tail::Ending(ending) => &mut ending.activation,
            Tail::Activation(activation) => activation,
            Tail::Nothing => return None,
        };
        let free = activation.is_none();
        if free {
            *activation = Some(function);
        }
        free.then_some(maker)
    }

    /// Lets the later of two steps add what the other made.
    fn add(&mut self, a: ValueId, b: ValueId) -> Option<usize> {
        let made = |value: ValueId| self.makers.get(&value).copied();
        let (later, earlier) = if made(a) > made(b) { (a, b) } else { (b, a) };
        let maker = self.sole_maker(later)?;
        // Two values of one step, or a value with itself: nothing to be gained.
        if made(earlier) >= Some(maker) {
            return None;
        }
        match self.steps[maker].work.tail() {
            Tail::Scaled(_, _, ending) | Tail::Ending(ending) if *ending == Ending::default() => {
                ending.residual = true;
                self.steps[maker].inputs.push(earlier);
                Some(maker)
            }
            Tail::Scaled(..) | Tail::Ending(_) | Tail::Activation(_) | Tail::Nothing => None,
        }
    }
}
