//! Networks that answer for every place of a picture: maps inside, outputs of every level, every pixel's winner.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_core::backbone::{Architecture, find, raw};
use rekindle_core::compiled::{Precision, fuse, lower};
use rekindle_core::graph::{Graph, Options};
use rekindle_core::network::{Batch, Network};
use rekindle_core::task::Task;
use rekindle_core::weights::{Generated, Tensors, state_dict, take};
use rekindle_tests::{Golden, is_asked_for, is_nightly, relative_error, sample, test_adapter};

use super::{
    ON_THE_PROCESSOR, ON_WGSL, ONE_AT_A_TIME, channels_first, judge, parse, read, run_compiled,
    sizes,
};

/// The networks that take part in every run. The others do so with `REKINDLE_NIGHTLY`.
const EVERY_RUN: [&str; 3] = [
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
    "fcn_resnet50",
];

/// The share of pixels whose winner may be another than the golden's.
const OTHER_WINNERS: f64 = 1e-3;

/// Every network whose answers are maps.
fn networks() -> impl Iterator<Item = &'static Architecture> {
    rekindle_core::backbone::architectures()
        .filter(|architecture| architecture.task == Task::Segment)
        .chain(raw())
}

fn network(name: &str) -> &'static Architecture {
    let unread = raw().find(|architecture| architecture.name == name);
    unread.unwrap_or_else(|| find(name).unwrap())
}

/// A network at one size of its golden, with all outputs and generated numbers.
struct Case<'a> {
    golden: &'a Golden,
    size: &'a str,
    graph: Arc<Graph>,
    tensors: Tensors,
    input: Vec<f32>,
    shape: [usize; 4],
}

impl<'a> Case<'a> {
    fn new(architecture: &Architecture, golden: &'a Golden, size: &'a str) -> Self {
        let [height, width] = parse(size);
        let classes = architecture.classes().count();
        let options = Options {
            auxiliary: Some(classes),
            ..Options::default()
        };
        let graph = architecture.whole_graph([3, height, width], &options, classes);
        let graph = graph.unwrap();
        let (tensors, report) = take(graph.tensors(), &Generated).unwrap();
        assert!(report.missing.is_empty() && report.misshaped.is_empty());
        let shape = [2, 3, height, width];
        let scale = golden.card["input_scale"].as_f64().unwrap() as f32;
        Self {
            golden,
            size,
            graph: Arc::new(graph),
            tensors,
            input: Generated::input(&shape)
                .into_iter()
                .map(|x| x * scale)
                .collect(),
            shape,
        }
    }

    /// What the golden holds: its key, and the value of that name in the network.
    fn held(&self) -> Vec<(&'a str, usize)> {
        let keys = self.golden.tensors.keys();
        let held = keys.filter_map(|key| {
            let rest = key.strip_prefix(self.size)?.strip_prefix('/')?;
            let (_, name) = rest.split_once('/')?;
            let value = self.graph.value(name);
            Some((
                key.as_str(),
                value.unwrap_or_else(|| panic!("no value is called {name}")),
            ))
        });
        held.collect()
    }

    /// The errors of some of what the golden holds, and of the winners where the answers are among it.
    ///
    /// # Shapes
    ///
    /// - made: for each, `[N, C, H, W]`
    fn errors(&self, held: &[(&str, usize)], made: Vec<Vec<f32>>) -> Vec<(String, f64)> {
        assert_eq!(held.len(), made.len());
        let mut errors = Vec::new();
        for ((key, value), values) in held.iter().zip(made) {
            let error = relative_error(&sample(&values), &self.golden.tensors[*key]);
            errors.push(((*key).to_owned(), error));
            if let Some(winners) = self.golden.tensors.get(&format!("{}/winners", self.size))
                && key.ends_with("/output/out")
            {
                let other = other_winners(&values, self.graph.shape_of(*value), winners);
                println!("{key}: {:.4} % of the winners are others", 100.0 * other);
                assert!(
                    other <= OTHER_WINNERS,
                    "{key}: {other} of the winners are others"
                );
            }
        }
        errors
    }

    fn stepwise(&self, device: &Device) -> Vec<(String, f64)> {
        let graph = Arc::clone(&self.graph);
        let network = Network::new(graph, &state_dict([&self.tensors]), device).unwrap();
        let images = TensorData::new(self.input.clone(), self.shape);
        let images = Batch::Maps(Tensor::from_data(images, device));
        let held = self.held();
        let wanted: Vec<usize> = held.iter().map(|(_, value)| *value).collect();
        let made = network.run([(0, images)], &wanted).unwrap();
        let made = made.into_iter().zip(&wanted).map(|(made, value)| {
            assert_eq!(made.dims()[1..], *self.graph.shape_of(*value));
            read(made.flatten())
        });
        self.errors(&held, made.collect())
    }

    /// The same as it is compiled: with everything put out, and with the answers alone, where more can be fused.
    fn compiled(&self, device: &Device) -> Vec<(String, f64)> {
        let mut errors = Vec::new();
        let held = self.held();
        let is_answer =
            |(key, _): &(&'a str, usize)| key.contains("/output/") && !key.ends_with("/aux");
        let answers: Vec<_> = held.iter().copied().filter(is_answer).collect();
        for held in [held, answers] {
            let wanted: Vec<usize> = held.iter().map(|(_, value)| *value).collect();
            let program = lower(&self.graph, &state_dict([&self.tensors]), &wanted).unwrap();
            let made = run_compiled(
                fuse(program),
                &self.input,
                self.shape,
                device,
                Precision::Full,
            );
            let made = made.into_iter().zip(&wanted);
            let made = made.map(|(made, value)| channels_first(made, self.graph.shape_of(*value)));
            errors.extend(self.errors(&held, made.collect()));
        }
        errors
    }
}

/// The share of pixels whose greatest logit is another class's than the golden's.
///
/// # Shapes
///
/// - logits: `[N, classes, H, W]`, of an image `shape`
/// - winners: `[N, H, W]`
fn other_winners(logits: &[f32], shape: &[usize], winners: &[f32]) -> f64 {
    let pixels = shape[1] * shape[2];
    let images = logits.chunks_exact(shape[0] * pixels);
    let found = images.flat_map(|image| {
        (0..pixels).map(|pixel| {
            let classes = image[pixel..].iter().step_by(pixels).enumerate();
            let best = classes.fold((0, f32::NEG_INFINITY), |best, (class, &logit)| {
                if logit > best.1 { (class, logit) } else { best }
            });
            best.0 as f32
        })
    });
    let found: Vec<f32> = found.collect();
    assert_eq!(found.len(), winners.len());
    let other = found.iter().zip(winners).filter(|(a, b)| a != b).count();
    other as f64 / winners.len() as f64
}

/// Checks one size of one network, step by step and compiled.
fn check(name: &str, size: &str, golden: &Golden, device: &Device, allowed: f64) {
    let case = Case::new(network(name), golden, size);
    judge(name, size, &case.stepwise(device), allowed);
    judge(
        &format!("{name} compiled"),
        size,
        &case.compiled(device),
        allowed,
    );
}

fn on_the_processor(name: &str) {
    if !EVERY_RUN.contains(&name) && !is_nightly() {
        println!("{name}: only with REKINDLE_NIGHTLY");
        return;
    }
    let golden = Golden::read(name);
    let sizes = sizes(&golden);
    assert_eq!(
        sizes.len(),
        if name.starts_with("deeplab") { 3 } else { 2 },
        "{name}: so many sizes"
    );
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    for size in sizes {
        check(name, &size, &golden, &Device::flex(), ON_THE_PROCESSOR);
    }
}

macro_rules! matrix {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            on_the_processor(stringify!($name));
        })+

        #[test]
        fn no_network_escapes_the_matrix() {
            let tested: std::collections::BTreeSet<&str> = [$(stringify!($name)),+].into();
            assert_eq!(tested, networks().map(|network| network.name).collect());
        }
    };
}

matrix! {
    fcn_resnet50
    fcn_resnet101
    deeplabv3_resnet50
    deeplabv3_resnet101
    deeplabv3_mobilenet_v3_large
    lraspp_mobilenet_v3_large
    fcos_resnet50_fpn
}

/// The same on WGSL: the small ones at their smallest size, with `REKINDLE_NIGHTLY` all of them.
#[test]
fn on_wgsl_they_agree() {
    let Some(open) = test_adapter() else {
        return;
    };
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    for network in networks().filter(|network| is_asked_for(network.name)) {
        if !EVERY_RUN.contains(&network.name) && !is_nightly() {
            continue;
        }
        let golden = Golden::read(network.name);
        let mut sizes = sizes(&golden);
        if !is_nightly() {
            sizes.truncate(1);
        }
        for size in sizes {
            check(network.name, &size, &golden, &open.device, ON_WGSL);
        }
        open.device.memory_cleanup();
    }
}
