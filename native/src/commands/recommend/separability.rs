//! How far a network's features tell classes apart by themselves, before any head is trained.

use rekindle_core::train::FeatureCache;
use serde::Serialize;

/// Figures of classes in the space of features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Separability {
    /// The mean silhouette by Euclidean distance (Rousseeuw 1987), from −1 to 1: how much nearer photos are to their
    /// own class than to the next one.
    pub silhouette: f64,
    /// The share of the features' variance that lies between the classes' means, from 0 to 1.
    pub between: f64,
    /// How many photos they are measured on.
    pub photos: usize,
}

/// Of some photos of a cache; nothing where fewer than two classes have any, or all features are the same.
pub fn measure(cache: &FeatureCache, photos: &[usize]) -> Option<Separability> {
    let labels: Vec<usize> = photos.iter().map(|&photo| cache.labels()[photo]).collect();
    let rows: Vec<&[f32]> = photos.iter().map(|&photo| cache.row(photo)).collect();
    let classes = labels.iter().max()? + 1;
    let mut counts = vec![0_usize; classes];
    labels.iter().for_each(|&label| counts[label] += 1);
    if counts.iter().filter(|&&count| count > 0).count() < 2 {
        return None;
    }
    Some(Separability {
        silhouette: silhouette(&rows, &labels, &counts),
        between: between(&rows, &labels, &counts)?,
        photos: photos.len(),
    })
}

/// scikit-learn's `silhouette_score`: a photo that is alone in its class counts as 0.
fn silhouette(rows: &[&[f32]], labels: &[usize], counts: &[usize]) -> f64 {
    let classes = counts.len();
    // Of each photo, the sum of its distances to each class.
    let mut sums = vec![0.0; rows.len() * classes];
    for a in 0..rows.len() {
        for b in 0..a {
            let squares = rows[a].iter().zip(rows[b]).map(|(x, y)| (x - y) * (x - y));
            let distance = f64::from(squares.sum::<f32>()).sqrt();
            sums[a * classes + labels[b]] += distance;
            sums[b * classes + labels[a]] += distance;
        }
    }
    let of = |photo: usize| {
        let (own, sums) = (labels[photo], &sums[photo * classes..][..classes]);
        if counts[own] < 2 {
            return 0.0;
        }
        let inside = sums[own] / (counts[own] - 1) as f64;
        let others = (0..classes).filter(|&class| class != own && counts[class] > 0);
        let next = others.map(|class| sums[class] / counts[class] as f64);
        let next = next.fold(f64::INFINITY, f64::min);
        match inside.max(next) {
            0.0 => 0.0,
            most => (next - inside) / most,
        }
    };
    (0..rows.len()).map(of).sum::<f64>() / rows.len() as f64
}

/// The share of variance between classes, summed over all features.
fn between(rows: &[&[f32]], labels: &[usize], counts: &[usize]) -> Option<f64> {
    let width = rows.first()?.len();
    let mut means = vec![0.0; counts.len() * width];
    let mut mean = vec![0.0; width];
    for (row, &label) in rows.iter().zip(labels) {
        for (column, &value) in row.iter().enumerate() {
            means[label * width + column] += f64::from(value) / counts[label] as f64;
            mean[column] += f64::from(value) / rows.len() as f64;
        }
    }
    let (mut apart, mut all) = (0.0, 0.0);
    for (row, &label) in rows.iter().zip(labels) {
        for (column, &value) in row.iter().enumerate() {
            apart += (means[label * width + column] - mean[column]).powi(2);
            all += (f64::from(value) - mean[column]).powi(2);
        }
    }
    (all > 0.0).then(|| apart / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_scikit_learn_s() {
        // sklearn.metrics.silhouette_score(X, y); the share by numpy.
        let rows = [
            [0.0, 0.0, 1.0],
            [0.5, 0.0, 1.0],
            [0.0, 0.7, 0.9],
            [3.0, 3.0, 0.0],
            [3.5, 2.5, 0.2],
            [5.0, -1.0, 4.0],
        ];
        let labels = [0, 0, 0, 1, 1, 2];
        let mut cache = FeatureCache::new(3, 1);
        for (row, label) in rows.iter().zip(labels) {
            cache.push(label, row).unwrap();
        }
        let found = measure(&cache, &[0, 1, 2, 3, 4, 5]).unwrap();
        assert!((found.silhouette - SILHOUETTE).abs() < 1e-6, "{found:?}");
        assert!((found.between - BETWEEN).abs() < 1e-6, "{found:?}");
        assert_eq!(measure(&cache, &[0, 1, 2]), None);
        assert_eq!(measure(&cache, &[]), None);
    }

    const SILHOUETTE: f64 = 0.688982014851797;
    const BETWEEN: f64 = 0.9829576893282673;
}
