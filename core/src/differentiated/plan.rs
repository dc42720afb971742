//! What is done of a course while some of its numbers learn: how far back gradients go, what is kept for that and what is
//! made again, and how long each value is there.

use super::course::Course;
use super::needs::{Needs, Redone, kept, remade_of};
use super::parameters::TensorId;
use super::parting::{Part, Parting};
use crate::program::ValueId;

/// What is done one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A job, on the way there.
    There {
        job: usize,
        /// Whether what its way back takes is kept.
        keeps: bool,
    },
    /// The answers are read, and their gradient comes.
    Turn,
    /// A job once more, since nothing of it was kept.
    Again {
        job: usize,
        /// Whether its output is wanted, and not only what its way back takes.
        makes: bool,
    },
    /// A job's output once more, of what is kept for its way back anyway.
    Remake { job: usize },
    /// A job's way back.
    Back { job: usize },
}

/// What the way there and back takes, for what learns now.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of each tensor, whether it learns: whether gradients move it or, of a running statistic, whether it follows the
    /// batches.
    pub(super) learns: Vec<bool>,
    /// Of each value, whether a gradient goes back to it.
    pub(super) carries: Vec<bool>,
    pub(super) acts: Vec<Act>,
    /// Of each act, the values that nobody needs behind it, or that are made again until somebody does.
    pub(super) done: Vec<Vec<ValueId>>,
}

impl Course {
    /// What is done while these tensors learn; where none does, there is no way back.
    pub fn plan(&self, learns: Vec<bool>) -> Plan {
        self.plan_parted(learns, &Parting::none(self.jobs.len()))
    }

    /// The same where less is kept, and more made again.
    pub(super) fn plan_parted(&self, learns: Vec<bool>, parting: &Parting) -> Plan {
        let carries = self.carries(&learns);
        let acts = Acts::new(Needs::new(self, &learns, &carries), parting).all();
        let done = self.done(&acts, &learns);
        Plan {
            learns,
            carries,
            acts,
            done,
        }
    }

    /// Of each value, whether a gradient goes back to it.
    pub(super) fn carries(&self, learns: &[bool]) -> Vec<bool> {
        let mut carries = vec![false; self.shapes.len()];
        for job in &self.jobs {
            let moves = job.kind.learnt().iter().any(|&tensor| learns[tensor]);
            let has = job.inputs.iter().any(|&value| carries[self.roots[value]]);
            carries[job.output] = moves || has;
        }
        self.roots.iter().map(|&root| carries[root]).collect()
    }

    /// Of each act, the values that are there no longer than that.
    fn done(&self, acts: &[Act], learns: &[bool]) -> Vec<Vec<ValueId>> {
        let mut done = vec![Vec::new(); acts.len()];
        let mut last: Vec<Option<usize>> = vec![None; self.shapes.len()];
        last[0] = Some(0);
        for (at, &act) in acts.iter().enumerate() {
            let (uses, made) = self.touched(act, learns);
            for value in uses {
                last[self.roots[value]] = Some(at);
            }
            if let Some(value) = made {
                let root = self.roots[value];
                if let Some(before) = last[root].replace(at)
                    && before != at
                {
                    done[before].push(root);
                }
            }
        }
        for (root, at) in last.into_iter().enumerate() {
            if let Some(at) = at
                && !done.is_empty()
            {
                done[at].push(root);
            }
        }
        done
    }

    /// The values that an act takes, and the one that it makes.
    fn touched(&self, act: Act, learns: &[bool]) -> (Vec<ValueId>, Option<ValueId>) {
        match act {
            Act::There { job, .. } => {
                let job = &self.jobs[job];
                (job.inputs.clone(), Some(job.output))
            }
            Act::Again { job, makes } => {
                let job = &self.jobs[job];
                (job.inputs.clone(), makes.then_some(job.output))
            }
            Act::Turn => (vec![self.output], None),
            Act::Remake { job } => {
                let job = &self.jobs[job];
                (remade_of(job, learns), Some(job.output))
            }
            Act::Back { job } => (kept(&self.jobs[job], learns), None),
        }
    }
}

impl Plan {
    pub(super) fn learns(&self, tensor: TensorId) -> bool {
        self.learns[tensor]
    }
}

/// The acts of a plan, being written.
struct Acts<'a> {
    needs: Needs<'a>,
    parting: &'a Parting,
    /// Of each job, its part.
    parts: Vec<usize>,
    /// Of each job, whether its output has been made again.
    remade: Vec<bool>,
    acts: Vec<Act>,
}

impl<'a> Acts<'a> {
    fn new(needs: Needs<'a>, parting: &'a Parting) -> Self {
        let count = needs.course.jobs.len();
        let mut parts = vec![0; count];
        for (index, part) in parting.parts.iter().enumerate() {
            parts[part.jobs.clone()].fill(index);
        }
        Self {
            needs,
            parting,
            parts,
            remade: vec![false; count],
            acts: Vec::new(),
        }
    }

    fn part(&self, job: usize) -> &'a Part {
        &self.parting.parts[self.parts[job]]
    }

    fn all(mut self) -> Vec<Act> {
        let course = self.needs.course;
        for job in 0..course.jobs.len() {
            let keeps = !self.part(job).again || self.parting.holds[job];
            self.acts.push(Act::There { job, keeps });
        }
        self.acts.push(Act::Turn);
        for part in self.parting.parts.iter().rev() {
            if part.again {
                self.again(part);
            }
            for job in part.jobs.clone().rev() {
                if !self.needs.carries[course.jobs[job].output] {
                    continue;
                }
                for value in kept(&course.jobs[job], self.needs.learns) {
                    self.remake(value);
                }
                self.acts.push(Act::Back { job });
            }
        }
        self.acts
    }

    /// Sees to it that a value is there.
    fn remake(&mut self, value: ValueId) {
        let maker = self.needs.maker(value).and_then(|maker| {
            let part = &self.part(maker).jobs;
            self.needs.cheap_maker(value, part, self.parting)
        });
        let Some(maker) = maker else {
            return;
        };
        if std::mem::replace(&mut self.remade[maker], true) {
            return;
        }
        for value in remade_of(&self.needs.course.jobs[maker], self.needs.learns) {
            self.remake(value);
        }
        self.acts.push(Act::Remake { job: maker });
    }

    /// The jobs of a part that are done again before its way back.
    fn again(&mut self, part: &Part) {
        for redone in self.needs.redone(&part.jobs, self.parting) {
            let (job, makes, act) = match redone {
                Redone::Job { job, makes } => (job, makes, Act::Again { job, makes }),
                Redone::Output { job } => (job, true, Act::Remake { job }),
            };
            self.remade[job] = makes && !self.parting.twice;
            self.acts.push(act);
        }
    }
}
