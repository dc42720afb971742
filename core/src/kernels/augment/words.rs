//! A batch of staged views as the words that the kernels read.

use rekindle_shaders::{Painting, Pictures};

use crate::preprocess::Preset;
use crate::preprocess::augment::{Blend, Deed, Filter, Partner, Staged};

/// Words to which tables of records are filled up, so that each can be bound by itself.
const ALIGNED: usize = 64;

/// What is handed over, and what is done with it.
pub(super) struct Batch {
    /// The photos' bytes, three a pixel, without gaps, and some to fill up a word.
    pub source: Vec<u8>,
    /// Tables of records: of each pass, then of each round of operations.
    pub records: Vec<i32>,
    /// The numbers that records point to.
    pub plan: Vec<i32>,
    pub work: Work,
}

/// What an adapter does with a batch.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub pictures: Pictures,
    /// Pixels between the two passes.
    pub between: usize,
    /// A round for each place in the lists of operations.
    pub rounds: Vec<Round>,
}

/// An operation on each picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// Some follow from all pixels.
    pub counts: bool,
    /// Some are warped.
    pub warps: bool,
    /// Some are not.
    pub repaints: bool,
}

impl Work {
    /// Where the records of a pass begin, and how many words they are.
    pub fn pass(&self, pass: usize) -> (usize, usize) {
        let words = Pictures::PASS_WORDS * self.pictures.batch as usize;
        (pass * words.next_multiple_of(ALIGNED), words)
    }

    /// Where the records of a round begin, and how many words they are.
    pub fn round(&self, round: usize) -> (usize, usize) {
        let words = Pictures::RECORD_WORDS * self.pictures.batch as usize;
        let (first, _) = self.pass(2);
        (first + round * words.next_multiple_of(ALIGNED), words)
    }
}

impl Batch {
    /// Of views of one size, one at least.
    pub fn new(staged: &[Staged], preset: &Preset) -> Self {
        let [width, height] = staged.first().map_or([1; 2], |staged| staged.size);
        let most = staged.iter().map(|staged| staged.deeds.len()).max();
        let work = Work {
            pictures: Pictures {
                batch: staged.len() as u32,
                height,
                width,
            },
            between: 0,
            rounds: vec![Round::default(); most.unwrap_or(0)],
        };
        let (records, _) = work.round(work.rounds.len());
        let mut batch = Self {
            source: Vec::new(),
            records: vec![0; records],
            plan: tables(preset),
            work,
        };
        let pixels: Vec<&[u8]> = staged.iter().map(|staged| &staged.pixels[..]).collect();
        batch.source = pixels.concat();
        let bytes = batch.source.len().next_multiple_of(size_of::<u32>());
        batch.source.resize(bytes, 0);
        let mut first = 0;
        for (place, staged) in staged.iter().enumerate() {
            batch.passes(place, first, staged);
            first += staged.part[0] * staged.part[1];
            for round in 0..batch.work.rounds.len() {
                let record = batch.record(staged.deeds.get(round), round);
                let (begin, _) = batch.work.round(round);
                let at = begin + place * Pictures::RECORD_WORDS;
                put(&mut batch.records[at..], record);
            }
        }
        batch
    }

    /// Where the next numbers of the plan lie.
    fn next(&self) -> u32 {
        self.plan.len() as u32
    }

    /// The records of the two passes of a view whose pixels begin at `first`.
    fn passes(&mut self, place: usize, first: u32, staged: &Staged) {
        let between = staged.between();
        let between_at = self.work.between as u32;
        self.work.between += between[0] as usize * between[1] as usize;
        let [columns, rows] = staged.size;
        let made = place as u32 * columns * rows;
        let second = &staged.passes[1];
        let seen = match second.is_down {
            true => [between[0], second.starts.len() as u32],
            false => [second.starts.len() as u32, between[1]],
        };
        let [left, top] = staged.before;
        for (number, from, pitch, to, whole, part, mirror, grey) in [
            (
                0,
                first,
                staged.part[0],
                between_at,
                between,
                [0, 0, between[0], between[1]],
                false,
                staged.grey,
            ),
            (
                1,
                between_at,
                between[0],
                made,
                staged.size,
                [left, top, seen[0], seen[1]],
                staged.mirror,
                false,
            ),
        ] {
            let pass = &staged.passes[number];
            let starts = self.next();
            self.plan
                .extend(pass.starts.iter().map(|start| start.cast_signed()));
            let weights = self.next();
            self.plan.extend(&pass.weights);
            let record: [u32; Pictures::PASS_WORDS] = [
                from,
                pitch,
                pass.extent,
                starts,
                weights,
                pass.taps,
                pass.is_down.into(),
                to,
                whole[0],
                whole[1],
                part[0],
                part[1],
                part[2],
                part[3],
                mirror.into(),
                grey.into(),
            ];
            let (begin, _) = self.work.pass(number);
            put(
                &mut self.records[begin + place * Pictures::PASS_WORDS..],
                record,
            );
        }
    }

    /// The record of what is done to a picture in a round; its numbers join the plan.
    fn record(&mut self, deed: Option<&Deed>, round: usize) -> [u32; Pictures::RECORD_WORDS] {
        let at = self.next();
        let (painting, [a, b, c, d, e]) = match deed {
            None => (Painting::Keep, [0; 5]),
            Some(Deed::Through(table)) => {
                self.plan.extend(packed(table));
                (Painting::Through, [0; 5])
            }
            Some(Deed::Blend(partner, blend)) => {
                self.plan.extend(steps(blend));
                let painting = match partner {
                    Partner::Mean => Painting::Contrast,
                    Partner::Luminance => Painting::Saturation,
                    Partner::Smooth => Painting::Sharpness,
                };
                (painting, [0; 5])
            }
            Some(Deed::Equalize) => (Painting::Equalize, [0; 5]),
            Some(Deed::AutoContrast) => (Painting::AutoContrast, [0; 5]),
            Some(Deed::Hue { steps, missed }) => {
                self.plan.extend(missed.map(u32::cast_signed));
                (Painting::Hue, [(*steps).into(), 0, 0, 0, 0])
            }
            Some(Deed::Grey) => (Painting::Grey, [0; 5]),
            Some(Deed::Walk { walk, colour }) => {
                let places = walk.columns.iter().chain(&walk.rows);
                self.plan.extend(places.flatten());
                (Painting::Walk, [pixel(*colour), 0, 0, 0, 0])
            }
            Some(Deed::Erase {
                edges: [left, top, right, bottom],
                colour,
            }) => (
                Painting::Erase,
                [pixel(*colour), *left, *top, *right, *bottom],
            ),
            Some(Deed::Warp {
                columns,
                rows,
                plus,
                has_depth,
                fill,
            }) => {
                let numbers = [plus].into_iter().chain(columns).chain(rows).flatten();
                self.plan.extend(numbers.flat_map(|&number| halves(number)));
                let is_nearest = u32::from(fill.filter == Filter::Nearest);
                let depth = u32::from(*has_depth);
                (
                    Painting::Warp,
                    [pixel(fill.colour), depth, is_nearest, 0, 0],
                )
            }
        };
        let round = &mut self.work.rounds[round];
        round.counts |= painting.needs_counts();
        match painting {
            Painting::Warp => round.warps = true,
            _ => round.repaints = true,
        }
        [painting.word(), at, a, b, c, d, e, 0]
    }
}

/// The network's numbers of all bytes of each channel, as the processor finds them.
fn tables(preset: &Preset) -> Vec<i32> {
    let numbers = preset.tables().into_iter().flatten();
    numbers
        .map(|number| number.to_bits().cast_signed())
        .collect()
}

/// Bytes, four a word, the first lowest.
fn packed(bytes: &[u8]) -> Vec<i32> {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(&last);
    words
        .iter()
        .chain(last)
        .map(|word| i32::from_le_bytes(*word))
        .collect()
}

fn put<const N: usize>(words: &mut [i32], record: [u32; N]) {
    words[..N].copy_from_slice(&record.map(u32::cast_signed));
}

fn pixel([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_le_bytes([red, green, blue, 0])
}

/// The lower half of a float's bits, and the upper.
fn halves(number: f64) -> [i32; 2] {
    let bits = number.to_bits();
    [bits as u32, (bits >> 32) as u32].map(u32::cast_signed)
}

fn steps(blend: &Blend) -> impl Iterator<Item = i32> {
    blend.steps.iter().map(|&(step, from)| {
        let word = u32::from(step.cast_unsigned()) | u32::from(from) << 16;
        word.cast_signed()
    })
}
