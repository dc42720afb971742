//! Every parameter of a network gets the gradient that PyTorch gives it: one network of each family.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rekindle_core::backbone::find;
use rekindle_core::graph::Options;
use rekindle_core::network::{Batch, Chance, Network};
use rekindle_core::random::{Random, hash};
use rekindle_core::tune::{
    Descent, Draws, Engine as _, Given, Goal, Learning, Loss, Optimizer, Planned,
};
use rekindle_core::weights::{Generated, state_dict, take};
use rekindle_tests::Golden;
use serde_json::Value;

/// What the golden keeps of each gradient: its norm, its largest element and three projections.
const KEPT: usize = 5;

fn number(card: &Value, key: &str) -> usize {
    card[key].as_u64().unwrap() as usize
}

/// What the generator's stream of that name begins with.
fn uniform(stream: &str, count: usize) -> impl Iterator<Item = f32> {
    let mut random = Random::new(hash(stream));
    (0..count).map(move |_| random.uniform())
}

/// What the golden keeps of a gradient.
fn row(name: &str, gradient: &[f32]) -> [f64; KEPT] {
    let mut random = Random::new(hash(&format!("signs.{name}")));
    let (mut square, mut largest, mut sums) = (0.0, 0.0_f64, [0.0; 3]);
    for &value in gradient {
        let value = f64::from(value);
        square += value * value;
        largest = largest.max(value.abs());
        let drawn = random.next_u64();
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum += if (drawn >> (63 - k)) & 1 == 1 {
                -value
            } else {
                value
            };
        }
    }
    [square.sqrt(), largest, sums[0], sums[1], sums[2]]
}

/// The network of a golden with generated weights, as it trains.
fn generated(name: &str, side: usize, classes: usize, device: &Device) -> Network {
    let architecture = find(name).unwrap();
    let graph = architecture.whole_graph([3, side, side], &Options::default(), classes);
    // No two libraries draw the same dropout.
    let graph = graph.unwrap().without_randomness();
    let (tensors, report) = take(graph.tensors(), &Generated).unwrap();
    assert!(report.missing.is_empty(), "{report:?}");
    let network = Network::new(graph, &state_dict([&tensors]), device).unwrap();
    network.trainable()
}

/// The mean cross-entropy of answers `[N, classes]`: N are images, or all their places.
fn cross_entropy(answers: Tensor<2>, labels: impl Iterator<Item = usize>) -> Tensor<1> {
    let [rows, classes] = answers.dims();
    let mut wanted = vec![0.0_f32; rows * classes];
    for (row, label) in labels.enumerate() {
        wanted[row * classes + label] = 1.0;
    }
    let wanted = Tensor::from_data(TensorData::new(wanted, [rows, classes]), &answers.device());
    (log_softmax(answers, 1) * wanted).sum() / -(rows as f64)
}

/// The loss of the golden's batch and the gradients of all parameters, by name.
fn gradients(
    name: &str,
    mode: &str,
    asked: &Value,
    classes: usize,
    device: &Device,
) -> (f64, BTreeMap<String, Vec<f32>>) {
    let (side, count) = (number(asked, "side"), number(asked, "batch"));
    let mut network = generated(name, side, classes, device);
    let shape = [count, 3, side, side];
    let stream = asked["images"].as_str().unwrap();
    let images = uniform(stream, shape.iter().product()).map(|u| (2.0 * u - 1.0) * 2.0);
    let images = TensorData::new(images.collect::<Vec<f32>>(), shape);
    let images = Tensor::<4>::from_data(images, &device.clone().autodiff());

    let (given, wanted) = ([(0, Batch::Maps(images))], [network.graph().output()]);
    let made = match mode {
        "batch" => network.train(given, &wanted, &mut Chance::new(0)),
        _ => network.run(given, &wanted),
    };
    let loss = match made.unwrap().pop().unwrap() {
        Batch::Maps(maps) => {
            let places = maps.permute([0, 2, 3, 1]).reshape([-1, classes as i32]);
            let labels = uniform("labels", count * side * side);
            cross_entropy(places, labels.map(|u| (u * classes as f32) as usize))
        }
        logits => cross_entropy(
            logits.features(),
            (0..count).map(|image| (3 * image + 1) % classes),
        ),
    };
    let recorded = loss.backward();
    let gradients = pollster::block_on(network.gradients(&recorded)).unwrap();
    let gradients = gradients
        .into_iter()
        .map(|(name, (_, values))| (name, values.to_vec()));
    let loss = pollster::block_on(loss.into_data_async()).unwrap();
    let loss = f64::from(loss.iter::<f32>().next().unwrap());
    (loss, gradients.collect())
}

/// The same by the program with its way back; nothing where a step has none.
fn planned(
    name: &str,
    mode: &str,
    asked: &Value,
    classes: usize,
) -> Option<(f64, BTreeMap<String, Vec<f32>>)> {
    let (side, count) = (number(asked, "side"), number(asked, "batch"));
    let network = generated(name, side, classes, &Device::flex());
    let tensors = pollster::block_on(network.tensors()).unwrap();
    let graph = Arc::clone(network.graph());
    let mut engine = Planned::new(graph, &state_dict([&tensors])).ok()?;
    let follows = mode == "batch";
    let mut learning = Learning::default();
    for (name, _) in network.graph().tensors() {
        match name.contains("running") {
            true if follows => _ = learning.statistics.insert(name),
            true => {}
            false => _ = learning.parameters.insert(name),
        }
    }
    engine.learns(&learning);
    let stream = asked["images"].as_str().unwrap();
    let numbers = uniform(stream, count * 3 * side * side).map(|u| (2.0 * u - 1.0) * 2.0);
    let mut wanted = vec![0.0; count * classes];
    (0..count).for_each(|image| wanted[image * classes + (3 * image + 1) % classes] = 1.0);
    let goal = Goal {
        loss: Loss::CrossEntropy,
        wanted,
        counts: None,
        answers: classes,
        share: 1.0 / count as f64,
    };
    let draws = Draws {
        seed: 0,
        batch: 0,
        first: 0,
        mix: None,
    };
    let input = Given::rows(0, numbers.collect());
    engine.accumulate(input, &goal, &draws);
    let gradients = engine.gradients().into_iter();
    let gradients = gradients.map(|(name, (_, values))| (name, values.to_vec()));
    let gradients = gradients.collect();
    engine.descend(&Descent {
        optimizer: &Optimizer::Sgd {
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        },
        rates: &BTreeMap::new(),
        factor: 0.0,
        momentum: None,
        clip: None,
    });
    let loss = pollster::block_on(engine.losses()).unwrap()[0];
    Some((f64::from(loss), gradients))
}

/// Compares one network in one mode with the golden, step by step and by the program with its way back.
fn compare(golden: &Golden, name: &str, mode: &str) -> (f64, String) {
    let asked = &golden.card["networks"][name]["modes"][mode];
    let classes = number(&golden.card, "classes");
    let stepwise = gradients(name, mode, asked, classes, &Device::flex());
    let stepwise = compared(golden, name, mode, &stepwise);
    let Some(planned) = planned(name, mode, asked, classes) else {
        println!("{name} {mode}: step by step alone");
        return stepwise;
    };
    let (off, whose) = compared(golden, name, mode, &planned);
    println!(
        "{name} {mode}: by its program {off:.1e}, step by step {:.1e}",
        stepwise.0
    );
    match off > stepwise.0 {
        true => (off, format!("by its program, {whose}")),
        false => stepwise,
    }
}

/// Compares what was found with the golden; returns the worst difference in units of what is allowed, and whose it is.
fn compared(
    golden: &Golden,
    name: &str,
    mode: &str,
    (loss, found): &(f64, BTreeMap<String, Vec<f32>>),
) -> (f64, String) {
    let about = &golden.card["networks"][name];
    let asked = &about["modes"][mode];

    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names.len(),
        number(about, "parameters"),
        "{name}: {names:?}"
    );
    let hashed = format!("{:016x}", hash(&names.join("\n")));
    assert_eq!(hashed, about["names"], "{name}: {names:?}");
    let expected = asked["loss"].as_f64().unwrap();
    let error = (loss - expected).abs() / expected;
    assert!(
        error < 1e-5,
        "{name} {mode}: loss {loss}, PyTorch {expected}"
    );

    let rows = &golden.tensors[&format!("{name}/{mode}")];
    let rows = rows.chunks_exact(KEPT);
    let largest = rows
        .clone()
        .map(|row| f64::from(row[0]))
        .fold(0.0, f64::max);
    let mut worst = (0.0, String::new());
    for ((parameter, gradient), expected) in found.iter().zip(rows) {
        // Nobody's rounding lets a gradient vanish that follows from larger ones.
        let allowed = 1e-3 * f64::from(expected[0]) + 1e-6 * largest;
        for (found, &expected) in row(parameter, gradient).into_iter().zip(expected) {
            let off = (found - f64::from(expected)).abs() / allowed;
            assert!(off.is_finite(), "{name} {mode} {parameter}: {found}");
            if off > worst.0 {
                worst = (off, format!("{parameter}: {found}, PyTorch {expected}"));
            }
        }
    }
    worst
}

#[test]
fn gradients_of_one_network_of_each_family_are_pytorchs() {
    let golden = Golden::read("gradients");
    let networks = golden.card["networks"].as_object().unwrap();
    let mut runs = Vec::new();
    for (name, about) in networks {
        let modes = about["modes"].as_object().unwrap();
        runs.extend(modes.keys().map(|mode| (name.as_str(), mode.as_str())));
    }
    // The steps of a small network leave cores idle: a few networks at a time.
    let next = std::sync::Mutex::new(runs.into_iter());
    let failed = std::sync::Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some((name, mode)) = next.lock().unwrap().next() else {
                return;
            };
            let begun = std::time::Instant::now();
            let (off, whose) = compare(&golden, name, mode);
            let spent = begun.elapsed().as_secs_f64();
            println!("{name} {mode}: {off:.1e} of what is allowed, {spent:.1} s");
            if off >= 1.0 {
                let text = format!("{name} {mode}: {off:.2} times what is allowed: {whose}");
                failed.lock().unwrap().push(text);
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores.min(4) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
