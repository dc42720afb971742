//! What the user sees of the program: results, progress, warnings, failures, exit codes.
//!
//! Results go to stdout, everything else to stderr, so that a pipe carries results alone.

mod exit;
mod failure;
mod hush;
mod output;
mod plain;
mod progress;
mod words;

pub use exit::ExitCode;
pub use failure::{Failure, advice, print_lines, print_warning};
pub use hush::hushed;
pub use output::{painted, percent, print_json, print_painted, print_text, table, unless_closed};
pub use plain::{plain, plain_line};
pub use progress::{Console, Progress, Unit};
pub use words::quoted;
