//! Some of many photos: of each class its share, drawn by seed and content.

use rekindle_core::random::hash;

/// The places of at most about `most` photos, ascending: of each class as large a share, but two photos at least where
/// it has them. Which ones follows from the seed and the photos' contents, not from names or their order.
///
/// # Shapes
///
/// - labels, keys: one for each photo, its class and what its content says
pub fn stratified(labels: &[usize], keys: &[u64], seed: u64, most: usize) -> Vec<usize> {
    let count = labels.len();
    if count <= most {
        return (0..count).collect();
    }
    let classes = labels.iter().max().map_or(0, |&last| last + 1);
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (photo, &label) in labels.iter().enumerate() {
        of_class[label].push(photo);
    }
    let mut chosen = Vec::with_capacity(most);
    for mut photos in of_class {
        let share = photos.len() as f64 * most as f64 / count as f64;
        let wanted = (share.round() as usize).max(2).min(photos.len());
        photos
            .sort_by_cached_key(|&photo| (hash(&format!("sample {seed} {}", keys[photo])), photo));
        chosen.extend_from_slice(&photos[..wanted]);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_keep_their_shares_and_names_do_not_matter() {
        let labels: Vec<usize> = (0..1000)
            .map(|photo| usize::from(photo >= 900) + usize::from(photo >= 997))
            .collect();
        let keys: Vec<u64> = (0..1000).map(|photo| photo * 7919).collect();
        let chosen = stratified(&labels, &keys, 3, 100);
        let of = |class| {
            chosen
                .iter()
                .filter(|&&photo| labels[photo] == class)
                .count()
        };
        assert_eq!([of(0), of(1), of(2)], [90, 10, 2]);
        assert!(chosen.is_sorted());
        assert_ne!(chosen, stratified(&labels, &keys, 4, 100));
        assert_eq!(stratified(&labels, &keys, 4, 1000).len(), 1000);
        // Listed the other way round they are the same photos.
        let (mut labels, mut keys) = (labels, keys);
        labels.reverse();
        keys.reverse();
        let again = stratified(&labels, &keys, 3, 100);
        let again: Vec<usize> = again.into_iter().rev().map(|photo| 999 - photo).collect();
        assert_eq!(again, chosen);
    }
}
