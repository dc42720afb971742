//! Every architecture is the network that torchvision (or timm) publishes: same weights, same input,
//! same output of every stage.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::sync::Mutex;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_core::backbone::{Activation, Architecture, find, interpolate_position_embedding};
use rekindle_core::device::{self, Preference};
use rekindle_core::head::{Head, HeadKind};
use rekindle_core::neck;
use rekindle_core::weights::{Generated, TensorSource, WeightsError, fill};
use rekindle_tests::{Golden, relative_error, sample};

fn read(tensor: Tensor<1>) -> Vec<f32> {
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    data.iter::<f32>().collect()
}

/// Runs one architecture at one size and returns the error of each thing that the golden holds.
fn errors(
    architecture: &Architecture,
    golden: &Golden,
    size: &str,
    weights: &dyn TensorSource,
    device: &Device,
) -> Vec<(String, f64)> {
    let (height, width) = size.split_once('x').unwrap();
    let [height, width]: [usize; 2] = [height.parse().unwrap(), width.parse().unwrap()];
    let backbone = (architecture.build)(height, device);
    let namer = backbone.clone();
    let (backbone, report) = fill(backbone, weights, &|path| namer.torch_name(path)).unwrap();
    assert!(
        report.missing.is_empty() && report.misshaped.is_empty(),
        "{report:?}"
    );

    let head = Head::new(
        &HeadKind::Original,
        architecture.head,
        architecture.features,
        1000,
        device,
    );
    let prefix = head.torch_prefix(architecture.head);
    let (head, report) = fill(head, weights, &|path| format!("{prefix}.{path}")).unwrap();
    assert!(
        report.missing.is_empty() && report.misshaped.is_empty(),
        "{report:?}"
    );

    let shape = [2, 3, height, width];
    let input = TensorData::new(Generated::input(&shape), shape);
    let mut activation = Activation::Map(Tensor::from_data(input, device));
    let mut errors = Vec::new();
    let mut compare = |key: String, values: Vec<f32>| {
        if let Some(truth) = golden.tensors.get(&format!("{size}/{key}")) {
            errors.push((format!("{size}/{key}"), relative_error(&values, truth)));
        }
    };
    for (index, stage) in backbone.stages().iter().enumerate() {
        activation = backbone.run(index, activation);
        let dims = activation.dims();
        let channels = if dims.len() == 4 { dims[1] } else { dims[2] };
        assert_eq!(
            channels, stage.channels,
            "{} says how many channels it puts out",
            stage.name
        );
        if dims.len() == 4 {
            let rows = height.div_ceil(stage.stride);
            assert!(
                dims[2].abs_diff(rows) <= 2,
                "{}: {} rows, stride {}",
                stage.name,
                dims[2],
                stage.stride
            );
        }
        let key = format!("stage/{}", stage.name);
        compare(key, sample(&read(activation.clone().flatten())));
    }
    let features = neck::pool(activation.clone());
    assert_eq!(features.dims(), [2, architecture.features]);
    compare("features".to_owned(), read(features.flatten(0, 1)));
    compare(
        "logits".to_owned(),
        read(head.forward(activation).flatten(0, 1)),
    );
    errors
}

/// Checks one size of one architecture and returns the worst error.
fn check(name: &str, size: &str, device: &Device, allowed: f64) -> f64 {
    let golden = Golden::read(name);
    let errors = errors(find(name).unwrap(), &golden, size, &Generated, device);
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
    let worst = errors.iter().map(|(_, error)| *error).fold(0.0, f64::max);
    for (key, error) in &errors {
        assert!(
            *error < allowed,
            "{name} {key}: relative error {error:.2e}, allowed {allowed:.0e}"
        );
    }
    println!(
        "{name} {size}: worst relative error {worst:.1e} over {} tensors",
        errors.len()
    );
    worst
}

/// The large networks hold half a gigabyte each: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

macro_rules! on_the_processor {
    ($($name:ident: $($size:literal),+;)+) => {
        mod on_the_processor {
            use super::*;
            $(#[test]
            fn $name() {
                let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
                $(check(stringify!($name), $size, &Device::flex(), 1e-5);)+
            })+
        }
    };
}

on_the_processor! {
    squeezenet1_0: "224x224", "97x81";
    squeezenet1_1: "224x224", "97x81";
    efficientnet_lite0: "224x224", "97x81";
    resnet18: "224x224", "97x81";
    resnet34: "224x224", "97x81";
    resnet50: "224x224", "97x81";
    resnet101: "224x224", "97x81";
    resnet152: "224x224", "97x81";
    resnext50_32x4d: "224x224", "97x81";
    resnext101_32x8d: "224x224", "97x81";
    resnext101_64x4d: "224x224", "97x81";
    wide_resnet50_2: "224x224", "97x81";
    wide_resnet101_2: "224x224", "97x81";
    vit_b_16: "224x224", "96x96";
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

/// The same on WGSL, through a software Vulkan adapter. Slow there: the large networks run at the
/// small size only, unless `REKINDLE_NIGHTLY` is set.
#[test]
fn on_wgsl_every_architecture_agrees() {
    let open = match pollster::block_on(device::open(Preference::Software)) {
        Ok(open) => open,
        Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
            println!("skipped, as asked: {error}");
            return;
        }
        Err(error) => panic!(
            "{error}: install a software Vulkan driver (Debian: mesa-vulkan-drivers), or set REKINDLE_NO_SOFTWARE_GPU=1 to leave this test out"
        ),
    };
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let nightly = std::env::var_os("REKINDLE_NIGHTLY").is_some();
    for architecture in rekindle_core::backbone::ARCHITECTURES
        .iter()
        .flat_map(|a| a.iter())
    {
        let small = if architecture.input_multiple == 16 {
            "96x96"
        } else {
            "97x81"
        };
        check(architecture.name, small, &open.device, 1e-3);
        if nightly || architecture.macs < 4_000_000_000 {
            check(architecture.name, "224x224", &open.device, 1e-3);
        }
        open.device.memory_cleanup();
    }
}
