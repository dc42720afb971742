//! The bundled weights on the bundled photos: the same answers as torchvision and timm give, on the
//! processor and on WGSL, before and after a trip through a model file.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use rekindle_core::backbone::find;
use rekindle_core::device::Device;
use rekindle_core::graph::{Options, sketch};
use rekindle_core::head::HeadKind;
use rekindle_core::image::RgbImage;
use rekindle_core::kernels::normalise;
use rekindle_core::model::{METADATA_KEY, Model, ModelError};
use rekindle_core::network::{Batch, Network};
use rekindle_core::postprocess::softmax;
use rekindle_core::train::{FeatureCache, HeadRecipe, fit};
use rekindle_core::weights::{StorageDtype, WeightFile, state_dict, write_safetensors};
use rekindle_tests::{Golden, TempDir, photos, program, relative_error, root, test_adapter};

const NETWORKS: [&str; 2] = ["squeezenet1_1", "efficientnet_lite0"];

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(root().join(format!("assets/weights/{name}.safetensors"))).unwrap()
}

fn decode(path: &Path) -> RgbImage {
    let picture = image::open(path)
        .unwrap_or_else(|e| panic!("{path:?}: {e}"))
        .into_rgb8();
    RgbImage::new(picture.width(), picture.height(), picture.into_raw()).unwrap()
}

fn crops(model: &Model, paths: &[PathBuf]) -> Vec<RgbImage> {
    paths
        .iter()
        .map(|path| model.card.preset.crop_pixels(&decode(path)))
        .collect()
}

fn logits(model: &Model, crops: &[RgbImage]) -> Vec<Vec<f32>> {
    crops
        .chunks(8)
        .flat_map(|batch| pollster::block_on(model.logits(batch)).unwrap())
        .collect()
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    data.iter::<f32>().collect()
}

fn best(row: &[f32]) -> usize {
    (0..row.len())
        .max_by(|&a, &b| row[a].total_cmp(&row[b]))
        .unwrap()
}

/// The photos that a golden lists under this key: their names, and where they lie.
fn listed(golden: &Golden, key: &str) -> (Vec<String>, Vec<PathBuf>) {
    let names: Vec<String> = serde_json::from_value(golden.card[key].clone()).unwrap();
    let folder = root().join("assets/photos");
    let paths = names.iter().map(|name| folder.join(name)).collect();
    (names, paths)
}

#[test]
fn every_photo_gets_the_answers_that_torch_gives() {
    let golden = Golden::read("real");
    let (names, paths) = listed(&golden, "photos");
    for network in NETWORKS {
        let model = Model::open(bytes(network), &Device::flex()).unwrap();
        let index = &golden.tensors[&format!("{network}/top5/index")];
        let logit = &golden.tensors[&format!("{network}/top5/logit")];
        let rows = logits(&model, &crops(&model, &paths));
        let mut worst = 0.0_f32;
        for (photo, row) in rows.iter().enumerate() {
            let five = photo * 5..photo * 5 + 5;
            assert_eq!(
                best(row),
                index[five.start] as usize,
                "{network}: top-1 of {}",
                names[photo]
            );
            for (&class, &truth) in index[five.clone()].iter().zip(&logit[five]) {
                worst = worst.max((row[class as usize] - truth).abs());
            }
        }
        println!(
            "{network}: worst difference of a top-5 logit {worst:.1e} over {} photos",
            rows.len()
        );
        assert!(worst < 1e-3, "{network}: {worst}");
    }
}

/// From the bytes of a JPEG to the logits, by the program itself: decoder, transforms and network together.
#[test]
fn jpeg_photos_get_torchs_logits_at_every_subsampling() {
    let golden = Golden::read("jpeg");
    let names: Vec<String> = serde_json::from_value(golden.card["photos"].clone()).unwrap();
    let folder = TempDir::new();
    for network in NETWORKS {
        let output = std::process::Command::new(program())
            .args([
                "predict", network, "--json", "--quiet", "--device", "cpu", "--top", "1000",
            ])
            .args(
                names
                    .iter()
                    .map(|name| root().join("tests/goldens/jpeg").join(name)),
            )
            .current_dir(folder.path())
            .env("REKINDLE_ASSETS", root().join("assets"))
            .env("XDG_CACHE_HOME", folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let truth = &golden.tensors[&format!("{network}/logits")];
        assert_eq!(text.lines().count() * 1000, truth.len());
        for ((line, truth), name) in text.lines().zip(truth.chunks(1000)).zip(&names) {
            let answer: serde_json::Value = serde_json::from_str(line).unwrap();
            let top = answer["top"].as_array().unwrap();
            assert_eq!(top.len(), 1000);
            let worst = top.iter().map(|class| {
                let index = class["index"].as_u64().unwrap() as usize;
                (class["logit"].as_f64().unwrap() as f32 - truth[index]).abs()
            });
            let worst = worst.fold(0.0, f32::max);
            println!("{network} on {name}: worst difference of a logit {worst:.1e}");
            assert!(worst < 1e-3, "{network} on {name}: {worst}");
        }
    }
}

#[test]
fn pooled_features_are_torchs() {
    let golden = Golden::read("real");
    let (_, paths) = listed(&golden, "feature_photos");
    for network in NETWORKS {
        let model = Model::open(bytes(network), &Device::flex()).unwrap();
        let crops = crops(&model, &paths);
        let features = pollster::block_on(model.read_features(&crops)).unwrap();
        let error = relative_error(&features, &golden.tensors[&format!("{network}/features")]);
        assert!(error < 1e-4, "{network}: {error:.1e}");
    }
}

#[test]
fn a_panda_is_a_panda() {
    let model = Model::open(bytes("efficientnet_lite0"), &Device::flex()).unwrap();
    let panda = root().join("assets/photos/animal/panda.webp");
    let answers = pollster::block_on(model.predict(&crops(&model, &[panda]), 5)).unwrap();
    assert_eq!(answers[0][0].class, "giant panda");
}

/// Trains a head on a few photos of two classes.
fn trained(network: &str, recipe: &HeadRecipe, device: &Device) -> (Model, Vec<RgbImage>) {
    let model = Model::open(bytes(network), device).unwrap();
    let all = photos();
    let of = |class: &str| {
        all.iter()
            .filter(|p| p.parent().unwrap().ends_with(class))
            .take(6)
            .cloned()
            .collect::<Vec<_>>()
    };
    let (fish, mills) = (of("fish"), of("windmill"));
    let crops = crops(&model, &[fish, mills].concat());
    let width = model.graph().features();
    let mut cache = FeatureCache::new(width, 1);
    let features = pollster::block_on(model.read_features(&crops)).unwrap();
    for (number, row) in features.chunks_exact(width).enumerate() {
        cache.push(number / 6, row).unwrap();
    }
    let examples = cache.all_views(&(0..12).collect::<Vec<_>>());
    let slot = model.architecture().head;
    let fitted = pollster::block_on(fit(recipe, examples, 2, slot, 0, device)).unwrap();
    let classes = vec!["fish".to_owned(), "windmill".to_owned()];
    (model.with_head(fitted.kind, fitted.head, classes), crops)
}

#[test]
fn a_model_file_keeps_answers_and_bytes() {
    for network in NETWORKS {
        for recipe in [HeadRecipe::default(), HeadRecipe::mlp()] {
            let (model, crops) = trained(network, &recipe, &Device::flex());
            let file = model.save().unwrap();
            assert!(file == model.save().unwrap(), "saved twice, the same bytes");
            let again = Model::open(file.clone(), &Device::flex()).unwrap();
            assert_eq!(again.card, model.card);
            assert!(
                file == again.save().unwrap(),
                "opened and saved, the same bytes"
            );
            assert_eq!(logits(&again, &crops), logits(&model, &crops));

            let names: Vec<_> = WeightFile::parse(&file)
                .unwrap()
                .tensors()
                .keys()
                .cloned()
                .collect();
            let sorted = names.is_sorted();
            assert!(
                sorted && names.iter().any(|name| name.starts_with("classifier")),
                "{names:?}"
            );
        }
    }
}

#[test]
fn squeezenets_lifted_head_is_the_linear_head_it_was_solved_as() {
    let (model, crops) = trained("squeezenet1_1", &HeadRecipe::default(), &Device::flex());
    let HeadKind::Linear { lift } = model.card.head else {
        panic!("a linear head")
    };
    assert!(lift > 0.0);
    let graph = model.graph();
    let wanted = ["logits", "features"].map(|name| graph.value(name).unwrap());
    let image = (0, Batch::Maps(model.batch(&crops)));
    let made = model.network().run([image], &wanted).unwrap();
    let [through_relu, features] = <[Batch; 2]>::try_from(made).unwrap();
    // The same layer on pooled features, where no ReLU is.
    let (kind, slot) = (model.card.head, model.slot());
    let on_features = sketch([graph.features()], &Options::default(), |features| {
        kind.on_features(slot, features, 2).stage("head")
    });
    let head = state_dict([model.head_tensors()]);
    let head = Network::new(on_features.unwrap(), &head, &Device::flex()).unwrap();
    let linear = head.run([(0, features)], &[head.graph().output()]).unwrap();
    let linear = read(linear.into_iter().next().unwrap().features());
    let through_relu = read(through_relu.features());
    for (a, b) in through_relu.chunks(2).zip(linear.chunks(2)) {
        assert!((softmax(a)[0] - softmax(b)[0]).abs() < 1e-3, "{a:?} {b:?}");
    }
}

#[test]
fn the_wrong_files_are_refused_with_their_reason() {
    let device = Device::flex();
    let lite = bytes("efficientnet_lite0");
    assert!(matches!(
        Model::open(Vec::new(), &device),
        Err(ModelError::Weights(_))
    ));
    assert!(matches!(
        Model::open(lite[..lite.len() / 2].to_vec(), &device),
        Err(ModelError::Weights(_))
    ));

    let file = WeightFile::parse(&lite).unwrap();
    let resnet = find("resnet18").unwrap();
    let error = Model::pretrained(resnet, &resnet.weights[0], &file, &device).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");

    // The same file under a card that claims another network, a later format, no classes.
    let card = &file.metadata()[METADATA_KEY];
    let with = |from: &str, to: &str| {
        assert!(card.contains(from));
        let card = card.replacen(from, to, 1);
        let tensors = file.tensors().iter().map(|(name, view)| {
            (
                name.clone(),
                (view.shape().to_vec(), view.to_f32().unwrap().into()),
            )
        });
        let metadata = [(METADATA_KEY.to_owned(), card)].into();
        let dtype = StorageDtype::F16;
        let tensors = tensors.collect();
        let bytes = write_safetensors(&state_dict([&tensors]), &metadata, dtype);
        Model::open(bytes.unwrap(), &device).unwrap_err()
    };
    let other = with("\"efficientnet_lite0\"", "\"squeezenet1_1\"");
    assert!(matches!(other, ModelError::Mismatch { .. }), "{other}");
    let unknown = with("\"efficientnet_lite0\"", "\"efficientnet_b9\"");
    assert!(matches!(unknown, ModelError::Architecture(_)), "{unknown}");
    assert!(matches!(
        with("\"format\": 1", "\"format\": 9"),
        ModelError::Newer { found: 9 }
    ));
    assert!(matches!(
        with("\"crop\": 224", "\"crop\": 0"),
        ModelError::Card(_)
    ));
}

/// Everything that needs the software adapter, in one test: it is opened once a process.
#[test]
fn wgsl_gives_the_same_answers() {
    let Some(open) = test_adapter() else {
        return;
    };

    // Our kernel and the host's arithmetic.
    let (model, crops) = trained("squeezenet1_1", &HeadRecipe::default(), &Device::flex());
    let preset = model.card.preset;
    let truth: Vec<f32> = crops[..3]
        .iter()
        .flat_map(|crop| preset.normalise(crop))
        .collect();
    for device in [&open.device, &Device::flex()] {
        let found = read(normalise(&crops[..3], &preset, device));
        let worst = found
            .iter()
            .zip(&truth)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            found.len() == truth.len() && worst < 1e-6,
            "normalise: {worst}"
        );
    }

    // A head trained here answers alike there.
    let file = model.save().unwrap();
    let there = Model::open(file.clone(), &open.device).unwrap();
    for (here, there) in logits(&model, &crops[4..8])
        .iter()
        .zip(logits(&there, &crops[4..8]))
    {
        let (here, there) = (softmax(here), softmax(&there));
        assert!((here[0] - there[0]).abs() < 1e-3, "{here:?} {there:?}");
    }

    // And a head trained there is the same head.
    let (twin, _) = trained("squeezenet1_1", &HeadRecipe::default(), &open.device);
    for (a, b) in logits(&model, &crops[4..8])
        .iter()
        .zip(logits(&twin, &crops[4..8]))
    {
        assert!((softmax(a)[0] - softmax(&b)[0]).abs() < 1e-3, "{a:?} {b:?}");
    }
}
