//! The gradient of attention.

use super::{Random, at_every_level};
use crate::{AttentionShape, attention_slopes};

/// A shape with what it owns, and what is read, in f64.
#[derive(Clone)]
struct Case {
    windows: usize,
    tokens: usize,
    heads: usize,
    depth: usize,
    per_head: bool,
    mask_windows: usize,
    cosine: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
    mask: Option<Vec<f32>>,
    qkv: Vec<f32>,
    slope: Vec<f32>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let windows = 1 + random.below(4);
        let tokens = random.of(&[1, 2, 5, 16, 33, 49, 131]);
        let heads = 1 + random.below(4);
        let depth = random.of(&[1, 3, 8, 16, 24, 32, 64, 70]);
        let mask_windows = random.of(&[1, windows]);
        let square = tokens * tokens;
        let masked = |random: &mut Random| random.of(&[0.0, 0.0, -100.0, f32::NEG_INFINITY]);
        let width = windows * tokens * heads * depth;
        Self {
            windows,
            tokens,
            heads,
            depth,
            per_head: random.below(2) == 0,
            mask_windows,
            cosine: (random.below(3) == 0).then(|| random.floats(heads)),
            bias: (random.below(2) == 0).then(|| random.floats(heads * square)),
            mask: (random.below(2) == 0).then(|| {
                (0..mask_windows * square)
                    .map(|at| match at % (tokens + 1) {
                        // Something that is seen by each token.
                        0 => 0.0,
                        _ => masked(random),
                    })
                    .collect()
            }),
            qkv: random.floats(3 * width),
            slope: random.floats(width),
        }
    }

    fn shape(&self) -> AttentionShape<'_> {
        AttentionShape {
            windows: self.windows,
            tokens: self.tokens,
            heads: self.heads,
            depth: self.depth,
            per_head: self.per_head,
            scale: 1.0 / (self.depth as f32).sqrt(),
            cosine: self.cosine.as_deref(),
            bias: self.bias.as_deref(),
            mask: self.mask.as_deref(),
            mask_windows: self.mask_windows,
        }
    }

    /// Where the query, key or value of a token begins.
    fn place(&self, [window, head]: [usize; 2], token: usize, part: usize) -> usize {
        let within = match self.per_head {
            true => head * 3 + part,
            false => part * self.heads + head,
        };
        ((window * self.tokens + token) * 3 * self.heads + within) * self.depth
    }

    /// Slopes times mixed values of one head of one window, for numbers that are changed.
    fn loss(&self, unit: [usize; 2], changed: Changed) -> f64 {
        let [window, head] = unit;
        let (tokens, depth) = (self.tokens, self.depth);
        let square = tokens * tokens;
        let vector = |token: usize, part: usize| -> Vec<f64> {
            let start = self.place(unit, token, part);
            let mut vector: Vec<f64> = self.qkv[start..start + depth]
                .iter()
                .map(|&x| f64::from(x))
                .collect();
            if let Changed::Qkv(at, by) = changed
                && (start..start + depth).contains(&at)
            {
                vector[at - start] += by;
            }
            vector
        };
        let unit_vector = |token: usize, part: usize| -> Vec<f64> {
            let vector = vector(token, part);
            let length = match self.cosine {
                Some(_) => vector.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12),
                None => 1.0,
            };
            vector.iter().map(|x| x / length).collect()
        };
        let factor = match (&self.cosine, changed) {
            (Some(cosine), Changed::Cosine(by)) => f64::from(cosine[head]) + by,
            (Some(cosine), _) => f64::from(cosine[head]),
            (None, _) => f64::from(self.shape().scale),
        };
        let keys: Vec<Vec<f64>> = (0..tokens).map(|token| unit_vector(token, 1)).collect();
        let values: Vec<Vec<f64>> = (0..tokens).map(|token| vector(token, 2)).collect();
        let mut loss = 0.0;
        for token in 0..tokens {
            let query = unit_vector(token, 0);
            let score = |other: usize| {
                let at = token * tokens + other;
                let of = |matrix: &Option<Vec<f32>>, index: usize| {
                    matrix
                        .as_ref()
                        .map_or(0.0, |matrix| f64::from(matrix[index * square + at]))
                };
                let product: f64 = query.iter().zip(&keys[other]).map(|(q, k)| q * k).sum();
                let more = match changed {
                    Changed::Bias(changed, by) if changed == at => by,
                    _ => 0.0,
                };
                product * factor
                    + of(&self.bias, head)
                    + of(&self.mask, window % self.mask_windows)
                    + more
            };
            let scores: Vec<f64> = (0..tokens).map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = powers.iter().sum();
            let start = ((window * tokens + token) * self.heads + head) * depth;
            let slope = &self.slope[start..start + depth];
            for (power, value) in powers.iter().zip(&values) {
                let products = value
                    .iter()
                    .zip(slope)
                    .map(|(v, &slope)| v * f64::from(slope));
                loss += power / sum * products.sum::<f64>();
            }
        }
        loss
    }

    /// The slope of the loss, by central differences.
    fn difference(&self, unit: [usize; 2], changed: impl Fn(f64) -> Changed) -> f64 {
        const STEP: f64 = 1e-4;
        (self.loss(unit, changed(STEP)) - self.loss(unit, changed(-STEP))) / (2.0 * STEP)
    }

    /// The gradients of the projection, the bias and the cosines' factors.
    fn slopes(&self) -> [Vec<f32>; 3] {
        let mut of_qkv = vec![f32::NAN; self.qkv.len()];
        let mut of_bias = vec![f32::NAN; self.heads * self.tokens * self.tokens];
        let mut of_cosine = vec![f32::NAN; self.heads];
        attention_slopes(
            &self.shape(),
            &self.qkv,
            &self.slope,
            &mut of_qkv,
            self.bias.is_some().then_some(&mut of_bias),
            self.cosine.is_some().then_some(&mut of_cosine),
        );
        [of_qkv, of_bias, of_cosine]
    }
}

/// What is different by how much.
#[derive(Clone, Copy)]
enum Changed {
    Qkv(usize, f64),
    /// The bias of a head, which is seen by its element.
    Bias(usize, f64),
    Cosine(f64),
}

#[track_caller]
fn close(ours: f32, theirs: f64, what: &str) -> f64 {
    let error = (f64::from(ours) - theirs).abs() / (1.0 + theirs.abs());
    assert!(error < 1e-5, "{what}: {ours}, not {theirs}");
    error
}

#[test]
fn the_gradient_of_attention_is_what_differences_say() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..40 {
            let case = Case::random(random);
            let [of_qkv, of_bias, of_cosine] = case.slopes();
            assert!(of_qkv.iter().all(|slope| slope.is_finite()));
            for _ in 0..4 {
                let unit = [random.below(case.windows), random.below(case.heads)];
                for part in 0..3 {
                    let token = random.below(case.tokens);
                    let at = case.place(unit, token, part) + random.below(case.depth);
                    let expected = case.difference(unit, |by| Changed::Qkv(at, by));
                    worst = worst.max(close(of_qkv[at], expected, ["q", "k", "v"][part]));
                }
            }
            let head = random.below(case.heads);
            let over_windows = |changed: &dyn Fn(f64) -> Changed| -> f64 {
                (0..case.windows)
                    .map(|window| case.difference([window, head], changed))
                    .sum()
            };
            if case.bias.is_some() {
                let square = case.tokens * case.tokens;
                for _ in 0..2 {
                    let at = random.below(square);
                    let expected = over_windows(&|by| Changed::Bias(at, by));
                    worst = worst.max(close(of_bias[head * square + at], expected, "bias"));
                }
            }
            if case.cosine.is_some() {
                let expected = over_windows(&Changed::Cosine);
                worst = worst.max(close(of_cosine[head], expected, "cosine"));
            }
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

/// Many windows, with everything that is added up over them.
fn many(random: &mut Random) -> Case {
    let (windows, tokens, heads, depth) = (200, 9, 3, 8);
    Case {
        windows,
        tokens,
        heads,
        depth,
        per_head: false,
        mask_windows: 1,
        cosine: Some(random.floats(heads)),
        bias: Some(random.floats(heads * tokens * tokens)),
        mask: None,
        qkv: random.floats(windows * tokens * 3 * heads * depth),
        slope: random.floats(windows * tokens * heads * depth),
    }
}

#[test]
fn one_core_and_several_give_the_same_gradient_of_attention() {
    let case = many(&mut Random(3));
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| case.slopes())
    });
    assert_eq!(one, three);
}

#[test]
fn a_slope_that_is_no_number_stays_in_its_head_and_window() {
    at_every_level(|_, random| {
        let mut case = many(random);
        let (width, tokens) = (case.heads * case.depth, case.tokens);
        case.slope[(3 * tokens + 2) * width + case.depth] = f32::NAN;
        let [of_qkv, of_bias, of_cosine] = case.slopes();
        for window in 0..case.windows {
            for head in 0..case.heads {
                let at = case.place([window, head], 2, 0);
                assert_eq!(of_qkv[at].is_nan(), [window, head] == [3, 1]);
            }
        }
        assert!(of_bias[tokens * tokens + 2 * tokens].is_nan() && of_bias[0].is_finite());
        assert!(of_cosine[1].is_nan() && of_cosine[0].is_finite());
    });
}
