//! Which steps must run for what is asked, and how long each value is needed: the one plan that a network run step by
//! step, a program on the processor and a program on an adapter all follow.

use thiserror::Error;

/// What one step takes and puts out, by the numbers of values.
#[derive(Debug, Clone, Copy)]
pub struct Flow<'a> {
    /// The values that it takes.
    pub inputs: &'a [usize],
    /// The value that it puts out.
    pub output: usize,
}

/// A value that is asked for and cannot be made of what is given.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("value {value} is needed, and neither given nor put out by a step")]
pub struct Unreachable {
    /// The value's number.
    pub value: usize,
}

/// The steps that lead from some values to others, and the life of every value between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    steps: Vec<usize>,
    uses: Vec<usize>,
    lives: Vec<Option<[usize; 2]>>,
}

impl Schedule {
    /// Of steps that are listed in an order in which they can run: what they take comes before them.
    ///
    /// # Errors
    ///
    /// When a value is needed that is not given and that no step puts out.
    pub fn new(steps: &[Flow<'_>], given: &[usize], wanted: &[usize]) -> Result<Self, Unreachable> {
        let values = steps
            .iter()
            .map(|step| step.output)
            .chain(given.iter().copied());
        let count = values
            .chain(wanted.iter().copied())
            .max()
            .map_or(0, |last| last + 1);
        let mut uses = vec![0; count];
        for &value in wanted {
            uses[value] += 1;
        }
        let is_given = |value: usize| given.contains(&value);
        let mut made = vec![false; count];
        let mut kept = Vec::new();
        // From the last: a step runs if somebody after it takes what it puts out.
        for (index, step) in steps.iter().enumerate().rev() {
            if uses[step.output] == 0 || is_given(step.output) {
                continue;
            }
            made[step.output] = true;
            kept.push(index);
            for &value in step.inputs {
                match uses.get_mut(value) {
                    Some(uses) => *uses += 1,
                    None => return Err(Unreachable { value }),
                }
            }
        }
        kept.reverse();
        let lacks = |&value: &usize| uses[value] > 0 && !made[value] && !is_given(value);
        if let Some(value) = (0..count).find(lacks) {
            return Err(Unreachable { value });
        }
        let mut lives: Vec<Option<[usize; 2]>> = vec![None; count];
        for &value in given {
            lives[value] = Some([0, 0]);
        }
        for (moment, &index) in kept.iter().enumerate() {
            let step = &steps[index];
            for &value in step.inputs.iter().chain([&step.output]) {
                lives[value].get_or_insert([moment, moment])[1] = moment;
            }
        }
        for &value in wanted {
            if let Some(life) = &mut lives[value] {
                life[1] = kept.len();
            }
        }
        Ok(Self {
            steps: kept,
            uses,
            lives,
        })
    }

    /// The steps that run, by their places in the list, first to last.
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// How often a value is taken, by steps that run and by whoever asked for it.
    pub fn uses(&self, value: usize) -> usize {
        self.uses.get(value).copied().unwrap_or_default()
    }

    /// The moments at which a value is written first and read last, counted in [`steps`](Self::steps) that run: given
    /// values are there from the beginning, and wanted ones last beyond the end. `None` where nobody needs it.
    pub fn life(&self, value: usize) -> Option<[usize; 2]> {
        self.lives.get(value).copied().flatten()
    }

    /// Room for the values of one run.
    pub fn values<T>(&self) -> Values<T> {
        Values {
            values: self.uses.iter().map(|_| None).collect(),
            left: self.uses.clone(),
        }
    }
}

/// The values of one run. Each is handed on by its last user, so that memory which nobody else holds can be used again.
#[derive(Debug)]
pub struct Values<T> {
    values: Vec<Option<T>>,
    left: Vec<usize>,
}

impl<T: Clone> Values<T> {
    /// Keeps what a step put out, if anybody will take it.
    pub fn put(&mut self, value: usize, made: T) {
        if self.left.get(value).is_some_and(|&left| left > 0) {
            self.values[value] = Some(made);
        }
    }

    /// Hands out a value to one of its users.
    ///
    /// # Panics
    ///
    /// When it was not put, or has been taken as often as the schedule says.
    pub fn take(&mut self, value: usize) -> T {
        self.left[value] -= 1;
        let taken = match self.left[value] {
            0 => self.values[value].take(),
            _ => self.values[value].clone(),
        };
        taken.unwrap_or_else(|| panic!("value {value} was not made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 → 1 → 2 → 4, 1 → 3, and 4 takes 1 again.
    const STEPS: [Flow; 4] = [
        Flow {
            inputs: &[0],
            output: 1,
        },
        Flow {
            inputs: &[1],
            output: 2,
        },
        Flow {
            inputs: &[1],
            output: 3,
        },
        Flow {
            inputs: &[2, 1],
            output: 4,
        },
    ];

    #[test]
    fn only_what_leads_to_the_wanted_values_runs() {
        let all = Schedule::new(&STEPS, &[0], &[4]).unwrap();
        assert_eq!(all.steps(), [0, 1, 3]);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|value| all.uses(value)),
            [1, 2, 1, 0, 1]
        );
        let lives = [0, 1, 2, 3, 4].map(|value| all.life(value));
        assert_eq!(
            lives,
            [Some([0, 0]), Some([0, 2]), Some([1, 2]), None, Some([2, 3])]
        );
        let side = Schedule::new(&STEPS, &[0], &[3, 1]).unwrap();
        assert_eq!(side.steps(), [0, 2]);
        assert_eq!(side.uses(1), 2);
    }

    #[test]
    fn a_run_can_begin_in_the_middle() {
        let late = Schedule::new(&STEPS, &[1, 2], &[4]).unwrap();
        assert_eq!(late.steps(), [3]);
        // What leads to a given value is not asked for.
        assert_eq!(late.uses(0), 0);
        // A value that is given and wanted goes through.
        assert!(
            Schedule::new(&STEPS, &[2], &[2])
                .unwrap()
                .steps()
                .is_empty()
        );
        let lacking = Schedule::new(&STEPS, &[2], &[4]).unwrap_err();
        assert_eq!(lacking, Unreachable { value: 0 });
        assert!(Schedule::new(&STEPS, &[0], &[9]).is_err());
    }

    #[test]
    fn the_last_user_gets_the_value_itself() {
        let schedule = Schedule::new(&STEPS, &[0], &[4]).unwrap();
        let mut values = schedule.values();
        let one = std::rc::Rc::new(1);
        values.put(1, std::rc::Rc::clone(&one));
        let first = values.take(1);
        assert_eq!(std::rc::Rc::strong_count(&one), 3);
        drop(first);
        let last = values.take(1);
        assert_eq!(std::rc::Rc::strong_count(&last), 2);
        // What nobody takes is not kept.
        values.put(3, std::rc::Rc::clone(&one));
        assert_eq!(std::rc::Rc::strong_count(&last), 2);
    }
}
