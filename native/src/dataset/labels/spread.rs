//! Whether values can be learnt in numbers of 32 bits, which is what networks count in and put out.

use super::table::{failure, shown};
use crate::ui::Failure;

/// The largest value over what the values differ by, at most: such numbers keep seven digits, and what they round a
/// value by should be small beside what is to be learnt.
const MOST_OVER_SPREAD: f64 = 1e6;
/// What values differ by, their standard deviation, at least, …
const LEAST_SPREAD: f64 = 1e-15;
/// … and at most: its square, and one over that, are steps of the training.
const MOST_SPREAD: f64 = 1e15;

/// Refuses values that differ by too little, as they are or beside how large they are, or by too much. Columns that say
/// the same of every photo are none of this.
///
/// # Errors
///
/// A failure that names the column.
pub fn check(file: &str, names: &[String], rows: &[&[f64]]) -> Result<(), Failure> {
    for (column, name) in names.iter().enumerate() {
        let values = || rows.iter().filter_map(|row| row.get(column).copied());
        let (least, most) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| {
            (a.min(value), b.max(value))
        });
        if least >= most {
            continue;
        }
        // Taken from their middle and by their range, no square of them runs over or under.
        let range = most - least;
        let count = values().count() as f64;
        let mean = values().map(|value| (value - least) / range).sum::<f64>() / count;
        let squares = values().map(|value| ((value - least) / range - mean).powi(2));
        let spread = range * (squares.sum::<f64>() / count).sqrt();
        let name = shown(name);
        if !(LEAST_SPREAD..=MOST_SPREAD).contains(&spread) {
            return Err(failure(
                format!(
                    "{name} in {file} differs by about {spread:.0e} from photo to photo, which 32 bits cannot be taught"
                ),
                "give it in another unit, so that it differs by about 1",
            ));
        }
        let largest = least.abs().max(most.abs());
        if largest > MOST_OVER_SPREAD * spread {
            return Err(failure(
                format!(
                    "{name} in {file} lies between {least} and {most}: beside how large they are, the values differ by \
                     too little for numbers of 32 bits, which keep seven digits"
                ),
                format!("take {least} away from all of them, and add it to what the model says"),
            ));
        }
    }
    Ok(())
}
