//! Rules written down, for adapters to compute in one go.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Tensor;
use rekindle_shaders::{Formula, Term};

use super::number::Number;
use crate::kernels::compute;

/// A number that is not known yet: what is done with it is written down.
#[derive(Clone)]
pub(crate) struct Traced {
    sheet: Rc<RefCell<Sheet>>,
    /// Its term.
    at: u32,
}

/// What has been written down.
#[derive(Default)]
struct Sheet {
    terms: Vec<Term>,
    numbers: Vec<f32>,
}

impl Traced {
    fn next(sheet: &Rc<RefCell<Sheet>>, term: Term) -> Self {
        let mut written = sheet.borrow_mut();
        written.terms.push(term);
        Self {
            sheet: sheet.clone(),
            at: written.terms.len() as u32 - 1,
        }
    }

    fn with(self, other: Self, term: fn(u32, u32) -> Term) -> Self {
        Self::next(&self.sheet, term(self.at, other.at))
    }

    fn with_number(self, number: f32, term: fn(u32, u32) -> Term) -> Self {
        let place = {
            let numbers = &mut self.sheet.borrow_mut().numbers;
            numbers.push(number);
            numbers.len() as u32 - 1
        };
        Self::next(&self.sheet, term(self.at, place))
    }
}

impl Number for Traced {
    fn plus(self, other: Self) -> Self {
        self.with(other, Term::Sum)
    }
    fn minus(self, other: Self) -> Self {
        self.with(other, Term::Difference)
    }
    fn by(self, other: Self) -> Self {
        self.with(other, Term::Product)
    }
    fn over(self, other: Self) -> Self {
        self.with(other, Term::Quotient)
    }
    fn ratio(self, other: Self) -> Self {
        self.with(other, Term::Ratio)
    }
    fn times(self, factor: f32) -> Self {
        self.with_number(factor, Term::Times)
    }
    fn and(self, number: f32) -> Self {
        self.with_number(number, Term::Plus)
    }
    fn under(self, number: f32) -> Self {
        self.with_number(number, Term::Under)
    }
    fn at_most(self, number: f32) -> Self {
        self.with_number(number, Term::AtMost)
    }
    fn root(self) -> Self {
        Self::next(&self.sheet, Term::Root(self.at))
    }
}

/// A rule for whole tensors: what it does with each of their numbers, and the numbers of its own that it takes for it.
/// These may change from step to step, and the rule compiles once.
pub(crate) struct Written {
    formula: Formula,
    numbers: Vec<f32>,
}

impl Written {
    /// Writes a rule down. It is given what stands for a number of each tensor: of the first `tensors`, which are equally
    /// long, one place after the other, and of `single` further ones always the only one. What it puts there instead
    /// is what the tensor will hold.
    pub(crate) fn new(tensors: usize, single: usize, rule: impl FnOnce(&mut [Traced])) -> Self {
        let sheet = Rc::default();
        let term = |buffer| match (buffer as usize) < tensors {
            true => Term::Each(buffer),
            false => Term::One(buffer),
        };
        let buffers = (tensors + single) as u32;
        let mut places: Vec<Traced> = (0..buffers)
            .map(|buffer| Traced::next(&sheet, term(buffer)))
            .collect();
        rule(&mut places);
        let changed = (0..)
            .zip(&places)
            .filter(|(buffer, term)| *buffer != term.at);
        let results = changed.map(|(buffer, term)| (buffer, term.at)).collect();
        let Sheet { terms, numbers } = sheet.take();
        Self {
            formula: Formula {
                terms,
                buffers,
                numbers: numbers.len() as u32,
                results,
            },
            numbers,
        }
    }

    /// The tensors afterwards, in place where nobody else holds what changes.
    pub(crate) fn apply(&self, tensors: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
        compute(&self.formula, &self.numbers, tensors)
    }

    /// What is done.
    pub(crate) fn formula(&self) -> &Formula {
        &self.formula
    }

    /// The numbers that it takes.
    pub(crate) fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// Whether a device would compile both once.
    pub(crate) fn is_one_kernel_with(&self, other: &Self) -> bool {
        self.formula == other.formula
    }
}
