//! Steps that no classifier has, against PyTorch: forward, compiled, and the gradients of all that is learnt.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_core::compiled::{Adapter, Precision, Processor, fuse, lower};
use rekindle_core::graph::{Conv, ConvTranspose, Graph, Options, Resample, sketch};
use rekindle_core::network::{Batch, Chance, Network};
use rekindle_core::weights::{Generated, Tensors, state_dict, take};
use rekindle_tests::{relative_error, root, test_adapter};
use serde::Deserialize;

/// What `tests/parity/make_step_goldens.py` writes.
#[derive(Deserialize)]
struct Golden {
    input: [usize; 4],
    output: [usize; 4],
    values: Vec<f32>,
    gradients: BTreeMap<String, Vec<f32>>,
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(root().join("tests/goldens/steps.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn graph(golden: &Golden) -> Graph {
    let [_, channels, rows, columns] = golden.input;
    let up = ConvTranspose::new(4, 3).stride(2).padding(1);
    let up = up.output_padding(1).groups(2).bias();
    let graph = sketch([channels, rows, columns], &Options::default(), |image| {
        image
            .conv("conv", Conv::new(6, 3).stride(2).bias())
            .group_norm("norm", 3, 1e-5)
            .relu()
            .conv_transpose("up", up)
            .resize([7, 9], Resample::Nearest)
            .resize([13, 5], Resample::Bilinear)
            .stage("all")
    });
    graph.unwrap()
}

fn numbers(tensor: Tensor<1>) -> Vec<f32> {
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    data.iter::<f32>().collect()
}

/// Everything in the golden, on one device.
fn agrees(device: &Device, allowed: f64) {
    let golden = golden();
    let graph = graph(&golden);
    let (tensors, report): (Tensors, _) = take(graph.tensors(), &Generated).unwrap();
    assert!(report.missing.is_empty());
    let judge = |what: &str, found: &[f32], truth: &[f32]| {
        let error = relative_error(found, truth);
        println!("{what}: {error:.1e}");
        assert!(error < allowed, "{what}: {error:.2e}");
    };
    let pixels = Generated::input(&golden.input);
    let image = || Tensor::<4>::from_data(TensorData::new(pixels.clone(), golden.input), device);

    let mut network = Network::new(graph.clone(), &state_dict([&tensors]), device).unwrap();
    let made = network.forward(image()).maps();
    assert_eq!(made.dims(), golden.output);
    judge("forward", &numbers(made.flatten(0, 3)), &golden.values);

    network = network.trainable();
    let leaf = image().autodiff().require_grad();
    let given = [(0, Batch::Maps(leaf.clone()))];
    let made = network
        .train(given, &[graph.output()], &mut Chance::new(0))
        .unwrap();
    let loss = made
        .into_iter()
        .next()
        .unwrap()
        .flatten()
        .powi_scalar(2)
        .sum();
    let gradients = loss.backward();
    let found = numbers(leaf.grad(&gradients).unwrap().flatten(0, 3));
    judge("gradient of the image", &found, &golden.gradients["image"]);
    // In PyTorch's order, however the device keeps them.
    let found = pollster::block_on(network.gradients(&gradients)).unwrap();
    assert_eq!(found.len(), network.parameters().count());
    for (name, (_, found)) in found {
        judge(
            &format!("gradient of {name}"),
            &found,
            &golden.gradients[&name],
        );
    }

    let program = fuse(lower(&graph, &state_dict([&tensors]), &[graph.output()]).unwrap());
    let [images, channels, rows, columns] = golden.input;
    let made = if *device == Device::flex() {
        let fill = |some: Range<usize>, to: &mut [f32]| {
            let planes = pixels
                .chunks_exact(channels * rows * columns)
                .skip(some.start);
            for (image, planes) in to.chunks_exact_mut(channels * rows * columns).zip(planes) {
                for (at, value) in planes.iter().enumerate() {
                    let (channel, position) = (at / (rows * columns), at % (rows * columns));
                    image[position * channels + channel] = *value;
                }
            }
        };
        Processor::new(program).run(images, fill).remove(0)
    } else {
        let adapter = Adapter::new(program, device, Precision::Full);
        let made = adapter.run(image().permute([0, 2, 3, 1])).remove(0);
        numbers(made.flatten(0, 3))
    };
    let [_, filters, rows, columns] = golden.output;
    let positions = rows * columns;
    let turned: Vec<f32> = (0..made.len())
        .map(|at| {
            let (plane, position) = (at / positions, at % positions);
            let (image, filter) = (plane / filters, plane % filters);
            made[(image * positions + position) * filters + filter]
        })
        .collect();
    judge("compiled", &turned, &golden.values);
}

#[test]
fn group_norm_resizing_and_transposed_convolution_are_pytorchs() {
    agrees(&Device::flex(), 1e-4);
}

#[test]
fn group_norm_resizing_and_transposed_convolution_are_pytorchs_on_wgsl() {
    if let Some(open) = test_adapter() {
        agrees(&open.device, 1e-3);
    }
}

/// A network with everything that is drawn at random, and a skip over it.
fn random_network(device: &Device) -> Network {
    let graph = sketch([4, 6, 5], &Options::default(), |image| {
        let stem = image
            .conv("stem", Conv::new(4, 3).bias())
            .relu()
            .stage("stem");
        let branch = stem
            .conv("branch", Conv::new(4, 1).bias())
            .stochastic_depth(0.5);
        let sum = (stem.clone() + branch).dropout(0.25).stage("block");
        let pooled = sum.global_average().flatten().tap("features");
        pooled.dropout(0.5).linear("fc", 3).stage("head")
    });
    let graph = graph.unwrap();
    let (tensors, _) = take(graph.tensors(), &Generated).unwrap();
    Network::new(graph, &state_dict([&tensors]), device).unwrap()
}

fn images(device: &Device) -> Batch {
    let shape = [16, 4, 6, 5];
    Batch::Maps(Tensor::<4>::from_data(
        TensorData::new(Generated::input(&shape), shape),
        device,
    ))
}

#[test]
fn a_network_runs_from_any_values_to_any_others() {
    let device = Device::flex();
    let network = random_network(&device);
    let graph = network.graph();
    let value = |name: &str| graph.value(name).unwrap();
    let wanted = ["stem", "block", "features", "output"].map(value);
    let whole = network.run([(0, images(&device))], &wanted).unwrap();
    let logits = |made: Vec<Batch>| numbers(made.into_iter().last().unwrap().flatten());
    let truth = logits(whole.clone());
    for (given, name) in whole.iter().zip(["stem", "block", "features"]) {
        let rest = network
            .run([(value(name), given.clone())], &[value("output")])
            .unwrap();
        assert_eq!(logits(rest), truth, "from {name}");
    }
    // What does not follow from what is given is an error, and nothing else runs.
    let features = whole[2].clone();
    assert!(
        network
            .run([(value("features"), features)], &[value("block")])
            .is_err()
    );
}

#[test]
fn what_is_left_out_in_training_follows_from_seed_and_step_on_every_device() {
    let draw = |device: &Device, mut chance: Chance| {
        let mut network = random_network(device);
        let wanted = [network.graph().output()];
        let made = network
            .train([(0, images(device))], &wanted, &mut chance)
            .unwrap();
        numbers(made.into_iter().next().unwrap().flatten())
    };
    let device = Device::flex();
    let mut chance = Chance::new(7);
    let first = draw(&device, chance);
    chance.advance();
    let second = draw(&device, chance);
    assert_ne!(first, second);
    // Seed and step are all there is to save.
    let saved = serde_json::to_string(&chance).unwrap();
    assert_eq!(draw(&device, serde_json::from_str(&saved).unwrap()), second);
    assert_eq!(draw(&device, Chance::at(7, 1)), second);
    assert_ne!(draw(&device, Chance::new(8)), first);
    // A network that answers leaves nothing out: it says the same however often it is asked.
    let network = random_network(&device);
    let wanted = [network.graph().output()];
    let answer = || {
        network
            .run([(0, images(&device))], &wanted)
            .unwrap()
            .remove(0)
    };
    assert_eq!(numbers(answer().flatten()), numbers(answer().flatten()));
    if let Some(open) = test_adapter() {
        let error = relative_error(&draw(&open.device, chance), &second);
        assert!(error < 1e-5, "{error:.1e}");
    }
}
