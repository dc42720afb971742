//! Which column is which.

use super::table::{HEAD, Table, failure, listed, shown};
use crate::photos::is_photo_name;
use crate::ui::Failure;

/// Names of a column of paths, the likeliest first.
const PATHS: [&str; 14] = [
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_name",
    "image_id",
    "img",
    "img_path",
    "photo",
    "picture",
];
/// Names of a column of labels, likewise.
const LABELS: [&str; 14] = [
    "label",
    "labels",
    "class",
    "class_name",
    "classes",
    "target",
    "targets",
    "category",
    "tags",
    "tag",
    "value",
    "values",
    "score",
    "y",
];

/// The columns that the user names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Named<'a> {
    pub path: Option<&'a str>,
    pub labels: &'a [String],
    pub group: Option<&'a str>,
    pub split: Option<&'a str>,
}

/// Where each thing stands, by the columns' places.
#[derive(Debug, PartialEq, Eq)]
pub struct Columns {
    pub path: usize,
    /// One or more.
    pub labels: Vec<usize>,
    pub group: Option<usize>,
    pub split: Option<usize>,
}

impl Columns {
    /// Finds the columns of a table; `values` are the names of a model's values, where one is measured.
    ///
    /// # Errors
    ///
    /// When a column is not there, or it cannot be told which is meant.
    pub fn find(table: &Table, named: Named<'_>, values: &[String]) -> Result<Self, Failure> {
        let place = |name: &str, option: &str| by_name(table, name, option);
        let group = named
            .group
            .map(|name| place(name, "--group-column"))
            .transpose()?;
        let split = named
            .split
            .map(|name| place(name, "--split-column"))
            .transpose()?;
        let path = match named.path {
            Some(name) => place(name, "--path-column")?,
            None => usual(table, &PATHS).ok_or_else(|| no_paths(table))?,
        };
        let taken = [Some(path), group, split];
        let is_free = |column: &usize| !taken.contains(&Some(*column));
        let own = || -> Option<Vec<usize>> {
            let place = |name| table.columns.iter().position(|column| column == name);
            let places: Option<Vec<usize>> = values.iter().map(place).collect();
            places.filter(|places| !places.is_empty() && places.iter().all(is_free))
        };
        let labels = match named.labels {
            [] => match (own(), usual(table, &LABELS).filter(is_free)) {
                (Some(own), _) => own,
                (None, Some(label)) => vec![label],
                (None, None) => {
                    let left: Vec<usize> = (0..table.columns.len()).filter(is_free).collect();
                    match left[..] {
                        [only] => vec![only],
                        _ => return Err(no_labels(table, &left)),
                    }
                }
            },
            names => {
                let places = names.iter().map(|name| place(name, "--label-column"));
                places.collect::<Result<_, _>>()?
            }
        };
        let mut all: Vec<(usize, &str)> = labels.iter().map(|&at| (at, "labels")).collect();
        all.push((path, "paths"));
        all.extend(group.map(|at| (at, "groups")));
        all.extend(split.map(|at| (at, "parts")));
        all.sort_unstable();
        if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let what = match pair[0].1 == pair[1].1 {
                true => format!("is named twice as a column of {}", pair[0].1),
                false => format!(
                    "cannot be the column of both {} and {}",
                    pair[0].1, pair[1].1
                ),
            };
            let column = shown(&table.columns[pair[0].0]);
            return Err(failure(
                format!("{column} of {} {what}", table.name),
                "name another column",
            ));
        }
        Ok(Self {
            path,
            labels,
            group,
            split,
        })
    }
}

/// A column by its name: exactly, or but for case.
fn by_name(table: &Table, name: &str, option: &str) -> Result<usize, Failure> {
    let columns = || table.columns.iter().enumerate();
    let exact: Vec<usize> = columns()
        .filter(|(_, column)| *column == name)
        .map(|(at, _)| at)
        .collect();
    let alike = || {
        let alike = columns().filter(|(_, column)| column.to_lowercase() == name.to_lowercase());
        alike.map(|(at, _)| at).collect()
    };
    let found: Vec<usize> = if exact.is_empty() { alike() } else { exact };
    match found[..] {
        [only] => Ok(only),
        [] => Err(failure(
            format!("{} has no column {} ({option})", table.name, shown(name)),
            format!("it has {}", listed(&table.columns)),
        )),
        _ => Err(failure(
            format!("{} has more than one column {}", table.name, shown(name)),
            "give the columns different names",
        )),
    }
}

/// The likeliest of the usual names that a column has.
fn usual(table: &Table, names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| {
        let mut columns = table.columns.iter();
        columns.position(|column| column.to_lowercase().replace([' ', '-'], "_") == *name)
    })
}

fn no_paths(table: &Table) -> Failure {
    // The first line of a file without a head is a photo.
    let is_photo = |column: &String| is_photo_name(std::path::Path::new(column));
    if table.columns.iter().any(is_photo) {
        return failure(
            format!(
                "the first line of {} is a photo, and names no columns",
                table.name
            ),
            HEAD,
        );
    }
    failure(
        format!("{} has no column of paths by a usual name", table.name),
        format!(
            "name it by --path-column: there is {}",
            listed(&table.columns)
        ),
    )
}

fn no_labels(table: &Table, left: &[usize]) -> Failure {
    let names: Vec<String> = left.iter().map(|&at| table.columns[at].clone()).collect();
    let help = match names.is_empty() {
        true => HEAD.to_owned(),
        false => format!("name it by --label-column: there is {}", listed(&names)),
    };
    failure(
        format!("{} has no column of labels by a usual name", table.name),
        help,
    )
}
