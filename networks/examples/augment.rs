//! How long each augmentation takes for a picture of 224×224 pixels, on one core:
//!
//!     cargo run --release -p rekindle-networks --example augment

use std::hint::black_box;
use std::time::Instant;

use rekindle_networks::image::{ImageError, RgbImage};
use rekindle_networks::preprocess::augment::{
    AugmentError, Fill, Filter, Jitter, Operation, Spread,
};
use rekindle_networks::preprocess::{AugmentRecipe, CropBox, Preset, View};
use rekindle_networks::random::Random;

/// Views that are timed together.
const VIEWS: u64 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let small = picture(224, 224)?;
    let fill = Fill {
        filter: Filter::Bilinear,
        colour: [0; 3],
    };
    let nearest = Fill {
        filter: Filter::Nearest,
        ..fill
    };
    let area = CropBox {
        left: 30,
        top: 40,
        width: 80,
        height: 60,
    };
    let to = [[10, 5], [215, 20], [200, 210], [3, 190]];
    let from = [[0, 0], [223, 0], [223, 223], [0, 223]];
    let affine = |fill| Operation::Affine {
        angle: 10.0,
        translate: [3, 4],
        scale: 1.1,
        shear: [5.0, 0.0],
        centre: None,
        fill,
    };
    println!("microseconds for 224×224 pixels");
    for (name, operation) in [
        ("flip", Operation::Flip),
        ("brightness", Operation::Brightness(1.2)),
        ("contrast", Operation::Contrast(1.2)),
        ("saturation", Operation::Saturation(1.2)),
        ("hue", Operation::Hue(0.1)),
        ("sharpness", Operation::Sharpness(1.5)),
        ("grey", Operation::Grey),
        ("posterize", Operation::Posterize(4)),
        ("solarize", Operation::Solarize(128.0)),
        ("equalize", Operation::Equalize),
        ("autocontrast", Operation::AutoContrast),
        ("rotate, bilinear", Operation::Rotate { angle: 20.0, fill }),
        ("affine, bilinear", affine(fill)),
        ("affine, nearest", affine(nearest)),
        (
            "perspective, bilinear",
            Operation::Perspective { from, to, fill },
        ),
        (
            "erase",
            Operation::Erase {
                area,
                colour: [0; 3],
            },
        ),
    ] {
        report(name, || drop(operation.apply(small.clone())));
    }

    let photo = picture(500, 375)?;
    let preset = Preset::IMAGENET;
    println!("microseconds for {VIEWS} views of a photo of 500×375 pixels, drawn and made");
    let mut jitter = AugmentRecipe::named("standard")?;
    let to_both_sides = Spread::Around(0.4);
    jitter.jitter = Some(Jitter {
        brightness: to_both_sides,
        contrast: to_both_sides,
        saturation: to_both_sides,
        hue: Spread::Around(0.1),
    });
    let named = AugmentRecipe::NAMES.iter();
    let named = named.map(|&name| AugmentRecipe::named(name).map(|recipe| (name, recipe)));
    let mut recipes = named.collect::<Result<Vec<_>, AugmentError>>()?;
    recipes.push(("standard and jitter", jitter));
    for (name, recipe) in recipes {
        report(name, || {
            // Views differ in what they take, so that one time is that of several.
            for number in 0..VIEWS {
                let drawn = recipe.draw(&preset, [500, 375], 1, 2, number);
                black_box(preset.drawn_pixels(&photo, &drawn));
            }
        });
    }
    report("one as at prediction", || {
        drop(black_box(preset.view_pixels(&photo, &View::Plain)));
    });
    Ok(())
}

fn picture(width: u32, height: u32) -> Result<RgbImage, ImageError> {
    let mut random = Random::new(1);
    let bytes = (0..width * height * 3).map(|_| random.next_u64() as u8);
    RgbImage::new(width, height, bytes.collect())
}

/// The least of many times, which is what the work takes when nothing else goes on.
fn report(name: &str, mut work: impl FnMut()) {
    const TIMES: u32 = 200;
    let times = (0..TIMES).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    let times: Vec<_> = times.collect();
    let least = times
        .iter()
        .min()
        .map_or(0.0, |least| least.as_secs_f64() * 1e6);
    println!("{least:>8.0}  {name}");
}
