//! `rekindle evaluate` with a network that gives each pixel a class: intersection over union on photos with masks.

use std::path::PathBuf;

use rayon::prelude::*;
use rekindle_core::metrics::segment::{MaskError, Pixels, Report};
use rekindle_core::model::Model;
use serde::Serialize;
use serde_json::json;

use crate::cli::EvaluateArgs;
use crate::context::Context;
use crate::dataset::{MaskFolder, Pair, Wanted};
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
    let count = photos(folder.pairs.len());
    context.console.note(&match &folder.list {
        Some(list) => format!("measured on {list}: {count}"),
        None => format!("measured on the whole folder: {count}"),
    });
    let classes = &model.card.classes;
    let mut pixels = Pixels::new(classes.len());
    check_masks(&folder.pairs, &pixels, model, context)?;

    let paths: Vec<PathBuf> = folder.pairs.iter().map(|pair| pair.photo.clone()).collect();
    let mut unread = Vec::new();
    let mut measured = 0;
    segment(model, &paths, false, 0, context, |photo, known| {
        let pair = &folder.pairs[photo];
        match known {
            Ok(answer) => {
                let label = read_mask(&pair.mask, &context.limits).map_err(unfit)?;
                let added = pixels.add(&label, &answer.mask);
                added.map_err(|error| misfit(&error, pair, model))?;
                measured += 1;
            }
            Err(error) => {
                let path = pair.photo.display().to_string();
                unread.push(Skipped::new(path, &error.problem));
            }
        }
        Ok(())
    })?;
    skipped::warn_of(&unread);
    if !unread.is_empty() && (args.strict || measured == 0) {
        let text = format!("{} cannot be used", counted(&unread));
        let help = help_with(&unread).unwrap_or("above is said what is wrong with each");
        return Err(Failure::new(ExitCode::Data, text).with_help(help).into());
    }
    let report = pixels.report();
    if context.global.json {
        print_json(&json!({
            "mean_iou": report.mean_iou,
            "pixel_accuracy": report.pixel_accuracy,
            "images": measured,
            "skipped": unread.len(),
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

/// Reads all masks before the network begins: what is wrong with the last would be found out too late.
fn check_masks(
    pairs: &[Pair],
    pixels: &Pixels,
    model: &Model,
    context: &Context,
) -> anyhow::Result<()> {
    let _progress = context.console.start("masks", Unit::Items, None);
    let wrong = pairs.par_iter().find_map_first(|pair| {
        if let Err(interrupted) = context.interrupt.check() {
            return Some(interrupted.into());
        }
        match read_mask(&pair.mask, &context.limits) {
            Err(error) => Some(unfit(error).into()),
            Ok(mask) => {
                let fits = pixels.check(&mask, mask.size());
                fits.err().map(|error| misfit(&error, pair, model).into())
            }
        }
    });
    wrong.map_or(Ok(()), Err)
}

/// What is said of a file that holds no mask.
fn unfit(error: PhotoError) -> Failure {
    let help = match &error.problem {
        PhotoProblem::Unsupported(_) | PhotoProblem::Foreign(_) | PhotoProblem::NotAnImage(_) => {
            "save masks as PNG files whose pixels are the classes' numbers: with a palette, or in grey of 8 bits"
        }
        problem => problem.help().unwrap_or("copy the mask again"),
    };
    Failure::new(ExitCode::Data, format!("a mask cannot be read: {error}")).with_help(help)
}

/// What is said of a mask that is not the photo's or the model's.
fn misfit(error: &MaskError, pair: &Pair, model: &Model) -> Failure {
    let help = match error {
        MaskError::Size { .. } => {
            format!(
                "a mask has the size of its photo, here {}",
                pair.photo.display()
            )
        }
        MaskError::Class { .. } => format!(
            "the model's classes are numbered from 0 in this order: {}",
            listed(&model.card.classes)
        ),
    };
    Failure::new(ExitCode::Data, format!("{error}: {}", pair.mask.display())).with_help(help)
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
