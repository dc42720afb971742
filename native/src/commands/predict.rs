//! `rekindle predict`: what is on photos.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rekindle_core::postprocess::Prediction;
use rekindle_core::task::Task;
use serde::Serialize;

use super::{segment, targets};
use crate::cli::PredictArgs;
use crate::context::Context;
use crate::features;
use crate::interrupt::Interrupt;
use crate::models;
use crate::photos::{PhotoError, PhotoProblem, formats_help};
use crate::skipped::{Skipped, Warnings, counted, help_with};
use crate::ui::{ExitCode, Failure, percent, plain_line, print_json, print_text};
use crate::walk::Walker;

/// Classes that are shown of a photo when nobody says how many.
const TOP: usize = 5;

/// A photo's answer, as `predict --json` prints it.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<&'a [Prediction]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Why<'a>>,
}

#[derive(Debug, Serialize)]
struct Why<'a> {
    kind: &'static str,
    reason: &'a str,
}

/// Answers for photos: the best classes of each, or the classes of its pixels.
pub fn run(args: &PredictArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let weights = args.weights.weights.as_deref();
    models::check(&args.model, weights)?;
    let Named {
        paths,
        loops,
        unreadable,
        own,
    } = expand(&args.images, &context.interrupt)?;
    match own {
        0 => {}
        1 => context
            .console
            .note("left aside: 1 mask or overlay beside its photo"),
        own => context.console.note(&format!(
            "left aside: {own} masks and overlays beside their photos"
        )),
    }
    let device = context.open_device()?;
    let model = models::open(&args.model, weights, &device.device, context)?;
    // Links to folders are no photos, so answers say nothing of them.
    let mut warnings = Warnings::default();
    loops.iter().for_each(|link| warnings.of(link));
    let before = loops.len() + unreadable.len();
    let (mut skipped, mut is_nothing) = (loops, true);
    let mut tell = |photo: usize, known: Result<(), PhotoError>| {
        match known {
            Ok(()) => is_nothing = false,
            Err(error) => {
                let path = paths[photo].display().to_string();
                let one = Skipped::new(path, &error.problem);
                print_skipped(&one, &mut warnings, context)?;
                skipped.push(one);
            }
        }
        Ok(())
    };
    let answered = match model.card.task {
        Task::Classify => {
            let top = args.top.unwrap_or(TOP);
            features::predict(
                &model,
                &paths,
                top,
                before,
                context,
                |photo, known| match known {
                    Ok(top) => {
                        tell(photo, Ok(()))?;
                        print_answer(&paths[photo], &top, context)
                    }
                    Err(error) => tell(photo, Err(error)),
                },
            )
        }
        Task::MultiLabel | Task::Regress => {
            targets::predict::run(args, &model, &paths, before, context, &mut tell)
        }
        Task::Segment => segment::predict::run(args, &model, &paths, before, context, &mut tell),
    };
    answered.with_context(|| format!("cannot answer with {}", args.model))?;
    for folder in unreadable {
        print_skipped(&folder, &mut warnings, context)?;
        skipped.push(folder);
    }
    if !skipped.is_empty() && (args.strict || is_nothing) {
        let text = format!("{} cannot be used", counted(&skipped));
        let help = help_with(&skipped).unwrap_or("above is said what is wrong with each");
        let help = match is_nothing {
            true => help.to_owned(),
            false => format!("{help}; or leave out `--strict` to skip them"),
        };
        return Err(Failure::new(ExitCode::Data, text).with_help(help).into());
    }
    Ok(ExitCode::Ok)
}

fn print_answer(path: &Path, top: &[Prediction], context: &Context) -> anyhow::Result<()> {
    if context.global.json {
        return print_json(&Answer {
            path: path.display().to_string(),
            top: Some(top),
            skipped: None,
        });
    }
    let mut text = plain_line(&path.display().to_string()).into_owned();
    for prediction in top {
        let bar = "█".repeat((20.0 * prediction.probability).round() as usize);
        let share = percent(f64::from(prediction.probability));
        text += &format!("\n  {share:>7}  {bar:<20}  {}", prediction.class);
    }
    print_text(&text)
}

fn print_skipped(
    skipped: &Skipped,
    warnings: &mut Warnings,
    context: &Context,
) -> anyhow::Result<()> {
    if context.global.json {
        print_json(&Answer {
            path: skipped.path.clone(),
            top: None,
            skipped: Some(Why {
                kind: skipped.kind,
                reason: &skipped.reason,
            }),
        })?;
    }
    warnings.of(skipped);
    Ok(())
}

/// What the arguments name.
#[derive(Default)]
struct Named {
    /// Photos, in the order of the arguments; folders become the photos in them, sorted. What several arguments
    /// name is there once, as the first of them names it.
    paths: Vec<PathBuf>,
    /// Links to a folder above all that is named.
    loops: Vec<Skipped>,
    /// Folders inside folders that cannot be looked into, and folders without photos.
    unreadable: Vec<Skipped>,
    /// Masks and overlays that `--out` has written, in folders that hold their photos too.
    own: usize,
}

/// Takes out what `--out` has written for a photo among these, and says how many that were.
fn leave_pictures(paths: &mut Vec<PathBuf>) -> usize {
    let own = |path: &PathBuf| {
        segment::out::photo_of(path)
            .is_none()
            .then(|| segment::out::own_name(path))
    };
    let photos: HashSet<OsString> = paths.iter().filter_map(own).collect();
    let has = |name: &str| photos.contains(OsStr::new(name));
    let is_picture = |path: &PathBuf| {
        let name = segment::out::photo_of(path);
        name.is_some_and(|name| has(name) || segment::out::without_number(name).is_some_and(has))
    };
    let before = paths.len();
    paths.retain(|path| !is_picture(path));
    before - paths.len()
}

fn expand(images: &[PathBuf], interrupt: &Interrupt) -> anyhow::Result<Named> {
    let mut named = Named::default();
    let mut seen = HashSet::new();
    let mut is_new = |path: &PathBuf| {
        // What cannot be followed will be said to be bad when it is opened.
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        seen.insert(real)
    };
    let folders = images.iter().filter(|image| image.is_dir());
    let roots: Vec<PathBuf> = folders
        .filter_map(|folder| std::fs::canonicalize(folder).ok())
        .collect();
    let mut empty = Vec::new();
    for image in images {
        interrupt.check()?;
        if !image.is_dir() {
            named.paths.extend(is_new(image).then(|| image.clone()));
            continue;
        }
        let walked = Walker::new(image, interrupt)?.walk(image)?;
        let mut paths = walked.photos;
        // A link that leads nowhere may have been a photo, or a folder of them: opening it says so.
        paths.extend(walked.dangling);
        paths.sort();
        named.own += leave_pictures(&mut paths);
        if paths.is_empty() && walked.unreadable.is_empty() {
            empty.extend(is_new(image).then(|| image.clone()));
        }
        paths.retain(&mut is_new);
        named.paths.extend(paths);
        let place = |path: &Path| path.display().to_string();
        let a_loop = |link: &PathBuf| Skipped::new(place(link), &PhotoProblem::BadLink);
        let loops = walked.loops.iter();
        // What lies in any of the folders that are named is met there.
        let is_met = |link: &PathBuf| {
            std::fs::canonicalize(link)
                .is_ok_and(|real| roots.iter().any(|root| real.starts_with(root)))
        };
        let lost = loops.filter(|link| !is_met(link));
        named.loops.extend(lost.map(a_loop));
        let unreadable = walked.unreadable.into_iter();
        let unreadable = unreadable.map(|(path, cause)| Skipped::folder(place(&path), cause));
        named.unreadable.extend(unreadable);
    }
    // An empty folder among photos is skipped like a file that is no photo.
    if let ([first, rest @ ..], [], []) = (&empty[..], &named.paths[..], &named.unreadable[..]) {
        let more = match rest.len() {
            0 => String::new(),
            1 => ", nor in another folder".to_owned(),
            more => format!(", nor in {more} more folders"),
        };
        let text = format!("there are no photos in {}{more}", first.display());
        return Err(Failure::new(ExitCode::Data, text)
            .with_help(formats_help())
            .into());
    }
    let skipped = empty
        .iter()
        .map(|folder| Skipped::empty_folder(folder.display().to_string()));
    named.unreadable.extend(skipped);
    Ok(named)
}
