//! Every architecture is the network that torchvision (or timm) publishes: same weights, same input,
//! same output of every stage.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod dense;
mod steps;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use burn::tensor::{DType, Device, Tensor, TensorData};
use rekindle_core::backbone::{
    Architecture, IMAGENET_CLASSES, architectures, find, interpolate_position_embedding,
};
use rekindle_core::compiled::{Adapter, Precision, Processor, Program, fuse, lower};
use rekindle_core::graph::Options;
use rekindle_core::network::{Batch, Network};
use rekindle_core::task::Task;
use rekindle_core::weights::{Generated, TensorSource, WeightsError, state_dict, take};
use rekindle_tests::{Golden, is_asked_for, is_nightly, relative_error, sample, test_adapter};

/// Relative error of a stage, the features or the logits, allowed on burn-flex.
const ON_THE_PROCESSOR: f64 = 1e-4;
/// The same on WGSL.
const ON_WGSL: f64 = 1e-3;
/// The networks that are compiled for WGSL in every run: together they have every kind of step.
const COMPILED_ON_WGSL: [&str; 6] = [
    "squeezenet1_1",
    "mobilenet_v3_small",
    "densenet121",
    "shufflenet_v2_x0_5",
    "vit_tiny_patch16_224",
    "swin_t",
];
/// Networks beyond these numbers are run at their own size, or at all, only with `REKINDLE_NIGHTLY`.
const MANY_MACS: u64 = 40_000_000_000;
const MANY_PARAMETERS: u64 = 310_000_000;

fn read(tensor: Tensor<1>) -> Vec<f32> {
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    data.iter::<f32>().collect()
}

/// Height and width out of `97x81`.
fn parse(size: &str) -> [usize; 2] {
    let (height, width) = size.split_once('x').unwrap();
    [height.parse().unwrap(), width.parse().unwrap()]
}

/// Runs one architecture at one size and returns the error of each thing that the golden holds.
fn errors(
    architecture: &Architecture,
    golden: &Golden,
    size: &str,
    weights: &dyn TensorSource,
    device: &Device,
) -> Vec<(String, f64)> {
    let [height, width] = parse(size);
    let network = network(architecture, size, &Options::default(), weights, device);
    let graph = Arc::clone(network.graph());
    let shape = [2, 3, height, width];
    let input = TensorData::new(Generated::input(&shape), shape);
    let image = (0, Batch::Maps(Tensor::from_data(input, device)));
    let mut errors = Vec::new();
    let mut compare = |key: String, values: Vec<f32>| {
        if let Some(truth) = golden.tensors.get(&format!("{size}/{key}")) {
            errors.push((format!("{size}/{key}"), relative_error(&values, truth)));
        }
    };
    let stages = &graph.stages()[..graph.backbone_stages()];
    let ends = ["features", "logits"].map(|name| graph.value(name).unwrap());
    let wanted: Vec<usize> = stages
        .iter()
        .map(|stage| stage.output)
        .chain(ends)
        .collect();
    let mut made = network.run([image], &wanted).unwrap().into_iter();
    for (stage, activation) in stages.iter().zip(&mut made) {
        assert_eq!(
            activation.dims()[1..],
            stage.shape,
            "{} says what it puts out",
            stage.name
        );
        if let (Some(stride), &[_, rows, _]) = (stage.stride, &stage.shape[..]) {
            assert!(
                rows.abs_diff(height.div_ceil(stride)) <= 4,
                "{}: {rows} rows, stride {stride}",
                stage.name,
            );
        }
        let key = format!("stage/{}", stage.name);
        compare(key, sample(&read(activation.flatten())));
    }
    for (name, end) in ["features", "logits"].into_iter().zip(made) {
        compare(name.to_owned(), read(end.flatten()));
    }
    errors
}

/// A network with these weights, from the image to the logits.
fn network(
    architecture: &Architecture,
    size: &str,
    options: &Options,
    weights: &dyn TensorSource,
    device: &Device,
) -> Network {
    let [height, width] = parse(size);
    let graph = architecture.whole_graph([3, height, width], options, IMAGENET_CLASSES);
    let graph = graph.unwrap();
    let (tensors, report) = take(graph.tensors(), weights).unwrap();
    assert!(
        report.missing.is_empty() && report.misshaped.is_empty(),
        "{report:?}"
    );
    Network::new(graph, &state_dict([&tensors]), device).unwrap()
}

/// The same comparison for the network as it is compiled: once with every stage put out, once with the
/// logits alone, where more can be fused.
fn compiled_errors(
    architecture: &Architecture,
    golden: &Golden,
    size: &str,
    weights: &dyn TensorSource,
    device: &Device,
    precision: Precision,
) -> Vec<(String, f64)> {
    let [height, width] = parse(size);
    let graph = architecture.whole_graph([3, height, width], &Options::default(), IMAGENET_CLASSES);
    let graph = graph.unwrap();
    let (tensors, report) = take(graph.tensors(), weights).unwrap();
    assert!(report.missing.is_empty() && report.misshaped.is_empty());
    let shape = [2, 3, height, width];
    let input = Generated::input(&shape);
    let run = |wanted: &[usize]| {
        let program = fuse(lower(&graph, &state_dict([&tensors]), wanted).unwrap());
        run_compiled(program, &input, shape, device, precision)
    };
    let mut errors = Vec::new();
    let mut compare = |key: &str, values: &[f32]| {
        if let Some(truth) = golden.tensors.get(&format!("{size}/{key}")) {
            let error = relative_error(values, truth);
            errors.push((format!("{size}/compiled/{key}"), error));
        }
    };
    let wanted: Vec<usize> = graph.stages().iter().map(|stage| stage.output).collect();
    for (stage, values) in graph.stages().iter().zip(run(&wanted)) {
        if stage.name == "head" {
            compare("logits", &values);
            continue;
        }
        let values = channels_first(values, &stage.shape);
        compare(&format!("stage/{}", stage.name), &sample(&values));
    }
    compare("logits", &run(&wanted[wanted.len() - 1..])[0]);
    errors
}

/// What a compiled network puts out for two images, channels last.
///
/// # Shapes
///
/// - input: `shape`, which is `[2, 3, H, W]`
fn run_compiled(
    program: Program,
    input: &[f32],
    shape: [usize; 4],
    device: &Device,
    precision: Precision,
) -> Vec<Vec<f32>> {
    if *device != Device::flex() {
        let images = Tensor::from_data(TensorData::new(input.to_vec(), shape), device);
        let outputs = Adapter::new(program, device, precision).run(images.permute([0, 2, 3, 1]));
        let flat = outputs.into_iter().map(|output| output.flatten(0, 3));
        return flat.map(read).collect();
    }
    let positions = shape[2] * shape[3];
    let channels_last = |some: Range<usize>, images: &mut [f32]| {
        let planes = input.chunks_exact(3 * positions).skip(some.start);
        for (image, planes) in images.chunks_exact_mut(3 * positions).zip(planes) {
            for (index, value) in planes.iter().enumerate() {
                image[index % positions * 3 + index / positions] = *value;
            }
        }
    };
    let processor = Processor::new(program);
    // Twice: what the first run left in the buffers must not show.
    processor.run(2, channels_last);
    processor.run(2, channels_last)
}

/// Maps that lie channels last, as PyTorch lays them.
///
/// # Shapes
///
/// - shape: of one image; what is no map stays as it is
fn channels_first(values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
    let &[channels, rows, columns] = shape else {
        return values;
    };
    let positions = rows * columns;
    let place = |index: usize| {
        let (plane, position) = (index / positions, index % positions);
        let (image, channel) = (plane / channels, plane % channels);
        (image * positions + position) * channels + channel
    };
    (0..values.len())
        .map(|index| values[place(index)])
        .collect()
}

/// Every network that answers with logits of the whole photo.
fn classifiers() -> impl Iterator<Item = &'static Architecture> {
    architectures().filter(|architecture| architecture.task == Task::Classify)
}

/// Checks one size of one architecture.
fn check(name: &str, golden: &Golden, size: &str, device: &Device, allowed: f64) {
    let architecture = find(name).unwrap();
    let errors = errors(architecture, golden, size, &Generated, device);
    let held = golden
        .tensors
        .keys()
        .filter(|key| key.starts_with(&format!("{size}/")))
        .count();
    assert_eq!(
        errors.len(),
        held,
        "{name} {size}: everything in the golden was compared"
    );
    judge(name, size, &errors, allowed);
    // A driver made of software takes a second for each shader, and a compiled network has its own.
    let is_quick = *device == Device::flex() || COMPILED_ON_WGSL.contains(&name);
    if !is_quick && !is_nightly() {
        println!("{name} compiled {size}: on WGSL only with REKINDLE_NIGHTLY");
        return;
    }
    let errors = compiled_errors(
        architecture,
        golden,
        size,
        &Generated,
        device,
        Precision::Full,
    );
    judge(&format!("{name} compiled"), size, &errors, allowed);
}

/// Prints the worst error, and fails on any that is too large.
fn judge(name: &str, size: &str, errors: &[(String, f64)], allowed: f64) {
    let worst = errors.iter().map(|(_, error)| *error).fold(0.0, f64::max);
    println!(
        "{name} {size}: worst relative error {worst:.1e} over {} tensors",
        errors.len()
    );
    for (key, error) in errors {
        assert!(
            *error < allowed,
            "{name} {key}: relative error {error:.2e}, allowed {allowed:.0e}"
        );
    }
}

/// The sizes that a golden holds, those the network was not trained for first.
fn sizes(golden: &Golden) -> Vec<String> {
    let sizes: BTreeSet<&str> = golden
        .tensors
        .keys()
        .filter_map(|key| key.split_once('/'))
        .map(|(size, _)| size)
        .filter(|size| size.contains('x'))
        .collect();
    let mut sizes: Vec<String> = sizes.into_iter().map(str::to_owned).collect();
    sizes.sort_by_key(|size| parse(size).iter().product::<usize>());
    sizes
}

/// The large networks hold gigabytes each: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Compares an architecture at both sizes, or, when it is large, at as many as there is time for.
fn on_the_processor(name: &str) {
    let architecture = find(name).unwrap();
    let golden = Golden::read(name);
    let sizes = sizes(&golden);
    // MaxViT takes multiples of 224 only, and torchvision's takes squares only.
    let expected = if name == "maxvit_t" { 1 } else { 2 };
    assert_eq!(sizes.len(), expected, "{name}: so many sizes");
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let is_huge = architecture.params() > MANY_PARAMETERS;
    let is_slow = architecture.macs() > MANY_MACS;
    for (index, size) in sizes.iter().enumerate() {
        if !is_nightly() && (is_huge || (is_slow && index > 0)) {
            println!("{name} {size}: only with REKINDLE_NIGHTLY");
            continue;
        }
        check(name, &golden, size, &Device::flex(), ON_THE_PROCESSOR);
    }
}

macro_rules! matrix {
    ($($name:ident)+) => {
        mod agrees_with_torch {
            $(#[test]
            fn $name() {
                super::on_the_processor(stringify!($name));
            })+
        }

        #[test]
        fn no_architecture_escapes_the_matrix() {
            let tested: BTreeSet<&str> = [$(stringify!($name)),+].into();
            let known: BTreeSet<&str> = classifiers().map(|a| a.name).collect();
            assert_eq!(tested, known);
        }
    };
}

matrix! {
    alexnet
    vgg11
    vgg11_bn
    vgg13
    vgg13_bn
    vgg16
    vgg16_bn
    vgg19
    vgg19_bn
    resnet18
    resnet34
    resnet50
    resnet101
    resnet152
    resnext50_32x4d
    resnext101_32x8d
    resnext101_64x4d
    wide_resnet50_2
    wide_resnet101_2
    densenet121
    densenet161
    densenet169
    densenet201
    googlenet
    inception_v3
    squeezenet1_0
    squeezenet1_1
    shufflenet_v2_x0_5
    shufflenet_v2_x1_0
    shufflenet_v2_x1_5
    shufflenet_v2_x2_0
    mobilenet_v2
    mobilenet_v3_large
    mobilenet_v3_small
    mobilenetv4_conv_small
    mobilenetv4_conv_medium
    mnasnet0_5
    mnasnet0_75
    mnasnet1_0
    mnasnet1_3
    efficientnet_b0
    efficientnet_b1
    efficientnet_b2
    efficientnet_b3
    efficientnet_b4
    efficientnet_b5
    efficientnet_b6
    efficientnet_b7
    efficientnet_v2_s
    efficientnet_v2_m
    efficientnet_v2_l
    efficientnet_lite0
    efficientnet_lite1
    efficientnet_lite2
    efficientnet_lite3
    efficientnet_lite4
    regnet_y_400mf
    regnet_y_800mf
    regnet_y_1_6gf
    regnet_y_3_2gf
    regnet_y_8gf
    regnet_y_16gf
    regnet_y_32gf
    regnet_y_128gf
    regnet_x_400mf
    regnet_x_800mf
    regnet_x_1_6gf
    regnet_x_3_2gf
    regnet_x_8gf
    regnet_x_16gf
    regnet_x_32gf
    convnext_tiny
    convnext_small
    convnext_base
    convnext_large
    vit_b_16
    vit_b_32
    vit_l_16
    vit_l_32
    vit_h_14
    vit_tiny_patch16_224
    vit_small_patch16_224
    vit_small_patch32_224
    vit_base_patch16_224
    swin_t
    swin_s
    swin_b
    swin_v2_t
    swin_v2_s
    swin_v2_b
    maxvit_t
    coatnet_0_rw_224
}

/// Weights at 224 pixels, their position embedding resampled for 96.
struct Interpolated;

impl TensorSource for Interpolated {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        Generated.shape(name, wanted)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        if name != "encoder.pos_embedding" {
            return Generated.values(name, shape);
        }
        let large = Generated::tensor(name, &[1, 197, 768]);
        Ok(interpolate_position_embedding(&large, 768, 14, 6))
    }
}

#[test]
fn position_embeddings_are_interpolated_as_torchvision_does() {
    let mut golden = Golden::read("vit_b_16");
    let embedding = Interpolated
        .values("encoder.pos_embedding", &[1, 37, 768])
        .unwrap();
    let error = relative_error(
        &sample(&embedding),
        &golden.tensors["interpolated/pos_embedding"],
    );
    assert!(error < 1e-5, "embedding: {error:.2e}");

    let logits = golden.tensors.remove("interpolated/logits").unwrap();
    golden.tensors.clear();
    golden.tensors.insert("96x96/logits".to_owned(), logits);
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::flex();
    let errors = errors(
        find("vit_b_16").unwrap(),
        &golden,
        "96x96",
        &Interpolated,
        &device,
    );
    let [(_, error)] = errors[..] else {
        panic!("the logits were compared")
    };
    assert!(error < 1e-4, "logits: {error:.2e}");
}

/// GoogLeNet's and Inception's classifiers half-way up, and the step that turns torchvision's
/// normalisation into Google's.
#[test]
fn inception_branches_are_torchvisions() {
    let device = Device::flex();
    for name in ["googlenet", "inception_v3"] {
        let golden = Golden::read(name);
        let truth = |key: &str| &golden.tensors[&format!("branched/{key}")];
        let architecture = find(name).unwrap();
        let side = architecture.input_size;
        let shape = [2, 3, side, side];
        let images = || {
            let data = TensorData::new(Generated::input(&shape), shape);
            Tensor::<4>::from_data(data, &device)
        };
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
        let size = format!("{side}x{side}");
        let build = |options| network(architecture, &size, &options, &Generated, &device);
        let run = |network: &Network, wanted: &[usize]| -> Vec<Vec<f32>> {
            let made = network.run([(0, Batch::Maps(images()))], wanted).unwrap();
            made.into_iter().map(|made| read(made.flatten())).collect()
        };

        let with_auxiliary = build(Options {
            auxiliary: Some(IMAGENET_CLASSES),
            ..Options::default()
        });
        let outputs = with_auxiliary.graph().outputs().iter();
        let auxiliary = outputs.filter(|output| output.auxiliary);
        let wanted: Vec<usize> = auxiliary.map(|output| output.value).collect();
        let held = golden
            .tensors
            .keys()
            .filter(|key| key.contains("auxiliary"));
        assert_eq!(wanted.len(), held.count(), "{name}");
        for (index, found) in run(&with_auxiliary, &wanted).into_iter().enumerate() {
            let error = relative_error(&found, truth(&format!("auxiliary.{index}")));
            println!("{name} auxiliary {index}: {error:.1e}");
            assert!(error < ON_THE_PROCESSOR, "{name} {index}: {error:.2e}");
        }

        let transformed = build(Options {
            transform_input: true,
            ..Options::default()
        });
        let found = &run(&transformed, &[transformed.graph().output()])[0];
        let error = relative_error(found, truth("transformed"));
        assert!(error < ON_THE_PROCESSOR, "{name} transformed: {error:.2e}");
    }
}

#[test]
fn generated_weights_are_the_ones_python_makes() {
    let path = rekindle_tests::root().join("tests/goldens/generator.json");
    let text = std::fs::read_to_string(path).unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(entries.len() > 5);
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        let first: Vec<f32> = serde_json::from_value(entry["first"].clone()).unwrap();
        let values = match name {
            "input" => Generated::input(&shape),
            _ => Generated::tensor(name, &shape),
        };
        assert_eq!(values[..first.len()], first[..], "{name}");
        let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
        let expected = entry["sum"].as_f64().unwrap();
        assert!(
            (sum - expected).abs() < 1e-6 * values.len() as f64,
            "{name}: {sum} {expected}"
        );
    }
}

/// The same on WGSL, through a software Vulkan adapter: the smallest member of each family at the
/// small size. With `REKINDLE_NIGHTLY` every member, and those of moderate size at their own too;
/// `REKINDLE_NETWORKS` picks some.
#[test]
fn on_wgsl_every_family_agrees() {
    /// What a driver made of software does in about ten seconds.
    const MODERATE_MACS: u64 = 6_000_000_000;
    let Some(open) = test_adapter() else {
        return;
    };
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let mut members: Vec<_> = classifiers().collect();
    members.sort_by_key(|member| member.macs());
    let mut families = BTreeSet::new();
    members.retain(|member| families.insert(member.family) || is_nightly());
    members.retain(|member| is_asked_for(member.name));
    for member in members {
        let golden = Golden::read(member.name);
        let mut sizes = sizes(&golden);
        if !is_nightly() || member.macs() > MODERATE_MACS {
            sizes.truncate(1);
        }
        for size in sizes {
            check(member.name, &golden, &size, &open.device, ON_WGSL);
        }
        open.device.memory_cleanup();
    }
}

/// Frozen networks with numbers of 16 bits: three decimal digits each, through all their layers.
#[test]
fn in_half_precision_networks_agree_to_a_hundredth() {
    let Some(open) = test_adapter() else {
        return;
    };
    if !open.device.supports_dtype(DType::F16) {
        println!("skipped: this adapter has no half-precision floats");
        return;
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    for name in [
        "squeezenet1_1",
        "mobilenet_v3_small",
        "vit_tiny_patch16_224",
    ] {
        let golden = Golden::read(name);
        let size = &sizes(&golden)[0];
        let errors = compiled_errors(
            find(name).unwrap(),
            &golden,
            size,
            &Generated,
            &open.device,
            Precision::Half,
        );
        judge(&format!("{name} in half precision"), size, &errors, 1e-2);
    }
}
