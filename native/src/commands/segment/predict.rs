//! `rekindle predict` with a network that gives each pixel a class: shares of the classes, masks and overlays.

use std::path::Path;

use rekindle_core::model::Model;
use rekindle_core::postprocess::{Mask, overlay};
use serde::Serialize;

use super::out::{Files, plan};
use crate::cli::PredictArgs;
use crate::context::Context;
use crate::files;
use crate::photos::{PhotoError, encode_mask, encode_picture};
use crate::segment::{Answer, segment};
use crate::ui::{percent, plain_line, print_json, print_text};

/// What torchvision calls the class of pixels that are nothing in particular, and others.
const BACKGROUND: [&str; 2] = ["__background__", "background"];

/// A photo's answer, as `predict --json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    path: String,
    /// The file of the mask, if `--out` asks for it.
    mask: Option<&'a Path>,
    overlay: Option<&'a Path>,
    /// The classes that the photo has, the largest first.
    shares: Vec<Share<'a>>,
}

#[derive(Debug, Serialize)]
struct Share<'a> {
    class: &'a str,
    share: f64,
}

/// Segments photos, writes the pictures that are asked for, and prints each photo's classes. What cannot be used is
/// handed to `tell`, by its place among the photos.
pub fn run(
    args: &PredictArgs,
    model: &Model,
    paths: &[std::path::PathBuf],
    skipped: usize,
    context: &Context,
    mut tell: impl FnMut(usize, Result<(), PhotoError>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let files = args
        .out
        .as_deref()
        .map(|out| plan(out, paths))
        .transpose()?;
    let is_out = files.is_some();
    segment(model, paths, is_out, skipped, context, |photo, known| {
        let answer = match known {
            Ok(answer) => answer,
            Err(error) => return tell(photo, Err(error)),
        };
        let files = files.as_ref().map(|files| &files[photo]);
        if let Some(files) = files {
            write(files, &answer, model)?;
        }
        tell(photo, Ok(()))?;
        print(&paths[photo], &answer.mask, files, args, model, context)
    })
}

/// Writes a photo's mask, and the photo under it.
fn write(out: &Files, answer: &Answer, model: &Model) -> anyhow::Result<()> {
    files::write(&out.mask, &encode_mask(&answer.mask)?)?;
    if let Some(photo) = &answer.photo {
        let is_background = |class: &String| BACKGROUND.contains(&&**class);
        let background = model.card.classes.iter().position(is_background);
        let background = background.and_then(|class| u8::try_from(class).ok());
        let seen = overlay(photo, &answer.mask, background)?;
        files::write(&out.overlay, &encode_picture(&seen)?)?;
    }
    Ok(())
}

fn print(
    path: &Path,
    mask: &Mask,
    files: Option<&Files>,
    args: &PredictArgs,
    model: &Model,
    context: &Context,
) -> anyhow::Result<()> {
    let classes = &model.card.classes;
    let shares = mask.shares(classes.len());
    let mut shares: Vec<_> = classes
        .iter()
        .zip(shares)
        .filter(|(_, share)| *share > 0.0)
        .map(|(class, share)| Share { class, share })
        .collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    shares.truncate(args.top.unwrap_or(usize::MAX));
    if context.global.json {
        return print_json(&Line {
            path: path.display().to_string(),
            mask: files.map(|files| &*files.mask),
            overlay: files.map(|files| &*files.overlay),
            shares,
        });
    }
    let mut text = plain_line(&path.display().to_string()).into_owned();
    for Share { class, share } in shares {
        let bar = "█".repeat((20.0 * share).round() as usize);
        let share = percent(share);
        text += &format!("\n  {share:>7}  {bar:<20}  {class}");
    }
    if let Some(files) = files {
        let [mask, overlay] = [&files.mask, &files.overlay].map(|path| path.display().to_string());
        text += &format!("\n  {}\n  {}", plain_line(&mask), plain_line(&overlay));
    }
    print_text(&text)
}
