//! Imports lead one way. Of two files in a folder, or two folders, or a file and a folder, only one leads to the
//! other, directly or by way of others: each has a place above or below. A folder is taken with all that is in it,
//! and what its `mod.rs` (or `lib.rs`, `main.rs`) itself says is one file more in it.
//!
//! A `pub use` is a signpost: whoever takes a name by it leads to where the name is from, and the signpost to
//! nowhere. What only tests import (`#[cfg(test)]`) does not count. Everything is read as text: methods called on
//! values lead nowhere that is seen here, and names that macros put together neither.

mod crate_text;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate_text::{File, Module, Named, read};

/// A crate's imports.
struct Map {
    files: BTreeMap<Module, File>,
}

/// An import: by whom, of what, where it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: Module,
    to: Module,
    line: usize,
    path: String,
}

impl Map {
    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (module, file) in &self.files {
            let mut add = |named: &Named| {
                let to = self.find(module, &named.path, 0);
                let is_module = self.files.contains_key(&self.whole(module, &named.path));
                imports.extend(to.filter(|to| to != module && !is_module).map(|to| Import {
                    from: module.clone(),
                    to,
                    line: named.line,
                    path: named.path.join("::"),
                }));
            };
            for named in &file.paths {
                add(named);
            }
            for taken in &file.uses {
                let line = file.words.get(&taken.called);
                match (taken.handed_on, line) {
                    (false, _) => add(&taken.named),
                    // Handed on, and used here as well.
                    (true, Some(&line)) => add(&Named {
                        path: taken.named.path.clone(),
                        line,
                    }),
                    (true, None) => {}
                }
            }
        }
        imports.sort();
        imports
    }

    /// The module that a path begins in, and what is left of the path.
    fn start<'p>(&self, from: &Module, path: &'p [String]) -> Option<(Module, &'p [String])> {
        let mut module = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (module, rest) = (Module::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            first => {
                let child = [&from[..], &[first.to_owned()]].concat();
                let is_known = self.files.contains_key(&child)
                    || self.files[from]
                        .uses
                        .iter()
                        .any(|taken| taken.called == *first);
                return is_known.then_some((module, rest));
            }
        }
        while rest.first().is_some_and(|word| word == "super") {
            module.pop()?;
            rest = &rest[1..];
        }
        Some((module, rest))
    }

    /// The module that a path names as a whole, if it does.
    fn whole(&self, from: &Module, path: &[String]) -> Module {
        match self.start(from, path) {
            Some((module, rest)) => [&module[..], rest].concat(),
            None => vec!["?".into()],
        }
    }

    /// The module in whose file what a path names is written.
    fn find(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        if depth > 8 {
            return None;
        }
        let (mut module, mut rest) = self.start(from, path)?;
        while let [word, behind @ ..] = rest {
            let child = [&module[..], std::slice::from_ref(word)].concat();
            if self.files.contains_key(&child) {
                (module, rest) = (child, behind);
                continue;
            }
            let file = self.files.get(&module)?;
            if file.defines.contains(word) {
                break;
            }
            let is_own = |taken: &&crate_text::Use| taken.named.path != path || module != *from;
            let mut uses = file.uses.iter().filter(is_own);
            if let Some(taken) = uses.clone().find(|taken| taken.called == *word) {
                let whole = [&taken.named.path[..], behind].concat();
                return self.find(&module, &whole, depth + 1);
            }
            let all = uses.find_map(|taken| {
                let [before @ .., star] = &taken.named.path[..] else {
                    return None;
                };
                let inside = (star == "*").then(|| self.whole(&module, before))?;
                let file = self.files.get(&inside)?;
                let has = file.defines.contains(word)
                    || file.uses.iter().any(|taken| taken.called == *word);
                has.then(|| [before, std::slice::from_ref(word), behind].concat())
            });
            return match all {
                Some(path) => self.find(&module, &path, depth + 1),
                None => Some(module),
            };
        }
        Some(module)
    }

    /// Every circle, in words.
    fn circles(&self) -> Vec<String> {
        let imports = self.imports();
        let folders: BTreeSet<Module> = self
            .files
            .keys()
            .filter(|module| !module.is_empty())
            .map(|module| module[..module.len() - 1].to_vec())
            .collect();
        folders
            .iter()
            .flat_map(|folder| self.circles_in(folder, &imports))
            .collect()
    }

    /// Those between the rooms of one folder.
    fn circles_in(&self, folder: &Module, imports: &[Import]) -> Vec<String> {
        // The room of a module: one of the folder's, nothing if that is the folder's own file.
        let room = |module: &Module| module.get(folder.len()).cloned();
        let mut arrows: BTreeMap<Option<String>, BTreeMap<Option<String>, &Import>> =
            BTreeMap::new();
        for import in imports {
            if import.from.starts_with(folder) && import.to.starts_with(folder) {
                let (from, to) = (room(&import.from), room(&import.to));
                if from != to {
                    arrows.entry(from).or_default().entry(to).or_insert(import);
                }
            }
        }
        let mut told: BTreeSet<Option<String>> = BTreeSet::new();
        let mut circles = Vec::new();
        for start in arrows.keys() {
            if told.contains(start) {
                continue;
            }
            let Some(circle) = shortest(start, &arrows) else {
                continue;
            };
            told.extend(circle.iter().cloned());
            let name = |room: &Option<String>| match room {
                Some(room) => room.clone(),
                None => {
                    let file = self.files[folder].path.file_name().unwrap_or_default();
                    file.display().to_string()
                }
            };
            let mut names: Vec<_> = circle.iter().map(name).collect();
            names.push(names[0].clone());
            let mut text = match folder.is_empty() {
                true => String::new(),
                false => format!("in {}: ", folder.join("::")),
            };
            let _ = writeln!(text, "{}", names.join(" → "));
            for (n, from) in circle.iter().enumerate() {
                let to = &circle[(n + 1) % circle.len()];
                let import = arrows[from][to];
                let file = self.files[&import.from].path.display();
                let _ = writeln!(text, "    {file}:{}: {}", import.line, import.path);
            }
            circles.push(text);
        }
        circles
    }
}

/// The shortest way from a room back to it.
fn shortest<'m, T>(
    start: &'m Option<String>,
    arrows: &'m BTreeMap<Option<String>, BTreeMap<Option<String>, T>>,
) -> Option<Vec<Option<String>>> {
    let mut before: BTreeMap<&Option<String>, &Option<String>> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(room) = queue.pop_front() {
        for next in arrows.get(room).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut way = vec![room.clone()];
                while way.last() != Some(start) {
                    let last = way.last()?.clone();
                    way.push((*before.get(&last)?).clone());
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, room);
                queue.push_back(next);
            }
        }
    }
    None
}

#[test]
fn imports_lead_one_way_in_every_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let load = |path: &Path| fs::read_to_string(path).ok();
    let mut circles = String::new();
    for name in [
        "networks", "core", "cpu", "shaders", "photos", "native", "web", "xtask",
    ] {
        let map = Map {
            files: read(&root.join(name).join("src"), &load),
        };
        assert!(!map.imports().is_empty(), "{name} imports nothing");
        for circle in map.circles() {
            circles += &format!("{name}: {circle}");
        }
    }
    let circles = circles.replace(&format!("{}/", root.display()), "");
    assert!(circles.is_empty(), "imports go in circles:\n{circles}");
}

/// The circles of a crate of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let load = |path: &Path| {
        let mut files = files.iter();
        let found = files.find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned())
    };
    let map = Map {
        files: read(Path::new(""), &load),
    };
    map.circles()
}

#[test]
fn a_circle_is_told_with_the_file_and_line_of_each_import() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "//! A.\nuse crate::{\n    b::{B, other},\n};\n"),
        ("b.rs", "fn f() {\n    super::c::g();\n}\n"),
        ("c.rs", "use super::a;\nfn g() {\n    a::h();\n}\n"),
    ];
    assert_eq!(
        circles_of(&files),
        ["a → b → c → a\n    a.rs:3: crate::b::B\n    b.rs:2: super::c::g\n    c.rs:3: a::h\n"]
    );
}

#[test]
fn a_folder_is_taken_with_all_in_it_and_its_own_file_is_one_file_more() {
    let inner = "use crate::b::C;\nstruct B;\n";
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a/mod.rs", "mod inner;\n"),
        ("a/inner.rs", inner),
        ("b.rs", "use crate::a::inner::B;\n"),
    ];
    assert_eq!(
        circles_of(&files),
        ["a → b → a\n    a/inner.rs:1: crate::b::C\n    b.rs:1: crate::a::inner::B\n"]
    );
    let files = [
        ("lib.rs", "mod a;\n"),
        ("a.rs", "mod inner;\nstruct A;\nfn f(_: inner::B) {}\n"),
        ("a/inner.rs", "use super::A;\n"),
    ];
    assert_eq!(
        circles_of(&files),
        ["in a: a.rs → inner → a.rs\n    a.rs:3: inner::B\n    a/inner.rs:1: super::A\n"]
    );
}

#[test]
fn signposts_tests_comments_and_strings_are_no_imports() {
    let files = [
        ("main.rs", "mod a;\nmod b;\nuse a::f;\nfn main() {}\n"),
        (
            "a/mod.rs",
            "mod x;\nmod y;\npub use x::X;\npub(crate) use y::*;\n",
        ),
        // By the signpost, to a file beside it.
        (
            "a/x.rs",
            "use super::Y;\nuse std::fmt;\nfn x(_: &'static str) {}\n",
        ),
        (
            "a/y.rs",
            "pub struct Y;\n// use super::X;\nconst S: &str = \"use super::X;\";\n\
             const R: &str = r#\"\"; use super::X;\"#;\nconst Q: char = '\"';\n\
             #[cfg(test)]\nmod tests {\n    use super::super::X;\n}\n\
             #[cfg(test)]\nuse super::X;\n",
        ),
        ("b.rs", "use crate::a::X;\n#[cfg(test)]\nmod tests;\n"),
    ];
    assert_eq!(circles_of(&files), [""; 0]);
    // What a signpost hands on and uses as well does count.
    let files = [
        (
            "lib.rs",
            "mod a;\npub use a::A;\nfn f(_: A) {}\npub struct B;\n",
        ),
        ("a.rs", "use crate::B;\n"),
    ];
    assert_eq!(
        circles_of(&files),
        ["lib.rs → a → lib.rs\n    lib.rs:3: a::A\n    a.rs:1: crate::B\n"]
    );
}
