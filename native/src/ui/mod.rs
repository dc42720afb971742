//! What the user sees of the program besides its results: progress, warnings, errors, exit codes.
//!
//! Results go to stdout, everything here to stderr, so that a pipe carries results alone.

mod exit;
mod failure;
mod hush;
mod plain;
mod progress;

pub use exit::ExitCode;
pub use failure::{Failure, advice, print_error, print_usage, print_warning};
pub use hush::hushed;
pub use plain::{plain, plain_line};
pub use progress::{Console, Progress, Unit};
