//! Photos prepared on an adapter beside Pillow's arithmetic, which the processor's path is to the bit.

use burn::tensor::wgpu::wgpu;

use super::{opened, pick, read};
use crate::image::RgbImage;
use crate::kernels::adapter::pretend;
use crate::kernels::{normalise, of_frame, views};
use crate::preprocess::{CropBox, Interpolation, Preset, View};
use crate::random::Random;
use rekindle_shaders::Tier;

/// Hard edges and noise, where rounding shows.
fn photo(random: &mut Random, width: u32, height: u32) -> RgbImage {
    let bytes = (0..3 * width * height).map(|index| match index / 40 % 3 {
        0 => 0,
        1 => 255,
        _ => random.below(256) as u8,
    });
    RgbImage::new(width, height, bytes.collect()).unwrap()
}

fn preset(random: &mut Random) -> Preset {
    let crop = pick(random, &[7, 16, 33]);
    let resize = crop + pick(random, &[0, 1, 6]);
    let interpolation = pick(random, &[Interpolation::Bilinear, Interpolation::Bicubic]);
    let mean = [0.485, 0.456, 0.406];
    Preset::new(resize, crop, interpolation, mean, [0.25; 3]).unwrap()
}

/// One level in 255, after division by the standard deviation.
const ALLOWED: f32 = 1.0 / 255.0 / 0.25 + 1e-4;

fn compare(what: &str, found: &[f32], truth: &[f32]) {
    assert_eq!(found.len(), truth.len(), "{what}");
    for (index, (found, truth)) in found.iter().zip(truth).enumerate() {
        assert!(
            (found - truth).abs() <= ALLOWED,
            "{what}: number {index} is {found}, should be {truth}"
        );
    }
}

#[test]
fn views_of_photos_are_pillows_within_one_level() {
    let Some(open) = opened() else { return };
    let mut random = Random::new(51);
    for tier in [Tier::Software, Tier::Baseline] {
        pretend(tier);
        for round in 0..16 {
            let mut preset = preset(&mut random);
            if round % 5 == 4 {
                preset = preset.greyscale();
            }
            let photos: Vec<RgbImage> = (0..1 + round % 3)
                .map(|_| {
                    let (width, height) =
                        (1 + random.below(120) as u32, 1 + random.below(90) as u32);
                    photo(&mut random, width, height)
                })
                .collect();
            let seen: Vec<(&RgbImage, View)> = photos
                .iter()
                .map(|photo| {
                    let (width, height) = (photo.width(), photo.height());
                    let (left, top) = (
                        random.below(width as usize) as u32,
                        random.below(height as usize) as u32,
                    );
                    let area = CropBox {
                        left,
                        top,
                        width: 1 + random.below((width - left) as usize) as u32,
                        height: 1 + random.below((height - top) as usize) as u32,
                    };
                    let flip = random.below(2) == 1;
                    match random.below(3) {
                        0 => (photo, View::Plain),
                        _ => (photo, View::Cropped { area, flip }),
                    }
                })
                .collect();
            let truth: Vec<f32> = seen
                .iter()
                .flat_map(|(photo, view)| preset.apply_view(photo, view))
                .collect();
            let found = read(views(&seen, &preset, &open.device));
            compare(&format!("{seen:?} {preset:?}"), &found, &truth);
        }
    }
}

#[test]
fn whole_photos_of_any_aspect_are_pillows_within_one_level() {
    let Some(open) = opened() else { return };
    let mut random = Random::new(54);
    for tier in [Tier::Software, Tier::Baseline] {
        pretend(tier);
        for (width, height) in [(61, 23), (23, 61), (40, 40), (1, 90), (200, 31), (3, 7)] {
            let preset = preset(&mut random).without_crop();
            let photos = [(); 2].map(|()| photo(&mut random, width, height));
            let seen = photos.each_ref().map(|photo| (photo, View::Plain));
            let size = preset.placement([width, height]).size;
            let found = views(&seen, &preset, &open.device);
            let shape = [2, 3, size[1] as usize, size[0] as usize];
            assert_eq!(found.dims(), shape, "{width}×{height} {preset:?}");
            let truth: Vec<f32> = photos
                .iter()
                .flat_map(|photo| preset.apply(photo))
                .collect();
            let what = format!("{width}×{height} {preset:?}");
            compare(&what, &read(found), &truth);
            // What was cut out before is only normalised.
            let pictures = photos.each_ref().map(|photo| preset.crop_pixels(photo));
            let found = normalise(&pictures, &preset, &open.device);
            assert_eq!(found.dims(), shape, "{what}");
            compare(&what, &read(found), &truth);
        }
    }
}

#[test]
fn crops_are_only_normalised() {
    let Some(open) = opened() else { return };
    let mut random = Random::new(52);
    let preset = preset(&mut random);
    let crops = [(); 3].map(|()| photo(&mut random, preset.side(), preset.side()));
    let truth: Vec<f32> = crops
        .iter()
        .flat_map(|crop| preset.normalise(crop))
        .collect();
    let found = read(normalise(&crops, &preset, &open.device));
    let worst = found
        .iter()
        .zip(&truth)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 2e-6, "{worst}");
}

#[test]
fn a_picture_on_the_adapter_is_seen_without_being_read_back() {
    let Some(open) = opened() else { return };
    let mut random = Random::new(53);
    // Widths whose rows must be padded to be copied, and one that need not.
    for (width, height) in [(61, 45), (64, 80), (200, 31)] {
        let preset = preset(&mut random);
        let rgba: Vec<u8> = (0..4 * width * height)
            .map(|_| random.below(256) as u8)
            .collect();
        let frame = open.frame(width, height).unwrap();
        frame.queue().write_texture(
            frame.texture().as_image_copy(),
            &rgba,
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(4 * width),
                rows_per_image: None,
            },
            frame.texture().size(),
        );
        let photo = RgbImage::from_rgba(width, height, &rgba).unwrap();
        let found = of_frame(&frame, &View::Plain, &preset, &open.device).unwrap();
        compare(
            &format!("{width}×{height}"),
            &read(found),
            &preset.apply(&photo),
        );
    }
    assert!(open.frame(1, 1 << 20).is_none());
}
