//! Whole small networks: what goes back is the slope of what went forward.

use super::parting::{Part, Parting};
use super::*;
use crate::graph::{
    AttentionParts, Conv, Graph, Neighbourhood, Nonlinearity, Norm, Options, Packing,
    Pool as Window, PositionBias, Value, sketch,
};
use crate::operations::Chance;
use crate::random::Random;
use crate::weights::{Tensors, state_dict};

const IMAGES: usize = 3;

/// A network with numbers that keep its values alive, and images.
struct Case {
    graph: Graph,
    parameters: Parameters,
    images: Vec<f32>,
}

fn case(input: impl Into<Vec<usize>>, describe: impl FnOnce(Value) -> Value) -> Case {
    let input = input.into();
    let mut random = Random::new(5);
    let images = IMAGES * input.iter().product::<usize>();
    let graph = sketch(input, &Options::default(), |x| describe(x).stage("all")).unwrap();
    let mut tensors = Tensors::new();
    for (name, shape) in graph.tensors() {
        let count: usize = shape.iter().product();
        let fan: usize = shape.iter().skip(1).product();
        let mut draw = |low: f32, high: f32| -> Vec<f32> {
            (0..count)
                .map(|_| low + (high - low) * random.uniform())
                .collect()
        };
        let values = match name.rsplit('.').next() {
            Some("running_var") => draw(0.5, 1.5),
            Some("weight") if shape.len() == 1 => draw(0.5, 1.5),
            Some("weight") => {
                let bound = (3.0 / fan as f32).sqrt();
                draw(-bound, bound)
            }
            _ => draw(-0.3, 0.3),
        };
        tensors.insert(name, (shape, values.into()));
    }
    let parameters = Parameters::new(&graph, &state_dict([&tensors])).unwrap();
    Case {
        images: (0..images).map(|_| random.normal()).collect(),
        graph,
        parameters,
    }
}

impl Case {
    /// The loss of the images, by tensors of its own, and where `back` says what learns, the gradients.
    fn run(&self, parameters: &Parameters, learns: Vec<bool>, back: bool) -> (f64, Gradients) {
        let course = Course::new(&self.graph, parameters, 0).unwrap();
        let (value, gradients, _) = self.go(&course, parameters, &course.plan(learns), back);
        (value, gradients)
    }

    /// The same by a plan, with the running statistics.
    fn go(
        &self,
        course: &Course,
        parameters: &Parameters,
        plan: &Plan,
        back: bool,
    ) -> (f64, Gradients, Vec<(usize, Vec<f32>)>) {
        let layout = Pass::rehearse(course, parameters, plan, IMAGES, true, true);
        let mut ground = Ground::default();
        let mut gradients = Gradients::new(parameters.count());
        let mut pass = Pass::new(
            course,
            parameters,
            plan,
            &layout,
            Some(Chance::new(7)),
            &mut ground,
        );
        pass.give(|into| into.copy_from_slice(&self.images));
        let answers = pass.forward();
        // Something that bends, and weighs every answer differently.
        let weight = |at: usize| 1.0 + (at % 7) as f64 / 4.0;
        let pairs = answers.iter().enumerate();
        let value = pairs
            .clone()
            .map(|(at, &x)| weight(at) * f64::from(x).sin())
            .sum();
        let slope: Vec<f32> = pairs
            .map(|(at, &x)| (weight(at) * f64::from(x).cos()) as f32)
            .collect();
        if back {
            pass.backward(&slope, &mut gradients);
        }
        (value, gradients, pass.finish())
    }

    /// However a course is parted, the loss, all gradients and the running statistics are the same to the bit.
    fn check_parted(&self, what: &str) {
        let count = self.parameters.count();
        let course = Course::new(&self.graph, &self.parameters, 0).unwrap();
        let jobs = course.jobs.len();
        type Learns = fn(&str) -> bool;
        let cases: [Learns; 4] = [
            |_| true,
            |name| !name.contains("running"),
            |name| name.starts_with("last") || name.starts_with("third"),
            |name| name.contains("norm"),
        ];
        for learns in cases {
            let learns: Vec<bool> = (0..count)
                .map(|tensor| learns(self.parameters.name(tensor)))
                .collect();
            let run = |plan: &Plan| {
                let (value, gradients, moved) = self.go(&course, &self.parameters, plan, true);
                let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect();
                let all: Vec<Vec<u32>> = (0..count)
                    .map(|tensor| gradients.of(tensor).map_or_else(Vec::new, bits))
                    .collect();
                let moved: Vec<(usize, Vec<u32>)> = moved
                    .iter()
                    .map(|(tensor, values)| (*tensor, bits(values)))
                    .collect();
                (value.to_bits(), all, moved)
            };
            let whole = run(&course.plan(learns.clone()));
            for length in 1..=jobs {
                // All but the last part again, and every other one; what is held, too.
                for (every, held) in [(1, jobs), (1, 2), (2, 3)] {
                    for (remakes, twice) in [(false, true), (true, true), (true, false)] {
                        let parts = (0..jobs).step_by(length).map(|at| Part {
                            jobs: at..jobs.min(at + length),
                            again: (at / length).is_multiple_of(every) && at + length < jobs,
                        });
                        let parting = Parting {
                            parts: parts.collect(),
                            holds: (0..jobs).map(|job| job % held == 1).collect(),
                            remakes,
                            twice,
                        };
                        let plan = course.plan_parted(learns.clone(), &parting);
                        assert!(run(&plan) == whole, "{what}: {parting:?}");
                    }
                }
            }
            let plan = course.recomputing(learns, &self.parameters);
            assert!(run(&plan) == whole, "{what}: the parts that are chosen");
        }
    }

    /// Every gradient is the slope of the loss along a random direction.
    fn check(&self, what: &str, learns: impl Fn(&str) -> bool) {
        let count = self.parameters.count();
        let learns: Vec<bool> = (0..count)
            .map(|tensor| learns(self.parameters.name(tensor)))
            .collect();
        let (_, gradients) = self.run(&self.parameters, learns.clone(), true);
        let mut random = Random::new(11);
        for tensor in 0..count {
            let name = self.parameters.name(tensor);
            let is_statistic = name.contains("running");
            assert_eq!(
                gradients.of(tensor).is_some(),
                learns[tensor] && !is_statistic,
                "{what}: a gradient of {name}"
            );
            let Some(gradient) = gradients.of(tensor) else {
                continue;
            };
            let direction: Vec<f64> = gradient
                .iter()
                .map(|_| f64::from(random.normal()))
                .collect();
            let size = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
            let step = 3e-3;
            let moved = |sign: f64| {
                let mut parameters = self.parameters.clone();
                for (value, d) in parameters.values_mut(tensor).iter_mut().zip(&direction) {
                    *value += (sign * step * d / size) as f32;
                }
                self.run(&parameters, learns.clone(), false).0
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let along: f64 = gradient
                .iter()
                .zip(&direction)
                .map(|(&g, d)| f64::from(g) * d / size)
                .sum();
            let length = gradient
                .iter()
                .map(|&g| f64::from(g).powi(2))
                .sum::<f64>()
                .sqrt();
            let off = (slope - along).abs();
            assert!(
                off < 5e-3 * length + 2e-3,
                "{what}: {name}: {along} along a direction, and the loss changes by {slope} (gradient {length})"
            );
        }
    }

    /// All that may learn, with batch norms by running statistics and by the batch, and parts of it.
    fn check_all(&self, what: &str) {
        self.check(what, |name| !name.contains("running"));
        self.check(&format!("{what}, by the batch"), |_| true);
        self.check(&format!("{what}, last weights"), |name| {
            name.starts_with("last")
        });
        self.check(&format!("{what}, norms"), |name| {
            name.contains("norm") && !name.contains("running")
        });
        self.check_parted(what);
    }
}

#[test]
fn convolutions_norms_sums_and_functions_go_back() {
    let case = case([4, 9, 8], |x| {
        let x = x
            .conv("first", Conv::new(12, 3))
            .batch_norm("norm1", Norm::TORCH)
            .activate(Nonlinearity::Silu);
        let inner = x
            .conv("second", Conv::new(12, 3).groups(12))
            .batch_norm("norm2", Norm::TORCH)
            .activate(Nonlinearity::HardSwish)
            .conv("third", Conv::new(12, 1).bias());
        let x = (inner.batch_norm("norm3", Norm::TORCH) + x).activate(Nonlinearity::Sigmoid);
        let x = x
            .conv("fourth", Conv::new(16, 3).stride(2).groups(4).bias())
            .activate(Nonlinearity::Tanh);
        x.global_average().flatten().linear("last", 5)
    });
    case.check_all("convolutions");
}

#[test]
fn relus_go_back_where_they_are_bent() {
    let case = case([3, 8, 8], |x| {
        let x = x
            .conv("first", Conv::new(8, 3))
            .batch_norm("norm1", Norm::TORCH)
            .relu();
        let y = x
            .conv("second", Conv::new(8, 3).stride(2))
            .batch_norm("norm2", Norm::TORCH);
        let z = x
            .conv("third", Conv::new(8, 1).stride(2))
            .batch_norm("norm3", Norm::TORCH);
        (y + z)
            .activate(Nonlinearity::Relu6)
            .flatten()
            .linear("last", 4)
    });
    case.check_all("relus");
}

#[test]
fn channels_put_together_and_taken_apart_go_back() {
    let case = case([6, 8, 8], |x| {
        let x = x.conv("first", Conv::new(8, 1));
        let (kept, taken) = x.halves();
        let worked = taken
            .batch_norm("norm1", Norm::TORCH)
            .activate(Nonlinearity::Gelu)
            .conv("second", Conv::new(4, 3));
        let x = Value::concat(&[kept, worked]).shuffle(2);
        let gate = x
            .global_average()
            .conv("third", Conv::new(8, 1))
            .activate(Nonlinearity::HardSigmoid);
        let x = x.multiply(&gate).scale("factors");
        let pooled = x.avg_pool(Window::new(2, 2));
        let most = x.max_pool(Window::new(3, 2).padding(1));
        let x = Value::concat(&[pooled, most])
            .dropout(0.3)
            .stochastic_depth(0.4);
        x.adaptive_avg_pool(3, 3).flatten().linear("last", 5)
    });
    case.check_all("channels");
}

#[test]
fn tokens_go_back() {
    let case = case([3, 8, 8], |x| {
        let x = x
            .conv("first", Conv::new(12, 4).stride(4).padding(0).bias())
            .tokens()
            .class_token("token");
        let x = x.position_embedding("positions");
        let attended = x
            .layer_norm("norm1", 1e-5)
            .attention("attention", &AttentionParts::new(3, 12));
        let x = x + attended.stochastic_depth(0.3);
        let worked = x
            .layer_norm("norm2", 1e-5)
            .linear("second", 20)
            .activate(Nonlinearity::Gelu)
            .dropout(0.2);
        let x = x + worked.linear("third", 12);
        x.layer_norm("norm3", 1e-5).first_token().linear("last", 5)
    });
    case.check_all("tokens");
}

#[test]
fn windows_go_back() {
    let windows = |shift, packing| AttentionParts {
        neighbourhood: Neighbourhood::Window { side: 3, shift },
        packing,
        bias: PositionBias::Table {
            side: 3,
            name: "table",
        },
        ..AttentionParts::new(2, 8)
    };
    let case = case([3, 14, 14], |x| {
        let x = x
            .conv("first", Conv::new(8, 2).stride(2).padding(0))
            .channels_last();
        let x = x.layer_norm("norm1", 1e-5);
        let x = x.within("one", |x| x.attention("", &windows(0, Packing::Projection))) + x;
        let x = x.within("two", |x| x.attention("", &windows(1, Packing::Head))) + x;
        let x = x.merge_patches().linear("second", 10).channels_first();
        x.channel_layer_norm("norm2", 1e-5)
            .global_average()
            .flatten()
            .linear("last", 5)
    });
    case.check_all("windows");
}

#[test]
fn alexnets_kinds_of_windows_go_back() {
    let case = case([3, 63, 63], |x| {
        let x = x
            .conv("first", Conv::new(16, 11).stride(4).padding(2).bias())
            .relu()
            .max_pool(Window::new(3, 2));
        let x = x
            .conv("second", Conv::new(24, 5).padding(2).bias())
            .relu()
            .max_pool(Window::new(3, 2));
        let x = x
            .conv("third", Conv::new(24, 3).bias())
            .activate(Nonlinearity::Silu)
            .max_pool(Window::new(3, 2));
        x.adaptive_avg_pool(6, 6).flatten().linear("last", 5)
    });
    case.check_all("windows of AlexNet");
}

/// Blocks of equal size, of which each keeps much beside what it hands on.
fn blocks(count: usize) -> Case {
    case([4, 12, 12], |x| {
        let x = x.conv("first", Conv::new(8, 3));
        let blocks = (0..count).fold(x, |x, block| {
            let inner = x
                .conv(&format!("in{block}"), Conv::new(32, 1))
                .batch_norm(&format!("norm{block}"), Norm::TORCH)
                .relu();
            x + inner.conv(&format!("out{block}"), Conv::new(8, 1).bias())
        });
        blocks.global_average().flatten().linear("last", 5)
    })
}

#[test]
fn what_is_done_again_is_not_held() {
    let case = blocks(12);
    let course = Course::new(&case.graph, &case.parameters, 0).unwrap();
    let learns = vec![true; case.parameters.count()];
    let bytes =
        |plan: &Plan| Pass::rehearse(&course, &case.parameters, plan, 16, true, true).bytes();
    let whole = bytes(&course.plan(learns.clone()));
    let parted = bytes(&course.recomputing(learns, &case.parameters));
    // Of each block its input stays, and of one what it keeps: twice 4 times as much.
    assert!(3 * parted < whole, "{parted} of {whole}");
    case.check_parted("blocks");
}

#[test]
fn nothing_is_held_on_a_way_that_is_not_gone_back() {
    let case = blocks(12);
    let course = Course::new(&case.graph, &case.parameters, 0).unwrap();
    let plan = course.plan(vec![false; case.parameters.count()]);
    let layout = Pass::rehearse(&course, &case.parameters, &plan, 1, false, true);
    // A block's input, what is in it, and what comes out; what the answers take beside that is little.
    let most = 4 * 144 * (8 + 32 + 8);
    assert!(layout.bytes() <= most, "{} of {most}", layout.bytes());
}
