//! Where each value of a program lies in memory: which values share a buffer because one is a view of
//! another, and which buffers share a slot because they are never needed at once.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_networks::sorting::{gathered, sorted};

use super::pairs::ends;
use crate::program::{Program, ValueId, Work};

/// Where a value lies, for one image: number `channel` at position `p` is number
/// `p · pitch + offset + channel` of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The slot.
    pub slot: usize,
    /// Numbers from one position to the next.
    pub pitch: usize,
    /// The first channel.
    pub offset: usize,
}

/// The memory of a program.
#[derive(Debug)]
pub(super) struct Places {
    /// Where each value lies.
    pub values: Vec<Place>,
    /// Numbers of each slot, for one image.
    pub slots: Vec<usize>,
    /// What each step that joins values must copy, because it does not lie there yet: values and the
    /// channel at which they begin.
    pub copies: Vec<Vec<(ValueId, usize)>>,
}

/// A stretch of the channels of a buffer, which is named by the value that fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    buffer: ValueId,
    offset: usize,
}

/// Finds a place for every value; `pairs` of steps are done together.
pub(super) fn place(program: &Program<'_>, pairs: &[bool]) -> Places {
    // A step may not read and write one buffer. Where joining channels in place would bring that
    // about, the value is written apart and copied.
    let mut apart = BTreeSet::new();
    loop {
        let (views, copies) = views(program, &apart);
        let clash = program.steps.iter().find(|step| {
            let reads = |value: &ValueId| views[*value].buffer == views[step.output].buffer;
            !is_view(&step.work) && step.inputs.iter().any(reads)
        });
        match clash {
            Some(step) => {
                let is_news = apart.insert(step.output);
                assert!(is_news, "'{}' reads what it writes", step.name);
            }
            None => return slots(program, pairs, &views, copies),
        }
    }
}

/// Whether a step's output is a view of its input.
fn is_view(work: &Work<'_>) -> bool {
    matches!(work, Work::Reshape | Work::Chunk { .. } | Work::Concat)
}

type Copies = Vec<Vec<(ValueId, usize)>>;

/// Which buffer each value is a view of.
fn views(program: &Program<'_>, apart: &BTreeSet<ValueId>) -> (Vec<Stretch>, Copies) {
    let own = |buffer| Stretch { buffer, offset: 0 };
    let mut views: Vec<Stretch> = (0..program.shapes.len()).map(own).collect();
    let kept: BTreeSet<ValueId> = gathered(program.outputs.iter().copied().chain([0]));
    let mut made_in_place: BTreeSet<ValueId> = BTreeSet::new();
    let fresh = program
        .steps
        .iter()
        .filter(|step| !matches!(step.work, Work::Reshape | Work::Chunk { .. }))
        .map(|step| step.output);
    let fresh: BTreeSet<ValueId> = gathered(fresh);
    // The last join first: what DenseNet joins early is the beginning of what it joins later.
    let backwards = program.steps.iter().rev();
    for step in backwards.filter(|step| matches!(step.work, Work::Concat)) {
        let mut offset = 0;
        let before: Vec<Stretch> = step.inputs.iter().map(|&value| views[value]).collect();
        let joined = before.iter().zip(&step.inputs).all(|(view, &value)| {
            let follows = made_in_place.contains(&value)
                && view.buffer == before[0].buffer
                && view.offset == before[0].offset + offset;
            offset += program.shapes[value].channels;
            follows
        });
        if joined && !made_in_place.contains(&step.output) {
            views[step.output] = before[0];
            continue;
        }
        let target = views[step.output];
        let mut offset = target.offset;
        for &value in &step.inputs {
            let free = !made_in_place.contains(&value)
                && !kept.contains(&value)
                && !apart.contains(&value)
                && fresh.contains(&value);
            if free {
                views[value] = Stretch {
                    buffer: target.buffer,
                    offset,
                };
                made_in_place.insert(value);
            }
            offset += program.shapes[value].channels;
        }
    }
    // First to last: views of views.
    let mut copies = vec![Vec::new(); program.steps.len()];
    for (index, step) in program.steps.iter().enumerate() {
        match &step.work {
            Work::Reshape => views[step.output] = views[step.inputs[0]],
            Work::Chunk { start } => {
                let whole = views[step.inputs[0]];
                views[step.output] = Stretch {
                    offset: whole.offset + start,
                    ..whole
                };
            }
            Work::Concat => {
                let mut at = views[step.output];
                for &value in &step.inputs {
                    if views[value] != at {
                        copies[index].push((value, at.offset));
                    }
                    at.offset += program.shapes[value].channels;
                }
            }
            _ => {}
        }
    }
    (views, copies)
}

/// Gives buffers to slots, so that as few numbers as possible are held at once.
fn slots(program: &Program<'_>, pairs: &[bool], views: &[Stretch], copies: Copies) -> Places {
    // From the first step that writes a buffer to the last that reads it. The image is written before
    // the first step, and what is put out is read after the last.
    let schedule = program.schedule();
    let mut lives: Vec<Option<[usize; 2]>> = vec![None; views.len()];
    for (value, view) in views.iter().enumerate() {
        let Some([birth, death]) = schedule.life(value) else {
            continue;
        };
        let life = lives[view.buffer].get_or_insert([birth, death]);
        *life = [life[0].min(birth), life[1].max(death)];
    }
    for [read, written] in ends(program, pairs) {
        let birth = schedule.life(written).map(|[birth, _]| birth);
        if let (Some(life), Some(birth)) = (&mut lives[views[read].buffer], birth) {
            life[1] = life[1].max(birth);
        }
    }
    let lives = lives.into_iter().enumerate();
    let lives = lives.filter_map(|(buffer, life)| Some((life?, buffer)));
    let lives = sorted(lives.collect(), |([birth_a, _], a), ([birth_b, _], b)| {
        (birth_a, a).cmp(&(birth_b, b))
    });

    let mut slots: Vec<usize> = Vec::new();
    let mut busy_until: Vec<usize> = Vec::new();
    let mut slot_of: BTreeMap<ValueId, usize> = BTreeMap::new();
    for ([birth, death], buffer) in lives {
        let size = program.shapes[buffer].numbers();
        let free = (0..slots.len()).filter(|&slot| busy_until[slot] < birth);
        // The smallest that is large enough, or else the largest, which then grows.
        let best = free.min_by_key(|&slot| (slots[slot] < size, slots[slot].abs_diff(size)));
        let slot = best.unwrap_or_else(|| {
            slots.push(0);
            busy_until.push(0);
            slots.len() - 1
        });
        slots[slot] = slots[slot].max(size);
        busy_until[slot] = death;
        slot_of.insert(buffer, slot);
    }
    let values = views
        .iter()
        .map(|view| Place {
            slot: slot_of.get(&view.buffer).copied().unwrap_or_default(),
            pitch: program.shapes[view.buffer].channels,
            offset: view.offset,
        })
        .collect();
    Places {
        values,
        slots,
        copies,
    }
}
