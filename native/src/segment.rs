//! From photos to masks: photos are decoded and cut out while the network works on the one before.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rekindle_core::device::DeviceError;
use rekindle_core::image::RgbImage;
use rekindle_core::model::{Model, SegmentError};
use rekindle_core::postprocess::{Mask, Scores};
use rekindle_core::preprocess::TooLong;

use crate::context::Context;
use crate::photos::{DecodeOptions, PhotoError, StreamError, decode_stream};
use crate::ui::{ExitCode, Failure, Unit};

/// Rows of a photo whose classes are found together, on one core.
const BAND: usize = 64;

/// What a network says of a photo.
pub struct Answer {
    /// The class of each of the photo's pixels.
    pub mask: Mask,
    /// The photo, if it was to be kept.
    pub photo: Option<RgbImage>,
}

/// A photo on its way to the network.
struct Prepared {
    size: [u32; 2],
    /// What the network sees.
    seen: Result<RgbImage, TooLong>,
    photo: Option<RgbImage>,
}

/// Segments photos and hands each answer on as soon as it is there, in the order of `paths`: the mask, or what is
/// wrong with the photo. The network works on photos that are `wanted` by their place and their width and height. The
/// bar is out of the way meanwhile. `skipped` have been skipped before.
pub fn segment<E: From<PhotoError>>(
    model: &Model,
    paths: &[PathBuf],
    keeps_photos: bool,
    skipped: usize,
    context: &Context,
    wanted: impl Fn(usize, [u32; 2]) -> Result<(), E>,
    mut tell: impl FnMut(usize, Result<Answer, E>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let preset = model.card.preset;
    let total = Some(paths.len() as u64);
    let mut progress = context.console.start("photos", Unit::Items, total);
    let (mut read, mut skipped) = (0, skipped);
    let prepare = |_, photo: RgbImage| {
        let size = [photo.width(), photo.height()];
        let whole = preset.sees_whole(size);
        Prepared {
            size,
            seen: whole.map(|()| preset.crop_pixels(&photo)),
            photo: keeps_photos.then_some(photo),
        }
    };
    let options = DecodeOptions {
        limits: context.limits,
        // A network takes far longer over a photo than decoding does, and a photo that waits is large.
        threads: 1,
        ahead: 1,
        ..DecodeOptions::default()
    };
    let receive = |index: usize, decoded: Result<Prepared, PhotoError>| {
        let path = &paths[index];
        let known = decoded.map_err(E::from).and_then(|prepared| {
            let Prepared { size, seen, photo } = prepared;
            wanted(index, size)?;
            let seen = seen.map_err(|problem| PhotoError::new(path, problem.into()))?;
            Ok((size, seen, photo))
        });
        let answer = match known {
            Ok((size, seen, photo)) => {
                read += 1;
                let scores = pollster::block_on(model.segment(&seen));
                let scores = scores.map_err(|error| unanswered(error, model, path))?;
                let mask = mask(&scores, model, size)?;
                Ok(Answer { mask, photo })
            }
            Err(error) => {
                skipped += 1;
                Err(error)
            }
        };
        progress.aside(|| tell(index, answer))?;
        progress.advance();
        Ok(())
    };
    decode_stream(paths, &options, &context.interrupt, prepare, receive).map_err(|error| {
        match error {
            StreamError::Interrupted(interrupted) => anyhow::Error::new(interrupted),
            StreamError::Receiver(error) => error,
        }
    })?;
    progress.finish(&format!("photos: {read} read, {skipped} skipped"));
    Ok(())
}

/// The classes that win at each pixel of a photo, found on all cores.
fn mask(scores: &Scores, model: &Model, photo: [u32; 2]) -> anyhow::Result<Mask> {
    let [width, height] = photo;
    let winners = scores.at_photo(&model.card.preset.placement(photo), photo);
    let mut labels = vec![0; width as usize * height as usize];
    let bands = labels.par_chunks_mut(width as usize * BAND).enumerate();
    bands.for_each(|(band, labels)| {
        let first = (band * BAND) as u32;
        let last = (first + BAND as u32).min(height);
        winners.write_rows(first..last, labels);
    });
    Ok(Mask::new(width, height, labels)?)
}

/// What is said of a model that has no answer for a photo.
fn unanswered(error: SegmentError, model: &Model, path: &Path) -> anyhow::Error {
    let what = || {
        let network = &model.card.architecture;
        format!("{network} has no answer for {}", path.display())
    };
    match error {
        SegmentError::Device(error @ DeviceError::NotFinite { .. }) => {
            anyhow::Error::new(error).context(what())
        }
        SegmentError::Device(error) => error.into(),
        error @ SegmentError::TooLarge { .. } => {
            let failure = Failure::new(ExitCode::Device, format!("{}: {error}", what()));
            let help =
                "`--device cpu` always works; or cut the photo into parts that are less long";
            failure.with_help(help).into()
        }
        SegmentError::Task(error) => anyhow::Error::new(error),
        SegmentError::Input(error) => anyhow::Error::new(error).context(what()),
        SegmentError::Scores(error) => {
            let failure = Failure::new(ExitCode::Data, format!("{}: {error}", what()));
            let help = "the model is not one that gives each pixel a class: take another";
            failure.with_help(help).into()
        }
    }
}
