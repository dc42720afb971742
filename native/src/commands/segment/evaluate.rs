//! `rekindle evaluate` with a network that gives each pixel a class: intersection over union on photos with masks.

use std::path::PathBuf;

use rayon::prelude::*;
use rekindle_core::metrics::segment::{MaskError, Pixels, Report};
use rekindle_core::model::Model;
use rekindle_core::postprocess::{Mask, VOID};
use serde::Serialize;
use serde_json::json;

use crate::cli::EvaluateArgs;
use crate::context::Context;
use crate::dataset::{MaskFolder, Pair, Wanted};
use crate::interrupt::Interrupted;
use crate::measured::share;
use crate::photos::{PhotoError, PhotoProblem, read_mask};
use crate::segment::segment;
use crate::skipped::{self, Skipped, counted, help_with};
use crate::ui::{ExitCode, Failure, Unit, print_json, print_text, table};

/// A class, as `evaluate --json` prints it.
#[derive(Debug, Serialize)]
struct Class<'a> {
    class: &'a str,
    iou: Option<f64>,
    accuracy: Option<f64>,
    /// Its share of the labelled pixels.
    share: f64,
}

/// Segments photos that have masks, and prints the classes' intersections over unions and their mean.
pub fn run(
    args: &EvaluateArgs,
    wanted: Wanted,
    model: &Model,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let folder = MaskFolder::find(&args.dir, wanted, &context.interrupt)?;
    let photos = |count: usize| match count {
        1 => "1 photo".to_owned(),
        count => format!("{count} photos"),
    };
    folder
        .remarks
        .iter()
        .for_each(|remark| context.console.note(remark));
    let classes = &model.card.classes;
    let mut pixels = Pixels::new(classes.len());
    let (pairs, mut skipped) = checked(folder.pairs, folder.skipped, &pixels, model, context)?;
    skipped::warn_of(&skipped);
    enough(pairs.len(), &skipped, args)?;
    if !pairs.iter().any(|checked| checked.has_labels) {
        return Err(unlabelled(&photos(pairs.len())).into());
    }
    let count = photos(pairs.len());
    context.console.note(&match &folder.list {
        Some(list) => format!("measured on {list}: {count}"),
        None => format!("measured on the whole folder: {count}"),
    });

    let paths: Vec<PathBuf> = pairs
        .iter()
        .map(|checked| checked.pair.photo.clone())
        .collect();
    let mut measured = 0;
    let before = skipped.len();
    // A photo that its mask does not fit need not go through the network.
    let fits = |photo: usize, answer: [u32; 2]| {
        let Checked { pair, size, .. } = &pairs[photo];
        let label = *size;
        match label == answer {
            true => Ok(()),
            false => Err(misfit(&MaskError::Size { label, answer }, pair, model)),
        }
    };
    segment(
        model,
        &paths,
        false,
        before,
        context,
        fits,
        |photo, known| {
            let pair = &pairs[photo].pair;
            let added = known.and_then(|answer| {
                let label = label(pair, context)?;
                let added = pixels.add(&label, &answer.mask);
                added.map_err(|error| misfit(&error, pair, model))
            });
            match added {
                Ok(()) => measured += 1,
                Err(one) => skipped.push(one),
            }
            Ok(())
        },
    )?;
    skipped::warn_of(&skipped[before..]);
    enough(measured, &skipped, args)?;
    let report = pixels.report();
    if report.labelled == 0 {
        return Err(unlabelled(&photos(measured)).into());
    }
    if context.global.json {
        print_json(&json!({
            "mean_iou": report.mean_iou,
            "pixel_accuracy": report.pixel_accuracy,
            "images": measured,
            "skipped": skipped.len(),
            "split": folder.part,
            "classes": shown(&report, classes).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::Ok);
    }
    let mut rows = table(&["class", "of all pixels", "IoU", "found"]);
    for class in shown(&report, classes) {
        rows.add_row(vec![
            class.class.to_owned(),
            share(Some(class.share)),
            share(class.iou),
            share(class.accuracy),
        ]);
    }
    print_text(&rows.to_string())?;
    print_text(&format!(
        "mean IoU {}, {} of the pixels right, on {}",
        share(report.mean_iou),
        share(report.pixel_accuracy),
        photos(measured)
    ))?;
    Ok(ExitCode::Ok)
}

/// The classes that some pixel is labelled or answered with.
fn shown<'a>(report: &'a Report, classes: &'a [String]) -> impl Iterator<Item = Class<'a>> {
    let all = report.labelled.max(1) as f64;
    let classes = classes.iter().zip(&report.per_class);
    let known = classes.filter(|(_, class)| class.iou.is_some());
    known.map(move |(name, class)| Class {
        class: name,
        iou: class.iou,
        accuracy: class.accuracy,
        share: class.labelled as f64 / all,
    })
}

/// A photo whose mask can be used.
struct Checked {
    pair: Pair,
    /// Width and height of the mask.
    size: [u32; 2],
    /// Whether a pixel of it has a label.
    has_labels: bool,
}

/// Reads all masks before the network begins: what is wrong with them would be found out late. Hands back the photos
/// whose masks can be used, and what is skipped.
fn checked(
    pairs: Vec<Pair>,
    mut skipped: Vec<Skipped>,
    pixels: &Pixels,
    model: &Model,
    context: &Context,
) -> anyhow::Result<(Vec<Checked>, Vec<Skipped>)> {
    let _progress = context.console.start("masks", Unit::Items, None);
    let check = |pair: Pair| -> Result<Result<Checked, Skipped>, Interrupted> {
        context.interrupt.check()?;
        Ok(label(&pair, context).and_then(|mask| {
            let size = mask.size();
            match pixels.check(&mask, size) {
                Ok(()) => Ok(Checked {
                    size,
                    has_labels: mask.largest_class().is_some(),
                    pair,
                }),
                Err(error) => Err(misfit(&error, &pair, model)),
            }
        }))
    };
    let all: Vec<_> = pairs.into_par_iter().map(check).collect::<Result<_, _>>()?;
    let mut good = Vec::new();
    for one in all {
        match one {
            Ok(pair) => good.push(pair),
            Err(one) => skipped.push(one),
        }
    }
    Ok((good, skipped))
}

/// What is said where nothing can be measured, of so many photos.
fn unlabelled(photos: &str) -> Failure {
    let what = format!("no pixel of {photos} has a label: all are {VOID}");
    let help = "masks hold the classes' numbers from 0 on; 255 is for pixels that do not count";
    Failure::new(ExitCode::Data, what).with_help(help)
}

/// Refuses to go on where something was skipped and nothing is left, or nothing may be skipped.
fn enough(left: usize, skipped: &[Skipped], args: &EvaluateArgs) -> Result<(), Failure> {
    if skipped.is_empty() || (left > 0 && !args.strict) {
        return Ok(());
    }
    let text = format!("{} cannot be used", counted(skipped));
    let help = help_with(skipped).unwrap_or("above is said what is wrong with each");
    let help = match left {
        0 => help.to_owned(),
        _ => format!("{help}; or leave out `--strict` to skip them"),
    };
    Err(Failure::new(ExitCode::Data, text).with_help(help))
}

/// Reads a mask; what is wrong with it is told.
fn label(pair: &Pair, context: &Context) -> Result<Mask, Skipped> {
    read_mask(&pair.mask, &context.limits).map_err(|PhotoError { path, problem }| {
        let help = match &problem {
            PhotoProblem::Unsupported(_)
            | PhotoProblem::Foreign(_)
            | PhotoProblem::NotAnImage(_) => {
                "save masks as PNG files whose pixels are the classes' numbers: with a palette, or in grey"
            }
            problem => problem.help().unwrap_or("copy the mask again"),
        };
        let reason = format!("the mask cannot be read: {problem}");
        Skipped::of_pair(path.display().to_string(), problem.kind(), reason, help)
    })
}

/// What is said of a mask that is not the photo's or the model's.
fn misfit(error: &MaskError, pair: &Pair, model: &Model) -> Skipped {
    let (kind, help) = match error {
        MaskError::Size { .. } => (
            "mask_size",
            "a mask has the size of its photo, the one with the same name".to_owned(),
        ),
        MaskError::Class { .. } => (
            "mask_class",
            format!(
                "the model's classes are numbered from 0 in this order: {}",
                listed(&model.card.classes)
            ),
        ),
    };
    let path = pair.mask.display().to_string();
    Skipped::of_pair(path, kind, error.to_string(), help)
}

/// Some names; of more there is a mark.
fn listed(classes: &[String]) -> String {
    const MOST: usize = 30;
    let mut names: Vec<&str> = classes.iter().take(MOST).map(String::as_str).collect();
    if classes.len() > MOST {
        names.push("…");
    }
    names.join(", ")
}
