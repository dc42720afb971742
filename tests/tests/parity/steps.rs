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
    for parameter in network.parameters() {
        let found = numbers(parameter.parts()[0].grad(&gradients).unwrap());
        let what = format!("gradient of {}", parameter.name());
        judge(&what, &found, &golden.gradients[parameter.name()]);
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
