use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_core::backbone::find;
use rekindle_core::device;
use rekindle_core::head::HeadKind;
use rekindle_core::model::{Contents, ModelCard};
use rekindle_core::preprocess::Preset;
use rekindle_core::weights::{Generated, TensorSource, Tensors, WeightsError};

use super::*;
use crate::photos::Limits;

/// Made-up weights, of which one tensor is another's.
struct Changed(&'static str);

impl TensorSource for Changed {
    fn names(&self) -> Vec<String> {
        Generated.names()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        Generated.shape(name, wanted)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let mut values = Generated.values(name, shape)?;
        if name == self.0 {
            values[0] += 1.0;
        }
        Ok(values)
    }
}

fn model_with(source: &dyn TensorSource, side: u32) -> Model {
    let network = find("squeezenet1_1").unwrap();
    let mut card = ModelCard::published(network, &network.weights[0]);
    card.preset = card.preset.with_size(side).unwrap();
    let contents = Contents::ported(network, card, source).unwrap();
    Model::new(contents, &device::cpu().device)
}

fn model() -> Model {
    model_with(&Generated, 33)
}

/// A photo of one colour a place.
fn photos(folder: &Path, count: usize) -> (Vec<PathBuf>, Vec<FileHash>) {
    let write = |place: usize| {
        let path = folder.join(format!("{place}.png"));
        let colour = image::Rgb([place as u8 * 20, 200, 255 - place as u8 * 10]);
        image::RgbImage::from_fn(40, 36, |x, y| {
            if (x + y) % 7 == 0 {
                colour
            } else {
                image::Rgb([x as u8, y as u8, 9])
            }
        })
        .save(&path)
        .unwrap();
        path
    };
    let paths: Vec<PathBuf> = (0..count).map(write).collect();
    let contents = paths.iter().map(|path| hash_file(path).unwrap()).collect();
    (paths, contents)
}

/// Two views of a photo, the second mirrored, and how many were made.
struct Both {
    preset: Preset,
    made: AtomicUsize,
}

impl Both {
    fn of(model: &Model) -> Self {
        Self {
            preset: model.card.preset,
            made: AtomicUsize::new(0),
        }
    }

    fn made(&self) -> usize {
        self.made.swap(0, Ordering::SeqCst)
    }

    fn crop(&self, image: &RgbImage, view: usize) -> RgbImage {
        let crop = self.preset.crop_pixels(image);
        match view {
            0 => crop,
            _ => crop.flipped_for_tests(),
        }
    }
}

impl Views for Both {
    fn keys(&self, _photo: usize) -> Vec<u64> {
        vec![0, 77]
    }

    fn prepare(&self, _photo: usize, image: &RgbImage, wanted: &[usize]) -> Vec<Prepared> {
        self.made.fetch_add(wanted.len(), Ordering::SeqCst);
        let crops = wanted.iter().map(|&view| self.crop(image, view));
        crops.map(Prepared::Picture).collect()
    }
}

trait Flipped {
    fn flipped_for_tests(self) -> Self;
}

impl Flipped for RgbImage {
    fn flipped_for_tests(self) -> Self {
        let (width, height) = (self.width(), self.height());
        let mut pixels = self.into_pixels();
        for row in pixels.chunks_mut(3 * width as usize) {
            row.as_chunks_mut::<3>().0.reverse();
        }
        Self::new(width, height, pixels).unwrap()
    }
}

/// A value in the midst of the network.
fn cut(model: &Model) -> usize {
    let graph = model.graph();
    graph.stages()[graph.stage_of("features.6.squeeze.weight").unwrap()].output
}

const LARGE: u64 = 1 << 30;

fn rows<'a>(
    model: &'a Model,
    photos: &'a (Vec<PathBuf>, Vec<FileHash>),
    views: &'a Both,
) -> Rows<'a> {
    Rows {
        model,
        value: cut(model),
        paths: &photos.0,
        contents: &photos.1,
        views,
    }
}

/// The rows, computed by hand.
fn truth(rows: Rows<'_>, views: &Both) -> Vec<f32> {
    let mut values = Vec::new();
    for path in rows.paths {
        let image = crate::photos::decode_file(path, &Limits::default()).unwrap();
        let crops = [0, 1].map(|view| views.crop(&image, view));
        values.extend(pollster::block_on(rows.model.read_value(&crops, rows.value)).unwrap());
    }
    values
}

fn all(photos: usize) -> Vec<(usize, usize)> {
    (0..photos)
        .flat_map(|photo| [(photo, 0), (photo, 1)])
        .collect()
}

#[test]
fn rows_are_computed_once_and_are_what_the_network_puts_out() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, context) = (model(), Context::quiet());
    let (photos, views) = (photos(folder.path(), 5), Both::of(&model));
    let rows = rows(&model, &photos, &views);
    let truth = truth(rows, &views);
    let store = Store::at(cache.path().to_owned(), LARGE);
    views.made();
    for (encoding, bound) in [(Encoding::Full, 0.0), (Encoding::Half, 1.0 / 2048.0)] {
        let mut first = Activations::open(rows, encoding, &store, &context).unwrap();
        assert!(first.plan().fits() && first.plan().views == 2 && first.plan().there == 0);
        let filled = first.fill("values", 0).unwrap();
        assert_eq!(
            (filled.unreadable.len(), filled.known, views.made()),
            (0, 0, 10)
        );
        drop(first);
        let mut second = Activations::open(rows, encoding, &store, &context).unwrap();
        assert_eq!(second.plan().there, second.plan().bytes);
        assert_eq!(second.fill("values", 0).unwrap().known, 5);
        let width = second.width();
        // In any order, and again.
        let wanted = [(4, 1), (0, 0), (4, 1), (2, 0)];
        let picked = second.rows(&wanted).unwrap();
        for (row, (photo, view)) in picked.chunks(width).zip(wanted) {
            let truth = &truth[(2 * photo + view) * width..][..width];
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= bound * b.abs() + bound * 1e-4;
            assert!(
                row.iter().zip(truth).all(near),
                "{encoding:?} {photo} {view}"
            );
        }
        assert_eq!(views.made(), 0, "nothing is computed again");
    }
}

#[test]
fn an_interrupted_extraction_goes_on_where_it_stopped() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, context) = (model(), Context::quiet());
    let (photos, views) = (photos(folder.path(), 12), Both::of(&model));
    let rows = rows(&model, &photos, &views);
    let store = Store::at(cache.path().to_owned(), LARGE);
    let whole = Activations::open(rows, Encoding::Full, &Store::none(), &context).unwrap();
    let truth = whole.rows(&all(12)).unwrap();
    let seen = Cell::new(0);
    let mut first = Activations::open(rows, Encoding::Full, &store, &context).unwrap();
    let stopped = first.each("values", 0, |_, _, _| {
        seen.set(seen.get() + 1);
        match seen.get() {
            13 => Err(anyhow::anyhow!("stopped")),
            _ => Ok(()),
        }
    });
    assert_eq!(stopped.unwrap_err().to_string(), "stopped");
    drop(first);
    views.made();
    let mut second = Activations::open(rows, Encoding::Full, &store, &context).unwrap();
    assert_eq!(second.plan().there / second.shelf().record_bytes(), 13);
    let filled = second.fill("values", 0).unwrap();
    assert_eq!((filled.known, views.made()), (6, 24 - 13));
    assert!(second.rows(&all(12)).unwrap() == truth);
    // Ctrl-C likewise.
    context.interrupt.raise();
    assert!(second.fill("values", 0).is_err());
}

#[test]
fn a_photo_goes_by_its_content_and_only_what_was_changed_is_computed_again() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, context) = (model(), Context::quiet());
    let (mut photos, views) = (photos(folder.path(), 4), Both::of(&model));
    let store = Store::at(cache.path().to_owned(), LARGE);
    let fill = |photos: &(Vec<PathBuf>, Vec<FileHash>)| {
        let rows = rows(&model, photos, &views);
        let mut opened = Activations::open(rows, Encoding::Half, &store, &context).unwrap();
        opened.fill("values", 0).unwrap();
        views.made()
    };
    assert_eq!(fill(&photos), 8);
    // Another name and another order.
    let moved = folder.path().join("moved.png");
    std::fs::rename(&photos.0[0], &moved).unwrap();
    photos.0[0] = moved;
    photos.0.swap(0, 3);
    photos.1.swap(0, 3);
    assert_eq!(fill(&photos), 0);
    image::RgbImage::new(50, 50).save(&photos.0[1]).unwrap();
    photos.1[1] = hash_file(&photos.0[1]).unwrap();
    assert_eq!(fill(&photos), 2);
    assert_eq!(fill(&photos), 0);
}

#[test]
fn a_file_that_changed_after_its_content_was_told_is_not_kept_under_the_old_name() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, context) = (model(), Context::quiet());
    let (photos, views) = (photos(folder.path(), 3), Both::of(&model));
    image::RgbImage::new(50, 50).save(&photos.0[1]).unwrap();
    let store = Store::at(cache.path().to_owned(), LARGE);
    let mut opened = Activations::open(
        rows(&model, &photos, &views),
        Encoding::Half,
        &store,
        &context,
    )
    .unwrap();
    opened.fill("values", 0).unwrap();
    assert_eq!(opened.shelf().len(), 4);
}

#[test]
fn a_photo_that_cannot_be_read_is_told_each_time_and_never_remembered() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, context) = (model(), Context::quiet());
    let (mut photos, views) = (photos(folder.path(), 3), Both::of(&model));
    std::fs::write(&photos.0[1], b"broken").unwrap();
    photos.1[1] = hash_file(&photos.0[1]).unwrap();
    let store = Store::at(cache.path().to_owned(), LARGE);
    for known in [0, 2] {
        let mut opened = Activations::open(
            rows(&model, &photos, &views),
            Encoding::Half,
            &store,
            &context,
        )
        .unwrap();
        let filled = opened.fill("values", 0).unwrap();
        let told: Vec<usize> = filled.unreadable.iter().map(|(photo, _)| *photo).collect();
        assert_eq!((told, filled.known), (vec![1], known));
        assert!(opened.rows(&[(0, 0), (1, 0)]).is_err());
    }
}

#[test]
fn what_finds_no_room_is_computed_when_it_is_wanted() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, context) = (model(), Context::quiet());
    let (photos, views) = (photos(folder.path(), 4), Both::of(&model));
    let rows = rows(&model, &photos, &views);
    let mut none = Activations::open(rows, Encoding::Half, &Store::none(), &context).unwrap();
    assert!(none.plan().recomputes());
    let record = none.shelf().record_bytes();
    none.fill("values", 0).unwrap();
    assert_eq!(views.made(), 0, "what nobody takes is not computed");
    let some = Store::at(cache.path().to_owned(), 5 * record);
    let mut some = Activations::open(rows, Encoding::Half, &some, &context).unwrap();
    assert_eq!(some.plan().fitting, 1);
    some.fill("values", 0).unwrap();
    assert_eq!(views.made(), 4);
    let near = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .all(|(a, b)| (a - b).abs() <= 1e-3 * (1.0 + b.abs()))
    };
    let computed = none.rows(&all(4)).unwrap();
    views.made();
    // Four rows are kept; of the others one finds room when it has been computed.
    for computed_now in [4, 3, 3] {
        assert!(near(&some.rows(&all(4)).unwrap(), &computed));
        assert_eq!(views.made(), computed_now);
    }
}

#[test]
fn a_shelf_is_of_the_frozen_part_alone() {
    let key = |model: &Model| ShelfKey::of(model, cut(model), Encoding::Half, "1").unwrap();
    let model = model();
    let same = key(&model);
    assert_eq!(same, key(&model_with(&Generated, 33)));
    // Behind the cut.
    assert_eq!(
        same,
        key(&model_with(&Changed("features.12.expand3x3.weight"), 33))
    );
    assert_eq!(same, key(&model_with(&Changed("classifier.1.bias"), 33)));
    let width = model.graph().features();
    let head = Tensors::from([
        (
            "classifier.1.weight".to_owned(),
            (vec![2, width, 1, 1], vec![0.0; 2 * width].into()),
        ),
        (
            "classifier.1.bias".to_owned(),
            (vec![2], vec![0.0; 2].into()),
        ),
    ]);
    let kind = HeadKind::Linear { lift: 0.0 };
    let other = model.with_head(kind, head, vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(same, key(&other));
    // Before it.
    assert_ne!(same, key(&model_with(&Changed("features.0.weight"), 33)));
    assert_ne!(
        same,
        key(&model_with(&Changed("features.3.squeeze.bias"), 33))
    );
    assert_ne!(same, key(&model_with(&Generated, 49)));
    let mut grey = model.clone();
    grey.card.preset = grey.card.preset.greyscale();
    assert_ne!(same, key(&grey));
    assert_ne!(
        same,
        ShelfKey::of(&model, cut(&model) - 1, Encoding::Half, "1").unwrap()
    );
    assert_ne!(
        same,
        ShelfKey::of(&model, cut(&model), Encoding::Full, "1").unwrap()
    );
    assert_ne!(
        same,
        ShelfKey::of(&model, cut(&model), Encoding::Half, "2").unwrap()
    );
    assert!(ShelfKey::of(&model, 10_000, Encoding::Half, "1").is_err());
}
