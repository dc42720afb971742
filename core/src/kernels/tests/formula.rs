//! Formulas, and how long tensors are, place by place in float64.

use burn::tensor::Tensor;
use rekindle_shaders::{Formula, Term};

use super::{compare, everywhere, numbers, pick, read, tensor};
use crate::kernels::{compute, square_sum};

/// Lengths: one number, a few, as many as fill a workgroup and one more, more than one invocation takes.
const LENGTHS: [usize; 7] = [1, 3, 4, 64, 257, 4_096, 70_001];

#[test]
fn every_term_of_a_formula_is_right_and_only_what_it_says_is_written() {
    // Of a, b and one: min(n3, n2 ÷ (n1 + n0·√ratio)) and a + √ratio, with (a − b·one) and (a ÷ b) for the ratio.
    let formula = Formula {
        terms: vec![
            Term::Each(0),
            Term::Each(1),
            Term::One(2),
            Term::Product(1, 2),
            Term::Difference(0, 3),
            Term::Quotient(0, 1),
            Term::Ratio(4, 5),
            Term::Root(6),
            Term::Times(7, 0),
            Term::Plus(8, 1),
            Term::Under(9, 2),
            Term::AtMost(10, 3),
            Term::Sum(0, 7),
            Term::Each(3),
        ],
        buffers: 4,
        numbers: 4,
        results: vec![(0, 11), (1, 12)],
    };
    everywhere(61, |random, device| {
        let count = pick(random, &LENGTHS);
        let mut a: Vec<f32> = numbers(random, count).iter().map(|x| x + 1.5).collect();
        let b: Vec<f32> = numbers(random, count).iter().map(|x| x + 1.5).collect();
        let one = -random.uniform();
        if count > 1 {
            a[1] = 0.0;
        }
        let others = numbers(random, count);
        let n = [0.7, 0.3, 1.9, 1.4].map(|x| x + random.uniform());
        let mut truth = [Vec::new(), Vec::new()];
        for (&a, &b) in a.iter().zip(&b) {
            let [a, b, one] = [a, b, one].map(f64::from);
            let n = n.map(f64::from);
            let (top, bottom) = (a - b * one, a / b);
            let ratio = match top == 0.0 || bottom == 0.0 {
                true => 1.0,
                false => top / bottom,
            };
            let root = ratio.sqrt();
            truth[0].push(n[3].min(n[2] / (n[1] + n[0] * root)));
            truth[1].push(a + root);
        }
        let given = |values: &[f32]| tensor(values, [values.len()], device);
        let (first, held) = (given(&a), given(&b));
        let tensors = vec![first, held.clone(), given(&[one]), given(&others)];
        let made: Vec<Vec<f32>> = compute(&formula, &n, tensors)
            .into_iter()
            .map(read)
            .collect();
        assert_eq!(made.len(), 4);
        compare("a", &made[0], &truth[0]);
        compare("b", &made[1], &truth[1]);
        assert_eq!(made[2], [one]);
        assert_eq!(made[3], others);
        assert_eq!(read(held), b, "what somebody else holds stays as it is");
    });
}

#[test]
fn squares_of_many_tensors_add_up() {
    everywhere(67, |random, device| {
        let values: Vec<Vec<f32>> = (0..1 + random.below(5))
            .map(|_| {
                let count = pick(random, &LENGTHS);
                numbers(random, count)
            })
            .collect();
        let tensors: Vec<Tensor<1>> = values
            .iter()
            .map(|values| tensor(values, [values.len()], device))
            .collect();
        let truth: f64 = values.iter().flatten().map(|&x| f64::from(x).powi(2)).sum();
        compare("squares", &read(square_sum(&tensors, device)), &[truth]);
    });
}
