//! More images at a time than WebGPU's default bindings hold.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use burn::tensor::Device;
use rekindle_core::backbone::find;
use rekindle_core::device::DeviceError;
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::random::Random;
use rekindle_core::tune::{
    Aims, Descent, Draws, Engine as _, Given, Labels, Optimizer, Rate, Stepwise,
};
use rekindle_core::weights::Generated;
use rekindle_tests::{relative_error, test_adapter};

/// A network with generated weights, which takes images of 224 pixels.
fn model(device: &Device) -> Model {
    let architecture = find("shufflenet_v2_x0_5").unwrap();
    Model::pretrained(architecture, &architecture.weights[0], &Generated, device).unwrap()
}

/// Noise, no two alike.
fn photos(count: usize) -> Vec<RgbImage> {
    let mut random = Random::new(7);
    let photos = (0..count).map(|_| {
        let bytes = (0..3 * 224 * 224).map(|_| random.below(256) as u8);
        RgbImage::new(224, 224, bytes.collect()).unwrap()
    });
    photos.collect()
}

/// Its largest maps are 24 × 112 × 112 numbers: 111 images' fit into 128 MiB. One test, because what
/// fails on an adapter must not be seen by another.
#[test]
fn large_batches_are_answered_in_parts_and_trained_on_or_refused() {
    let Some(open) = test_adapter() else {
        return;
    };
    let limits = open.info.adapter.as_ref().unwrap().limits;
    println!("bindings of {} MiB", limits.max_binding >> 20);
    let photos = photos(112);
    let truth = pollster::block_on(model(&Device::flex()).read_features(&photos)).unwrap();
    let frozen = model(&open.device);
    let answer = || pollster::block_on(frozen.read_features(&photos)).unwrap();
    let error = relative_error(&answer(), &truth);
    println!("features of {} photos: {error:.1e}", photos.len());
    assert!(error < 1e-4, "{error:.1e}");

    // A step needs the whole batch: batch norm does.
    let images: Vec<usize> = (0..photos.len()).collect();
    let classes = frozen.card.classes.len();
    let aims = Aims {
        labels: Labels::Classes(images.clone()),
        answers: classes,
        weights: vec![1.0; classes],
        smoothing: 0.0,
    };
    let rate = Rate {
        rate: 0.1,
        decays: false,
    };
    let names = frozen.graph().tensors();
    let rates = names.map(|(name, _)| (name, rate)).collect();
    let mut engine = Stepwise::new(frozen.network().clone(), &open.device);
    let step = async {
        let goal = aims.goal(&images, &[&images], None);
        let draws = Draws {
            first: 0,
            seed: 0,
            batch: 0,
            mix: None,
        };
        engine.accumulate(Given::images(frozen.batch(&photos)), &goal, &draws);
        engine.descend(&Descent {
            optimizer: &Optimizer::ADAMW,
            rates: &rates,
            factor: 1.0,
            momentum: None,
            clip: None,
        });
        engine.losses().await.map(|losses| losses[0])
    };
    match pollster::block_on(step) {
        Ok(loss) => assert!(
            loss.is_finite() && limits.max_binding > 128 << 20,
            "a loss of {loss}"
        ),
        Err(error @ DeviceError::TooLarge { .. }) => println!("a step: {error}"),
        Err(error) => panic!("{error}"),
    }
    // And nothing is lost by that.
    assert!(relative_error(&answer(), &truth) < 1e-4);
}
