//! Photos as the network sees them, against torchvision on Pillow.
//!
//! The fixtures come from `tests/parity/make_preprocess_goldens.py`.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod pictures;

use pictures::{Source, load};
use rekindle_networks::image::RgbImage;
use rekindle_networks::preprocess::{Augmentation, CropBox, Interpolation, Preset, View};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Fixtures {
    crops: Vec<CropCase>,
    views: Vec<ViewCase>,
    draws: Vec<Draws>,
}

#[derive(Deserialize)]
struct CropCase {
    source: Source,
    preset: Preset,
    pixels: Pixels,
    samples: Vec<(usize, f32)>,
}

#[derive(Deserialize)]
struct ViewCase {
    source: Source,
    preset: Preset,
    area: CropBox,
    flip: bool,
    pixels: Pixels,
    samples: Vec<(usize, f32)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pixels {
    File(String),
    Sha256(String),
}

/// What many draws of torchvision's `RandomResizedCrop.get_params` look like.
#[derive(Deserialize)]
struct Draws {
    width: u32,
    height: u32,
    scale: [f32; 2],
    ratio: [f32; 2],
    count: u32,
    area: Statistics,
    log_ratio: Statistics,
    centre_x: Statistics,
    centre_y: Statistics,
}

#[derive(Deserialize, Debug)]
struct Statistics {
    mean: f64,
    std: f64,
}

impl Pixels {
    /// The largest difference of a byte to torchvision's.
    fn worst_difference(&self, seen: &RgbImage) -> u8 {
        match self {
            Pixels::File(name) => {
                let golden = load(name);
                assert_eq!(
                    (seen.width(), seen.height()),
                    (golden.width(), golden.height()),
                    "size of {name}"
                );
                let pairs = seen.pixels().iter().zip(golden.pixels());
                pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
            }
            // A hash cannot say how far off a picture is, only that it is.
            Pixels::Sha256(golden) => {
                let digest = Sha256::digest(seen.pixels());
                let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                if *golden == digest { 0 } else { u8::MAX }
            }
        }
    }
}

fn fixtures() -> Fixtures {
    let text = std::fs::read_to_string(pictures::fixtures().join("preprocess/cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The numbers differ by less than f32 rounding in either order of operations can explain.
fn assert_samples(input: &[f32], seen: [u32; 2], samples: &[(usize, f32)], what: &Source) {
    assert_eq!(input.len(), 3 * (seen[0] * seen[1]) as usize);
    for &(index, golden) in samples {
        let difference = (input[index] - golden).abs();
        assert!(
            difference < 1e-6,
            "{what:?}: element {index} is {}, not {golden}",
            input[index]
        );
    }
}

#[test]
fn every_pixel_of_every_crop_and_of_whole_photos_is_torchvisions() {
    let crops = fixtures().crops;
    let real: std::collections::BTreeSet<_> = crops
        .iter()
        .filter_map(|case| match &case.source {
            Source::File(name) => Some(name.clone()),
            Source::Noise { .. } => None,
        })
        .collect();
    assert!(crops.iter().any(|case| case.preset.crop().is_none()));
    assert!(real.len() >= 8, "only {} photos", real.len());

    for case in crops {
        let seen = case.preset.crop_pixels(&case.source.load());
        // The requirement is 1; the arithmetic is Pillow's own, so nothing is left to allow for.
        assert_eq!(
            case.pixels.worst_difference(&seen),
            0,
            "{:?} {:?}",
            case.source,
            case.preset
        );
    }
}

#[test]
fn the_numbers_after_normalisation_are_torchvisions() {
    for case in fixtures().crops {
        let photo = case.source.load();
        let seen = case.preset.placement([photo.width(), photo.height()]);
        let input = case.preset.apply(&photo);
        assert_samples(&input, seen.size, &case.samples, &case.source);
    }
}

#[test]
fn cropped_and_mirrored_views_are_torchvisions() {
    for case in fixtures().views {
        let photo = case.source.load();
        let view = View::Cropped {
            area: case.area,
            flip: case.flip,
        };
        let seen = case.preset.view_pixels(&photo, &view);
        assert_eq!(
            case.pixels.worst_difference(&seen),
            0,
            "{:?} {view:?}",
            case.source
        );
        let input = case.preset.apply_view(&photo, &view);
        let side = case.preset.side();
        assert_samples(&input, [side; 2], &case.samples, &case.source);
    }
}

#[test]
fn the_plain_view_is_the_crop_of_prediction() {
    for case in fixtures().crops {
        let photo = case.source.load();
        assert_eq!(
            case.preset.apply_view(&photo, &View::Plain),
            case.preset.apply(&photo)
        );
    }
}

#[test]
fn random_boxes_are_spread_like_torchvisions() {
    for draws in fixtures().draws {
        let views = Augmentation::new(draws.scale, draws.ratio, 0.5).unwrap();
        let (width, height) = (f64::from(draws.width), f64::from(draws.height));
        let mut columns: [Vec<f64>; 4] = Default::default();
        for number in 1..=draws.count {
            let view = views.view(draws.width, draws.height, 3, 4, number);
            let View::Cropped { area, .. } = view else {
                panic!("{view:?} is not random")
            };
            let (left, top) = (f64::from(area.left), f64::from(area.top));
            let (w, h) = (f64::from(area.width), f64::from(area.height));
            columns[0].push(w * h / (width * height));
            columns[1].push((w / h).ln());
            columns[2].push((left + w / 2.0) / width);
            columns[3].push((top + h / 2.0) / height);
        }
        let expected = [
            &draws.area,
            &draws.log_ratio,
            &draws.centre_x,
            &draws.centre_y,
        ];
        let names = ["area", "log ratio", "centre x", "centre y"];
        for ((column, golden), name) in columns.iter().zip(expected).zip(names) {
            let n = f64::from(draws.count);
            let mean = column.iter().sum::<f64>() / n;
            let std = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            // Both sides are samples: five standard errors of the difference of two means, and
            // 3 % for the spread, whose own standard error is below 0.7 % of it.
            let bound = 5.0 * golden.std * (2.0 / n).sqrt() + 1e-9;
            let what = format!("{name} of {width}×{height}: {mean} ± {std}, expected {golden:?}");
            assert!((mean - golden.mean).abs() <= bound, "{what}");
            assert!(
                (std - golden.std).abs() <= 0.03 * golden.std + 1e-9,
                "{what}"
            );
        }
    }
}

#[test]
fn both_filters_are_covered() {
    let crops = fixtures().crops;
    for filter in [Interpolation::Bilinear, Interpolation::Bicubic] {
        let count = crops
            .iter()
            .filter(|case| case.preset.interpolation() == filter)
            .count();
        assert!(count >= 8, "{count} cases of {filter:?}");
    }
}
