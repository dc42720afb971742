//! Where a course is parted when little is to be kept: each part but the last is gone through again before its way back.
//!
//! What is held at most is then what crosses the ends of parts, which is kept, and what the largest part keeps for itself.
//! Ends are only where less crosses than on either side: of stages, and of the blocks within them.

use std::ops::Range;

use super::course::Course;
use super::parameters::Parameters;
use super::pass::Pass;
use super::plan::{Plan, held};

/// The images that parts are chosen for: what is best for some is so, but for what weights take, for others.
const IMAGES: usize = 8;

/// How many limits are tried, the small ones closer together.
const TRIES: usize = 24;

impl Course {
    /// A plan that keeps little: of the segments of jobs that take the least memory, all but the last are gone through again
    /// before their way back. The numbers are the same to the bit.
    pub fn recomputing(&self, learns: Vec<bool>, parameters: &Parameters) -> Plan {
        let bytes =
            |plan: &Plan| Pass::rehearse(self, parameters, plan, IMAGES, true, true).bytes();
        let mut best = self.plan(learns.clone());
        let mut least = bytes(&best);
        let map = Map::new(self, &best);
        let whole = map.inside(0, self.jobs.len());
        for at in 1..TRIES {
            let Some(segments) = map.segments(whole * at * at / (TRIES * TRIES)) else {
                continue;
            };
            let plan = self.plan_parted(learns.clone(), &segments);
            let taken = bytes(&plan);
            if taken < least {
                (best, least) = (plan, taken);
            }
        }
        best
    }
}

/// What is kept where, in numbers of an image.
struct Map {
    /// The jobs before which a segment may end, from 0 to their count.
    ends: Vec<usize>,
    /// Of each place between jobs, what crosses it.
    crossing: Vec<usize>,
    /// Of each job, what the jobs before it make.
    made: Vec<usize>,
}

impl Map {
    fn new(course: &Course, plan: &Plan) -> Self {
        let count = course.jobs.len();
        let (makers, takers) = (course.makers(), course.takers());
        let mut crossing = vec![0; count + 1];
        let mut made = vec![0; count + 1];
        for (value, taker) in takers.iter().enumerate() {
            let Some(taker) = *taker else { continue };
            let numbers = course.shapes[value].numbers();
            let from = makers[value].map_or(0, |maker| maker + 1);
            crossing[from..=taker.min(count)]
                .iter_mut()
                .for_each(|crossing| *crossing += numbers);
        }
        for (index, job) in course.jobs.iter().enumerate() {
            let own = match plan.carries[job.output] {
                true => held(job, &plan.learns) * course.shapes[job.output].numbers(),
                false => 0,
            };
            made[index + 1] = made[index] + own;
        }
        let is_end =
            |&at: &usize| crossing[at] <= crossing[at - 1] && crossing[at] <= crossing[at + 1];
        let mut ends = vec![0];
        ends.extend((1..count).filter(is_end));
        ends.push(count);
        Self {
            ends,
            crossing,
            made,
        }
    }

    /// What the jobs of a segment keep.
    fn inside(&self, from: usize, until: usize) -> usize {
        self.made[until] - self.made[from]
    }

    /// The segments with which the least crosses ends, where no segment and what crosses those before it hold more than a
    /// limit; nothing where none hold so little.
    fn segments(&self, limit: usize) -> Option<Vec<Range<usize>>> {
        // Of each end, the least that crosses it and those before it, and the end before it.
        let mut least: Vec<Option<(usize, usize)>> = vec![None; self.ends.len()];
        least[0] = Some((0, 0));
        for at in 1..self.ends.len() {
            let until = self.ends[at];
            let before = (0..at).filter_map(|before| {
                let (sum, _) = least[before]?;
                let held = sum + self.inside(self.ends[before], until);
                (held <= limit).then_some((sum + self.crossing[until], before))
            });
            least[at] = before.min();
        }
        let mut segments = Vec::new();
        let mut at = self.ends.len() - 1;
        while at > 0 {
            let (_, before) = least[at]?;
            segments.push(self.ends[before]..self.ends[at]);
            at = before;
        }
        segments.reverse();
        Some(segments)
    }
}
