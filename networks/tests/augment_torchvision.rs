//! Augmentations against torchvision on Pillow: pixels for given parameters, and how parameters are drawn.
//!
//! The fixtures come from `tests/parity/make_augment_goldens.py`.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod pictures;

use std::collections::BTreeMap;

use pictures::Source;
use rekindle_networks::image::RgbImage;
use rekindle_networks::preprocess::augment::{
    Automatic, Erasing, Jitter, Operation, RandAugment, RandomAffine, RandomPerspective, Rotation,
    Spread,
};
use rekindle_networks::preprocess::{AugmentRecipe, Drawn, Preset};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Fixtures {
    operations: Vec<Operations>,
    drawn: Vec<Pipeline>,
    draws: Draws,
    automatic: Spaces,
}

/// Operations on one picture, and the hash of what torchvision makes of it.
#[derive(Deserialize)]
struct Operations {
    source: Source,
    cases: Vec<(Operation, String)>,
}

#[derive(Deserialize)]
struct Pipeline {
    source: Source,
    crop: u32,
    drawn: Drawn,
    before_erasing: String,
    samples: Vec<(usize, f32)>,
}

/// What many draws of torchvision's `get_params` look like.
#[derive(Deserialize)]
struct Draws {
    count: u64,
    width: u32,
    height: u32,
    statistics: BTreeMap<String, Statistics>,
}

#[derive(Deserialize, Debug)]
struct Statistics {
    mean: f64,
    std: f64,
}

#[derive(Deserialize)]
struct Spaces {
    trivial: BTreeMap<String, Strengths>,
    rand: BTreeMap<String, Strengths>,
}

#[derive(Deserialize)]
struct Strengths {
    strengths: Vec<f64>,
    signed: bool,
}

fn fixtures() -> Fixtures {
    let text = std::fs::read_to_string(pictures::fixtures().join("augment.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The first 16 digits of the SHA-256 of all bytes.
fn digest(picture: &RgbImage) -> String {
    let digest = Sha256::digest(picture.pixels());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A preset whose network sees so many pixels.
fn preset(crop: u32) -> Preset {
    Preset::IMAGENET.with_size(crop).unwrap()
}

#[test]
fn every_operation_makes_torchvisions_pixels() {
    let (mut wrong, mut kinds, mut count) = (Vec::new(), BTreeMap::new(), 0);
    for Operations { source, cases } in fixtures().operations {
        let picture = source.load();
        for (operation, golden) in cases {
            let text = serde_json::to_string(&operation).unwrap();
            let name = text.trim_matches(['{', '"']).split('"').next().unwrap();
            *kinds.entry(name.to_owned()).or_insert(0) += 1;
            count += 1;
            // No difference at all: a hash says so. Integers and tables are Pillow's own, and floats are added up
            // in its order, perspective's eight numbers rounded to 32 bits as torchvision does it.
            if digest(&operation.apply(picture.clone())) != golden {
                wrong.push(format!("{source:?} {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
    assert_eq!(kinds.len(), 17, "{kinds:?}");
}

#[test]
fn drawn_views_are_torchvisions_pipelines() {
    for case in fixtures().drawn {
        let (photo, preset) = (case.source.load(), preset(case.crop));
        let mut before = case.drawn.clone();
        before.operations.pop();
        let seen = preset.drawn_pixels(&photo, &before);
        assert_eq!(digest(&seen), case.before_erasing, "{before:?}");

        let seen = preset.drawn_pixels(&photo, &case.drawn);
        let input = preset.normalise(&seen);
        let mut erased = 0;
        for (index, golden) in case.samples {
            // torchvision erases with 0 behind Normalize: a mean that is no whole level. Elsewhere as f32 rounds.
            let bound = match golden == 0.0 {
                true => 0.5 / 255.0 / 0.224 + 1e-6,
                false => 1e-6,
            };
            erased += usize::from(golden == 0.0);
            let difference = (input[index] - golden).abs();
            assert!(difference < bound, "element {index}: {difference}");
        }
        assert!(erased > 0);
    }
}

/// Fails where many draws are spread in another way than torchvision's.
fn assert_like(name: &str, values: &[f64], golden: &Statistics, count: u64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Both sides are samples: five standard errors of the difference of two means, and 3 % for the spread, whose own
    // standard error is below 0.7 % of it.
    let bound = 5.0 * golden.std * (1.0 / n + 1.0 / count as f64).sqrt() + 1e-9;
    let what = format!("{name}: {mean} ± {std}, torchvision {golden:?}");
    assert!((mean - golden.mean).abs() <= bound, "{what}");
    assert!(
        (std - golden.std).abs() <= 0.03 * golden.std + 1e-9,
        "{what}"
    );
}

#[test]
fn parameters_are_spread_like_torchvisions() {
    let draws = fixtures().draws;
    let recipe = AugmentRecipe {
        jitter: Some(Jitter {
            brightness: Spread::Around(0.4),
            contrast: Spread::Between([0.2, 1.1]),
            saturation: Spread::Around(1.5),
            hue: Spread::Around(0.1),
        }),
        rotation: Some(Rotation {
            degrees: Spread::Between([-10.0, 35.0]),
        }),
        affine: Some(RandomAffine {
            degrees: Spread::Around(20.0),
            translate: [0.1, 0.25],
            scale: [0.7, 1.2],
            shear_x: Spread::Between([-5.0, 15.0]),
            shear_y: Spread::Between([0.0, 8.0]),
        }),
        perspective: Some(RandomPerspective {
            distortion: 0.6,
            p: 1.0,
        }),
        erasing: Some(Erasing {
            p: 1.0,
            ..Erasing::default()
        }),
        ..AugmentRecipe::default()
    };
    recipe.check().unwrap();
    // A network that sees the whole photo: what is drawn is drawn for its size.
    let size = [draws.width, draws.height];
    let whole = Preset::SEGMENTATION.with_size(draws.height).unwrap();
    assert_eq!(whole.placement(size).size, size);

    let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut orders = BTreeMap::new();
    for number in 0..draws.count {
        let mut add = |name: &str, value: f64| found.entry(name.into()).or_default().push(value);
        let mut order = Vec::new();
        for operation in recipe.draw(&whole, size, 3, 4, number).operations {
            let jitter = match operation {
                Operation::Brightness(factor) => Some(("brightness", factor)),
                Operation::Contrast(factor) => Some(("contrast", factor)),
                Operation::Saturation(factor) => Some(("saturation", factor)),
                Operation::Hue(shift) => Some(("hue", shift)),
                _ => None,
            };
            if let Some((name, value)) = jitter {
                order.push(name);
                add(name, value);
                continue;
            }
            match operation {
                Operation::Rotate { angle, .. } => add("angle", angle),
                Operation::Affine {
                    angle,
                    translate: [right, down],
                    scale,
                    shear: [shear_x, shear_y],
                    ..
                } => {
                    add("affine angle", angle);
                    add("right", f64::from(right));
                    add("down", f64::from(down));
                    add("scale", scale);
                    add("shear x", shear_x);
                    add("shear y", shear_y);
                }
                Operation::Perspective { from, to, .. } => {
                    let [right, bottom] = size.map(|side| side as i32 - 1);
                    assert_eq!(from, [[0, 0], [right, 0], [right, bottom], [0, bottom]]);
                    for (corner, [x, y]) in to.into_iter().enumerate() {
                        add(&format!("corner {corner} x"), f64::from(x));
                        add(&format!("corner {corner} y"), f64::from(y));
                    }
                }
                Operation::Erase { area, colour } => {
                    // 0.485, 0.456 and 0.406 of 255.
                    assert_eq!(colour, [124, 116, 104]);
                    let (width, height) = (f64::from(area.width), f64::from(area.height));
                    add("erased area", width * height);
                    add("erased ratio", (height / width).ln());
                    add("erased x", f64::from(area.left) + width / 2.0);
                    add("erased y", f64::from(area.top) + height / 2.0);
                }
                other => panic!("{other:?} is not asked for"),
            }
        }
        assert_eq!(order.len(), 4);
        *orders.entry(order).or_insert(0_u64) += 1;
    }

    assert_eq!(found.len(), draws.statistics.len());
    for (name, golden) in &draws.statistics {
        assert_like(name, &found[name], golden, draws.count);
    }
    // Each of the 24 orders as often.
    assert_eq!(orders.len(), 24);
    assert!(
        orders
            .values()
            .all(|&times| is_share(times, draws.count, 1.0 / 24.0)),
        "{orders:?}"
    );
}

/// Whether something that happens with this probability may have happened so often: within five deviations.
fn is_share(times: u64, of: u64, probability: f64) -> bool {
    let expected = of as f64 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    (times as f64 - expected).abs() <= 5.0 * deviation
}

/// torchvision's name of what an automatic augmentation does, and how strong it is there.
fn named(operation: &Operation) -> (&'static str, f64) {
    let sheared = |degrees: f64| degrees.to_radians().tan();
    match *operation {
        Operation::Brightness(factor) => ("Brightness", factor - 1.0),
        Operation::Contrast(factor) => ("Contrast", factor - 1.0),
        Operation::Saturation(factor) => ("Color", factor - 1.0),
        Operation::Sharpness(factor) => ("Sharpness", factor - 1.0),
        Operation::Posterize(bits) => ("Posterize", f64::from(bits)),
        Operation::Solarize(threshold) => ("Solarize", threshold),
        Operation::AutoContrast => ("AutoContrast", 0.0),
        Operation::Equalize => ("Equalize", 0.0),
        Operation::Rotate { angle, .. } => ("Rotate", angle),
        Operation::Affine {
            translate,
            shear,
            centre,
            ..
        } => match (translate, shear, centre) {
            ([0, 0], [along, 0.0], Some([0.0, 0.0])) if along != 0.0 => ("ShearX", sheared(along)),
            ([0, 0], [0.0, along], Some([0.0, 0.0])) if along != 0.0 => ("ShearY", sheared(along)),
            ([by, 0], [0.0, 0.0], None) if by != 0 => ("TranslateX", f64::from(by)),
            ([0, by], [0.0, 0.0], None) if by != 0 => ("TranslateY", f64::from(by)),
            // By nothing at all, which does not tell which it was.
            _ => ("still", 0.0),
        },
        ref other => panic!("{other:?} is not automatic"),
    }
}

#[test]
fn trivial_augment_chooses_as_torchvision_does() {
    let space = fixtures().automatic.trivial;
    let recipe = AugmentRecipe {
        automatic: Some(Automatic::Trivial),
        ..AugmentRecipe::default()
    };
    let (count, preset) = (60_000, preset(64));
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for number in 0..count {
        let drawn = recipe.draw(&preset, [80, 70], 1, 2, number);
        let (name, value) = match &drawn.operations[..] {
            [] => ("Identity", 0.0),
            [operation] => named(operation),
            more => panic!("{more:?}"),
        };
        found.entry(name).or_default().push(value);
    }
    // Shears by nothing, and moves by less than a pixel (of 31 strengths 0 alone), look alike.
    let still = found.remove("still").unwrap_or_default();
    assert!(is_share(still.len() as u64, count, 4.0 / 14.0 / 31.0));
    assert_eq!(found.len(), space.len());
    for (name, Strengths { strengths, signed }) in &space {
        let found = &found[name.as_str()];
        let moves = matches!(
            name.as_str(),
            "ShearX" | "ShearY" | "TranslateX" | "TranslateY"
        );
        let share = if moves {
            30.0 / 31.0 / 14.0
        } else {
            1.0 / 14.0
        };
        assert!(
            is_share(found.len() as u64, count, share),
            "{name}: {}",
            found.len()
        );
        let whole = |value: f64| {
            if name.starts_with("Translate") {
                value.trunc()
            } else {
                value
            }
        };
        // Each draw is one of torchvision's strengths, and each of these is drawn.
        let mut times = BTreeMap::new();
        for value in found {
            let size = if *signed { value.abs() } else { *value };
            let near = |strength: &f64| (whole(*strength) - size).abs() < 1e-12;
            let place = strengths.iter().position(near);
            let place = place.unwrap_or_else(|| panic!("{name} has no strength {value}"));
            *times
                .entry(whole(strengths[place]).to_bits())
                .or_insert(0_u64) += 1;
        }
        let mut different: Vec<u64> = strengths
            .iter()
            .map(|&size| whole(size).to_bits())
            .collect();
        different.sort_unstable();
        different.dedup();
        let drawn = times.len() + usize::from(moves);
        assert_eq!(drawn, different.len(), "{name}");
        for (size, times) in times {
            let bins = strengths
                .iter()
                .filter(|&&each| whole(each).to_bits() == size)
                .count();
            let of = if moves {
                strengths.len() - 1
            } else {
                strengths.len()
            };
            let share = bins as f64 / of as f64;
            assert!(
                is_share(times, found.len() as u64, share) || share == 1.0,
                "{name} {times}"
            );
        }
        let negative = found.iter().filter(|&&value| value < 0.0).count() as u64;
        if *signed {
            let nonzero = found.iter().filter(|&&value| value != 0.0).count() as u64;
            assert!(
                is_share(negative, nonzero, 0.5),
                "{name}: {negative} negative"
            );
        } else {
            assert_eq!(negative, 0, "{name}");
        }
    }
}

#[test]
fn rand_augment_chooses_as_torchvision_does() {
    let space = fixtures().automatic.rand;
    let (count, wide) = (3_000, Preset::SEGMENTATION.with_size(160).unwrap());
    let size = [224, 160];
    for magnitude in [0, 9, 14, 15, 30] {
        let rand = RandAugment {
            operations: 3,
            magnitude,
        };
        let recipe = AugmentRecipe {
            automatic: Some(Automatic::Rand(rand)),
            ..AugmentRecipe::default()
        };
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        for number in 0..count {
            let operations = recipe.draw(&wide, size, 1, 2, number).operations;
            *times.entry("Identity").or_default() += 3 - operations.len() as u64;
            for (name, value) in operations.iter().map(named) {
                *times.entry(name).or_default() += 1;
                if name == "still" {
                    assert_eq!(magnitude, 0);
                    continue;
                }
                let Strengths { strengths, signed } = &space[name];
                let strength = match strengths.len() {
                    1 => strengths[0],
                    _ => strengths[magnitude as usize],
                };
                let whole = name.starts_with("Translate");
                let strength = if whole { strength.trunc() } else { strength };
                let value = if *signed { value.abs() } else { value };
                assert!(
                    (value - strength).abs() < 1e-12,
                    "{name}: {value}, not {strength}"
                );
            }
        }
        for (name, times) in times {
            let share = if name == "still" {
                4.0 / 14.0
            } else {
                1.0 / 14.0
            };
            assert!(is_share(times, 3 * count, share), "{name}: {times}");
        }
    }
}
