//! Assembling texts: constants up front, then bindings, then pieces from the `.wgsl` files.
//!
//! What makes texts differ from layer to layer is of two kinds. The *form* (taps, strides, tiles, what
//! is fused) is always a constant. *Sizes* (channels, sides of maps, rows) are constants where that
//! makes a faster kernel, on GPUs; on software adapters, whose compilers take as long for a text as it
//! then runs, they are numbers in a buffer, so that layers of the same form share one text.
//!
//! A piece is WGSL with two additions, both gone from the text that is handed out.
//!
//! - Lines between `//: if flag` and `//: end` (with an optional `//: else`) stay only if the flag
//!   is set. Optional bindings need this: a binding must not be declared unless it is bound.
//! - A line that names an index, `$p`, is repeated for each of its values, so that tiles of
//!   registers are plain variables: software adapters keep arrays in memory and unroll nothing. A
//!   block between `//: each u` and `//: end` is repeated as a whole. `$>u` is the value after `$u`,
//!   `$#u` how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};

use crate::{Kernel, Storage, Tier};

/// WebGPU's limit of workgroups along an axis.
const MOST_GROUPS: u32 = 65_535;

/// A text in the making.
pub(crate) struct Text {
    storage: Storage,
    /// Sizes are data, not constants.
    shared: bool,
    sizes: Vec<(String, u32)>,
    constants: String,
    bindings: String,
    pieces: String,
    buffers: u32,
    flags: Vec<&'static str>,
    ranges: BTreeMap<char, u32>,
}

impl Text {
    pub(crate) fn new(storage: Storage, tier: Tier) -> Self {
        Self {
            storage,
            shared: tier == Tier::Software,
            sizes: Vec::new(),
            constants: String::new(),
            bindings: String::new(),
            pieces: String::new(),
            buffers: 0,
            flags: Vec::new(),
            ranges: BTreeMap::new(),
        }
    }

    /// One of 32-bit numbers that is the same for all sizes on every adapter: nothing is divided by them.
    pub(crate) fn of_any_size() -> Self {
        Self {
            shared: true,
            ..Self::new(Storage::F32, Tier::Software)
        }
    }

    /// A constant of type u32.
    pub(crate) fn set(&mut self, name: &str, value: u32) -> &mut Self {
        let _ = writeln!(self.constants, "const {name} = {value}u;");
        self
    }

    /// A constant of type f32.
    pub(crate) fn set_f32(&mut self, name: &str, value: f32) -> &mut Self {
        let _ = writeln!(self.constants, "const {name}: f32 = {value:e};");
        self
    }

    /// A set of constants of type u32.
    pub(crate) fn set_all<const N: usize>(&mut self, pairs: [(&str, u32); N]) -> &mut Self {
        for (name, value) in pairs {
            self.set(name, value);
        }
        self
    }

    /// A size: a constant of type u32, or a number of that type in the buffer of sizes.
    pub(crate) fn size(&mut self, name: &str, value: u32) -> &mut Self {
        if self.shared {
            self.sizes.push((name.to_owned(), value));
            self
        } else {
            self.set(name, value)
        }
    }

    /// A set of sizes.
    pub(crate) fn size_all<const N: usize>(&mut self, pairs: [(&str, u32); N]) -> &mut Self {
        for (name, value) in pairs {
            self.size(name, value);
        }
        self
    }

    /// A distance in memory: one is a matter of form, anything else a size.
    pub(crate) fn step(&mut self, name: &str, value: u32) -> &mut Self {
        match value {
            0 | 1 => self.set(name, value),
            _ => self.size(name, value),
        }
    }

    /// The next buffer: an array of `element`.
    pub(crate) fn bind(&mut self, name: &str, element: impl Display) -> &mut Self {
        let _ = writeln!(
            self.bindings,
            "@group(0) @binding({}) var<storage, read_write> {name}: array<{element}>;",
            self.buffers
        );
        self.buffers += 1;
        self
    }

    /// The next buffer: numbers as stored, four at a time or one.
    pub(crate) fn bind_numbers(&mut self, name: &str, by_four: bool) -> &mut Self {
        self.bind(name, if by_four { "Stored4" } else { "Stored" })
    }

    /// `Lane`, what an invocation handles at a time: four neighbouring channels if their count
    /// divides by four, else one; in buffers it is a `StoredLane`. `LANE` says how many, `LANES` how often that is in `channels`,
    /// and the flag `by_four` is set accordingly. Returns how many lanes there are.
    pub(crate) fn lanes(&mut self, channels: u32) -> u32 {
        let by_four = channels.is_multiple_of(4);
        let (lane, element, stored) = if by_four {
            (4, "vec4<f32>", "Stored4")
        } else {
            (1, "f32", "Stored")
        };
        self.flag("by_four", by_four);
        self.set("LANE", lane).size("LANES", channels / lane);
        self.pieces.push_str(&format!(
            "alias Lane = {element};\nalias StoredLane = {stored};\n\n"
        ));
        channels / lane
    }

    /// Lets `//: if name` pass.
    pub(crate) fn flag(&mut self, name: &'static str, on: bool) -> &mut Self {
        if on {
            self.flags.push(name);
        }
        self
    }

    /// The values of an index are `0..count`.
    pub(crate) fn range(&mut self, index: char, count: u32) -> &mut Self {
        self.ranges.insert(index, count);
        self
    }

    /// Adds a piece, with the flags and ranges set so far.
    pub(crate) fn piece(&mut self, piece: &str) -> &mut Self {
        let lines: Vec<&str> = piece.lines().collect();
        let mut out = String::new();
        self.expand(&lines, &mut BTreeMap::new(), &mut out);
        self.pieces.push_str(&out);
        self.pieces.push('\n');
        self
    }

    /// The kernel, of `total` workgroups. The text finds a group's number as
    /// `id.y * FOLD + id.x` and must ignore those beyond `total`.
    pub(crate) fn kernel(&mut self, name: &str, workgroup: u32, total: u32) -> Kernel {
        let total = total.max(1);
        let rows = total.div_ceil(MOST_GROUPS);
        let fold = total.div_ceil(rows);
        self.set("WORKGROUP", workgroup);
        self.size_all([("FOLD", fold), ("GROUPS", total)]);
        let (enable, number) = match self.storage {
            Storage::F32 => ("", "f32"),
            Storage::F16 => ("enable f16;\n\n", "f16"),
        };
        let pieces = self.place_sizes();
        let source = format!(
            "{enable}alias Stored = {number};\nalias Stored4 = vec4<{number}>;\n\n{}\n{}\n{pieces}",
            self.constants, self.bindings
        );
        Kernel {
            name: name.to_owned(),
            digest: digest(&source),
            source,
            workgroup: [workgroup, 1, 1],
            groups: [fold, rows, 1],
            buffers: self.buffers,
            sizes: self.sizes.iter().map(|&(_, value)| value).collect(),
        }
    }

    /// Declares the buffer of sizes, if there are any, and says in the pieces where to find them.
    fn place_sizes(&mut self) -> String {
        if self.sizes.is_empty() {
            return std::mem::take(&mut self.pieces);
        }
        let names: BTreeSet<&str> = self.sizes.iter().map(|(name, _)| name.as_str()).collect();
        let _ = writeln!(self.bindings, "struct Sizes {{");
        for (name, _) in &self.sizes {
            let _ = writeln!(self.bindings, "    {name}: u32,");
        }
        let _ = writeln!(
            self.bindings,
            "}}\n@group(0) @binding({}) var<uniform> sizes: Sizes;",
            self.buffers
        );
        let mut placed = String::with_capacity(self.pieces.len() + 1024);
        let mut rest = self.pieces.as_str();
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let word = &rest[start..];
            let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (word, after) = word.split_at(end.unwrap_or(word.len()));
            placed.push_str(&rest[..start]);
            if names.contains(word) {
                placed.push_str("sizes.");
            }
            placed.push_str(word);
            rest = after;
        }
        placed.push_str(rest);
        placed
    }

    fn expand(&self, lines: &[&str], bound: &mut BTreeMap<char, u32>, out: &mut String) {
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let Some(directive) = line.trim_start().strip_prefix("//: ") else {
                self.repeat(line, bound, out);
                at += 1;
                continue;
            };
            let (middle, end) = block(lines, at);
            let (body, other) = (&lines[at + 1..middle], &lines[(middle + 1).min(end)..end]);
            if let Some(flag) = directive.strip_prefix("if ") {
                let chosen = if self.flags.contains(&flag) {
                    body
                } else {
                    other
                };
                self.expand(chosen, bound, out);
            } else if let Some(index) = directive.strip_prefix("each ") {
                let index = index.chars().next().unwrap_or(' ');
                for value in 0..self.ranges.get(&index).copied().unwrap_or(0) {
                    bound.insert(index, value);
                    self.expand(body, bound, out);
                }
                bound.remove(&index);
            }
            at = end + 1;
        }
    }

    /// A line, for all values of the first unbound index in it, and so on inwards.
    fn repeat(&self, line: &str, bound: &mut BTreeMap<char, u32>, out: &mut String) {
        let free = indices(line).find(|index| !bound.contains_key(index));
        let Some(index) = free else {
            out.push_str(&self.fill(line, bound));
            out.push('\n');
            return;
        };
        for value in 0..self.ranges.get(&index).copied().unwrap_or(0) {
            bound.insert(index, value);
            self.repeat(line, bound, out);
        }
        bound.remove(&index);
    }

    fn fill(&self, line: &str, bound: &BTreeMap<char, u32>) -> String {
        let mut out = String::with_capacity(line.len());
        let mut rest = line.chars();
        while let Some(letter) = rest.next() {
            if letter != '$' {
                out.push(letter);
                continue;
            }
            let value = match rest.next() {
                Some('>') => rest
                    .next()
                    .and_then(|index| bound.get(&index))
                    .map(|v| v + 1),
                Some('#') => rest
                    .next()
                    .and_then(|index| self.ranges.get(&index))
                    .copied(),
                Some(index) => bound.get(&index).copied(),
                None => None,
            };
            let _ = write!(out, "{}", value.unwrap_or(0));
        }
        out
    }
}

/// The indices a line is repeated for, in order.
fn indices(line: &str) -> impl Iterator<Item = char> + '_ {
    line.match_indices('$').filter_map(|(at, _)| {
        let mut rest = line[at + 1..].chars();
        match rest.next()? {
            '#' => None,
            '>' => rest.next(),
            index => Some(index),
        }
    })
}

/// The lines of `//: else` (or, without one, of `//: end`) and `//: end` of the block begun at
/// `start`.
fn block(lines: &[&str], start: usize) -> (usize, usize) {
    let mut depth = 0;
    let mut middle = None;
    for (at, line) in lines.iter().enumerate().skip(start) {
        match line.trim_start().strip_prefix("//: ") {
            Some("end") => {
                depth -= 1;
                if depth == 0 {
                    return (middle.unwrap_or(at), at);
                }
            }
            Some("else") if depth == 1 => middle = Some(at),
            Some("else") | None => {}
            Some(_) => depth += 1,
        }
    }
    (middle.unwrap_or(lines.len()), lines.len())
}

/// FNV-1a: digests need to differ where texts do, nothing more.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_unfold() {
        let mut text = Text::new(Storage::F32, Tier::Baseline);
        text.flag("bias", true).range('p', 2).range('u', 2);
        text.piece(
            "//: if bias\nyes$p\n//: else\nno\n//: end\n//: each u\na$p_$u->$>u of $#u\n//: end",
        );
        assert_eq!(
            text.pieces,
            "yes0\nyes1\na0_0->1 of 2\na1_0->1 of 2\na0_1->2 of 2\na1_1->2 of 2\n\n"
        );
    }

    #[test]
    fn more_groups_than_an_axis_holds_are_folded() {
        let kernel = Text::new(Storage::F32, Tier::Baseline).kernel("k", 64, 100_000);
        assert_eq!(kernel.groups, [50_000, 2, 1]);
        assert!(kernel.source.contains("const FOLD = 50000u;"));
    }

    #[test]
    fn software_adapters_find_sizes_in_a_buffer() {
        let mut text = Text::new(Storage::F32, Tier::Software);
        text.size("ROWS", 7).set("TAPS", 9);
        text.piece("let a = ROWS * TAPS + ROWS_TOO; // 3u-ROWS");
        let kernel = text.kernel("k", 64, 5);
        assert_eq!(kernel.sizes, [7, 5, 5]);
        assert!(kernel.source.contains("const TAPS = 9u;"));
        assert!(!kernel.source.contains("const ROWS"));
        assert!(kernel.source.contains("var<uniform> sizes: Sizes;"));
        assert!(
            kernel
                .source
                .contains("let a = sizes.ROWS * TAPS + ROWS_TOO; // 3u-sizes.ROWS")
        );
    }
}
