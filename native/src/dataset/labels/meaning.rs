//! What the labels of a table are: classes, labels of which a photo may have several, or numbers.

use std::collections::BTreeSet;

use rekindle_core::task::Task;

use super::table::{Cell, Table, at, failure, shown};
use crate::dataset::layout::nfc;
use crate::ui::Failure;

/// What a row says of its photo.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Names: one class, or labels, sorted, each once.
    Names(Vec<String>),
    /// Numbers.
    Numbers(Vec<f64>),
}

impl Said {
    /// The numbers; none where it says names.
    pub fn numbers(&self) -> &[f64] {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Names(_) => &[],
        }
    }
}

/// What the labels of all rows are.
#[derive(Debug)]
pub struct Meaning {
    pub task: Task,
    /// How the task was found, where it might be another.
    pub remark: Option<String>,
    /// The names of the labels or values where the columns give them.
    pub names: Vec<String>,
    /// Each row's, in their order.
    pub said: Vec<Said>,
}

impl Meaning {
    /// Understands the label columns of a table.
    ///
    /// # Errors
    ///
    /// When a row's label is missing, or is not what the task wants.
    pub fn of(table: &Table, columns: &[usize], wanted: Option<Task>) -> Result<Self, Failure> {
        let (task, remark) = match wanted {
            Some(task) => (task, None),
            None => guess(table, columns)?,
        };
        let rows = table.rows.iter();
        let reader = Reader { table, columns };
        let said: Vec<Said> = match task {
            Task::MultiLabel if columns.len() > 1 => rows
                .map(|(line, cells)| reader.indicated(*line, cells))
                .collect::<Result<_, _>>()?,
            Task::MultiLabel => rows
                .map(|(line, cells)| reader.labels(*line, &cells[columns[0]]))
                .collect::<Result<_, _>>()?,
            Task::Regress => rows
                .map(|(line, cells)| reader.numbers(*line, cells))
                .collect::<Result<_, _>>()?,
            Task::Classify | Task::Segment => {
                if columns.len() > 1 {
                    return Err(failure(
                        "a class is named by one column, and --label-column names several",
                        "name one, or give --task multilabel or --task regress",
                    ));
                }
                rows.map(|(line, cells)| reader.class(*line, &cells[columns[0]]))
                    .collect::<Result<_, _>>()?
            }
        };
        let name = |&column: &usize| nfc(&table.columns[column]);
        let mut names: Vec<String> = match (task, columns) {
            (Task::Regress, _) => columns.iter().map(name).collect(),
            (Task::MultiLabel, [_, _, ..]) => columns.iter().map(name).collect(),
            _ => Vec::new(),
        };
        if let (Task::Regress, [only], Some(Said::Numbers(first))) =
            (task, &names[..], said.first())
        {
            let count = first.len();
            let odd = said
                .iter()
                .position(|said| !matches!(said, Said::Numbers(all) if all.len() == count));
            if let Some(row) = odd {
                return Err(at(
                    &table.name,
                    table.rows[row].0,
                    format!("it has another number of values than the first line's {count}"),
                    "give every photo as many",
                ));
            }
            if count > 1 {
                names = (1..=count).map(|value| format!("{only} {value}")).collect();
            }
        }
        if names
            .iter()
            .any(|name| name.is_empty() || name.chars().any(char::is_control))
        {
            return Err(failure(
                format!("a column of labels in {} has no plain name", table.name),
                "name it in the first line",
            ));
        }
        Ok(Self {
            task,
            remark,
            names,
            said,
        })
    }

    /// All names that rows say, sorted, each once.
    pub fn names_said(&self) -> Vec<String> {
        let mut all = BTreeSet::new();
        for said in &self.said {
            if let Said::Names(names) = said {
                all.extend(names);
            }
        }
        all.into_iter().cloned().collect()
    }
}

/// The task that labels look like, and how that was found.
fn guess(table: &Table, columns: &[usize]) -> Result<(Task, Option<String>), Failure> {
    let cells = || {
        table
            .rows
            .iter()
            .flat_map(|(_, cells)| columns.iter().map(|&at| &cells[at]))
    };
    let (mut lists, mut separated) = (false, None);
    let (mut numbers, mut fraction, mut indicators, mut any) = (true, false, true, false);
    for cell in cells() {
        let parts = match cell {
            Cell::Nothing => continue,
            Cell::List(items) => {
                lists = true;
                items.clone()
            }
            Cell::Text(text) => {
                if separated.is_none() && text.contains(table.separators) {
                    separated = text.chars().find(|sign| table.separators.contains(sign));
                }
                pieces(text, table.separators).map(str::to_owned).collect()
            }
        };
        for part in parts {
            any = true;
            let number = number(&part);
            numbers &= number.is_some();
            fraction |= number.is_some_and(|number| number.fract() != 0.0);
            indicators &= matches!(number, Some(0.0 | 1.0));
        }
    }
    let numbers = numbers && any;
    let name = &table.name;
    if let ([column], false) = (columns, numbers || lists) {
        check_numbers(table, *column)?;
    }
    if columns.len() > 1 {
        return match (numbers, indicators) {
            (true, true) => Ok((
                Task::MultiLabel,
                Some(
                    "columns of 0 and 1 are taken as labels; --task regress takes them as numbers"
                        .into(),
                ),
            )),
            (true, false) => Ok((Task::Regress, None)),
            (false, _) => Err(failure(
                format!(
                    "several columns of labels must hold numbers, or 0 and 1, and those of {name} do not"
                ),
                "name one column by --label-column",
            )),
        };
    }
    Ok(match (numbers, lists, separated) {
        (true, true, _) => (
            Task::Regress,
            Some("lists of numbers are taken as values; --task multilabel takes them as labels".into()),
        ),
        (true, false, Some(_)) if fraction => (Task::Regress, None),
        (true, false, None) if fraction => (
            Task::Regress,
            Some("the labels are numbers with fractions, so values are learnt; --task classify takes them as names".into()),
        ),
        (true, false, None) => (
            Task::Classify,
            Some("the labels are whole numbers and taken as names of classes; --task regress learns them as values".into()),
        ),
        (_, true, _) => (Task::MultiLabel, None),
        (_, false, Some(sign)) => (
            Task::MultiLabel,
            Some(format!(
                "labels have `{sign}` in them, so a photo may have several; --task classify takes each as one name"
            )),
        ),
        (false, false, None) => (Task::Classify, None),
    })
}

/// Refuses a column of numbers some of which cannot be read as such: they would all be taken as names, each number a class
/// of its own.
fn check_numbers(table: &Table, column: usize) -> Result<(), Failure> {
    let (mut numbers, mut odd) = (0, Vec::new());
    for (line, cells) in &table.rows {
        match &cells[column] {
            Cell::Nothing => {}
            Cell::Text(text) if number(text).is_some() => numbers += 1,
            Cell::Text(text) if is_meant_as_number(text) => odd.push((*line, text)),
            // One of them is a name, so all may be.
            Cell::Text(_) | Cell::List(_) => return Ok(()),
        }
    }
    let commas = odd.iter().filter(|(_, text)| text.contains(',')).count();
    if odd.is_empty() || numbers + commas < 2 {
        return Ok(());
    }
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = odd
        .iter()
        .take(SHOWN)
        .map(|(line, text)| format!("line {line} is {}", shown(text)))
        .collect();
    if odd.len() > SHOWN {
        lines.push("…".to_owned());
    }
    Err(failure(
        format!(
            "the labels of {} are numbers, and {} of {} cannot be read as such: {}",
            table.name,
            odd.len(),
            numbers + odd.len(),
            lines.join(", "),
        ),
        "write numbers with a point, as 1.5, and take out lines without one; --task classify takes every label as a name",
    ))
}

/// Whether a text that is no number is meant as one: `nan`, `inf`, `n/a`, or a number with a comma.
fn is_meant_as_number(text: &str) -> bool {
    let plain = text.to_lowercase();
    let plain = plain.trim_start_matches(['+', '-']);
    let is_word = matches!(
        plain,
        "nan" | "inf" | "infinity" | "na" | "n/a" | "#n/a" | "null"
    );
    is_word || (text.contains(',') && number(&text.replace(',', "")).is_some())
}

/// What stands between the separators, without what is empty.
fn pieces<'t>(text: &'t str, separators: &'static [char]) -> impl Iterator<Item = &'t str> {
    let pieces = text.split(|sign| separators.contains(&sign)).map(str::trim);
    pieces.filter(|piece| !piece.is_empty())
}

/// A finite number; the words that Rust reads as numbers, such as `inf`, are names.
fn number(text: &str) -> Option<f64> {
    let is_plain = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let number = text.parse::<f64>().ok().filter(|_| is_plain)?;
    (number as f32).is_finite().then_some(number)
}

struct Reader<'a> {
    table: &'a Table,
    columns: &'a [usize],
}

impl Reader<'_> {
    fn fault(&self, line: usize, what: impl std::fmt::Display, help: &str) -> Failure {
        at(&self.table.name, line, what, help)
    }

    fn empty(&self, line: usize, column: usize) -> Failure {
        let column = shown(&self.table.columns[column]);
        self.fault(
            line,
            format!("there is no label in {column}"),
            "fill it in, or take the line out; a photo without any label is for --task multilabel",
        )
    }

    /// A name as model files take them.
    fn name(&self, line: usize, text: &str) -> Result<String, Failure> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(self.fault(
                line,
                format!("the label {text:?} is empty or holds control characters"),
                "rename it",
            ));
        }
        Ok(nfc(text))
    }

    fn class(&self, line: usize, cell: &Cell) -> Result<Said, Failure> {
        match cell {
            Cell::Nothing => Err(self.empty(line, self.columns[0])),
            Cell::Text(text) => Ok(Said::Names(vec![self.name(line, text)?])),
            Cell::List(_) => Err(self.fault(
                line,
                "its label is a list, and a photo has one class",
                "give --task multilabel, where a photo may have several labels",
            )),
        }
    }

    fn labels(&self, line: usize, cell: &Cell) -> Result<Said, Failure> {
        let name = |text: &str| self.name(line, text);
        let names: BTreeSet<String> = match cell {
            Cell::Nothing => BTreeSet::new(),
            Cell::Text(text) => pieces(text, self.table.separators)
                .map(name)
                .collect::<Result<_, _>>()?,
            Cell::List(items) => items
                .iter()
                .map(|item| name(item))
                .collect::<Result<_, _>>()?,
        };
        Ok(Said::Names(names.into_iter().collect()))
    }

    /// Labels by columns of 0 and 1.
    fn indicated(&self, line: usize, cells: &[Cell]) -> Result<Said, Failure> {
        let mut names = BTreeSet::new();
        for &column in self.columns {
            let value = match &cells[column] {
                Cell::Text(text) => match &*text.to_lowercase() {
                    "true" => Some(1.0),
                    "false" => Some(0.0),
                    other => number(other),
                },
                _ => None,
            };
            match value {
                Some(1.0) => _ = names.insert(nfc(&self.table.columns[column])),
                Some(0.0) => {}
                _ => {
                    return Err(self.fault(
                        line,
                        format!("{} is neither 0 nor 1", shown(&self.table.columns[column])),
                        "of several label columns, each says whether a photo has that label",
                    ));
                }
            }
        }
        Ok(Said::Names(names.into_iter().collect()))
    }

    fn numbers(&self, line: usize, cells: &[Cell]) -> Result<Said, Failure> {
        let mut numbers = Vec::with_capacity(self.columns.len());
        for &column in self.columns {
            let texts: Vec<&str> = match &cells[column] {
                Cell::Nothing => return Err(self.empty(line, column)),
                Cell::Text(text) => pieces(text, self.table.separators).collect(),
                Cell::List(items) => items.iter().map(String::as_str).collect(),
            };
            if texts.is_empty() || (texts.len() > 1 && self.columns.len() > 1) {
                return Err(self.fault(
                    line,
                    format!(
                        "{} must hold one number",
                        shown(&self.table.columns[column])
                    ),
                    "give lists of numbers in one column, or a number in each of several",
                ));
            }
            for text in texts {
                let number = number(text).ok_or_else(|| {
                    self.fault(
                        line,
                        format!("{} is not a number that can be learnt", shown(text)),
                        "write numbers with a point, as 1.5; names are for --task classify",
                    )
                })?;
                numbers.push(number);
            }
        }
        Ok(Said::Numbers(numbers))
    }
}
