use std::path::Path;

use rekindle_core::backbone::find;
use rekindle_core::device::{self, Preference};
use rekindle_core::model::{Contents, ModelCard};
use rekindle_core::random::Random;
use rekindle_core::weights::Generated;

use super::*;
use crate::hash::hash_file;

/// Photos of several shapes, with much in them.
fn photos(folder: &Path) -> Photos {
    let mut random = Random::new(5);
    let sizes = [(40, 36), (90, 60), (33, 120), (64, 64), (200, 31)];
    let places = 0..sizes.len();
    let paths: Vec<PathBuf> = places
        .map(|place| folder.join(format!("{place}.png")))
        .collect();
    for (path, (width, height)) in paths.iter().zip(sizes) {
        let mut pixel = |x: u32, y: u32| {
            let noise = random.below(64) as u32;
            image::Rgb([(3 * x + noise) as u8, (2 * y + noise) as u8, (x * y) as u8])
        };
        let picture = image::RgbImage::from_fn(width, height, &mut pixel);
        picture.save(path).unwrap();
    }
    let contents = paths.iter().map(|path| hash_file(path).unwrap()).collect();
    Photos {
        paths,
        contents,
        trained: 3,
    }
}

/// All files of a store, by their places.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for shelf in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            files.push((path.strip_prefix(folder).unwrap().to_owned(), bytes));
        }
    }
    files.sort();
    files
}

#[test]
fn values_of_views_made_on_an_adapter_are_those_of_views_made_on_the_host() {
    let open = match pollster::block_on(device::open(Preference::Software)) {
        Ok(open) => open,
        Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
            println!("skipped, as asked: {error}");
            return;
        }
        Err(error) => panic!("{error}: set REKINDLE_NO_SOFTWARE_GPU=1 to go without"),
    };
    let network = find("squeezenet1_1").unwrap();
    let mut card = ModelCard::published(network, &network.weights[0]);
    card.preset = card.preset.with_size(33).unwrap();
    let contents = Contents::ported(network, card, &Generated).unwrap();
    let model = Model::new(contents, &open.device);
    let graph = model.graph();
    let cut = graph.stages()[graph.stage_of("features.3.squeeze.weight").unwrap()].output;
    let context = Context::quiet();
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    for name in ["strong", "none"] {
        let augment = AugmentRecipe::named(name).unwrap();
        assert_eq!(Maker::chosen(&model, &augment).unwrap(), Maker::Device);
        let showing = Showing {
            photos: &photos,
            preset: model.card.preset,
            augment: &augment,
            seed: 3,
        };
        let kept = |maker| Kept::new(showing, 6, maker);
        let fill = |kept: &Kept<'_>, folder: &Path| {
            let store = Store::at(folder.to_owned(), 1 << 30);
            let rows = kept.rows(&model, cut);
            let mut opened = Activations::open(rows, Encoding::Half, &store, &context).unwrap();
            opened.fill("values", 0).unwrap().known
        };
        let (host, adapter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(fill(&kept(Maker::Host), host.path()), 0);
        assert_eq!(fill(&kept(Maker::Device), adapter.path()), 0);
        let (one, other) = (files(host.path()), files(adapter.path()));
        assert!(one.len() >= 2 && one.iter().any(|(_, bytes)| bytes.len() > 10_000));
        assert!(one == other, "{name}: other rows");
        // What either has kept is known to the other.
        assert_eq!(fill(&kept(Maker::Device), host.path()), photos.paths.len());
        assert_eq!(fill(&kept(Maker::Host), adapter.path()), photos.paths.len());
    }
}
