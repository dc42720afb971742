//! Progress: a bar where somebody watches, a line now and then where a log is written.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::plain_line;

/// A line at most this often in a log …
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// … and no more lines than this between start and end.
const LINES: u64 = 10;

/// What a progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: photos, epochs, folds.
    Items,
    /// Bytes, shown as KiB, MiB, …
    Bytes,
}

/// Where progress and notes go. Made once from the command line and handed to whatever takes long.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Silent,
}

impl Console {
    /// A bar if stderr is a terminal, plain lines otherwise, nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let style = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Style::Silent,
            (false, true) => Style::Bar,
            (false, false) => Style::Lines,
        };
        Self { style }
    }

    /// Prints a line, unless quiet. Not for errors and warnings, which are never kept back.
    pub fn note(&self, line: &str) {
        if self.style != Style::Silent {
            print(line);
        }
    }

    /// Starts showing the progress of something that takes `total` steps, or an unknown number of
    /// them.
    pub fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> Progress {
        let display = match self.style {
            Style::Silent => Display::Silent,
            Style::Lines => Display::Lines(Lines::new(label, unit, total)),
            Style::Bar => Display::Bar(bar(label, unit, total)),
        };
        Progress { display }
    }
}

/// A task that is under way. Dropping it clears the bar; [`Progress::finish`] leaves a line.
#[derive(Debug)]
pub struct Progress {
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Lines(Lines),
    Silent,
}

impl Progress {
    /// One step more is done.
    pub fn advance(&mut self) {
        match &mut self.display {
            Display::Bar(bar) => bar.inc(1),
            Display::Lines(lines) => {
                let done = lines.done + 1;
                lines
                    .update(done, Instant::now())
                    .iter()
                    .for_each(|line| print(line));
            }
            Display::Silent => {}
        }
    }

    /// `done` steps of `total` are done.
    pub fn set(&mut self, done: u64, total: Option<u64>) {
        match &mut self.display {
            Display::Bar(bar) => {
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            Display::Lines(lines) => {
                lines.total = total.or(lines.total);
                lines
                    .update(done, Instant::now())
                    .iter()
                    .for_each(|line| print(line));
            }
            Display::Silent => {}
        }
    }

    /// Says something beside the bar, such as the latest loss. Logs do not show it.
    pub fn message(&self, text: &str) {
        if let Display::Bar(bar) = &self.display {
            bar.set_message(text.to_owned());
        }
    }

    /// Does something that writes to the terminal, with the bar out of the way meanwhile.
    pub fn aside<R>(&self, act: impl FnOnce() -> R) -> R {
        match &self.display {
            Display::Bar(bar) => bar.suspend(act),
            Display::Lines(_) | Display::Silent => act(),
        }
    }

    /// The task is done; `line` says with what result.
    pub fn finish(self, line: &str) {
        match &self.display {
            Display::Bar(bar) => {
                bar.finish_and_clear();
                print(line);
            }
            Display::Lines(_) => print(line),
            Display::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

fn print(line: &str) {
    // Where stderr is closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{}", plain_line(line));
}

fn bar(label: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let template = match (unit, total) {
        (Unit::Items, Some(_)) => "{prefix} {wide_bar:.cyan/dim} {pos}/{len} {eta} {msg}",
        (Unit::Items, None) => "{prefix} {spinner} {pos} {elapsed} {msg}",
        (Unit::Bytes, Some(_)) => {
            "{prefix} {wide_bar:.cyan/dim} {binary_bytes}/{binary_total_bytes} \
             {binary_bytes_per_sec} {eta}"
        }
        (Unit::Bytes, None) => "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    // The templates are constants; should one not parse, indicatif's own look is good enough.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Progress in a log: pure, so that it can be tested without a terminal and without waiting.
#[derive(Debug)]
struct Lines {
    label: String,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    printed: u64,
    printed_at: Instant,
}

impl Lines {
    fn new(label: &str, unit: Unit, total: Option<u64>) -> Self {
        Self {
            label: label.into(),
            unit,
            total,
            done: 0,
            printed: 0,
            printed_at: Instant::now(),
        }
    }

    /// The line to print now, if any.
    fn update(&mut self, done: u64, now: Instant) -> Option<String> {
        self.done = done;
        let step = self.total.map_or(1, |total| (total / LINES).max(1));
        let far_enough = done >= self.printed + step || self.total == Some(done);
        if !far_enough || now.duration_since(self.printed_at) < LINE_INTERVAL {
            return None;
        }
        (self.printed, self.printed_at) = (done, now);
        let show = |count: u64| match self.unit {
            Unit::Items => count.to_string(),
            Unit::Bytes => HumanBytes(count).to_string(),
        };
        Some(match self.total {
            Some(total) => format!("{}: {} of {}", self.label, show(done), show(total)),
            None => format!("{}: {}", self.label, show(done)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_few_lines_however_fast_or_slow_the_work_is() {
        let start = Instant::now();
        let count = |steps: u64, millis: u64| {
            let mut lines = Lines::new("reading photos", Unit::Items, Some(steps));
            lines.printed_at = start;
            let at = |done| start + Duration::from_millis(done * millis);
            (1..=steps)
                .filter_map(|done| lines.update(done, at(done)))
                .collect::<Vec<_>>()
        };
        assert!(count(10_000, 0).is_empty());
        let slow = count(1000, 600);
        assert_eq!(slow.len(), 10);
        assert_eq!(slow[0], "reading photos: 100 of 1000");
        assert_eq!(slow[9], "reading photos: 1000 of 1000");
        assert_eq!(count(3, 60_000).len(), 3);
        assert_eq!(
            count(128, 100),
            ["reading photos: 50 of 128", "reading photos: 100 of 128"]
        );
    }

    #[test]
    fn bytes_are_shown_for_people() {
        let mut lines = Lines::new("resnet18", Unit::Bytes, None);
        let later = Instant::now() + Duration::from_secs(6);
        assert_eq!(
            lines.update(46_830_571, later).as_deref(),
            Some("resnet18: 44.66 MiB")
        );
    }
}
