//! Number by number what a formula says, in place: the steps of optimisers, moving averages.

use std::fmt::Write;

use crate::text::Text;
use crate::{Kernel, Tier};

/// A step of a [`Formula`]. Other steps are named by their places in its list, `number`s by theirs among those that a
/// launch brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// A buffer's number at the place that is computed.
    Each(u32),
    /// A buffer's first number, wherever that is.
    One(u32),
    /// `a + b`.
    Sum(u32, u32),
    /// `a − b`.
    Difference(u32, u32),
    /// `a · b`.
    Product(u32, u32),
    /// `a ÷ b`.
    Quotient(u32, u32),
    /// `a ÷ b`, or 1 where one of them is zero.
    Ratio(u32, u32),
    /// `√a`.
    Root(u32),
    /// `a · number`.
    Times(u32, u32),
    /// `a + number`.
    Plus(u32, u32),
    /// `number ÷ a`.
    Under(u32, u32),
    /// The smaller one of `a` and `number`.
    AtMost(u32, u32),
}

impl Term {
    /// The steps that it is made of.
    pub fn of(self) -> impl Iterator<Item = u32> {
        let (first, second) = match self {
            Self::Each(_) | Self::One(_) => (None, None),
            Self::Sum(a, b)
            | Self::Difference(a, b)
            | Self::Product(a, b)
            | Self::Quotient(a, b)
            | Self::Ratio(a, b) => (Some(a), Some(b)),
            Self::Root(a)
            | Self::Times(a, _)
            | Self::Plus(a, _)
            | Self::Under(a, _)
            | Self::AtMost(a, _) => (Some(a), None),
        };
        first.into_iter().chain(second)
    }

    /// As WGSL, with words for the numbers of a launch.
    fn text(self, number: impl Fn(u32) -> String) -> String {
        match self {
            Self::Each(buffer) => format!("Lane(buffer{buffer}[place])"),
            Self::One(buffer) => format!("Lane(buffer{buffer}[0])"),
            Self::Sum(a, b) => format!("term{a} + term{b}"),
            Self::Difference(a, b) => format!("term{a} - term{b}"),
            Self::Product(a, b) => format!("term{a} * term{b}"),
            Self::Quotient(a, b) => format!("term{a} / term{b}"),
            Self::Ratio(a, b) => format!(
                "select(term{a} / term{b}, Lane(1.0), (term{a} == Lane(0.0)) | (term{b} == Lane(0.0)))"
            ),
            Self::Root(a) => format!("sqrt(term{a})"),
            Self::Times(a, place) => format!("term{a} * {}", number(place)),
            Self::Plus(a, place) => format!("term{a} + {}", number(place)),
            Self::Under(a, place) => format!("{} / term{a}", number(place)),
            Self::AtMost(a, place) => format!("min(term{a}, Lane({}))", number(place)),
        }
    }
}

/// What happens to the numbers of some buffers, place by place. The numbers that change from launch to launch (learning
/// rates, what makes up for moments' start) are no part of it: a formula compiles once.
///
/// Buffers: as [`Term`]s name them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Formula {
    /// The steps, each of former ones.
    pub terms: Vec<Term>,
    /// How many buffers there are.
    pub buffers: u32,
    /// How many numbers a launch brings along.
    pub numbers: u32,
    /// What is written: into which buffer, which step. Whatever is read has been read before.
    pub results: Vec<(u32, u32)>,
}

impl Formula {
    const WORKGROUP: u32 = 64;

    /// Numbers of a block: what has numbers of its own begins with one, and lies where adapters can bind it.
    pub const BLOCK: u32 = 64;

    /// The kernel for buffers whose numbers come in fours, or one by one. It lacks what a launch brings along:
    /// see [`dispatch`](Self::dispatch).
    pub fn kernel(&self, by_four: bool) -> Kernel {
        let mut text = self.text(by_four);
        for number in 0..self.numbers {
            text.size(&format!("NUMBER{number}"), 0);
        }
        let number = |place: u32| format!("bitcast<f32>(NUMBER{place})");
        self.finish(text, "formula", "", number)
    }

    /// The kernel for buffers in which many things lie, each from a [block](Self::BLOCK) on, with numbers of its own: after the
    /// formula's it binds whose each block is, and the numbers `[things, numbers]`.
    pub fn kernel_by_block(&self) -> Kernel {
        let mut text = self.text(true);
        text.bind("owners", "f32").bind("numbers", "f32");
        text.set("BLOCK_LANES", Self::BLOCK / 4)
            .set("NUMBERS", self.numbers);
        let first = "    let first = u32(owners[place / BLOCK_LANES]) * NUMBERS;\n";
        let number = |place: u32| format!("numbers[first + {place}u]");
        self.finish(text, "formula_by_block", first, number)
    }

    fn text(&self, by_four: bool) -> Text {
        let mut text = Text::of_any_size();
        text.lanes(if by_four { 4 } else { 1 });
        for buffer in 0..self.buffers {
            let is_one = self.terms.contains(&Term::One(buffer));
            let element = if is_one { "Stored" } else { "StoredLane" };
            text.bind(&format!("buffer{buffer}"), element);
        }
        text
    }

    fn finish(
        &self,
        mut text: Text,
        name: &str,
        before: &str,
        number: impl Fn(u32) -> String,
    ) -> Kernel {
        let mut body = format!("fn compute(place: u32) {{\n{before}");
        for (place, term) in self.terms.iter().enumerate() {
            let _ = writeln!(body, "    let term{place} = {};", term.text(&number));
        }
        for (buffer, term) in &self.results {
            let _ = writeln!(body, "    buffer{buffer}[place] = StoredLane(term{term});");
        }
        body.push('}');
        text.piece(&body).piece(include_str!("formula.wgsl"));
        let name = format!("{name}_of_{}", self.terms.len());
        text.kernel(&name, Self::WORKGROUP, 1)
    }

    /// Whether the numbers of buffers of a length come in fours.
    pub fn by_four(count: u32) -> bool {
        count.is_multiple_of(4)
    }

    /// Workgroups and sizes, in place of the kernel's own, for buffers of a length and the numbers of a launch.
    pub fn dispatch(count: u32, numbers: &[f32], tier: Tier) -> ([u32; 3], Vec<u32>) {
        let lanes = if Self::by_four(count) {
            count / 4
        } else {
            count
        };
        // A workgroup is dear where a processor goes through it.
        let each = if tier == Tier::Software { 16 } else { 1 };
        let groups = lanes.div_ceil(each * Self::WORKGROUP).clamp(1, 1 << 15);
        let numbers = numbers.iter().map(|number| number.to_bits());
        let sizes = [lanes].into_iter().chain(numbers).chain([groups, groups]);
        ([groups, 1, 1], sizes.collect())
    }
}
