//! Drawn views made on an adapter beside the processor's, which are torchvision's and Pillow's: no difference at all.

use super::{opened, pick};
use crate::backbone::find;
use crate::image::RgbImage;
use crate::kernels::adapter::pretend;
use crate::kernels::made_views;
use crate::model::Model;
use crate::preprocess::augment::{
    AugmentRecipe, Drawn, Erasing, Fill, Filter, Jitter, Operation, RandomAffine, RandomCrop,
    RandomPerspective, Rotation, Spread, Staged,
};
use crate::preprocess::{CropBox, Interpolation, Preset, View};
use crate::random::Random;
use crate::weights::Generated;
use rekindle_shaders::Tier;

const SIDE: u32 = 33;

fn preset(interpolation: Interpolation) -> Preset {
    Preset::new(
        SIDE + 5,
        SIDE,
        interpolation,
        [0.485, 0.456, 0.406],
        [0.229, 0.224, 0.225],
    )
    .unwrap()
}

/// Edges, gradients, flat parts and noise; few values in some, so that floats come out whole.
fn photo(random: &mut Random, width: u32, height: u32) -> RgbImage {
    let coarse = pick(random, &[1, 5, 17, 51]);
    let bytes = (0..3 * width * height).map(|at| match at / (3 * width) / 7 % 4 {
        0 => (at * 5 % 256) as u8,
        1 => 255 * u8::from(at / 50 % 2 == 0),
        _ => (random.below(256) / coarse * coarse) as u8,
    });
    RgbImage::new(width, height, bytes.collect()).unwrap()
}

/// Compares views made on the adapter, all in one batch.
fn agree(views: &[(RgbImage, Drawn)], preset: &Preset, most: usize) {
    let Some(open) = opened() else { return };
    let staged: Vec<Staged> = views
        .iter()
        .map(|(photo, drawn)| preset.stage(photo, drawn, most))
        .collect();
    let found = super::read(made_views(&staged, preset, &open.device));
    let numbers = found.len() / views.len();
    let mut wrong = Vec::new();
    for ((photo, drawn), found) in views.iter().zip(found.chunks(numbers)) {
        let truth = preset.normalise(&preset.drawn_pixels(photo, drawn));
        assert_eq!(truth.len(), numbers);
        let differ = found.iter().zip(&truth).filter(|(a, b)| a != b).count();
        if differ > 0 {
            wrong.push(format!("{differ} of {numbers} for {photo:?} {drawn:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        views.len()
    );
}

fn fill(random: &mut Random) -> Fill {
    Fill {
        filter: pick(
            random,
            &[Filter::Bilinear, Filter::Bilinear, Filter::Nearest],
        ),
        colour: pick(random, &[[0; 3], [9, 200, 77]]),
    }
}

/// All 17 operations, with parameters that do much, little, nothing and too much.
fn operations(random: &mut Random) -> Vec<Operation> {
    use Operation::*;
    let mut all = vec![Flip, FlipVertical, Grey, Invert, Equalize, AutoContrast];
    for factor in [
        0.0,
        1e-30,
        0.1,
        1.0 / 3.0,
        0.5,
        0.9,
        1.0,
        1.1,
        1.9,
        7.0,
        1e30,
        f64::MAX,
    ] {
        all.extend([
            Brightness(factor),
            Contrast(factor),
            Saturation(factor),
            Sharpness(factor),
        ]);
    }
    all.extend([-0.5, -0.2, -0.01, 0.0, 0.003, 0.1, 0.33, 0.5].map(Hue));
    all.extend([1, 2, 5, 8].map(Posterize));
    all.extend([-1.0, 0.0, 13.5, 128.0, 255.0, 256.0].map(Solarize));
    for angle in [
        0.0, 90.0, 180.0, 270.0, -90.0, 30.0, 45.0, -120.0, 1e-7, 359.5, 12.34,
    ] {
        let fill = fill(random);
        all.push(Rotate { angle, fill });
    }
    for (angle, translate, scale, shear, centre) in [
        (0.0, [3, -4], 1.0, [0.0; 2], None),
        (0.0, [0; 2], 1.0, [16.0, 0.0], Some([0.0; 2])),
        (0.0, [0; 2], 1.0, [0.0, -44.7], Some([0.0; 2])),
        (0.0, [0; 2], 1.25, [0.0; 2], None),
        (0.0, [0; 2], 0.3, [0.0; 2], None),
        (33.0, [1, 2], 0.7, [5.0, -9.0], Some([4.5, 30.0])),
        (90.0, [0; 2], 1.1, [0.0; 2], None),
        // So far away that the processor makes it.
        (33.0, [0; 2], 1e-4, [0.0; 2], None),
        (0.0, [40, 0], 1.0, [0.0; 2], None),
    ] {
        for filter in [Filter::Bilinear, Filter::Nearest] {
            let fill = Fill {
                filter,
                ..fill(random)
            };
            all.push(Affine {
                angle,
                translate,
                scale,
                shear,
                centre,
                fill,
            });
        }
    }
    let last = SIDE as i32 - 1;
    let from = [[0, 0], [last, 0], [last, last], [0, last]];
    for to in [
        [[3, 2], [last - 7, 1], [last, last - 9], [5, last]],
        [[0, 0], [last, 10], [last, last - 10], [0, last]],
        [[16, 16], [17, 0], [last, last], [0, last]],
        // Three in a line: nothing.
        [[0, 0], [0, 0], [last, last], [0, last]],
        from,
    ] {
        for filter in [Filter::Bilinear, Filter::Nearest] {
            let fill = Fill {
                filter,
                ..fill(random)
            };
            all.push(Perspective { from, to, fill });
        }
    }
    for [left, top, width, height] in [
        [3, 4, 9, 5],
        [30, 30, 30, 30],
        [0, 0, 33, 33],
        [90, 0, 1, 1],
    ] {
        let area = CropBox {
            left,
            top,
            width,
            height,
        };
        all.push(Erase {
            area,
            colour: [1, 2, 3],
        });
    }
    all
}

#[test]
fn every_operation_gives_the_processors_pixels() {
    let mut random = Random::new(61);
    for tier in [Tier::Software, Tier::Baseline] {
        pretend(tier);
        let mut views = Vec::new();
        for operation in operations(&mut random) {
            let drawn = Drawn {
                operations: vec![operation],
                ..Drawn::of(View::Plain)
            };
            views.push((photo(&mut random, SIDE + 9, SIDE + 5), drawn));
        }
        // One colour: nothing to stretch, no hue.
        for operation in [
            Operation::Equalize,
            Operation::AutoContrast,
            Operation::Hue(0.2),
            Operation::Contrast(2.0),
        ] {
            let flat = RgbImage::new(40, 40, [7, 7, 200].repeat(1600)).unwrap();
            let drawn = Drawn {
                operations: vec![operation],
                ..Drawn::of(View::Plain)
            };
            views.push((flat, drawn));
        }
        agree(&views, &preset(Interpolation::Bilinear), 1 << 20);
    }
}

/// Everything that a recipe can ask for.
fn everything() -> AugmentRecipe {
    AugmentRecipe {
        flip: 0.5,
        vertical_flip: 0.5,
        grey: 0.2,
        fill: [20, 30, 40],
        crop: Some(RandomCrop::default()),
        jitter: Some(Jitter {
            brightness: Spread::Around(0.4),
            contrast: Spread::Around(0.4),
            saturation: Spread::Around(0.4),
            hue: Spread::Around(0.1),
        }),
        rotation: Some(Rotation {
            degrees: Spread::Around(30.0),
        }),
        affine: Some(RandomAffine::default()),
        perspective: Some(RandomPerspective::default()),
        erasing: Some(Erasing::default()),
        ..AugmentRecipe::default()
    }
}

#[test]
fn drawn_views_of_every_recipe_give_the_processors_pixels() {
    let mut random = Random::new(62);
    let named = AugmentRecipe::NAMES
        .iter()
        .map(|name| AugmentRecipe::named(name).unwrap());
    let nearest = AugmentRecipe {
        filter: Filter::Nearest,
        ..everything()
    };
    let recipes: Vec<_> = named.chain([everything(), nearest]).collect();
    pretend(Tier::Software);
    for (number, interpolation) in [Interpolation::Bilinear, Interpolation::Bicubic]
        .into_iter()
        .enumerate()
    {
        // Grey pictures, and a crop larger than what it is cut from, which is filled up with black.
        let preset = match number {
            0 => preset(interpolation),
            _ => Preset::new(SIDE - 6, SIDE, interpolation, [0.5; 3], [0.5; 3])
                .unwrap()
                .greyscale(),
        };
        let mut views = Vec::new();
        for recipe in &recipes {
            for number in 0..10 {
                // Much too large, much too small, wide, tall.
                let [width, height] = pick(
                    &mut random,
                    &[[150, 110], [20, 9], [200, 24], [7, 160], [1, 1]],
                );
                let photo = photo(&mut random, width, height);
                let drawn = recipe.draw(&preset, [width, height], 5, views.len() as u64, number);
                views.push((photo, drawn));
            }
        }
        // Parts that take more than a few kilobytes are resized before.
        agree(&views, &preset, 1 << (20 - 7 * number));
    }
}

#[test]
fn no_view_and_a_view_of_one_pixel_are_views() {
    let Some(open) = opened() else { return };
    let preset = Preset::new(1, 1, Interpolation::Bilinear, [0.0; 3], [1.0; 3]).unwrap();
    assert_eq!(made_views(&[], &preset, &open.device).dims(), [0, 3, 1, 1]);
    let photo = RgbImage::new(1, 1, vec![51, 102, 255]).unwrap();
    let operations = vec![
        Operation::Sharpness(2.0),
        Operation::Contrast(0.5),
        Operation::Flip,
    ];
    let drawn = Drawn {
        operations,
        ..Drawn::of(View::Plain)
    };
    agree(&[(photo, drawn)], &preset, 1 << 20);
}

#[test]
fn a_mean_between_two_bytes_is_the_upper_one() {
    let preset = Preset::new(2, 2, Interpolation::Bilinear, [0.0; 3], [1.0; 3]).unwrap();
    let photo = RgbImage::new(2, 2, [[10; 3], [11; 3], [11; 3], [10; 3]].concat()).unwrap();
    let drawn = Drawn {
        operations: vec![Operation::Contrast(0.0)],
        ..Drawn::of(View::Plain)
    };
    assert_eq!(preset.drawn_pixels(&photo, &drawn).pixels(), [11; 12]);
    agree(&[(photo, drawn)], &preset, 1 << 20);
}

#[test]
fn a_model_finds_that_its_adapter_makes_views_right() {
    let Some(open) = opened() else { return };
    pretend(Tier::Software);
    let architecture = find("shufflenet_v2_x0_5").unwrap();
    let weights = &architecture.weights[0];
    let mut model = Model::pretrained(architecture, weights, &Generated, &open.device).unwrap();
    model.card.preset = model.card.preset.with_size(32).unwrap();
    for recipe in [AugmentRecipe::named("strong").unwrap(), everything()] {
        let right = model.makes_views_right(&recipe);
        assert!(pollster::block_on(right).unwrap(), "{recipe:?}");
    }
}
