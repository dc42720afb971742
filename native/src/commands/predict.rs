//! `rekindle predict`: what is on photos.

use std::path::{Path, PathBuf};

use rekindle_core::postprocess::Prediction;
use serde::Serialize;

use super::{Context, percent, print_json, print_text};
use crate::cli::PredictArgs;
use crate::features::{self, Answers};
use crate::models;
use crate::photos::{PhotoError, is_photo_name};
use crate::ui::{ExitCode, Failure, print_warning};

/// A photo's answer, as `predict --json` prints it.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<&'a [Prediction]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Trouble>,
}

#[derive(Debug, Serialize)]
struct Trouble {
    kind: &'static str,
    message: String,
}

/// Classifies photos and prints the best classes of each.
pub fn run(args: &PredictArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let paths = expand(&args.images)?;
    let device = context.open_device()?;
    let model = models::open(
        &args.model,
        args.weights.weights.as_deref(),
        &device.device,
        context,
    )?;
    let Answers { answers, failed } = features::predict(&model, &paths, args.top.max(1), context)?;

    let mut answers = answers.into_iter().peekable();
    let mut troubles = failed.iter().peekable();
    for (index, path) in paths.iter().enumerate() {
        if let Some((_, top)) = answers.next_if(|(photo, _)| *photo == index) {
            print_answer(path, &top, context)?;
        } else if let Some((_, error)) = troubles.next_if(|(photo, _)| *photo == index) {
            print_trouble(path, error, context)?;
        }
    }
    match failed.len() {
        0 => Ok(ExitCode::Ok),
        count if args.strict || count == paths.len() => Err(Failure::new(
            ExitCode::Data,
            format!("{count} of {} photos could not be read", paths.len()),
        )
        .into()),
        _ => Ok(ExitCode::Ok),
    }
}

fn print_answer(path: &Path, top: &[Prediction], context: &Context) -> anyhow::Result<()> {
    if context.global.json {
        return print_json(&Answer {
            path: path.display().to_string(),
            top: Some(top),
            error: None,
        });
    }
    let mut text = path.display().to_string();
    for prediction in top {
        let bar = "█".repeat((20.0 * prediction.probability).round() as usize);
        let share = percent(f64::from(prediction.probability));
        text += &format!("\n  {share:>7}  {bar:<20}  {}", prediction.class);
    }
    print_text(&text)
}

fn print_trouble(path: &Path, error: &PhotoError, context: &Context) -> anyhow::Result<()> {
    if context.global.json {
        let trouble = Trouble {
            kind: error.kind(),
            message: error.problem.to_string(),
        };
        print_json(&Answer {
            path: path.display().to_string(),
            top: None,
            error: Some(trouble),
        })?;
    }
    print_warning(&error.to_string(), error.help());
    Ok(())
}

/// Folders become the photos in them, sorted.
fn expand(images: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for image in images {
        if !image.is_dir() {
            paths.push(image.clone());
            continue;
        }
        let before = paths.len();
        gather(image, 0, &mut paths)?;
        if paths.len() == before {
            return Err(Failure::new(
                ExitCode::Data,
                format!("there are no photos in {}", image.display()),
            )
            .into());
        }
        paths[before..].sort();
    }
    Ok(paths)
}

fn gather(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    const DEEPEST: usize = 32;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() && depth < DEEPEST {
            gather(&path, depth + 1, paths)?;
        } else if is_photo_name(&path) {
            paths.push(path);
        }
    }
    Ok(())
}
