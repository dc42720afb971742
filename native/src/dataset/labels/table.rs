//! A file of labels as a table, whatever its format.

use crate::hash::FileHash;
use crate::ui::{ExitCode, Failure};

/// What a row says in one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: an empty cell, a key that is not there, or null.
    Nothing,
    /// A text, without spaces at its ends, or a number as it is written.
    Text(String),
    /// A list, as JSON has them.
    List(Vec<String>),
}

/// Rows under named columns.
#[derive(Debug, Default)]
pub struct Table {
    /// What messages call the file.
    pub name: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The line on which each row begins, and its cells, as many as there are columns.
    pub rows: Vec<(usize, Vec<Cell>)>,
    /// What separates the labels in one cell; nothing where there are lists for that.
    pub separators: &'static [char],
    /// What the file's bytes hash to.
    pub hash: Option<FileHash>,
}

/// What a file of labels looks like.
pub const HEAD: &str =
    "the first line names the columns, such as path,label; each line after it is a photo";

/// A fault of the file as a whole.
pub fn failure(what: impl std::fmt::Display, help: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Data, what).with_help(help)
}

/// A fault of one line.
pub fn at(
    name: &str,
    line: usize,
    what: impl std::fmt::Display,
    help: impl Into<String>,
) -> Failure {
    failure(format!("{name}, line {line}: {what}"), help)
}

/// A text that somebody wrote, short enough for a message.
pub fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("`{start}{more}`")
}

/// Names for a message, the first of them where there are many.
pub fn listed<'s>(names: impl IntoIterator<Item = &'s String>) -> String {
    const NAMES: usize = 8;
    let mut names: Vec<_> = names.into_iter().map(|name| shown(name)).collect();
    if names.len() > NAMES {
        names.truncate(NAMES);
        names.push("…".to_owned());
    }
    names.join(", ")
}
