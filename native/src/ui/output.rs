//! Results on stdout: JSON for programs, text and tables for people.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde::Serialize;

use super::plain;

/// Prints one JSON value on a line of its own.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_whole(serde_json::to_string(value)?)
}

/// Prints text to stdout.
pub fn print_text(text: &str) -> anyhow::Result<()> {
    print_whole(plain(text).into_owned())
}

/// Prints text whose parts are [`painted`] or [plain](super::plain_line) already.
pub fn print_painted(text: String) -> anyhow::Result<()> {
    print_whole(text)
}

/// Text in a colour of red, green and blue, where stdout is a terminal that says it has all colours (`COLORTERM`) and
/// nobody asks for none (`NO_COLOR`).
pub fn painted(text: &str, [red, green, blue]: [u8; 3]) -> Cow<'_, str> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_all = std::env::var("COLORTERM").is_ok_and(|has| has == "truecolor" || has == "24bit");
    match !text.is_empty() && has_all && !is_set("NO_COLOR") && io::stdout().is_terminal() {
        true => format!("\x1b[38;2;{red};{green};{blue}m{text}\x1b[0m").into(),
        false => text.into(),
    }
}

/// Prints lines in one piece: whoever ends us or stops reading never sees half of one.
fn print_whole(mut text: String) -> anyhow::Result<()> {
    text.push('\n');
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context("cannot print the results")
}

/// What came of printing, where it is no failure that nobody reads any more (`| head`): what is being made is kept all the
/// same.
///
/// # Errors
///
/// Every other one.
pub fn unless_closed(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        printed => printed,
    }
}

/// A table without lines but for one under the head.
pub fn table(head: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head.to_vec());
    table
}

/// A share as people write it: `93.8 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
