//! Numbers on the command line, and their bounds.

use std::fmt::Display;
use std::str::FromStr;

/// Most things of a kind that are counted one after the other: what takes years is a slip of the finger.
pub const MANY: usize = 1_000_000;

/// Most images that go through a network together: no memory holds the maps of more.
pub const MOST_IMAGES: usize = 8192;

/// A count within bounds: nothing is not worth asking for, and for too much memory would be asked which no machine
/// has.
pub fn count<N: FromStr + PartialOrd + Display + Copy>(
    least: N,
    most: N,
) -> impl Fn(&str) -> Result<N, String> + Clone {
    move |text: &str| match text.parse() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => Err(format!("it must be a whole number from {least} to {most}")),
    }
}

/// A number, whatever its bounds: whoever uses it says them.
pub fn number(such_as: &'static str) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text: &str| {
        let number = text.parse();
        number.map_err(|_| format!("it must be a number, such as {such_as}"))
    }
}
