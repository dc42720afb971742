//! Augmentations as data: what recipes say, and what is drawn from them.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::collections::BTreeSet;

use rekindle_networks::image::RgbImage;
use rekindle_networks::preprocess::augment::{AugmentError, Automatic, Erasing, Operation};
use rekindle_networks::preprocess::{AugmentRecipe, CropBox, Drawn, Preset, View};

/// Everything there is.
const ALL: &str = r#"
    flip = 0.5
    vertical_flip = 0.5
    grey = 0.2
    filter = "nearest"
    fill = [10, 20, 30]
    crop = { scale = [0.5, 1.0] }
    automatic = { rand = { operations = 3 } }
    jitter = { brightness = 0.4, contrast = [0.5, 1], hue = 0.1 }
    rotation = { degrees = 15 }
    affine = { translate = [0.1, 0], shear_x = [-5, 10] }
    perspective = { distortion = 0.3 }
    erasing = { p = 0.25, colour = [1, 2, 3] }
"#;

fn toml(text: &str) -> Result<AugmentRecipe, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

fn named(name: &str) -> AugmentRecipe {
    AugmentRecipe::named(name).unwrap()
}

fn draw(recipe: &AugmentRecipe, seed: u64, key: u64, number: u64) -> Drawn {
    recipe.draw(&Preset::IMAGENET, [640, 480], seed, key, number)
}

#[test]
fn a_draw_follows_from_seed_key_and_number_alone() {
    let recipe = toml(ALL).unwrap();
    assert_eq!(draw(&recipe, 1, 2, 3), draw(&recipe, 1, 2, 3));
    let mut keys = BTreeSet::new();
    for seed in 0..6 {
        for key in 0..6 {
            for number in 0..6 {
                keys.insert(draw(&recipe, seed, key, number).key());
            }
        }
    }
    assert_eq!(keys.len(), 6 * 6 * 6);
}

#[test]
fn what_one_part_draws_changes_no_other() {
    let all = toml(ALL).unwrap();
    let less = AugmentRecipe {
        jitter: None,
        automatic: None,
        ..all.clone()
    };
    for number in 0..50 {
        let (all, less) = (draw(&all, 1, 2, number), draw(&less, 1, 2, number));
        assert_eq!(all.view, less.view);
        let kept = all.operations.iter();
        let kept = kept.filter(|operation| less.operations.contains(operation));
        assert_eq!(kept.count(), less.operations.len());
    }
}

#[test]
fn keys_tell_draws_apart_by_content_on_every_machine() {
    let area = CropBox {
        left: 1,
        top: 2,
        width: 3,
        height: 4,
    };
    let drawn = Drawn {
        view: View::Cropped { area, flip: true },
        operations: vec![
            Operation::Brightness(1.1),
            Operation::Erase {
                area,
                colour: [1, 2, 3],
            },
        ],
    };
    let text = serde_json::to_string(&drawn).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"view":{"cropped":{"area":{"left":1,"top":2,"width":3,"height":4},"flip":true}},"#,
            r#""operations":[{"brightness":1.1},"#,
            r#"{"erase":{"area":{"left":1,"top":2,"width":3,"height":4},"colour":[1,2,3]}}]}"#
        )
    );
    // FNV-1a of that text, by its definition.
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    assert_eq!(drawn.key(), fnv);
    assert_eq!(serde_json::from_str::<Drawn>(&text).unwrap(), drawn);

    let mut other = drawn.clone();
    other.operations.swap(0, 1);
    assert_ne!(other.key(), drawn.key());
    // The very next number is another.
    let next = 1.1_f64.next_up();
    other.operations = vec![Operation::Brightness(next)];
    let once = other.key();
    other.operations = vec![Operation::Brightness(1.1)];
    assert_ne!(other.key(), once);
    other.operations = vec![Operation::Contrast(next)];
    assert_ne!(other.key(), once);
}

#[test]
fn named_recipes_are_what_they_say() {
    let seen = |name: &str| -> Vec<Drawn> {
        let recipe = named(name);
        recipe.check().unwrap();
        (0..400).map(|number| draw(&recipe, 5, 6, number)).collect()
    };
    let share = |draws: &[Drawn], holds: fn(&Drawn) -> bool| {
        draws.iter().filter(|drawn| holds(drawn)).count() as f64 / draws.len() as f64
    };
    let area = |drawn: &Drawn| match drawn.view {
        View::Plain => 1.0,
        View::Cropped { area, .. } => f64::from(area.width * area.height) / (640.0 * 480.0),
    };
    let least = |draws: &[Drawn]| draws.iter().map(area).fold(1.0, f64::min);
    let mirrored = |drawn: &Drawn| {
        matches!(drawn.view, View::Cropped { flip: true, .. })
            || drawn.operations == [Operation::Flip]
    };
    let near = |share: f64, expected: f64| assert!((share - expected).abs() < 0.1, "{share}");

    assert!(seen("none").iter().all(Drawn::is_plain));
    let flip = seen("flip");
    assert!(flip.iter().all(|drawn| drawn.view == View::Plain));
    near(share(&flip, mirrored), 0.5);
    for (name, low, high) in [("light", 0.34, 0.4), ("standard", 0.07, 0.12)] {
        let draws = seen(name);
        assert!(draws.iter().all(|drawn| drawn.operations.is_empty()));
        let least = least(&draws);
        assert!(low < least && least < high, "{name} shows {least} at least");
        near(share(&draws, mirrored), 0.5);
    }
    // One of the fourteen does nothing.
    near(
        share(&seen("trivial"), |drawn| drawn.operations.len() == 1),
        13.0 / 14.0,
    );
    near(
        share(&seen("rand"), |drawn| drawn.operations.len() == 2),
        0.86,
    );
    let erased = |drawn: &Drawn| matches!(drawn.operations.last(), Some(Operation::Erase { .. }));
    near(share(&seen("strong"), erased), 0.25);
    assert_eq!(named("strong").automatic, Some(Automatic::Trivial));
    assert_eq!("standard".parse(), Ok(named("standard")));
    assert_eq!(named("none"), AugmentRecipe::default());
}

#[test]
fn a_recipe_comes_back_from_toml_and_json() {
    for recipe in AugmentRecipe::NAMES
        .iter()
        .map(|name| named(name))
        .chain([toml(ALL).unwrap()])
    {
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml(&text).unwrap(), recipe, "{text}");
        let text = serde_json::to_string(&recipe).unwrap();
        assert_eq!(
            serde_json::from_str::<AugmentRecipe>(&text).unwrap(),
            recipe
        );
    }
    #[derive(serde::Deserialize)]
    struct Run {
        augment: AugmentRecipe,
    }
    let run = |text: &str| toml::from_str::<Run>(text).map(|run| run.augment);
    assert_eq!(run("augment = 'trivial'").unwrap(), named("trivial"));
    assert_eq!(run("[augment]\n flip = 1").unwrap().flip, 1.0);
    let error = run("augment = 'heavy'").err().unwrap().to_string();
    assert!(
        error.contains("no augmentation `heavy`") && error.contains("trivial"),
        "{error}"
    );
    let error = run("augment = 3").err().unwrap().to_string();
    assert!(error.contains("the name of an augmentation"), "{error}");
}

#[test]
fn nonsense_is_refused_with_what_stands_where_and_what_may() {
    for (text, field) in [
        ("flip = 1.5", "`flip` is 1.5; it must be a probability"),
        ("flip = nan", "`flip` is NaN"),
        ("vertical_flip = -0.1", "`vertical_flip`"),
        ("grey = 2", "`grey`"),
        (
            "crop = { scale = [0.5, 0.4] }",
            "`crop.scale` is 0.5 to 0.4",
        ),
        ("crop = { scale = [0, 1] }", "`crop.scale`"),
        ("crop = { ratio = [1, inf] }", "`crop.ratio`"),
        (
            "automatic.rand.operations = 0",
            "`automatic.rand.operations`",
        ),
        (
            "automatic.rand.operations = 17",
            "`automatic.rand.operations`",
        ),
        (
            "automatic.rand.magnitude = 31",
            "`automatic.rand.magnitude` is 31; it must be from 0 to 30",
        ),
        ("jitter.brightness = -0.1", "`jitter.brightness` is -0.1"),
        ("jitter.contrast = [-1, 1]", "`jitter.contrast`"),
        ("jitter.saturation = [2, 1]", "`jitter.saturation`"),
        ("jitter.hue = 0.6", "`jitter.hue`"),
        ("jitter.hue = [0, nan]", "`jitter.hue`"),
        ("rotation.degrees = -3", "`rotation.degrees`"),
        ("rotation.degrees = inf", "`rotation.degrees`"),
        ("affine.translate = [0, 1.1]", "`affine.translate`"),
        ("affine.scale = [0, 1]", "`affine.scale`"),
        ("affine.shear_x = 90", "`affine.shear_x`"),
        ("affine.shear_y = [5, 4]", "`affine.shear_y`"),
        ("affine.degrees = [1, 0]", "`affine.degrees`"),
        ("perspective.distortion = 1.1", "`perspective.distortion`"),
        ("perspective.p = -1", "`perspective.p`"),
        ("erasing.p = 1.1", "`erasing.p`"),
        ("erasing.scale = [0, 1.1]", "`erasing.scale`"),
        ("erasing.ratio = [0, 1]", "`erasing.ratio`"),
        // What there is not.
        ("jiter = {}", "unknown field `jiter`"),
        ("crop = { size = 3 }", "unknown field `size`"),
        ("rotation = {}", "missing field `degrees`"),
        ("jitter.hue = 'much'", "a number, or two"),
        ("automatic = 'auto'", "unknown variant `auto`"),
        ("filter = 'bicubic'", "unknown variant `bicubic`"),
        ("fill = [256, 0, 0]", "256"),
    ] {
        let error = toml(text).expect_err(text);
        assert!(error.contains(field), "{text}: {error}");
    }
    let recipe = AugmentRecipe {
        grey: -1.0,
        ..AugmentRecipe::default()
    };
    let refused = recipe.check();
    assert!(matches!(
        refused,
        Err(AugmentError::Value { field: "grey", .. })
    ));
}

#[test]
fn photos_and_networks_of_any_size_are_augmented() {
    let recipe = AugmentRecipe {
        erasing: Some(Erasing {
            p: 1.0,
            ..Erasing::default()
        }),
        ..toml(ALL).unwrap()
    };
    let plain = AugmentRecipe {
        crop: None,
        ..recipe.clone()
    };
    for [width, height] in [[1, 1], [1, 90], [90, 1], [2, 3], [31, 17]] {
        let pixels = vec![77; (width * height * 3) as usize];
        let photo = RgbImage::new(width, height, pixels).unwrap();
        for side in [1, 2, 3, 16] {
            let cropped = Preset::IMAGENET.with_size(side).unwrap();
            for preset in [cropped, cropped.without_crop()] {
                for number in 0..12 {
                    for recipe in [&recipe, &plain] {
                        let drawn = recipe.draw(&preset, [width, height], 1, 2, number);
                        let seen = preset.drawn_pixels(&photo, &drawn);
                        let expected = match recipe.crop {
                            Some(_) => [preset.side(); 2],
                            None => preset.placement([width, height]).size,
                        };
                        assert_eq!([seen.width(), seen.height()], expected);
                    }
                }
            }
        }
    }
}

#[test]
fn operations_from_files_never_panic_whatever_they_say() {
    let picture = RgbImage::new(5, 4, (0..60).collect()).unwrap();
    for text in [
        r#"{"posterize":0}"#,
        r#"{"posterize":255}"#,
        r#"{"hue":1e300}"#,
        r#"{"brightness":1e300}"#,
        r#"{"contrast":-1e300}"#,
        r#"{"sharpness":-7}"#,
        r#"{"solarize":-1}"#,
        r#"{"rotate":{"angle":1e300,"fill":{"filter":"nearest","colour":[1,2,3]}}}"#,
        r#"{"affine":{"angle":0,"translate":[2147483647,-2147483648],"scale":0,"shear":[90,90],"fill":{"filter":"nearest","colour":[1,2,3]}}}"#,
        r#"{"affine":{"angle":1,"translate":[0,0],"scale":1e-300,"shear":[0,0],"fill":{"filter":"bilinear","colour":[1,2,3]}}}"#,
        r#"{"perspective":{"from":[[0,0],[0,0],[0,0],[0,0]],"to":[[0,0],[0,0],[0,0],[0,0]],"fill":{"filter":"nearest","colour":[1,2,3]}}}"#,
        r#"{"perspective":{"from":[[0,0],[4,0],[4,3],[0,3]],"to":[[2147483647,0],[-2147483648,1],[3,3],[0,3]],"fill":{"filter":"bilinear","colour":[1,2,3]}}}"#,
        r#"{"erase":{"area":{"left":4294967295,"top":3,"width":4294967295,"height":4294967295},"colour":[1,2,3]}}"#,
    ] {
        let operation: Operation = serde_json::from_str(text).unwrap();
        let after = operation.apply(picture.clone());
        assert_eq!((after.width(), after.height()), (5, 4), "{text}");
    }
}

#[test]
fn a_grey_network_sees_grey_whatever_is_done() {
    let photo = RgbImage::new(
        20,
        20,
        (0..1200).map(|value| (value * 7 % 251) as u8).collect(),
    );
    let (photo, preset) = (
        photo.unwrap(),
        Preset::IMAGENET.with_size(16).unwrap().greyscale(),
    );
    let mut recipe = toml(ALL).unwrap();
    recipe.erasing = None;
    for number in 0..60 {
        let seen = preset.drawn_pixels(&photo, &recipe.draw(&preset, [20, 20], 1, 2, number));
        let (pixels, _) = seen.pixels().as_chunks::<3>();
        assert!(
            pixels
                .iter()
                .all(|[red, green, blue]| red == green && green == blue)
        );
    }
}
