//! JSONL: an object a line.

use serde_json::{Map, Value};

use super::table::{Cell, Table, at, shown};
use crate::ui::Failure;

/// Reads a table: its columns are the keys of all lines, in the order in which they come up. A line without a key has
/// an empty cell there.
///
/// # Errors
///
/// When a line is no object, or holds in a key what is no text, number, truth or list of such.
pub fn parse(name: &str, text: &str) -> Result<Table, Failure> {
    const HELP: &str = "a line is an object, such as {\"path\": \"a.jpg\", \"label\": \"cat\"}, and an object is one line";
    let mut table = Table {
        name: name.to_owned(),
        ..Table::default()
    };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
            let what = error
                .to_string()
                .replace(" at line 1 column ", " at column ");
            at(name, number, format!("it is no JSON object ({what})"), HELP)
        })?;
        let mut cells = vec![Cell::Nothing; table.columns.len()];
        for (key, value) in object {
            let cell = cell(value).ok_or_else(|| {
                let what = format!("{} is no text, number or list of these", shown(&key));
                at(name, number, what, HELP)
            })?;
            match table.columns.iter().position(|column| *column == key) {
                Some(column) => cells[column] = cell,
                None => {
                    table.columns.push(key);
                    cells.push(cell);
                }
            }
        }
        table.rows.push((number, cells));
    }
    let width = table.columns.len();
    for (_, cells) in &mut table.rows {
        cells.resize(width, Cell::Nothing);
    }
    Ok(table)
}

fn cell(value: Value) -> Option<Cell> {
    Some(match value {
        Value::Null => Cell::Nothing,
        Value::Array(items) => {
            let items = items.into_iter().map(text);
            Cell::List(items.collect::<Option<_>>()?)
        }
        other => match text(other)? {
            text if text.is_empty() => Cell::Nothing,
            text => Cell::Text(text),
        },
    })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
