//! How little is kept of a course when much may be done again: which parts are gone through again before their way back,
//! and what is kept of them all the same.
//!
//! What is held at most is what stays of the parts before one, and what that one keeps for itself. A part ends only where
//! less crosses than on either side: at the end of stages, of blocks, and of what is within them beside a sum. Where what is
//! kept and what is done again both follow from the choice, the cheapest choice for each of many limits is found part by
//! part, and of those that are cheap enough a rehearsal says which takes the least.

use std::ops::Range;

use super::course::Course;
use super::needs::{Needs, Redone, kept};
use super::parameters::Parameters;
use super::parting::{Part, Parting};
use super::pass::Pass;
use super::plan::Plan;

/// The images that parts are chosen for: what is best for some is so, but for what weights take, for others.
const IMAGES: usize = 8;

/// How many limits are tried, the small ones closer together.
const TRIES: usize = 24;

/// The ends that a part which is gone through again may reach over.
const LONGEST: usize = 24;

/// How many beginnings of a choice are followed at once.
const FRONT: usize = 32;

/// What is kept of a part that is gone through again: what costs at least so many multiply-adds for a number.
const DEAR: [u64; 5] = [128, 256, 512, 1024, u64::MAX];

/// The share of all jobs' way there that may be done again, in percent.
const SHARE: u64 = 90;

impl Course {
    /// A plan that keeps little: of all that do again no more than a share of what there is to do, one that takes the least
    /// memory. The numbers are the same to the bit.
    pub fn recomputing(&self, learns: Vec<bool>, parameters: &Parameters) -> Plan {
        let bytes =
            |plan: &Plan| Pass::rehearse(self, parameters, plan, IMAGES, true, true).bytes();
        let mut best = self.plan(learns.clone());
        let mut least = bytes(&best);
        for parting in self.partings(&best, parameters) {
            let plan = self.plan_parted(learns.clone(), &parting);
            let taken = bytes(&plan);
            if taken < least {
                (best, least) = (plan, taken);
            }
        }
        best
    }

    /// What may be worth it.
    fn partings(&self, plan: &Plan, parameters: &Parameters) -> Vec<Parting> {
        let mut all: Vec<Parting> = Vec::new();
        for twice in [false, true] {
            let map = Map::new(self, plan, parameters, twice);
            for at in 1..=TRIES {
                let limit = map.whole * at * at / (TRIES * TRIES);
                if let Some(parting) = map.cheapest(limit)
                    && !all.contains(&parting)
                {
                    all.push(parting);
                }
            }
        }
        all
    }
}

/// Some jobs one after the other, and a way to treat them.
#[derive(Clone)]
struct Piece {
    /// The end where it begins.
    from: usize,
    again: bool,
    /// What is held when at least so much was paid for a number.
    dear: u64,
    /// Numbers of an image that are there while it is gone back through, beside those that are there before it,
    inside: usize,
    /// and those that stay behind it.
    stays: usize,
    /// What is done again.
    price: u64,
}

/// The beginning of a choice: numbers that stay, what is done again, and how it came about.
#[derive(Clone, Copy)]
struct Begun {
    stays: usize,
    price: u64,
    /// The last piece, and the beginning behind which it stands.
    piece: usize,
    before: usize,
}

/// What is kept where, in numbers of an image.
struct Map<'a> {
    needs: Needs<'a>,
    /// Some parting: how outputs are made again.
    manner: Parting,
    /// The jobs before which a part may end, from 0 to their count.
    ends: Vec<usize>,
    /// Of each end, the pieces that lead to it.
    pieces: Vec<Vec<Piece>>,
    /// Of each end, the numbers of the gradients of what learns behind it, an image's share.
    gradients: Vec<usize>,
    /// What all is when all is kept.
    whole: usize,
    /// What may be done again.
    budget: u64,
}

impl<'a> Map<'a> {
    fn new(course: &'a Course, plan: &'a Plan, parameters: &Parameters, twice: bool) -> Self {
        let needs = Needs::new(course, &plan.learns, &plan.carries);
        let count = course.jobs.len();
        let manner = Parting {
            remakes: true,
            twice,
            ..Parting::none(count)
        };
        let ends = ends(course);
        let prices = course
            .jobs
            .iter()
            .map(|job| course.price(job, &plan.learns));
        let budget = SHARE * prices.sum::<u64>() / 100;
        let mut behind = 0;
        let mut gradients = vec![0; count + 1];
        for (index, job) in course.jobs.iter().enumerate().rev() {
            let learnt = job.kind.learnt().into_iter();
            let moved = learnt.filter(|&tensor| plan.learns[tensor]);
            behind += moved
                .map(|tensor| parameters.values(tensor).len())
                .sum::<usize>();
            gradients[index] = behind / IMAGES;
        }
        let mut map = Self {
            gradients: ends.iter().map(|&end| gradients[end]).collect(),
            needs,
            manner,
            pieces: Vec::new(),
            ends,
            whole: 0,
            budget,
        };
        map.pieces = (0..map.ends.len()).map(|end| map.leading_to(end)).collect();
        let all = map.kept(&(0..count), 0).inside;
        map.whole = all + gradients[0];
        map
    }

    /// The pieces that lead to an end.
    fn leading_to(&self, end: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for from in end.saturating_sub(LONGEST)..end {
            let jobs = self.ends[from]..self.ends[end];
            pieces.push(self.kept(&jobs, from));
            for dear in DEAR {
                let piece = self.again(&jobs, from, dear);
                let is_new = pieces.iter().all(|other: &Piece| {
                    (other.from, other.stays, other.price) != (from, piece.stays, piece.price)
                });
                if is_new {
                    pieces.push(piece);
                }
            }
        }
        pieces
    }

    /// The jobs that hold all that they make though their part is gone through again.
    fn holds(&self, jobs: &Range<usize>, dear: u64) -> Vec<bool> {
        let course = self.needs.course;
        let mut holds = vec![false; course.jobs.len()];
        for index in jobs.clone() {
            let job = &course.jobs[index];
            let numbers = course.shapes[job.output].numbers() as u64;
            let own = self.needs.keeps_own(job);
            let price = course.price(job, self.needs.learns);
            holds[index] =
                price / numbers.max(1) >= dear && (own || !self.needs.is_cheap(job, &self.manner));
        }
        holds
    }

    /// Of each job, the numbers of its output that the way back takes and that do not follow from others, and of what it
    /// keeps besides.
    fn numbers(&self, jobs: &Range<usize>, parting: &Parting) -> Vec<[usize; 2]> {
        let course = self.needs.course;
        let mut wanted = vec![false; course.shapes.len()];
        for job in &course.jobs {
            if self.needs.carries[course.roots[job.output]] {
                for value in kept(job, self.needs.learns) {
                    wanted[course.roots[value]] = true;
                }
            }
        }
        let of_job = |job: usize| {
            let job = &course.jobs[job];
            let (root, numbers) = (
                course.roots[job.output],
                course.shapes[job.output].numbers(),
            );
            let is_cheap = self.needs.cheap_maker(root, jobs, parting).is_some();
            let output = if wanted[root] && !is_cheap {
                numbers
            } else {
                0
            };
            let own = if self.needs.keeps_own(job) {
                numbers
            } else {
                0
            };
            [output, own]
        };
        jobs.clone().map(of_job).collect()
    }

    /// A piece of which all is kept.
    fn kept(&self, jobs: &Range<usize>, from: usize) -> Piece {
        let numbers = self.numbers(jobs, &self.manner);
        let stays = numbers.iter().flatten().sum();
        Piece {
            from,
            again: false,
            dear: 0,
            inside: stays + self.largest(jobs),
            stays,
            price: self.remaking(jobs),
        }
    }

    /// A piece that is gone through again.
    fn again(&self, jobs: &Range<usize>, from: usize, dear: u64) -> Piece {
        let course = self.needs.course;
        let parting = Parting {
            holds: self.holds(jobs, dear),
            ..self.manner.clone()
        };
        let mut stays = 0;
        let mut inside = 0;
        for (index, [output, own]) in jobs.clone().zip(self.numbers(jobs, &parting)) {
            let job = &course.jobs[index];
            let numbers = course.shapes[job.output].numbers();
            inside += output + own;
            if self.needs.stays(job.output, jobs, &parting) {
                stays += numbers;
            }
            if parting.holds[index] {
                stays += own;
            }
        }
        let mut price = match parting.twice {
            true => self.remaking(jobs),
            false => 0,
        };
        for redone in self.needs.redone(jobs, &parting) {
            price += match redone {
                Redone::Job { job, .. } => course.price(&course.jobs[job], self.needs.learns),
                Redone::Output { job } => course.price_of_output(&course.jobs[job]),
            };
        }
        Piece {
            from,
            again: true,
            dear,
            inside: inside.max(stays) + self.largest(jobs),
            stays,
            price,
        }
    }

    /// What the largest gradient on the way back takes.
    fn largest(&self, jobs: &Range<usize>) -> usize {
        let course = self.needs.course;
        let numbers = jobs
            .clone()
            .map(|job| course.shapes[course.jobs[job].output].numbers());
        numbers.max().unwrap_or(0)
    }

    /// What is paid for outputs that are made again of what is kept, where without recomputing they are not.
    fn remaking(&self, jobs: &Range<usize>) -> u64 {
        let course = self.needs.course;
        let plain = Parting::none(course.jobs.len());
        let made = jobs.clone().filter(|&index| {
            let job = &course.jobs[index];
            let now = self.needs.cheap_maker(job.output, jobs, &self.manner);
            now.is_some() && !self.needs.is_cheap(job, &plain)
        });
        made.map(|job| course.price_of_output(&course.jobs[job]))
            .sum()
    }

    /// The pieces that do the least again where no more is there at once than a limit allows; nothing where none are so, or
    /// cheap enough.
    fn cheapest(&self, limit: usize) -> Option<Parting> {
        let mut begun: Vec<Vec<Begun>> = vec![Vec::new(); self.ends.len()];
        begun[0].push(Begun {
            stays: 0,
            price: 0,
            piece: 0,
            before: 0,
        });
        for end in 1..self.ends.len() {
            let mut all = Vec::new();
            for (index, piece) in self.pieces[end].iter().enumerate() {
                for (before, beginning) in begun[piece.from].iter().enumerate() {
                    let there = beginning.stays + piece.inside + self.gradients[end];
                    let price = beginning.price + piece.price;
                    if there <= limit && price <= self.budget {
                        all.push(Begun {
                            stays: beginning.stays + piece.stays,
                            price,
                            piece: index,
                            before,
                        });
                    }
                }
            }
            begun[end] = worth_following(all);
        }
        let mut end = self.ends.len() - 1;
        let cheapest = begun[end].iter().enumerate();
        let (mut at, _) = cheapest.min_by_key(|(_, begun)| begun.price)?;
        let mut parting = self.manner.clone();
        let mut parts: Vec<Part> = Vec::new();
        while end > 0 {
            let Begun { piece, before, .. } = begun[end][at];
            let piece = &self.pieces[end][piece];
            let jobs = self.ends[piece.from]..self.ends[end];
            match parts.last_mut().filter(|next| !next.again && !piece.again) {
                Some(next) => next.jobs.start = jobs.start,
                None => parts.push(Part {
                    jobs: jobs.clone(),
                    again: piece.again,
                }),
            }
            if piece.again {
                let held = self.holds(&jobs, piece.dear);
                parting.holds[jobs.clone()].copy_from_slice(&held[jobs]);
            }
            (end, at) = (piece.from, before);
        }
        parts.reverse();
        parting.parts = parts;
        Some(parting)
    }
}

/// Those beginnings beside which there is none that keeps less and does less again, and not too many.
fn worth_following(mut all: Vec<Begun>) -> Vec<Begun> {
    all.sort_by_key(|begun| (begun.stays, begun.price));
    let mut least = u64::MAX;
    all.retain(|begun| {
        let is_less = begun.price < least;
        least = least.min(begun.price);
        is_less
    });
    let step = all.len().div_ceil(FRONT).max(1);
    // From the end, so that the cheapest is among them.
    let mut some: Vec<Begun> = all.into_iter().rev().step_by(step).collect();
    some.reverse();
    some
}

/// The jobs before which a part may end.
fn ends(course: &Course) -> Vec<usize> {
    let count = course.jobs.len();
    let (makers, takers) = (course.makers(), course.takers());
    let mut crossing = vec![0; count + 1];
    for (value, taker) in takers.iter().enumerate() {
        let Some(taker) = *taker else { continue };
        let from = makers[value].map_or(0, |maker| maker + 1);
        crossing[from..=taker.min(count)]
            .iter_mut()
            .for_each(|crossing| *crossing += course.shapes[value].numbers());
    }
    let is_end = |&at: &usize| crossing[at] <= crossing[at - 1] && crossing[at] <= crossing[at + 1];
    let mut ends = vec![0];
    ends.extend((1..count).filter(is_end));
    ends.push(count);
    ends
}
