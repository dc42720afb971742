//! Failures and warnings of the program itself, and how they are printed.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};

use super::{ExitCode, plain_line};

/// An error of the program itself: what happened, what to do about it, and how the program should
/// end.
///
/// Errors of the libraries are turned into one where they reach a command and need advice of their
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: ExitCode,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// A failure that ends the program with `code`.
    pub fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            help: None,
        }
    }

    /// How the program ends.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// What the user can do about it, where that was said.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// What the user can do about something that the operating system has refused.
pub fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "check the name: nothing is there",
        ErrorKind::PermissionDenied => "get the right to it, or take another place",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space on the disk, or take another place"
        }
        ErrorKind::FileTooLarge => {
            "files may not become so large here (see `ulimit -f`): take another place"
        }
        ErrorKind::ReadOnlyFilesystem => "the disk takes no files: take another place",
        ErrorKind::IsADirectory => "this is a folder: name a file",
        ErrorKind::NotADirectory => "a file stands where a folder should: check the path",
        ErrorKind::InvalidFilename => {
            "the name is too long for the disk, or has letters that it does not take: take another name"
        }
        ErrorKind::OutOfMemory => "close other programs, or choose a smaller network",
        _ => "look at the disk, and try again or take another place",
    }
}

/// Prints `warning: …` and `help: …` to stderr.
pub fn print_warning(message: &str, help: Option<&str>) {
    print_lines("warning", message, help);
}

/// Prints `LABEL: …` and `help: …` to stderr.
pub fn print_lines(label: &str, message: &str, help: Option<&str>) {
    let mut text = format!("{label}: {}\n", plain_line(message));
    if let Some(help) = help {
        text += &format!("help: {}\n", plain_line(help));
    }
    // Where stderr is closed there is nobody left to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
