//! Logits for each place of what a network sees in, a class for each pixel of the photo out.

use std::ops::Range;

use thiserror::Error;

use super::mask::{Mask, VOID};
use crate::preprocess::Placement;

/// What a network says of each class at each place of the picture that it sees.
#[derive(Clone, PartialEq)]
pub struct Scores {
    rows: usize,
    columns: usize,
    classes: usize,
    values: Vec<f32>,
}

/// Numbers that are no [`Scores`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScoresError {
    /// A side is 0, or there are more or fewer numbers than places and classes.
    #[error(
        "{found} numbers are not {classes} scores for each of {rows}×{columns} places of a picture"
    )]
    Length {
        /// Rows of places.
        rows: usize,
        /// Columns of places.
        columns: usize,
        /// Scores of a place.
        classes: usize,
        /// Numbers given.
        found: usize,
    },
    /// More classes than a mask's pixels can tell apart.
    #[error("{classes} classes are more than the {VOID} that a mask can tell apart")]
    TooManyClasses {
        /// Scores of a place.
        classes: usize,
    },
}

impl Scores {
    /// Scores from a network's numbers.
    ///
    /// # Shapes
    ///
    /// - values: `[rows, columns, classes]`, row-major
    ///
    /// # Errors
    ///
    /// [`ScoresError`] if there are more or fewer numbers than that, none, or more than 255 classes.
    pub fn new(
        [rows, columns]: [usize; 2],
        classes: usize,
        values: Vec<f32>,
    ) -> Result<Self, ScoresError> {
        if classes > usize::from(VOID) {
            return Err(ScoresError::TooManyClasses { classes });
        }
        let found = values.len();
        let expected = rows as u128 * columns as u128 * classes as u128;
        if expected == 0 || expected != found as u128 {
            return Err(ScoresError::Length {
                rows,
                columns,
                classes,
                found,
            });
        }
        Ok(Self {
            rows,
            columns,
            classes,
            values,
        })
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Rows and columns of places.
    pub fn places(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// The numbers, `[rows, columns, classes]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The winners among the classes at each pixel of a photo of this width and height, which the network saw as
    /// `seen` says.
    pub fn at_photo(&self, seen: &Placement, [width, height]: [u32; 2]) -> Winners<'_> {
        let (begin, end) = seen.shown();
        let taps = |axis: usize, places: usize, length: u32| {
            // Places of the scores for each pixel that the network sees.
            let scale = places as f64 / f64::from(seen.size[axis]);
            let [first, last] = [begin[axis], end[axis]].map(f64::from);
            let at = |pixel: u32| {
                let middle = f64::from(pixel) + 0.5;
                let place = seen.to_seen([middle; 2])[axis];
                (first..last)
                    .contains(&place)
                    .then(|| Tap::new(place * scale, first * scale..last * scale, places))
            };
            (0..length).map(at).collect()
        };
        Winners {
            scores: self,
            columns: taps(0, self.columns, width),
            rows: taps(1, self.rows, height),
        }
    }
}

impl std::fmt::Debug for Scores {
    // Millions of numbers would drown whatever message this lands in.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, columns, .. } = self;
        write!(f, "Scores({rows}×{columns}×{})", self.classes)
    }
}

/// The two places between which a pixel of the photo lies along one side.
#[derive(Debug, Clone, Copy)]
struct Tap {
    before: usize,
    after: usize,
    /// The share of what stands at `after`.
    share: f32,
}

impl Tap {
    /// Of a pixel whose middle is `place` among so many `places`, of which those in `shown` count: as
    /// `torch.nn.functional.interpolate` does with `mode="bilinear", align_corners=False`.
    fn new(place: f64, shown: Range<f64>, places: usize) -> Self {
        let first = (shown.start as usize).min(places - 1);
        let last = (shown.end.ceil() as usize).clamp(first + 1, places) - 1;
        let place = (place - 0.5).max(first as f64);
        let before = (place as usize).min(last);
        Self {
            before,
            after: (before + 1).min(last),
            share: (place - before as f64) as f32,
        }
    }
}

/// The class that wins at each pixel of a photo: its score is the largest once all classes' scores are resized to
/// the photo's size bilinearly. The resized scores are never all there at once (at 12 megapixels they would take
/// 1 GB for 21 classes), but a row at a time.
#[derive(Debug)]
pub struct Winners<'s> {
    scores: &'s Scores,
    /// For each column and row of the photo; nothing where the network does not see it.
    columns: Vec<Option<Tap>>,
    rows: Vec<Option<Tap>>,
}

impl Winners<'_> {
    /// The photo's width and height.
    pub fn size(&self) -> [u32; 2] {
        [self.columns.len() as u32, self.rows.len() as u32]
    }

    /// Writes the labels of some rows of the photo, from the top: the classes' places, the first of several with one
    /// score, and [`VOID`] where the network does not see the photo.
    ///
    /// # Panics
    ///
    /// When `labels` does not hold those rows, or the photo has fewer.
    pub fn write_rows(&self, rows: Range<u32>, labels: &mut [u8]) {
        let rows = &self.rows[rows.start as usize..rows.end as usize];
        let width = self.columns.len();
        assert_eq!(labels.len(), rows.len() * width, "labels of so many rows");
        let each = self.scores.columns * self.scores.classes;
        let mut between = vec![0.0; each];
        for (row, labels) in rows.iter().zip(labels.chunks_exact_mut(width)) {
            let Some(tap) = row else {
                labels.fill(VOID);
                continue;
            };
            let [before, after] =
                [tap.before, tap.after].map(|row| &self.scores.values[row * each..][..each]);
            for (between, (&before, &after)) in between.iter_mut().zip(before.iter().zip(after)) {
                *between = mixed(before, after, tap.share);
            }
            for (label, column) in labels.iter_mut().zip(&self.columns) {
                *label = column.map_or(VOID, |tap| self.winner(&between, tap));
            }
        }
    }

    /// All of the photo's labels.
    pub fn mask(&self) -> Mask {
        let (width, height) = (self.columns.len(), self.rows.len());
        let mut labels = vec![0; width * height];
        self.write_rows(0..height as u32, &mut labels);
        Mask::new(width as u32, height as u32, labels)
            .unwrap_or_else(|error| unreachable!("a photo has pixels: {error}"))
    }

    fn winner(&self, row: &[f32], tap: Tap) -> u8 {
        let classes = self.scores.classes;
        let [before, after] =
            [tap.before, tap.after].map(|column| &row[column * classes..][..classes]);
        let (mut best, mut winner) = (f32::NEG_INFINITY, 0);
        for (class, (&before, &after)) in before.iter().zip(after).enumerate() {
            let score = mixed(before, after, tap.share);
            if score > best {
                (best, winner) = (score, class);
            }
        }
        winner as u8
    }
}

/// `before` and a share of the way to `after`.
fn mixed(before: f32, after: f32, share: f32) -> f32 {
    before * (1.0 - share) + after * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::{Interpolation, Preset};
    use crate::random::Random;

    /// A preset that shows photos whole at their own size.
    fn whole(side: u32) -> Preset {
        let preset = Preset::new(side, 1, Interpolation::Bilinear, [0.5; 3], [0.5; 3]);
        preset.unwrap().without_crop()
    }

    #[test]
    fn winners_are_those_of_scores_that_pytorch_resized() {
        // One score for each class and place: the parts behind the point of
        // (7·row·(class + 1) + 3·column·(class + 2) + 5·class)·0.3711.
        let scores = |rows: usize, columns: usize, classes: usize| {
            let score = |place: usize| {
                let (class, place) = (place % classes, place / classes);
                let (row, column) = (place / columns, place % columns);
                let number =
                    (7 * row * (class + 1) + 3 * column * (class + 2) + 5 * class) as f64 * 0.3711;
                (number - number.floor()) as f32
            };
            let values = (0..rows * columns * classes).map(score).collect();
            Scores::new([rows, columns], classes, values).unwrap()
        };
        // torch.nn.functional.interpolate(scores, size=(rows, columns), mode="bilinear",
        // align_corners=False).argmax(1), of the same scores in float64: see `tests/parity/make_mask_goldens.py`.
        let goldens = include!("../../tests/fixtures/masks.rs");
        for ((rows, columns, classes), (height, width), golden) in goldens {
            let seen = whole(rows.min(columns) as u32).placement([columns as u32, rows as u32]);
            assert_eq!(seen.size, [columns as u32, rows as u32]);
            // The photo has another size than what was seen of it: a placement of its own.
            let seen = Placement {
                columns: crate::preprocess::Side {
                    source: crate::preprocess::Span {
                        start: 0,
                        length: width,
                    },
                    ..seen.columns
                },
                rows: crate::preprocess::Side {
                    source: crate::preprocess::Span {
                        start: 0,
                        length: height,
                    },
                    ..seen.rows
                },
                ..seen
            };
            let scores = scores(rows, columns, classes);
            let winners = scores.at_photo(&seen, [width, height]);
            let mask = winners.mask();
            let digits: String = mask
                .labels()
                .iter()
                .map(|&label| char::from(b'0' + label))
                .collect();
            assert_eq!(digits, golden, "{rows}×{columns} to {height}×{width}");
        }
    }

    #[test]
    fn rows_in_bands_are_those_of_the_whole_mask() {
        let mut random = Random::new(5);
        let values = (0..6 * 9 * 3).map(|_| random.uniform()).collect();
        let scores = Scores::new([6, 9], 3, values).unwrap();
        let seen = whole(6).placement([31, 20]);
        let winners = scores.at_photo(&seen, [31, 20]);
        let whole = winners.mask();
        for rows in [0..1, 3..11, 19..20, 20..20] {
            let mut band = vec![9; 31 * rows.len()];
            winners.write_rows(rows.clone(), &mut band);
            let (first, last) = (rows.start as usize, rows.end as usize);
            assert_eq!(band, whole.labels()[31 * first..31 * last], "{rows:?}");
        }
    }

    #[test]
    fn what_a_network_does_not_see_of_a_photo_is_void() {
        // 8×4 pixels of which the network sees the middle 4×4; the left half is class 1.
        let preset = Preset::new(4, 4, Interpolation::Bilinear, [0.5; 3], [0.5; 3]).unwrap();
        let values: Vec<f32> = (0..4 * 4)
            .flat_map(|place| match place % 4 < 2 {
                true => [0.0, 1.0],
                false => [1.0, 0.0],
            })
            .collect();
        let scores = Scores::new([4, 4], 2, values).unwrap();
        let mask = scores.at_photo(&preset.placement([8, 4]), [8, 4]).mask();
        assert_eq!(mask.labels()[..8], [VOID, VOID, 1, 1, 0, 0, VOID, VOID]);
        assert_eq!(mask.counts()[usize::from(VOID)], 16);
        // A photo smaller than the crop: the border is no part of it.
        let seen = Preset::new(2, 4, Interpolation::Bilinear, [0.5; 3], [0.5; 3]).unwrap();
        let mask = scores.at_photo(&seen.placement([2, 2]), [2, 2]).mask();
        assert_eq!(mask.labels(), [1, 0, 1, 0]);
    }

    #[test]
    fn numbers_that_are_no_scores_are_refused() {
        assert!(Scores::new([2, 2], 3, vec![0.0; 12]).is_ok());
        for (places, classes, found) in [([2, 2], 3, 11), ([0, 2], 3, 0), ([2, 2], 0, 0)] {
            assert!(Scores::new(places, classes, vec![0.0; found]).is_err());
        }
        let many = Scores::new([1, 1], 256, vec![0.0; 256]).unwrap_err();
        assert_eq!(many, ScoresError::TooManyClasses { classes: 256 });
    }
}
