//! From a table to a data set.

use std::collections::HashMap;
use std::path::Path;

use rekindle_core::task::Task;
use rekindle_core::train::TargetRows;

use super::columns::{Columns, Named};
use super::meaning::{Meaning, Said};
use super::places::{Place, Places};
use super::spread;
use super::table::{Cell, Table, at, failure, listed, shown};
use crate::cli::{LabelArgs, TrainLabelArgs};
use crate::dataset::data::{Dataset, LabelFile};
use crate::dataset::layout::{Part, nfc, part_of};
use crate::dataset::scan::{Found, ScanOptions, Wanted, check_root, hashed};
use crate::dataset::split::Split;
use crate::interrupt::Interrupt;
use crate::skipped::Skipped;

/// What is asked of a file of labels.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    file: &'a Path,
    columns: Named<'a>,
    task: Option<Task>,
    /// Of a model that is measured: its names of labels or values, in its order.
    known: Option<&'a [String]>,
    measured: Option<Wanted>,
}

impl<'a> Labels<'a> {
    /// The file that the options name, if they name one, to learn from.
    pub fn to_learn(args: &'a TrainLabelArgs) -> Option<Self> {
        let mut labels = Self::named(&args.file)?;
        labels.columns.group = args.group_column.as_deref();
        labels.task = args.task.map(|task| task.task());
        Some(labels)
    }

    /// The same, to measure a model of this task on, whose labels or values have these names. Any classes will do of
    /// a classifier.
    pub fn to_measure(
        args: &'a LabelArgs,
        task: Task,
        names: &'a [String],
        wanted: Wanted,
    ) -> Option<Self> {
        let mut labels = Self::named(args)?;
        labels.task = Some(task);
        labels.known = (task != Task::Classify).then_some(names);
        labels.measured = Some(wanted);
        Some(labels)
    }

    fn named(args: &'a LabelArgs) -> Option<Self> {
        Some(Self {
            file: args.labels.as_deref()?,
            columns: Named {
                path: args.path_column.as_deref(),
                labels: &args.label_column,
                group: None,
                split: args.split_column.as_deref(),
            },
            task: None,
            known: None,
            measured: None,
        })
    }
}

/// What lines say of one photo.
struct Photo {
    found: Found,
    line: usize,
    said: Said,
    group: Option<String>,
}

/// Understands a folder of photos with a file of labels as a data set. Returns it with what is to be said of how the
/// file was understood.
///
/// # Errors
///
/// When the file or a line of it is not as it should be, and everything that keeps a folder from being used.
pub fn scan_labels(
    root: &Path,
    labels: &Labels<'_>,
    options: &ScanOptions,
    interrupt: &Interrupt,
) -> anyhow::Result<(Dataset, Vec<String>)> {
    check_root(root)?;
    let table = Table::open(labels.file)?;
    interrupt.check()?;
    let values = match labels.task {
        Some(Task::Regress) => labels.known.unwrap_or_default(),
        _ => &[],
    };
    let columns = Columns::find(&table, labels.columns, values)?;
    let meaning = Meaning::of(&table, &columns.labels, labels.task)?;
    let mut notes = vec![introduced(&table, &columns)];
    notes.extend(meaning.remark.clone());
    let task = meaning.task;
    let names = names(&table, &meaning, labels)?;

    let places = Places::new(root, labels.file);
    let mut photos: Vec<Photo> = Vec::with_capacity(table.rows.len());
    let mut known: HashMap<String, usize> = HashMap::new();
    let (mut missing, mut twice) = (Vec::new(), 0);
    for ((line, cells), said) in table.rows.iter().zip(meaning.said) {
        interrupt.check()?;
        let line = *line;
        let path = path(&table, line, &cells[columns.path])?;
        let group = columns
            .group
            .map(|column| word(&table, line, &cells[column], column));
        let group = group.transpose()?.flatten();
        let split = columns
            .split
            .map(|column| part(&table, line, &cells[column], column));
        let split = split.transpose()?;
        let (path, relative) = match places.find(path) {
            Place::Found(path, relative) => (path, relative),
            Place::Outside => {
                return Err(at(
                    &table.name,
                    line,
                    format!("{} leads out of {}", shown(path), root.display()),
                    "give the folder above all photos, and paths in it",
                )
                .into());
            }
            Place::Missing => {
                missing.push((line, path.to_owned()));
                continue;
            }
        };
        let place = *known.entry(relative.clone()).or_insert(photos.len());
        if let Some(photo) = photos.get_mut(place) {
            twice += 1;
            photo.join(&table, task, line, said, &group, split)?;
            continue;
        }
        let found = Found {
            path,
            relative,
            class: 0,
            target: Vec::new(),
            group: None,
            split,
        };
        photos.push(Photo {
            found,
            line,
            said,
            group,
        });
    }
    if let (true, [(line, path), ..]) = (photos.is_empty(), &missing[..]) {
        return Err(at(
            &table.name,
            *line,
            format!(
                "there is no photo {} in {}, nor any other that the file names",
                shown(path),
                root.display()
            ),
            "paths are relative to the folder, or to the file of labels",
        )
        .into());
    }
    if twice > 0 && task != Task::MultiLabel {
        notes.push(match twice {
            1 => "1 line repeats a photo: it counts once".to_owned(),
            twice => format!("{twice} lines repeat photos: each counts once"),
        });
    }
    whole_groups(&table, &photos)?;
    let dataset = Maker {
        root,
        labels,
        table: &table,
        task,
        names,
        missing,
    };
    Ok((dataset.make(photos, options, interrupt)?, notes))
}

impl Photo {
    /// Takes in another line on the same photo.
    fn join(
        &mut self,
        table: &Table,
        task: Task,
        line: usize,
        said: Said,
        group: &Option<String>,
        split: Option<Split>,
    ) -> anyhow::Result<()> {
        let first = self.line;
        let differ = |what: String, help: &str| -> anyhow::Error {
            at(&table.name, line, what, help).into()
        };
        match (&mut self.said, said) {
            (Said::Names(own), Said::Names(more)) if task == Task::MultiLabel => {
                own.extend(more);
                own.sort();
                own.dedup();
            }
            (own, said) if *own != said => {
                return Err(differ(
                    format!(
                        "it says otherwise than line {first} of the same photo, {}",
                        self.found.relative
                    ),
                    "take one of the lines out; a photo with several labels is for --task multilabel",
                ));
            }
            _ => {}
        }
        if self.group != *group || self.found.split != split {
            return Err(differ(
                format!(
                    "it puts {} elsewhere than line {first} does",
                    self.found.relative
                ),
                "give a photo one group and one part",
            ));
        }
        Ok(())
    }
}

/// What a photo of one group says of the part of another.
fn whole_groups(table: &Table, photos: &[Photo]) -> anyhow::Result<()> {
    let mut first: HashMap<&str, &Photo> = HashMap::new();
    for photo in photos {
        let Some(group) = &photo.group else { continue };
        let other = *first.entry(group).or_insert(photo);
        if other.found.split != photo.found.split {
            return Err(at(
                &table.name,
                photo.line,
                format!(
                    "the group {} lies in another part on line {}",
                    shown(group),
                    other.line
                ),
                "put every group into one part, or leave --split-column out",
            )
            .into());
        }
    }
    Ok(())
}

struct Maker<'a> {
    root: &'a Path,
    labels: &'a Labels<'a>,
    table: &'a Table,
    task: Task,
    names: Vec<String>,
    missing: Vec<(usize, String)>,
}

impl Maker<'_> {
    fn make(
        self,
        mut photos: Vec<Photo>,
        options: &ScanOptions,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Dataset> {
        photos.sort_by(|a, b| a.found.relative.cmp(&b.found.relative));
        if self.task == Task::Regress && self.labels.measured.is_none() {
            let rows: Vec<&[f64]> = photos.iter().map(|photo| photo.said.numbers()).collect();
            spread::check(&self.table.name, &self.names, &rows)?;
        }
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for photo in &mut photos {
            let place = |name: &String| self.names.binary_search(name);
            match (&photo.said, self.task) {
                (Said::Names(names), Task::MultiLabel) => {
                    let has = self.names.iter().map(|name| names.contains(name));
                    photo.found.target = has.map(|has| f32::from(u8::from(has))).collect();
                }
                (Said::Names(names), _) => {
                    let place = names.first().map(place);
                    photo.found.class = place.and_then(Result::ok).unwrap_or_default();
                }
                (Said::Numbers(numbers), _) => {
                    photo.found.target = numbers.iter().map(|&number| number as f32).collect();
                }
            }
            if let Some(group) = photo.group.take() {
                let number = numbers.len();
                photo.found.group = Some(*numbers.entry(group).or_insert(number));
            }
        }
        let mut found: Vec<Found> = photos.into_iter().map(|photo| photo.found).collect();
        let parts = parts(&found);
        let measured = self.labels.measured.map(|wanted| choose(&parts, wanted));
        let measured = measured.transpose()?;
        if let Some(Some(part)) = measured {
            found.retain(|found| found.split == Some(part));
        }
        if measured.is_none() {
            self.check(&found)?;
        }
        if self.task != Task::Classify {
            let rows = found.iter().flat_map(|found| found.target.iter().copied());
            let rows = TargetRows::new(self.names.len(), rows.collect())?;
            let alone: Vec<usize> = (0..found.len()).collect();
            let (strata, _) = match self.task {
                Task::MultiLabel => rows.label_strata(),
                _ => rows.value_strata(&alone),
            };
            let pairs = found.iter_mut().zip(strata);
            pairs.for_each(|(found, stratum)| found.class = stratum);
        }
        let mut skipped: Vec<Skipped> = self
            .missing
            .iter()
            .map(|(line, path)| {
                let reason = format!(
                    "line {line} of {} names it, and it is not there",
                    self.table.name
                );
                let help = "put it there, or take its line out";
                Skipped::of_pair(path.clone(), "not_found", reason, help)
            })
            .collect();
        let items = hashed(found, options, interrupt, &mut skipped)?;
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let dataset = Dataset {
            root: self.root.to_owned(),
            task: self.task,
            labels: Some(LabelFile {
                path: self.labels.file.to_owned(),
                hash: self.table.hash,
            }),
            classes: self.names,
            items,
            skipped,
            other_files: 0,
            parts,
            unused: 0,
            remarks: Vec::new(),
            measured,
            strict: options.strict,
        };
        dataset.check()?;
        Ok(dataset)
    }

    /// What cannot be learnt from.
    fn check(&self, found: &[Found]) -> anyhow::Result<()> {
        let name = &self.table.name;
        if found
            .iter()
            .all(|found| found.split.is_some_and(|part| part != Split::Train))
        {
            return Err(failure(
                format!("no line of {name} puts a photo into train"),
                "the column of --split-column says train, val or test",
            )
            .into());
        }
        let first = found.first().map(|found| &found.target);
        let is_constant = || found.iter().all(|found| Some(&found.target) == first);
        match (self.task, &self.names[..]) {
            (Task::Classify, [only]) => Err(failure(
                format!("there is only one class in {name}, {}", shown(only)),
                "add photos of something else, or of \"none of these\"",
            )
            .into()),
            (Task::MultiLabel, []) => Err(failure(
                format!("no photo in {name} has a label"),
                "name the column of labels by --label-column",
            )
            .into()),
            (Task::MultiLabel | Task::Regress, _) if is_constant() => Err(failure(
                format!("{name} says the same of every photo, so there is nothing to learn"),
                "add photos that differ in it",
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// The names of classes, labels or values, in the order in which a network puts them out.
fn names(table: &Table, meaning: &Meaning, labels: &Labels<'_>) -> anyhow::Result<Vec<String>> {
    let said = meaning.names_said();
    let Some(known) = labels.known else {
        let mut names = match meaning.names.is_empty() {
            true => said,
            false => meaning.names.clone(),
        };
        if meaning.task == Task::MultiLabel {
            names.sort();
        }
        return Ok(names);
    };
    if meaning.task == Task::Regress {
        if meaning.names.len() != known.len() {
            return Err(failure(
                format!(
                    "the model estimates {}, and {} has {} for each photo",
                    values(known.len()),
                    table.name,
                    values(meaning.names.len())
                ),
                format!(
                    "name the columns by --label-column: it estimates {}",
                    listed(known)
                ),
            )
            .into());
        }
        return Ok(known.to_vec());
    }
    if let Some(other) = said.iter().find(|name| !known.contains(name)) {
        let row = meaning
            .said
            .iter()
            .position(|said| matches!(said, Said::Names(names) if names.contains(other)));
        let line = row.map_or(1, |row| table.rows[row].0);
        return Err(at(
            &table.name,
            line,
            format!("the model knows no label {}", shown(other)),
            format!("it knows {}", listed(known)),
        )
        .into());
    }
    Ok(known.to_vec())
}

fn values(count: usize) -> String {
    match count {
        1 => "1 value".to_owned(),
        count => format!("{count} values"),
    }
}

fn introduced(table: &Table, columns: &Columns) -> String {
    let name = |at: &usize| shown(&table.columns[*at]);
    let labels: Vec<_> = columns.labels.iter().map(name).collect();
    let mut text = format!(
        "{}: paths from {}, labels from {}",
        table.name,
        name(&columns.path),
        labels.join(", ")
    );
    if let Some(group) = &columns.group {
        text += &format!(", groups from {}", name(group));
    }
    if let Some(split) = &columns.split {
        text += &format!(", parts from {}", name(split));
    }
    text
}

fn path<'t>(table: &Table, line: usize, cell: &'t Cell) -> anyhow::Result<&'t str> {
    let what = match cell {
        Cell::Text(path) if path.contains('\0') => "its path holds a zero byte",
        Cell::Text(path) => return Ok(path),
        Cell::Nothing => "it names no photo",
        Cell::List(_) => "its path is a list",
    };
    Err(at(
        &table.name,
        line,
        what,
        "a line names one photo, by its path",
    )
    .into())
}

fn word(table: &Table, line: usize, cell: &Cell, column: usize) -> anyhow::Result<Option<String>> {
    match cell {
        Cell::Nothing => Ok(None),
        Cell::Text(text) => Ok(Some(nfc(text))),
        Cell::List(_) => {
            let what = format!("{} is a list", shown(&table.columns[column]));
            Err(at(&table.name, line, what, "name one group").into())
        }
    }
}

fn part(table: &Table, line: usize, cell: &Cell, column: usize) -> anyhow::Result<Split> {
    let word = word(table, line, cell, column)?.unwrap_or_default();
    match part_of(&word) {
        Some(name) if name.rest.is_empty() => {
            if let Part::Split(split) = name.part {
                return Ok(split);
            }
        }
        _ => {}
    }
    let what = format!(
        "{} says {}, which is none of train, val and test",
        shown(&table.columns[column]),
        shown(&word)
    );
    Err(at(
        &table.name,
        line,
        what,
        "write train, val or test on every line",
    )
    .into())
}

/// The parts that photos are put into, in order, and what messages call them.
fn parts(found: &[Found]) -> Vec<(Split, String)> {
    let all = [Split::Train, Split::Val, Split::Test].into_iter();
    let has = |part: &Split| found.iter().any(|found| found.split == Some(*part));
    all.filter(has)
        .map(|part| (part, part.name().to_owned()))
        .collect()
}

/// The part to measure on; nothing for all photos.
fn choose(parts: &[(Split, String)], wanted: Wanted) -> anyhow::Result<Option<Split>> {
    let has = |split: &Split| parts.iter().any(|(part, _)| part == split);
    match wanted {
        Wanted::All => Ok(None),
        Wanted::Best => Ok([Split::Test, Split::Val, Split::Train]
            .into_iter()
            .find(has)),
        Wanted::Only(split) if has(&split) => Ok(Some(split)),
        Wanted::Only(split) => {
            use crate::ui::{ExitCode, Failure};
            let what = format!(
                "no photo is put into {} by the file of labels",
                split.name()
            );
            let help = match parts.is_empty() {
                true => "leave --split out, or name the column of parts by --split-column",
                false => "choose another part with --split",
            };
            Err(Failure::new(ExitCode::Usage, what).with_help(help).into())
        }
    }
}
