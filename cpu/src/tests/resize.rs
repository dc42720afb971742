//! Resizing of maps.

use super::{Maps, at_every_level};
use crate::{Filter, nearest, resize};

const SIDES: [usize; 9] = [1, 2, 3, 5, 7, 12, 16, 23, 40];

#[test]
fn resizing_matches_its_definition() {
    at_every_level(|_, random| {
        for _ in 0..200 {
            let (batch, channels) = (
                1 + random.below(3),
                random.of(&[1, 2, 3, 4, 5, 8, 9, 16, 17, 21, 33, 70]),
            );
            let [rows, columns, out_rows, out_columns] = [(); 4].map(|()| random.of(&SIDES));
            let input = Maps::random(random, [batch, rows, columns, channels]);
            let to = [batch, out_rows, out_columns, channels];
            let what = format!("{:?} to {to:?}", input.shape);
            // The two pixels between which one lies along an axis, and the share of the second.
            let between = |at: usize, side: usize, out: usize| {
                let place = ((at as f64 + 0.5) * side as f64 / out as f64 - 0.5).max(0.0);
                let first = (place as usize).min(side - 1);
                (first, (first + 1).min(side - 1), place - first as f64)
            };
            let mut output = Maps::output(random, to);
            resize(Filter::Bilinear, input.view(), output.view_mut());
            output.compare(1e-6, &what, |n, y, x, c| {
                let (top, bottom, down) = between(y, rows, out_rows);
                let (left, right, across) = between(x, columns, out_columns);
                let line = |row| {
                    let (a, b) = (input.at(n, row, left, c), input.at(n, row, right, c));
                    a + across * (b - a)
                };
                line(top) + down * (line(bottom) - line(top))
            });
            let mut output = Maps::output(random, to);
            resize(Filter::Nearest, input.view(), output.view_mut());
            output.compare(0.0, &what, |n, y, x, c| {
                let at = |at: usize, side: usize, out: usize| {
                    let scale = side as f32 / out as f32;
                    ((at as f32 * scale).floor() as usize).min(side - 1)
                };
                input.at(n, at(y, rows, out_rows), at(x, columns, out_columns), c)
            });
        }
    });
}

/// `torch.nn.functional.interpolate(torch.arange(14.).view(1, 1, 1, 14), size=(1, 46))`: the middle pixel's place is
/// 23 · 14 / 46 = 7, which comes out just below it. Likewise for 18 to 114 at 95.
#[test]
fn the_nearest_pixel_is_pytorchs_to_the_last_bit() {
    assert_eq!(nearest(23, 14, 46), 6);
    assert_eq!(nearest(24, 14, 46), 7);
    assert_eq!(nearest(95, 18, 114), 14);
}

#[test]
fn nothing_is_made_of_nothing() {
    let empty = Maps {
        data: Vec::new(),
        shape: [0, 4, 4, 8],
        pitch: 8,
    };
    let mut none = empty.clone();
    none.shape = [0, 9, 9, 8];
    resize(Filter::Bilinear, empty.view(), none.view_mut());
}
