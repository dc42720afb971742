//! Which photos belong together: copies of one picture, pictures that are nearly the same, bursts of one
//! recording. A split that tears them apart measures how well a head remembers, not how well it recognises.
//!
//! Copies have the same bytes or the same features. For everything else features decide, by the cosine between
//! them once what all classes have in common is taken off: the mean of the classes' means. What is left says how
//! a photo differs from what is usual here, and so one threshold serves networks whose features are of many
//! kinds, and photos that all look alike (letters, X-rays) as well as photos of everything.
//!
//! The thresholds were measured with SqueezeNet 1.1 and EfficientNet-Lite0 on the project's 128 sample photos. No
//! two of them are more than 0.77 alike, and one pair in a hundred is more than 0.50. A photo is alike to what was
//! made of it by (the least of 19 in 20): 0.93 as a JPEG of quality 75, 0.97 brighter by a tenth, 0.96 with text
//! across its foot, 0.90 cut by a twentieth, 0.88 mirrored, 0.90 turned by two degrees. Neighbours in bursts are
//! alike by 0.86 if the hand wanders by 1 to 2.5 % of the picture's width from one to the next (and turns, comes
//! nearer, and there is noise), by 0.75 if it wanders by 5 %. Of 22 bursts of eight pictures among the samples,
//! nothing was joined wrongly and every picture rightly, but for 3 to 8 in 154 of those of 5 %. Of 300 scanned
//! digits, which are all much alike, a tenth to a third was joined to some others, never most of a class.
//! Where there are only two classes and one of them is a single recording, it may fall into two or three
//! groups: half of how it differs from what is usual is then its own.
//!
//! Comparing all pairs takes a product of the features with themselves. It is done block by block on a few
//! random directions first (Johnson and Lindenstrauss 1984), and only what is alike there is compared in full.

use std::collections::HashMap;

use rekindle_cpu as cpu;
use serde::Serialize;

use super::features::FeatureCache;
use crate::random::Random;

/// Cosine from which two photos are nearly the same, wherever they stand.
const ALIKE: f32 = 0.86;
/// Cosine from which neighbours of one class are pictures of one recording.
const IN_A_ROW: f32 = 0.78;

/// Cosine of whole features from which two photos are much the same, where what is usual is looked for: more
/// than that would hide what they have in common from [`common`].
const MUCH_THE_SAME: f32 = 0.9;
/// Where all photos look alike, they are much the same only within this share of the way from the cosine of
/// photos that differ to one.
const OF_THE_WAY: f32 = 0.3;
/// Photos whose pairs tell how alike photos are that differ: one pair in ten is less so. A recording that
/// makes up nine photos in ten leaves as many pairs of which it is only one half.
const COMPARED: usize = 100;
/// Photos that are asked what is usual.
const MOST_ASKED: usize = 500;

/// Random directions that photos are compared along first.
const DIRECTIONS: usize = 128;
/// How far the cosine along them may be off: six standard deviations, `(1 − cos²) / √DIRECTIONS` each.
const SLACK: f32 = 6.0 * (1.0 - ALIKE * ALIKE) / 11.3;
/// Rows and columns that are compared at a time.
const BLOCK: usize = 512;
/// Where one in so many pairs of a block is alike along the directions, a product of the whole block is
/// faster than theirs one by one.
const DENSE: usize = 64;
/// Photos in groups that no split may tear apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    of: Vec<usize>,
    counts: GroupCounts,
}

/// How many photos belong together, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GroupCounts {
    /// Groups of two photos or more.
    pub groups: usize,
    /// Photos in them.
    pub photos: usize,
    /// Photos of the largest.
    pub largest: usize,
    /// Photos that are copies of another, by bytes or by features.
    pub copies: usize,
    /// Photos that are nearly the same as another, and no copies.
    pub near_copies: usize,
    /// Photos that belong to others of one recording, and are neither.
    pub in_bursts: usize,
}

impl Groups {
    /// Finds the groups of photos in the order in which they are listed: photos of a recording follow one
    /// another.
    ///
    /// `contents` are hashes of the photos' bytes, where they are known.
    pub fn find(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        let images: Vec<usize> = (0..cache.len()).collect();
        let mut rows = cache.plain(&images).features;
        let mut joined = Joined::new(cache.len());

        let copies = join_equal(&mut joined, cache, &rows, contents);
        // One of each set of copies stands for all of them.
        let firsts: Vec<usize> = images
            .iter()
            .copied()
            .filter(|&image| joined.root(image) == image)
            .collect();
        let width = cache.width().max(1);
        let common = common(&rows, width, cache.labels(), &firsts);
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().zip(&common).for_each(|(x, mean)| *x -= mean);
            to_unit_length(row);
        }
        let rows = Rows { width, rows: &rows };
        let near_copies = join_alike(&mut joined, rows, &firsts);
        let in_bursts = join_in_a_row(&mut joined, rows, cache.labels());

        let of: Vec<usize> = images.iter().map(|&image| joined.root(image)).collect();
        let mut sizes = vec![0_usize; cache.len()];
        of.iter().for_each(|&group| sizes[group] += 1);
        let large = || sizes.iter().copied().filter(|&size| size > 1);
        let counts = GroupCounts {
            groups: large().count(),
            photos: large().sum(),
            largest: large().max().unwrap_or_default(),
            copies,
            near_copies,
            in_bursts,
        };
        Self { of, counts }
    }

    /// The group of each photo: the number of its first photo.
    pub fn of(&self) -> &[usize] {
        &self.of
    }

    /// How many there are.
    pub fn counts(&self) -> GroupCounts {
        self.counts
    }

    /// Groups of each class: what can be held out of it, at most all but one.
    pub fn of_classes(&self, labels: &[usize], classes: usize) -> Vec<usize> {
        let mut pairs: Vec<(usize, usize)> = labels
            .iter()
            .copied()
            .zip(self.of.iter().copied())
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut counts = vec![0; classes];
        for (label, _) in pairs {
            if let Some(count) = counts.get_mut(label) {
                *count += 1;
            }
        }
        counts
    }

    /// Pairs of photos of one group of which `differ` says that they should not be in one: a photo and the
    /// first of its group that is unlike it.
    pub fn torn(&self, differ: impl Fn(usize, usize) -> bool) -> Vec<[usize; 2]> {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut torn = Vec::new();
        for (photo, &group) in self.of.iter().enumerate() {
            let before = members.entry(group).or_default();
            if let Some(&other) = before.iter().find(|&&other| differ(photo, other)) {
                torn.push([photo, other]);
            }
            // One of a kind is enough to be compared with.
            if before.iter().all(|&other| differ(photo, other)) {
                before.push(photo);
            }
        }
        torn
    }
}

/// Photos joined so far: a forest whose roots are the first photos of their groups.
struct Joined(Vec<usize>);

impl Joined {
    fn new(photos: usize) -> Self {
        Self((0..photos).collect())
    }

    fn root(&mut self, mut photo: usize) -> usize {
        while self.0[photo] != photo {
            self.0[photo] = self.0[self.0[photo]];
            photo = self.0[photo];
        }
        photo
    }

    /// Joins two groups; says whether they were two.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

/// Rows of features, of length one.
#[derive(Clone, Copy)]
struct Rows<'a> {
    width: usize,
    rows: &'a [f32],
}

impl<'a> Rows<'a> {
    fn row(&self, photo: usize) -> &'a [f32] {
        &self.rows[photo * self.width..(photo + 1) * self.width]
    }

    fn cosine(&self, a: usize, b: usize) -> f32 {
        dot(self.row(a), self.row(b))
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut product = [0.0];
    cpu::row_products(a, b, &mut product);
    product[0]
}

/// A row of nothing stays one: it is like no other.
fn to_unit_length(row: &mut [f32]) {
    let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 {
        let factor = (1.0 / square.sqrt()) as f32;
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

/// What the classes have in common: the mean of their means, so that a large class does not count for more
/// than the others. Of what looks much the same only one photo is asked, and of very many photos only some: a
/// recording that makes up most of a data set is not what is usual in it.
fn common(rows: &[f32], width: usize, labels: &[usize], photos: &[usize]) -> Vec<f32> {
    let row = |photo: usize| &rows[photo * width..(photo + 1) * width];
    let some = |most: usize| {
        let step = photos.len().div_ceil(most).max(1);
        photos.iter().step_by(step).map(|&photo| {
            let mut unit = row(photo).to_vec();
            to_unit_length(&mut unit);
            (photo, unit)
        })
    };
    let compared: Vec<f32> = some(COMPARED).flat_map(|(_, unit)| unit).collect();
    let much_the_same = much_the_same(&compared, width);
    let (mut asked, mut units, mut cosines) = (Vec::new(), Vec::new(), Vec::new());
    for (photo, unit) in some(MOST_ASKED) {
        cosines.resize(asked.len(), 0.0);
        cpu::row_products(&units, &unit, &mut cosines);
        if cosines.iter().all(|&cosine| cosine < much_the_same) {
            asked.push(photo);
            units.extend(unit);
        }
    }
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let mut counts = vec![0_usize; classes];
    asked
        .iter()
        .for_each(|&photo: &usize| counts[labels[photo]] += 1);
    let present = counts.iter().filter(|&&count| count > 0).count();
    let mut mean = vec![0.0_f64; width];
    for photo in asked {
        let weight = 1.0 / (present * counts[labels[photo]]) as f64;
        let pairs = mean.iter_mut().zip(row(photo));
        pairs.for_each(|(mean, &x)| *mean += weight * f64::from(x));
    }
    mean.into_iter().map(|mean| mean as f32).collect()
}

/// The cosine from which photos are much the same among photos such as these, whose rows are of length one.
fn much_the_same(photos: &[f32], width: usize) -> f32 {
    let mut cosines: Vec<f32> = Vec::new();
    for (index, photo) in photos.chunks_exact(width).enumerate() {
        let pairs = cosines.len();
        cosines.resize(pairs + index, 0.0);
        cpu::row_products(&photos[..index * width], photo, &mut cosines[pairs..]);
    }
    if cosines.is_empty() {
        return MUCH_THE_SAME;
    }
    let tenth = cosines.len() / 10;
    let (_, &mut of_unlike, _) = cosines.select_nth_unstable_by(tenth, f32::total_cmp);
    MUCH_THE_SAME.max(1.0 - OF_THE_WAY * (1.0 - of_unlike))
}

/// Joins photos of the same bytes or the same features. Returns how many were joined to another.
fn join_equal(
    joined: &mut Joined,
    cache: &FeatureCache,
    rows: &[f32],
    contents: Option<&[u64]>,
) -> usize {
    let mut copies = 0;
    let mut first: HashMap<u64, usize> = HashMap::new();
    for (photo, &content) in contents.unwrap_or_default().iter().enumerate() {
        let original = *first.entry(content).or_insert(photo);
        copies += usize::from(joined.join(photo, original));
    }
    let width = cache.width();
    let mut first: HashMap<&[u32], usize> = HashMap::new();
    for (photo, row) in rows.chunks_exact(width.max(1)).enumerate() {
        let original = *first.entry(bytemuck::cast_slice(row)).or_insert(photo);
        copies += usize::from(joined.join(photo, original));
    }
    copies
}

/// Joins photos that are alike, wherever they stand. What is joined already must be alike as a whole, so that
/// no chain of likenesses joins what differs. Returns how many were joined to another.
fn join_alike(joined: &mut Joined, rows: Rows<'_>, photos: &[usize]) -> usize {
    let directions = along_directions(rows, photos);
    let directions = Rows {
        width: DIRECTIONS,
        rows: &directions,
    };
    let each = |count: usize| (0..count).step_by(BLOCK);
    let mut sums: HashMap<usize, Vec<f32>> = HashMap::new();
    let mut count = 0;
    let mut products = Vec::new();
    for first in each(photos.len()) {
        let above = first..(first + BLOCK).min(photos.len());
        for second in each(above.end) {
            let below = second..(second + BLOCK).min(above.end);
            let place = |index: usize| index;
            multiplied(
                directions,
                place,
                above.clone(),
                below.clone(),
                &mut products,
            );
            let mut pairs: Vec<[usize; 2]> = Vec::new();
            let columns = below.len();
            for (index, row) in above.clone().zip(products.chunks_exact(columns)) {
                for (other, &cosine) in below.clone().zip(row) {
                    if other < index && cosine >= ALIKE - SLACK {
                        pairs.push([index, other]);
                    }
                }
            }
            let is_dense = pairs.len() * DENSE > above.len() * columns;
            if is_dense {
                let place = |index: usize| photos[index];
                multiplied(rows, place, above.clone(), below.clone(), &mut products);
            }
            for [index, other] in pairs {
                let (photo, original) = (photos[index], photos[other]);
                let (a, b) = (joined.root(photo), joined.root(original));
                if a == b {
                    continue;
                }
                let cosine = match is_dense {
                    true => products[(index - above.start) * columns + other - below.start],
                    false => rows.cosine(photo, original),
                };
                if cosine < ALIKE || !are_alike(&sums, rows, a, b) {
                    continue;
                }
                let mut sum = sums.remove(&a).unwrap_or_else(|| rows.row(a).to_vec());
                let other = sums.remove(&b);
                let other = other.as_deref().unwrap_or_else(|| rows.row(b));
                sum.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
                joined.join(a, b);
                sums.insert(joined.root(a), sum);
                count += 1;
            }
        }
    }
    count
}

/// Whether two groups are alike, each taken together.
fn are_alike(sums: &HashMap<usize, Vec<f32>>, rows: Rows<'_>, a: usize, b: usize) -> bool {
    let of = |group: usize| {
        sums.get(&group)
            .map_or_else(|| rows.row(group), Vec::as_slice)
    };
    let (a, b) = (of(a), of(b));
    dot(a, b) >= ALIKE * (dot(a, a) * dot(b, b)).sqrt()
}

/// Photos along random directions, of length one again.
fn along_directions(rows: Rows<'_>, photos: &[usize]) -> Vec<f32> {
    // Any directions will do, as long as they are the same every time.
    let mut random = Random::new(0x6772_6f75_7073);
    let numbers: Vec<f32> = (0..DIRECTIONS * rows.width)
        .map(|_| if random.uniform() < 0.5 { -1.0 } else { 1.0 })
        .collect();
    let linear = cpu::Linear::new(rows.width, DIRECTIONS, numbers[..].into(), &[]);
    let mut along = vec![0.0; photos.len() * DIRECTIONS];
    for (photos, along) in photos
        .chunks(BLOCK)
        .zip(along.chunks_mut(BLOCK * DIRECTIONS))
    {
        let gathered: Vec<f32> = photos
            .iter()
            .flat_map(|&photo| rows.row(photo))
            .copied()
            .collect();
        run(
            &linear,
            &gathered,
            [photos.len(), rows.width, DIRECTIONS],
            along,
        );
    }
    along.chunks_exact_mut(DIRECTIONS).for_each(to_unit_length);
    along
}

/// Every row of one range times every row of another, `[above, below]`.
fn multiplied(
    rows: Rows<'_>,
    place: impl Fn(usize) -> usize,
    above: std::ops::Range<usize>,
    below: std::ops::Range<usize>,
    products: &mut Vec<f32>,
) {
    let gather = |range: std::ops::Range<usize>| -> Vec<f32> {
        range
            .flat_map(|index| rows.row(place(index)))
            .copied()
            .collect()
    };
    let shape = [above.len(), rows.width, below.len()];
    products.resize(above.len() * below.len(), 0.0);
    let linear = cpu::Linear::new(rows.width, below.len(), gather(below)[..].into(), &[]);
    run(&linear, &gather(above), shape, products);
}

fn run(
    linear: &cpu::Linear,
    input: &[f32],
    [rows, depth, columns]: [usize; 3],
    output: &mut [f32],
) {
    cpu::in_pool(|| {
        linear.run(
            cpu::View::new(input, 1, 1, rows, depth),
            None,
            cpu::Activation::None,
            cpu::ViewMut::new(output, 1, 1, rows, columns),
        );
    });
}

/// Joins neighbours of one class that are pictures of one recording. Returns how many were joined to another.
fn join_in_a_row(joined: &mut Joined, rows: Rows<'_>, labels: &[usize]) -> usize {
    let mut count = 0;
    for (before, pair) in labels.windows(2).enumerate() {
        let photo = before + 1;
        if pair[0] == pair[1]
            && joined.root(photo) != joined.root(before)
            && rows.cosine(photo, before) >= IN_A_ROW
        {
            count += usize::from(joined.join(photo, before));
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Photos whose features are unlike one another, as pooled features are: not below zero, many at zero.
    fn picture(random: &mut Random, width: usize) -> Vec<f32> {
        (0..width)
            .map(|_| (3.0 * random.uniform() - 2.0).max(0.0))
            .collect()
    }

    /// The same with every number off by up to so much.
    fn varied(row: &[f32], by: f32, random: &mut Random) -> Vec<f32> {
        row.iter()
            .map(|x| (x + by * (2.0 * random.uniform() - 1.0)).max(0.0))
            .collect()
    }

    fn cache(rows: &[Vec<f32>], labels: &[usize]) -> FeatureCache {
        let mut cache = FeatureCache::new(rows[0].len(), 1);
        for (row, &label) in rows.iter().zip(labels) {
            cache.push(label, row).unwrap();
        }
        cache
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn copies_by_bytes_or_features_are_one_group_wherever_they_lie() {
        let mut random = Random::new(1);
        let mut rows: Vec<_> = (0..6).map(|_| picture(&mut random, 64)).collect();
        rows[4] = rows[1].clone();
        // Black pictures, say.
        rows.extend([vec![0.0; 64], vec![0.0; 64]]);
        let contents = [10, 11, 12, 10, 14, 15, 16, 17];
        let groups = Groups::find(&cache(&rows, &[0, 0, 0, 1, 1, 1, 0, 1]), Some(&contents));
        assert_eq!(groups.of(), [0, 1, 2, 0, 1, 5, 6, 6]);
        let counts = groups.counts();
        assert_eq!((counts.groups, counts.photos, counts.copies), (3, 6, 3));
        assert_eq!(
            (counts.near_copies, counts.in_bursts, counts.largest),
            (0, 0, 2)
        );
        assert_eq!(groups.of_classes(&[0, 0, 0, 1, 1, 1, 0, 1], 3), [4, 4, 0]);
        let labels = [0, 0, 0, 1, 1, 1, 0, 1];
        let torn = groups.torn(|a, b| labels[a] != labels[b]);
        assert_eq!(torn, [[3, 0], [4, 1], [7, 6]]);
    }

    #[test]
    fn every_pair_that_is_alike_is_found_and_no_other() {
        let mut random = Random::new(2);
        let (mut rows, mut truth) = (Vec::new(), Vec::new());
        // More than a block, so that pairs lie across blocks; few in a block, and then a block of little else.
        for picture_number in 0..900 {
            let one = picture(&mut random, 48);
            let copies = match picture_number {
                0 => 300,
                few if few % 7 == 0 => 2,
                _ => 0,
            };
            truth.push(rows.len());
            rows.push(one.clone());
            for _ in 0..copies {
                truth.push(truth[truth.len() - 1]);
                let copy = varied(&one, 0.1, &mut random);
                assert!(cosine(&one, &copy) > 0.97);
                rows.push(copy);
            }
        }
        // Not one after the other.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        random.shuffle(&mut order);
        let mixed: Vec<_> = order.iter().map(|&row| rows[row].clone()).collect();
        let groups = Groups::find(&cache(&mixed, &vec![0; mixed.len()]), None);
        let mut first = HashMap::new();
        for (place, &row) in order.iter().enumerate() {
            let expected = *first.entry(truth[row]).or_insert(place);
            assert_eq!(groups.of()[place], expected, "photo {place}");
        }
        assert_eq!(groups.counts().near_copies, rows.len() - 900);
        assert_eq!(groups.counts().largest, 301);
    }

    #[test]
    fn a_chain_of_likenesses_does_not_join_what_differs() {
        // A picture that turns into another in forty steps, each like the next.
        let mut random = Random::new(3);
        let (from, to) = (picture(&mut random, 256), picture(&mut random, 256));
        let mix = |share: f32| -> Vec<f32> {
            let pairs = from.iter().zip(&to);
            pairs.map(|(a, b)| a + share * (b - a)).collect()
        };
        let rows: Vec<_> = (0..=40).map(|step| mix(step as f32 / 40.0)).collect();
        assert!(
            rows.windows(2)
                .all(|pair| cosine(&pair[0], &pair[1]) > 0.99)
        );
        // Of two classes in turn, so that they are no neighbours in a burst.
        let labels: Vec<usize> = (0..=40).map(|step| step % 2).collect();
        let groups = Groups::find(&cache(&rows, &labels), None);
        assert_ne!(groups.of()[0], groups.of()[40]);
    }

    #[test]
    fn neighbours_of_one_class_that_are_like_pictures_of_one_recording_are_a_burst() {
        const WIDTH: usize = 1024;
        let mut random = Random::new(4);
        let mut unlike = || -> Vec<f32> { (0..WIDTH).map(|_| 4.0 + random.uniform()).collect() };
        let mut rows: Vec<_> = (0..40).map(|_| unlike()).collect();
        // Eight pictures of a camera that wanders: each 0.84 like the one before, the ends unlike.
        for _ in 0..8 {
            let (last, other) = (&rows[rows.len() - 1], unlike());
            let pairs = last.iter().zip(&other);
            let next = pairs.map(|(x, y)| 4.5 + 0.84 * (x - 4.5) + 0.5426 * (y - 4.5));
            rows.push(next.collect());
        }
        let groups = Groups::find(&cache(&rows, &[0; 48]), None);
        let counts = groups.counts();
        assert_eq!((counts.in_bursts, counts.near_copies), (8, 0));
        assert!(groups.of()[39..].iter().all(|&group| group == 39));
        assert_eq!(groups.of()[..39], (0..39).collect::<Vec<_>>()[..]);

        // The same pictures in turn with others are no burst, and no more are those of two classes.
        let mut apart = rows[39..].to_vec();
        for (place, row) in rows[..39].iter().enumerate() {
            apart.insert((2 * place + 1).min(apart.len()), row.clone());
        }
        let groups = Groups::find(&cache(&apart, &[0; 48]), None);
        assert_eq!(groups.counts(), GroupCounts::default());
        let labels: Vec<usize> = (0..48).map(|photo| photo % 2).collect();
        assert_eq!(
            Groups::find(&cache(&rows, &labels), None).counts(),
            GroupCounts::default()
        );
    }

    #[test]
    fn pictures_that_are_all_alike_are_no_burst() {
        let mut random = Random::new(5);
        let one = picture(&mut random, 256);
        let rows: Vec<_> = (0..60).map(|_| varied(&one, 0.35, &mut random)).collect();
        assert!(cosine(&rows[0], &rows[1]) > 0.8);
        let groups = Groups::find(&cache(&rows, &[0; 60]), None);
        assert_eq!(groups.counts(), GroupCounts::default());
    }

    #[test]
    fn no_photos_and_one_are_no_group() {
        let none = Groups::find(&FeatureCache::new(8, 1), None);
        assert!(none.of().is_empty());
        let one = Groups::find(&cache(&[vec![1.0; 8]], &[0]), Some(&[1]));
        assert_eq!((one.of(), one.counts()), (&[0][..], GroupCounts::default()));
    }

    #[test]
    fn near_copies_are_found_even_where_they_are_most_of_all_photos() {
        let mut random = Random::new(6);
        let one = picture(&mut random, 256);
        let mut rows: Vec<_> = (0..50).map(|_| varied(&one, 0.1, &mut random)).collect();
        rows.extend((0..10).map(|_| picture(&mut random, 256)));
        let labels: Vec<usize> = (0..60).map(|photo| photo % 2).collect();
        let groups = Groups::find(&cache(&rows, &labels), None);
        let counts = groups.counts();
        assert_eq!((counts.groups, counts.largest), (1, 50));
    }
}
