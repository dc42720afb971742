//! Options of `recommend`.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::labels::TaskChoice;
use super::shared::DataArgs;
use super::values::count;

/// Arguments of `recommend`.
#[derive(Debug, Args)]
pub struct RecommendArgs {
    /// The folder, as `train` takes it.
    pub dir: PathBuf,
    /// The time that measuring may take, as 90s, 5m or 1h; downloads come on top.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time)]
    pub budget: Duration,
    /// The networks to try, with commas between them; when not given, all whose weights are on this machine.
    #[arg(long, short, value_name = "NETWORKS", value_delimiter = ',')]
    pub model: Vec<String>,
    /// Download the weights of networks that are not on this machine: of those that --model names, else of a few that
    /// are often good.
    #[arg(long)]
    pub download: bool,
    /// Side of the square that networks see, in pixels; what their weights were trained on when not given.
    #[arg(long, value_name = "SIDE", value_parser = count(1, u32::MAX))]
    pub input: Option<u32>,
    /// What is learnt from.
    #[command(flatten)]
    pub data: DataArgs,
}

impl Deref for RecommendArgs {
    type Target = DataArgs;

    fn deref(&self) -> &DataArgs {
        &self.data
    }
}

/// The command, whose `--task` takes classes alone: heads and tunings of other tasks are not compared.
pub(super) fn without_other_tasks(command: clap::Command) -> clap::Command {
    let only = PossibleValuesParser::new(["classify"]).map(|_| TaskChoice::Classify);
    command.mut_arg("task", |argument| {
        argument.value_parser(only).help(
            "What the labels are: one class a photo, all that is compared here. Of several labels a photo, and of \
             numbers, `rekindle train` measures the head, and --tune last beside it",
        )
    })
}

/// The longest budget: beyond it, somebody's finger slipped.
const LONGEST: f64 = 30.0 * 86_400.0;

/// A time as people write it: `90s`, `5m`, `1.5h`, `1h30m`; seconds where no letter says otherwise.
fn parse_time(text: &str) -> Result<Duration, String> {
    let told =
        || "it must be a time above 0, as 90s, 5m or 1h, and no longer than 30 days".to_owned();
    let mut seconds = 0.0;
    let mut rest = text.trim();
    let mut last_unit = f64::INFINITY;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !is_digit(c)).unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| told())?;
        let behind = &rest[end..];
        let end = behind.find(is_digit).unwrap_or(behind.len());
        let unit = match behind[..end].trim() {
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" if last_unit.is_infinite() => 1.0,
            _ => return Err(told()),
        };
        // From the largest to the smallest, each once.
        if unit >= last_unit {
            return Err(told());
        }
        last_unit = unit;
        seconds += number * unit;
        rest = &behind[end..];
    }
    match seconds > 0.0 && seconds <= LONGEST {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(told()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them_and_nonsense_is_refused() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("5m", 300.0),
            ("1h", 3600.0),
            ("1.5h", 5400.0),
            ("1h30m", 5400.0),
            ("45", 45.0),
            ("0.5s", 0.5),
            ("2min", 120.0),
            ("30d", 2_592_000.0),
        ] {
            assert_eq!(
                parse_time(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for text in [
            "", "0", "0s", "-5m", "m", "5x", "five", "1m1h", "1m1m", "31d", "1e9", "inf", "nan",
            "1..2s", "5 5", "1h5",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
