//! How many views of each photo are worth keeping at a cut.

use crate::graph::Graph;

/// How many of some views of photos a budget of bytes has room for, be it none. It follows from the budget alone, not
/// from what lies there or who else is at work: how many views a network learns from decides what it learns.
pub fn views_within(
    budget: u64,
    graph: &Graph,
    cuts: &[usize],
    photos: usize,
    views: usize,
) -> usize {
    let numbers = |&cut: &usize| graph.shape_of(cut).iter().product::<usize>();
    let largest = cuts.iter().map(numbers).max().unwrap_or(0);
    // Two bytes a number, and what says whose they are.
    const ENTRY: u64 = 64;
    let of_a_view = photos as u64 * (2 * largest as u64 + ENTRY);
    let fitting = budget.checked_div(of_a_view).unwrap_or(u64::MAX);
    views.min(usize::try_from(fitting).unwrap_or(usize::MAX))
}
