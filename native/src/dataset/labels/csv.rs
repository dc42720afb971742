//! CSV as RFC 4180 has it, and as spreadsheets write it.
//!
//! Cells stand between commas, or between semicolons or tabs where the first line has more of those. A cell in quotes
//! may hold anything, a quote twice. Lines end with LF, CRLF or CR; lines without anything are passed over. Every row
//! has as many cells as the first.

use super::table::{Cell, Table, at, shown};
use crate::ui::Failure;

/// Reads a table.
///
/// # Errors
///
/// When a quote is not closed, or closed in the middle of a cell, or a row has more or fewer cells than there are
/// columns.
pub fn parse(name: &str, text: &str) -> Result<Table, Failure> {
    let delimiter = delimiter(text);
    let mut records = Records {
        name,
        rest: text,
        line: 1,
        delimiter,
    };
    let columns = match records.next()? {
        Some((_, columns)) => columns,
        None => Vec::new(),
    };
    let mut table = Table {
        name: name.to_owned(),
        columns,
        separators: if delimiter == ';' {
            &['|']
        } else {
            &[';', '|']
        },
        ..Table::default()
    };
    let width = table.columns.len();
    while let Some((line, cells)) = records.next()? {
        if cells.len() != width {
            let cells = match cells.len() {
                1 => "1 cell".to_owned(),
                cells => format!("{cells} cells"),
            };
            return Err(at(
                name,
                line,
                format!("it has {cells}, and the first line names {width} columns"),
                "put a cell that holds a comma into quotes, and leave empty cells between commas",
            ));
        }
        let cell = |text: String| match text.is_empty() {
            true => Cell::Nothing,
            false => Cell::Text(text),
        };
        table
            .rows
            .push((line, cells.into_iter().map(cell).collect()));
    }
    Ok(table)
}

/// What separates cells: what the first line has most of, outside of quotes.
fn delimiter(text: &str) -> char {
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut quoted = false;
    for sign in text.trim_start_matches(['\r', '\n']).chars() {
        match sign {
            '"' => quoted = !quoted,
            '\n' | '\r' if !quoted => break,
            _ if !quoted => counts
                .iter_mut()
                .filter(|(delimiter, _)| *delimiter == sign)
                .for_each(|(_, count)| *count += 1),
            _ => {}
        }
    }
    let (mut best, mut most) = (',', 0);
    for (delimiter, count) in counts {
        if count > most {
            (best, most) = (delimiter, count);
        }
    }
    best
}

struct Records<'a> {
    name: &'a str,
    rest: &'a str,
    line: usize,
    delimiter: char,
}

impl Records<'_> {
    /// The next row that holds anything, and the line on which it begins.
    fn next(&mut self) -> Result<Option<(usize, Vec<String>)>, Failure> {
        while !self.rest.is_empty() {
            let line = self.line;
            let cells = self.record()?;
            if !matches!(&cells[..], [only] if only.is_empty()) {
                return Ok(Some((line, cells)));
            }
        }
        Ok(None)
    }

    fn record(&mut self) -> Result<Vec<String>, Failure> {
        let mut cells = Vec::new();
        loop {
            cells.push(self.cell()?);
            let mut signs = self.rest.chars();
            match signs.next() {
                Some(sign) if sign == self.delimiter => self.rest = signs.as_str(),
                Some(sign) => {
                    self.rest = signs.as_str();
                    if sign == '\r' {
                        self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
                    }
                    self.line += 1;
                    return Ok(cells);
                }
                None => return Ok(cells),
            }
        }
    }

    /// A cell; what follows is a delimiter, the end of the line or of the file.
    fn cell(&mut self) -> Result<String, Failure> {
        let end = [self.delimiter, '\r', '\n'];
        let blank = |sign: char| sign == ' ' || (sign == '\t' && self.delimiter != '\t');
        let start = self.rest.trim_start_matches(blank);
        let Some(mut inside) = start.strip_prefix('"') else {
            let length = self.rest.find(end).unwrap_or(self.rest.len());
            let (cell, rest) = self.rest.split_at(length);
            self.rest = rest;
            return Ok(cell.trim().to_owned());
        };
        let begins = self.line;
        let mut cell = String::new();
        loop {
            let Some((part, rest)) = inside.split_once('"') else {
                return Err(at(
                    self.name,
                    begins,
                    "a quote is opened and never closed",
                    "close it; a quote inside a cell in quotes is written twice",
                ));
            };
            cell.push_str(part);
            // As lines are counted outside: CRLF is one.
            self.line += part.matches('\n').count() + part.matches('\r').count()
                - part.matches("\r\n").count();
            inside = rest;
            match inside.strip_prefix('"') {
                Some(rest) => {
                    cell.push('"');
                    inside = rest;
                }
                None => break,
            }
        }
        let behind = inside.trim_start_matches(blank);
        if !behind.is_empty() && !behind.starts_with(end) {
            let until = behind.find(end).unwrap_or(behind.len());
            return Err(at(
                self.name,
                self.line,
                format!("{} stands behind a closed quote", shown(&behind[..until])),
                "put the whole cell into quotes; a quote inside it is written twice",
            ));
        }
        self.rest = behind;
        Ok(cell.trim().to_owned())
    }
}
