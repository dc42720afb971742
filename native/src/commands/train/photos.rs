//! Which photos a run began with, and what became of them since.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::dataset::Dataset;
use crate::ui::{ExitCode, Failure};

/// The photos of a data set as a run keeps them: one a line, the SHA-256 and the name.
pub fn list(dataset: &Dataset) -> String {
    let mut list = String::new();
    for item in &dataset.items {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "{} {}", item.hash, named(&item.relative));
    }
    list
}

/// A name on a line of its own.
fn named(name: &str) -> String {
    name.replace(['\n', '\r'], "?")
}

/// What changed between the photos that a run kept and those there are now, in words; nothing if they are the same.
pub fn changes(then: &str, now: &str) -> Option<String> {
    let read = |list: &'_ str| -> BTreeMap<String, String> {
        let lines = list.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
            .collect()
    };
    let (then, now) = (read(then), read(now));
    let gone = then.keys().filter(|name| !now.contains_key(*name));
    let new = now.keys().filter(|name| !then.contains_key(*name));
    let changed = then
        .iter()
        .filter(|(name, hash)| now.get(*name).is_some_and(|other| other != *hash));
    let told: Vec<String> = [
        (gone.collect::<Vec<_>>(), "gone"),
        (new.collect(), "new"),
        (changed.map(|(name, _)| name).collect(), "changed"),
    ]
    .into_iter()
    .filter(|(names, _)| !names.is_empty())
    .map(|(names, what)| several(&names, what))
    .collect();
    let counts = match then.len() == now.len() {
        true => String::new(),
        false => format!("{} photos now, {} then: ", now.len(), then.len()),
    };
    (!told.is_empty()).then(|| format!("{counts}{}", told.join("; ")))
}

/// The first names of some photos, and what became of them.
fn several(names: &[&String], what: &str) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
    let more = match names.len() {
        count if count > SHOWN => format!(" and {} more", count - SHOWN),
        _ => String::new(),
    };
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{}{more} {verb} {what}", shown.join(", "))
}

/// Refuses to go on with a run whose photos changed. What a run of older versions did not keep is not compared here.
///
/// # Errors
///
/// When they did.
pub fn check_same(then: Option<&[u8]>, dataset: &Dataset) -> Result<(), Failure> {
    let then = then.map(String::from_utf8_lossy);
    match then.and_then(|then| changes(&then, &list(dataset))) {
        None => Ok(()),
        Some(changes) => {
            let message = format!(
                "this run cannot go on: its photos changed since it was stopped: {changes}"
            );
            Err(Failure::new(ExitCode::Data, message)
                .with_help("put back what changed, or begin a new run"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn photos_that_are_gone_new_or_changed_are_named() {
        let then = "a1 cat/a b.jpg\nb2 cat/b.jpg\nc3 dog/c.jpg\n";
        assert_eq!(changes(then, then), None);
        assert_eq!(
            changes(then, "b2 cat/b.jpg\nff dog/c.jpg\n").as_deref(),
            Some("2 photos now, 3 then: cat/a b.jpg is gone; dog/c.jpg is changed")
        );
        assert_eq!(
            changes(then, "a1 cat/x.jpg\nb2 cat/b.jpg\nc3 dog/c.jpg\n").as_deref(),
            Some("cat/a b.jpg is gone; cat/x.jpg is new")
        );
        let many: String = (0..9)
            .map(|number| format!("d{number} e/{number}.jpg\n"))
            .collect();
        let told = changes("", &many).unwrap();
        assert!(told.ends_with("e/4.jpg and 4 more are new"), "{told}");
    }
}
