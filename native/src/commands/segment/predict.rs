//! `rekindle predict` with a network that gives each pixel a class: shares of the classes, masks and overlays.

use std::path::{Path, PathBuf};

use rekindle_core::model::Model;
use rekindle_core::postprocess::{Mask, overlay, palette_colour};
use serde::Serialize;

use super::out::{Files, plan, write_both};
use crate::cli::PredictArgs;
use crate::context::Context;
use crate::interrupt;
use crate::photos::{PhotoError, encode_mask, encode_picture};
use crate::segment::{Answer, segment};
use crate::ui::{painted, percent, plain_line, print_json, print_painted};

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
    /// The class's number, in the mask too.
    index: usize,
    share: f64,
}

/// Segments photos, writes the pictures that are asked for, and prints each photo's classes. What cannot be used is
/// handed to `tell`, by its place among the photos.
pub fn run(
    args: &PredictArgs,
    model: &Model,
    paths: &[PathBuf],
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
    let all = |_, _| Ok(());
    segment(
        model,
        paths,
        is_out,
        skipped,
        context,
        all,
        |photo, known| {
            let answer = match known {
                Ok(answer) => answer,
                Err(error) => return tell(photo, Err(error)),
            };
            let files = files.as_ref().map(|files| &files[photo]);
            if let Some(files) = files {
                write(files, &answer, model)?;
            }
            tell(photo, Ok(()))?;
            if let (Some(out), Some(next)) = (&args.out, paths.get(photo + 1)) {
                interrupt::advise(left(out, photo + 1, paths.len(), next));
            }
            print(&paths[photo], &answer.mask, files, args, model, context)
        },
    )
}

/// What to do about photos that have no pictures yet: the same command would meet the files that are there.
fn left(out: &Path, done: usize, all: usize, next: &Path) -> String {
    format!(
        "{done} of {all} photos are done, their pictures are whole in {}: give the photos that are left, from {} on, or \
         name another folder with --out for all of them",
        out.display(),
        next.display()
    )
}

fn is_background(class: &str) -> bool {
    BACKGROUND.contains(&class)
}

/// Writes a photo's mask, and the photo under it.
fn write(out: &Files, answer: &Answer, model: &Model) -> anyhow::Result<()> {
    let Some(photo) = &answer.photo else {
        return Ok(());
    };
    let mut classes = model.card.classes.iter();
    let background = classes.position(|class| is_background(class));
    let background = background.and_then(|class| u8::try_from(class).ok());
    let seen = overlay(photo, &answer.mask, background)?;
    write_both(out, &encode_mask(&answer.mask)?, &encode_picture(&seen)?)
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
        .enumerate()
        .filter(|(_, (_, share))| *share > 0.0)
        .map(|(index, (class, share))| Share {
            class,
            index,
            share,
        })
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
    // What would be shown as nothing is left out; --json has it.
    for share in shares.iter().filter(|share| share.share >= 5e-4) {
        let mut bar = "█".repeat((20.0 * share.share).round() as usize);
        let rest = " ".repeat(20_usize.saturating_sub(bar.chars().count()));
        let mut colour = String::new();
        // The overlay leaves the background as it is.
        if let (Ok(index), false) = (u8::try_from(share.index), is_background(share.class)) {
            let [red, green, blue] = palette_colour(index);
            bar = painted(&bar, [red, green, blue]).into_owned();
            if files.is_some() {
                colour = format!("  #{red:02x}{green:02x}{blue:02x}");
            }
        }
        let (percent, class) = (percent(share.share), plain_line(share.class));
        text += &format!("\n  {percent:>7}  {bar}{rest}  {class}{colour}");
    }
    if let Some(files) = files {
        let [mask, overlay] = [&files.mask, &files.overlay].map(|path| path.display().to_string());
        text += &format!("\n  {}\n  {}", plain_line(&mask), plain_line(&overlay));
    }
    print_painted(text)
}
