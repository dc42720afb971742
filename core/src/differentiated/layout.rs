//! Where everything lies that a batch needs on its way: each buffer is taken and given back at moments that are known
//! beforehand, so that their places in one memory are chosen once, and what they take together is known before any of it
//! is.

use std::cmp::Reverse;
use std::ops::{Deref, DerefMut};

use rekindle_cpu::{Arena, Loan};

/// The numbers of a cache line: places are counted in lines.
const LINE: usize = 16;

/// A buffer's numbers, in cache lines, and when it is there: from a moment to before another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    lines: usize,
    from: usize,
    until: usize,
}

/// The places of all buffers of a way that so many images go, in the order in which they are taken.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    pub(super) batch: usize,
    /// Of each buffer, its numbers and where they begin.
    places: Vec<(usize, usize)>,
    /// Numbers of all.
    numbers: usize,
}

impl Layout {
    /// The bytes of memory that all buffers lie in.
    pub fn bytes(&self) -> u64 {
        (size_of::<f32>() * self.numbers) as u64
    }

    /// Places for buffers: the best of some orders in which each takes the lowest that is free all the while.
    fn new(batch: usize, counts: Vec<usize>, spans: &[Span]) -> Self {
        let keys: [fn(&Span) -> Reverse<usize>; 4] = [
            |span| Reverse(span.lines),
            |span| Reverse(span.lines * (span.until - span.from)),
            |span| Reverse(span.until - span.from),
            |span| Reverse(span.until),
        ];
        let all = keys.map(|key| {
            let mut order: Vec<usize> = (0..spans.len()).collect();
            order.sort_by_key(|&at| (key(&spans[at]), Reverse(spans[at].lines), spans[at].from));
            put(spans, &order)
        });
        let best = all.into_iter().min_by_key(|(_, lines)| *lines);
        let (firsts, lines) = best.unwrap_or_default();
        let firsts = firsts.into_iter().map(|first| LINE * first);
        Self {
            batch,
            places: counts.into_iter().zip(firsts).collect(),
            numbers: LINE * lines,
        }
    }
}

/// The first line of each span, taken in an order, and how many lines hold all.
fn put(spans: &[Span], order: &[usize]) -> (Vec<usize>, usize) {
    let mut firsts = vec![0; spans.len()];
    // What has its place, the lowest first.
    let mut there: Vec<usize> = Vec::with_capacity(spans.len());
    let mut most = 0;
    for &at in order {
        let span = spans[at];
        let mut first = 0;
        for &other in &there {
            let is_beside = |a: &Span, b: &Span| a.until <= b.from || b.until <= a.from;
            if is_beside(&span, &spans[other]) {
                continue;
            }
            if firsts[other] >= first + span.lines {
                break;
            }
            first = first.max(firsts[other] + spans[other].lines);
        }
        firsts[at] = first;
        most = most.max(first + span.lines);
        let place = there.partition_point(|&other| firsts[other] <= first);
        there.insert(place, at);
    }
    (firsts, most)
}

/// Some numbers that somebody works on; none of an empty one, and none in a rehearsal.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    count: usize,
    /// Its place among those that are taken.
    index: usize,
    loan: Option<Loan>,
}

impl Buffer {
    /// Whether it is no buffer at all.
    pub(super) fn is_none(&self) -> bool {
        self.count == 0
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.loan.as_deref().map_or(&[], |all| &all[..self.count])
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.loan {
            Some(loan) => &mut loan[..self.count],
            None => &mut [],
        }
    }
}

/// The memory that a training's batches lie in, one after the other.
#[derive(Debug)]
pub struct Ground {
    arena: Arena,
}

impl Ground {
    /// Whether something lies there: gradients that wait for their step.
    pub fn is_lent(&self) -> bool {
        self.arena.is_lent()
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self {
            arena: Arena::new(0),
        }
    }
}

/// Where buffers come from.
#[derive(Debug)]
pub(super) enum Store<'a> {
    /// They are only counted.
    Rehearsal {
        counts: Vec<usize>,
        spans: Vec<Span>,
        moment: usize,
    },
    /// They lie as a rehearsal found that they can.
    Ground {
        arena: &'a Arena,
        layout: &'a Layout,
        next: usize,
    },
}

impl<'a> Store<'a> {
    pub(super) fn rehearsal() -> Self {
        Self::Rehearsal {
            counts: Vec::new(),
            spans: Vec::new(),
            moment: 0,
        }
    }

    pub(super) fn on(ground: &'a mut Ground, layout: &'a Layout) -> Self {
        if ground.arena.len() < layout.numbers {
            // First goes what there is.
            ground.arena = Arena::new(0);
            ground.arena = Arena::new(layout.numbers);
        }
        Self::back_on(ground, layout, 0)
    }

    /// The same where so many buffers were taken before.
    pub(super) fn back_on(ground: &'a Ground, layout: &'a Layout, taken: usize) -> Self {
        Self::Ground {
            arena: &ground.arena,
            layout,
            next: taken,
        }
    }

    /// How many buffers were taken.
    pub(super) fn taken(&self) -> usize {
        match self {
            Self::Rehearsal { counts, .. } => counts.len(),
            Self::Ground { next, .. } => *next,
        }
    }

    pub(super) fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Rehearsal { .. })
    }

    /// A buffer of so many numbers, which mean nothing yet.
    pub(super) fn take(&mut self, count: usize) -> Buffer {
        match self {
            Self::Rehearsal {
                counts,
                spans,
                moment,
            } => {
                counts.push(count);
                spans.push(Span {
                    lines: count.div_ceil(LINE),
                    from: *moment,
                    until: usize::MAX,
                });
                *moment += 1;
                Buffer {
                    count,
                    index: counts.len() - 1,
                    loan: None,
                }
            }
            Self::Ground {
                arena,
                layout,
                next,
            } => {
                let (planned, first) = layout.places[*next];
                assert_eq!(count, planned, "buffer {next} is not as it was rehearsed");
                let index = *next;
                *next += 1;
                Buffer {
                    count,
                    index,
                    loan: Some(arena.lend(first, count)),
                }
            }
        }
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: Buffer) {
        if buffer.is_none() {
            return;
        }
        match self {
            Self::Rehearsal { spans, moment, .. } => {
                spans[buffer.index].until = *moment;
                *moment += 1;
            }
            Self::Ground { .. } => drop(buffer),
        }
    }

    /// What a rehearsal found.
    pub(super) fn layout(self, batch: usize) -> Layout {
        match self {
            Self::Rehearsal {
                counts,
                mut spans,
                moment,
            } => {
                for span in &mut spans {
                    span.until = span.until.min(moment);
                }
                Layout::new(batch, counts, &spans)
            }
            Self::Ground { layout, .. } => layout.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_at_once_lies_apart_and_the_rest_on_one_another() {
        let mut store = Store::rehearsal();
        let a = store.take(100);
        let b = store.take(50);
        store.give(a);
        let c = store.take(90);
        store.give(b);
        store.give(c);
        let layout = store.layout(1);
        // 7 lines, 4, and 6 where the first ones were.
        assert_eq!(layout.places, [(100, 0), (50, 112), (90, 0)]);
        assert_eq!(layout.bytes(), 4 * 16 * 11);
        let mut ground = Ground::default();
        for _ in 0..2 {
            let mut store = Store::on(&mut ground, &layout);
            let (a, mut b) = (store.take(100), store.take(50));
            assert_eq!((a.len(), b.len()), (100, 50));
            b.fill(1.0);
            store.give(a);
            let mut c = store.take(90);
            c.fill(2.0);
            assert!(b.iter().all(|&number| number == 1.0));
            store.give(b);
            store.give(c);
        }
    }

    #[test]
    #[should_panic(expected = "not as it was rehearsed")]
    fn what_was_not_rehearsed_is_not_lent() {
        let mut store = Store::rehearsal();
        let a = store.take(10);
        store.give(a);
        let layout = store.layout(1);
        let mut ground = Ground::default();
        Store::on(&mut ground, &layout).take(11);
    }
}
