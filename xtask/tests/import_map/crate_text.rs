//! One crate's source as text: its modules, what each of their files declares, and the paths that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Names from the crate's root downwards; none for the root itself.
pub type Module = Vec<String>;

/// A path as it is written, `use` trees taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its segments: `crate`, `super`, or a name that the file knows.
    pub path: Vec<String>,
    /// The line it begins on.
    pub line: usize,
}

/// A `use` of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What is taken in; `*` at the end for everything.
    pub named: Named,
    /// What it is called here.
    pub called: String,
    /// Whether others may take it from here.
    pub handed_on: bool,
}

/// What one file says.
#[derive(Debug, Default)]
pub struct File {
    pub path: PathBuf,
    pub uses: Vec<Use>,
    /// Paths within the code, with two segments or more.
    pub paths: Vec<Named>,
    /// Every single name in the code and the line that it is first met on, `use` lines aside.
    pub words: BTreeMap<String, usize>,
    /// Names of functions, types, constants and macros that are written here.
    pub defines: BTreeSet<String>,
    /// Modules that only tests have.
    pub for_tests: BTreeSet<String>,
}

/// Where the text of a file comes from; nothing if there is no such file.
pub type Load<'l> = &'l dyn Fn(&Path) -> Option<String>;

/// The files of a crate by their modules, those of tests left out.
pub fn read(source: &Path, load: Load<'_>) -> BTreeMap<Module, File> {
    let mut files = BTreeMap::new();
    for root in ["lib.rs", "main.rs"] {
        let path = source.join(root);
        if let Some(text) = load(&path) {
            read_module((path, text), Vec::new(), source, load, &mut files);
        }
    }
    assert!(!files.is_empty(), "no crate in {}", source.display());
    files
}

/// Takes in a module and those below it, which lie in `folder`.
fn read_module(
    (path, text): (PathBuf, String),
    module: Module,
    folder: &Path,
    load: Load<'_>,
    files: &mut BTreeMap<Module, File>,
) {
    let (mut file, modules) = parse(&text);
    for name in modules {
        if file.for_tests.contains(&name) {
            continue;
        }
        let below = folder.join(&name);
        let places = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
        let mut found = places
            .into_iter()
            .filter_map(|path| Some((load(&path)?, path)));
        let Some((text, path)) = found.next() else {
            panic!("{}: no file for `mod {name}`", path.display());
        };
        let child = [&module[..], &[name]].concat();
        read_module((path, text), child, &below, load, files);
    }
    file.path = path;
    files.insert(module, file);
}

/// A word or a sign, and its line.
type Token<'t> = (&'t str, usize);

/// Takes a file's text apart, and returns it with the modules that it declares.
pub fn parse(text: &str) -> (File, Vec<String>) {
    let code = without_comments_and_strings(text);
    let tokens = tokens(&code);
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        inside: 0,
        file: File::default(),
        modules: Vec::new(),
    };
    reader.items();
    (reader.file, reader.modules)
}

/// Comments, strings and characters turned into spaces; lines stay where they are.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            end_of_string(rest)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else if first == '\'' && bytes.get(1) == Some(&b'\\') {
            rest[3..].find('\'').map_or(rest.len(), |at| at + 4)
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
        } else if first.is_alphanumeric() || first == '_' {
            // A word as a whole: the `r` at its end begins no raw string.
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let end = end.unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().map(|c| match c {
            '\n' => '\n',
            _ => ' ',
        }));
        rest = &rest[length..];
    }
    out
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The number of `#` if a raw string begins here.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('r')?;
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                end.unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push((&rest[..length], number + 1));
            }
            rest = &rest[length..];
        }
    }
    tokens
}

struct Reader<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    /// How many inline modules are open: there `super` is one less far away.
    inside: usize,
    file: File,
    modules: Vec<String>,
}

impl<'t> Reader<'t> {
    fn peek(&self, ahead: usize) -> &'t str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.0)
    }

    fn items(&mut self) {
        let mut is_test = false;
        // Braces that are open, and whether each is an inline module's.
        let mut open = Vec::new();
        while self.at < self.tokens.len() {
            let (word, line) = self.tokens[self.at];
            match word {
                "#" => {
                    let attribute = self.attribute();
                    is_test |= attribute.starts_with(&["cfg"])
                        && attribute.contains(&"test")
                        && !attribute.contains(&"not");
                    continue;
                }
                "mod" if self.peek(2) == ";" => {
                    let name = self.peek(1).to_owned();
                    if is_test {
                        self.file.for_tests.insert(name.clone());
                    }
                    self.modules.push(name);
                    self.at += 3;
                }
                _ if is_test => self.skip_item(),
                "mod" if self.peek(2) == "{" => {
                    open.push(true);
                    self.inside += 1;
                    self.at += 3;
                }
                "{" => {
                    open.push(false);
                    self.at += 1;
                }
                "}" => {
                    if open.pop() == Some(true) {
                        self.inside -= 1;
                    }
                    self.at += 1;
                }
                "pub" => {
                    // What is public stays so when it is a test's.
                    let start = self.at;
                    self.visibility();
                    if self.peek(0) == "use" {
                        self.use_line(true);
                    } else if self.at == start {
                        self.at += 1;
                    }
                    continue;
                }
                "use" => self.use_line(false),
                "::" | "." => self.at += 1,
                "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" => {
                    self.file.defines.insert(self.peek(1).to_owned());
                    self.at += 1;
                }
                "macro_rules" => {
                    self.file.defines.insert(self.peek(2).to_owned());
                    self.at += 1;
                }
                _ if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                    let is_of_something =
                        self.at > 0 && matches!(self.tokens[self.at - 1].0, "." | "::");
                    let path = self.path();
                    if !is_of_something {
                        self.keep(path, line);
                    }
                }
                _ => self.at += 1,
            }
            is_test = false;
        }
    }

    fn keep(&mut self, path: Vec<String>, line: usize) {
        if path.len() > 1 {
            let named = self.seen_from_file(path.clone(), line);
            self.file.paths.extend(named);
        }
        self.file.words.entry(path[0].clone()).or_insert(line);
    }

    /// A path as seen from the file itself; nothing if it stays in an inline module.
    fn seen_from_file(&self, mut path: Vec<String>, line: usize) -> Option<Named> {
        let mut up = 0;
        while up < self.inside && path.first().is_some_and(|first| first == "super") {
            path.remove(0);
            up += 1;
        }
        (!path.is_empty()).then_some(Named { path, line })
    }

    /// `pub`, `pub(crate)`, `pub(in some::place)`.
    fn visibility(&mut self) {
        self.at += 1;
        if self.peek(0) == "(" && matches!(self.peek(1), "crate" | "super" | "self" | "in") {
            while !matches!(self.peek(0), ")" | "") {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    /// The words of an attribute, without its brackets.
    fn attribute(&mut self) -> Vec<&'t str> {
        let mut words = Vec::new();
        self.at += 1;
        if self.peek(0) == "!" {
            self.at += 1;
        }
        let mut depth = 0;
        loop {
            match self.peek(0) {
                "[" => depth += 1,
                "]" => depth -= 1,
                "" => break,
                _ => {}
            }
            let word = self.peek(0);
            if depth > 0 && !(depth == 1 && word == "[") {
                words.push(word);
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        words
    }

    /// Goes over an item: to its `;`, or to the end of its braces.
    fn skip_item(&mut self) {
        let mut depth = 0_i32;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "{" | "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                ";" if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::"
            && self
                .peek(1)
                .starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            path.push(self.peek(1).to_owned());
            self.at += 2;
        }
        path
    }

    fn use_line(&mut self, handed_on: bool) {
        self.at += 1;
        if self.peek(0) == "::" {
            self.at += 1;
        }
        self.use_tree(&[], handed_on);
        self.at += 1;
    }

    fn use_tree(&mut self, before: &[String], handed_on: bool) {
        let mut path = before.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.1);
        loop {
            match self.peek(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.use_tree(&path, handed_on);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "self" if !path.is_empty() => self.at += 1,
                word => {
                    path.push(word.to_owned());
                    self.at += 1;
                }
            }
            match self.peek(0) {
                "::" => self.at += 1,
                _ => break,
            }
        }
        let mut called = path.last().cloned().unwrap_or_default();
        if self.peek(0) == "as" {
            called = self.peek(1).to_owned();
            self.at += 2;
        }
        if let Some(named) = self.seen_from_file(path, line) {
            self.file.uses.push(Use {
                named,
                called,
                handed_on,
            });
        }
    }
}
