//! What is skipped: files that are meant to be photos and links that should lead to some, and cannot be used.
//! One wording and one counter for every command.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::{fmt, io};

use serde::Serialize;

use crate::photos::{PhotoError, PhotoProblem};
use crate::ui::print_warning;

/// Lines that are printed of one kind of problem; of more their number is said.
const LINES: usize = 20;
/// Kinds of problems that an error message tells.
const KINDS: usize = 3;

/// What it is that is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    File,
    Link,
    Folder,
}

/// Something that is skipped, and why. As JSON: `path`, `kind` and `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its place: under the data set's folder, with `/` between components, or as the user named it.
    pub path: String,
    /// The stable short name of the problem, see [`PhotoProblem::kind`].
    pub kind: &'static str,
    /// The problem in words.
    pub reason: String,
    /// What the user can do about it.
    #[serde(skip)]
    pub help: Option<Cow<'static, str>>,
    /// The class in whose folder it lies, where that is known.
    #[serde(skip)]
    pub class: Option<usize>,
    #[serde(skip)]
    thing: Thing,
}

impl Skipped {
    /// A file, or a link, with this problem.
    pub fn new(path: String, problem: &PhotoProblem) -> Self {
        let thing = match problem {
            PhotoProblem::BadLink => Thing::Link,
            _ => Thing::File,
        };
        Self {
            path,
            kind: problem.kind(),
            reason: problem.to_string(),
            help: problem.help().map(Cow::Borrowed),
            class: None,
            thing,
        }
    }

    /// A file whose photo, or whose mask, is not as it should be.
    pub fn of_pair(
        path: String,
        kind: &'static str,
        reason: String,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            path,
            kind,
            reason,
            help: Some(help.into()),
            class: None,
            thing: Thing::File,
        }
    }

    /// A folder that cannot be looked into.
    pub fn folder(path: String, cause: io::Error) -> Self {
        let reason = format!("the folder cannot be listed ({cause})");
        Self {
            reason,
            help: Some("make the folder readable, or move it away".into()),
            thing: Thing::Folder,
            ..Self::new(path, &PhotoProblem::from_io(cause))
        }
    }

    /// A folder in which there is no photo.
    pub fn empty_folder(path: String) -> Self {
        Self {
            kind: "no_photos",
            reason: "there are no photos in it".to_owned(),
            help: None,
            thing: Thing::Folder,
            ..Self::new(path, &PhotoProblem::Empty)
        }
    }

    /// The same, in the folder of a class.
    #[must_use]
    pub fn of_class(self, class: usize) -> Self {
        Self {
            class: Some(class),
            ..self
        }
    }

    /// What is wrong, without what is each file's own, such as its size.
    fn problem(&self) -> (&'static str, Option<&str>) {
        (self.kind, self.help.as_deref())
    }
}

impl From<PhotoError> for Skipped {
    fn from(error: PhotoError) -> Self {
        Self::new(error.path.display().to_string(), &error.problem)
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped {}: {}", self.path, self.reason)
    }
}

/// How many there are: `3 files`, `1 file and 2 links`.
pub fn counted<'s>(skipped: impl IntoIterator<Item = &'s Skipped>) -> String {
    let mut counts = [(0, "file"), (0, "link"), (0, "folder")];
    for skipped in skipped {
        counts[skipped.thing as usize].0 += 1;
    }
    let words = counts.iter().filter_map(|&(count, thing)| match count {
        0 => None,
        1 => Some(format!("1 {thing}")),
        _ => Some(format!("{count} {thing}s")),
    });
    let words: Vec<_> = words.collect();
    match &words[..] {
        [] => "no file".to_owned(),
        [first, second, third] => format!("{first}, {second} and {third}"),
        _ => words.join(" and "),
    }
}

/// Those with the same problem together, the most frequent problem first.
fn by_problem<'s>(skipped: impl IntoIterator<Item = &'s Skipped>) -> Vec<Vec<&'s Skipped>> {
    let mut place = HashMap::new();
    let mut kinds: Vec<Vec<&Skipped>> = Vec::new();
    for skipped in skipped {
        let at = *place.entry(skipped.problem()).or_insert(kinds.len());
        match kinds.get_mut(at) {
            Some(kind) => kind.push(skipped),
            None => kinds.push(vec![skipped]),
        }
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.len()));
    kinds
}

/// Why they were skipped, each problem once:
/// `a HEIC picture is not supported (3 files, such as phone/1.heic); the file is empty (phone/4.jpg)`.
pub fn reasons<'s>(skipped: impl IntoIterator<Item = &'s Skipped>) -> String {
    let kinds = by_problem(skipped);
    let told = kinds.iter().take(KINDS).map(|kind| match &kind[..] {
        [only] => format!("{} ({})", only.reason, only.path),
        all => format!(
            "{} ({}, such as {})",
            all[0].reason,
            counted(all.iter().copied()),
            all[0].path
        ),
    });
    let mut told: Vec<_> = told.collect();
    let more = kinds.iter().skip(KINDS).flatten().copied();
    if kinds.len() > KINDS {
        told.push(format!("{} with other problems", counted(more)));
    }
    told.join("; ")
}

/// What the user can do about the most frequent problem for which there is something to do.
pub fn help_with<'s>(skipped: impl IntoIterator<Item = &'s Skipped>) -> Option<&'s str> {
    let kinds = by_problem(skipped);
    kinds.iter().find_map(|kind| kind.first()?.help.as_deref())
}

/// Warns of them as they come.
#[derive(Debug, Default)]
pub struct Warnings {
    helped: HashSet<Cow<'static, str>>,
}

impl Warnings {
    /// Warns of one; what can be done about a problem is said once.
    pub fn of(&mut self, skipped: &Skipped) {
        self.print(&skipped.to_string(), skipped);
    }

    fn print(&mut self, line: &str, skipped: &Skipped) {
        let help = skipped.help.as_ref();
        let help = help.filter(|help| self.helped.insert((*help).clone()));
        print_warning(line, help.map(|help| &**help));
    }
}

/// Warns of all of them: each by its name, unless there are very many of one kind.
pub fn warn_of(skipped: &[Skipped]) {
    let mut warnings = Warnings::default();
    for kind in by_problem(skipped) {
        let (listed, more) = kind.split_at(kind.len().min(LINES));
        listed.iter().for_each(|skipped| warnings.of(skipped));
        if let [first, ..] = more {
            let count = counted(more.iter().copied());
            warnings.print(&format!("skipped {count} more: {}", first.reason), first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photos::{Content, sniff};

    fn skipped(path: &str, problem: PhotoProblem) -> Skipped {
        Skipped::new(path.to_owned(), &problem)
    }

    #[test]
    fn files_links_and_folders_are_counted_by_what_they_are() {
        let mut all = vec![skipped("a", PhotoProblem::Empty)];
        assert_eq!(counted(&all), "1 file");
        all.push(skipped("b", PhotoProblem::BadLink));
        all.push(skipped("c", PhotoProblem::BadLink));
        assert_eq!(counted(&all), "1 file and 2 links");
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        all.push(Skipped::folder("d".to_owned(), cause));
        assert_eq!(counted(&all), "1 file, 2 links and 1 folder");
        assert_eq!(all[3].kind, "permission_denied");
        assert_eq!(counted(&[]), "no file");
    }

    #[test]
    fn reasons_are_told_once_with_an_example_the_most_frequent_first() {
        let heic = || match sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") {
            Content::Foreign(format) => PhotoProblem::Foreign(format),
            other => panic!("{other:?}"),
        };
        let all = [
            skipped("a.jpg", PhotoProblem::Empty),
            skipped("b.heic", heic()),
            skipped("c.heic", heic()),
        ];
        assert_eq!(
            reasons(&all),
            "a HEIC picture is not supported (2 files, such as b.heic); the file is empty (a.jpg)"
        );
        assert!(help_with(&all).is_some_and(|help| help.contains("heif-convert")));
        let json = serde_json::to_value(&all[0]).unwrap();
        let expected = serde_json::json!({
            "path": "a.jpg", "kind": "empty", "reason": "the file is empty"
        });
        assert_eq!(json, expected);
    }
}
