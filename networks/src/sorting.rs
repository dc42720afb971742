//! Sorting and gathering with one sort for all types.
//!
//! The standard library's sort is compiled anew for every type and comparison that it is called with, also by
//! `collect` of a `BTreeMap`. Each copy is some 5 KB of the WebAssembly that a page's visitor downloads, where
//! lists are short and rarely sorted. What is sorted here is places in the list, by a comparison that is called
//! through a pointer.

use std::cmp::Ordering;

/// The list sorted by a comparison; what is equal keeps its order.
pub fn sorted<T>(list: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = order(list.len(), &|a, b| compare(&list[a], &list[b]));
    let mut list: Vec<Option<T>> = list.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|place| list[place].take())
        .collect()
}

/// The numbers below `count`, sorted by a comparison of what they stand for; what is equal keeps its order.
pub fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

/// A map or a set of these entries, of which the last counts where a key is there twice. As `collect`, but entry
/// by entry.
pub fn gathered<C: Default + Extend<T>, T>(entries: impl IntoIterator<Item = T>) -> C {
    let mut gathered = C::default();
    gathered.extend(entries);
    gathered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn lists_are_sorted_as_the_standard_library_sorts_them() {
        // Few different keys, so that many are equal, in no order.
        let list: Vec<(u32, u32)> = (0..500).map(|i| (i * i * 7919 % 31, i)).collect();
        let mut expected = list.clone();
        expected.sort_by_key(|&(key, _)| key);
        assert_eq!(sorted(list.clone(), |a, b| a.0.cmp(&b.0)), expected);
        let places = order(list.len(), &|a, b| list[a].0.cmp(&list[b].0));
        let places: Vec<_> = places.into_iter().map(|place| list[place]).collect();
        assert_eq!(places, expected);
        assert!(sorted(Vec::<u8>::new(), Ord::cmp).is_empty());
    }

    #[test]
    fn maps_are_gathered_as_the_standard_library_collects_them() {
        let entries = [("b", 1), ("a", 2), ("b", 3)];
        let gathered: BTreeMap<_, _> = gathered(entries);
        assert_eq!(gathered, entries.into_iter().collect());
    }
}
