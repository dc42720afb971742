//! `rekindle predict`: what is on photos.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rekindle_core::postprocess::Prediction;
use serde::Serialize;

use super::{Context, percent, print_json, print_text};
use crate::cli::PredictArgs;
use crate::features;
use crate::interrupt::Interrupt;
use crate::models;
use crate::photos::PhotoProblem;
use crate::ui::{ExitCode, Failure, print_warning};
use crate::walk::Walker;

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
    let Named { paths, unreadable } = expand(&args.images, &context.interrupt)?;
    let device = context.open_device()?;
    let model = models::open(
        &args.model,
        args.weights.weights.as_deref(),
        &device.device,
        context,
    )?;
    let mut failed = 0;
    features::predict(&model, &paths, args.top, context, |photo, known| {
        let path = &paths[photo];
        match known {
            Ok(top) => print_answer(path, &top, context),
            Err(error) => {
                failed += 1;
                let (kind, message) = (error.kind(), error.problem.to_string());
                print_trouble(path, kind, &message, error.help(), context)
            }
        }
    })
    .with_context(|| format!("cannot answer with {}", args.model))?;
    let unlisted = unreadable.len();
    for (folder, cause) in unreadable {
        let message = format!("the folder cannot be listed ({cause})");
        let kind = PhotoProblem::from_io(cause).kind();
        let help = "make it readable, or leave it out";
        print_trouble(&folder, kind, &message, Some(help), context)?;
    }
    if failed + unlisted > 0 && (args.strict || failed == paths.len()) {
        let mut text = format!("{failed} of {} photos could not be read", paths.len());
        match unlisted {
            0 => {}
            1 => text += ", nor could a folder",
            folders => text += &format!(", nor could {folders} folders"),
        }
        let help = match args.strict && failed < paths.len() {
            true => "mend or remove them, or leave out --strict: then the others are enough",
            false => "above is said what is wrong with each",
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

fn print_trouble(
    path: &Path,
    kind: &'static str,
    message: &str,
    help: Option<&str>,
    context: &Context,
) -> anyhow::Result<()> {
    if context.global.json {
        let message = message.to_owned();
        print_json(&Answer {
            path: path.display().to_string(),
            top: None,
            error: Some(Trouble { kind, message }),
        })?;
    }
    print_warning(&format!("{message}: {}", path.display()), help);
    Ok(())
}

/// What the arguments name.
#[derive(Default)]
struct Named {
    /// Photos, in the order of the arguments; folders become the photos in them, sorted.
    paths: Vec<PathBuf>,
    /// Folders inside folders that cannot be looked into.
    unreadable: Vec<(PathBuf, io::Error)>,
}

fn expand(images: &[PathBuf], interrupt: &Interrupt) -> anyhow::Result<Named> {
    let mut named = Named::default();
    for image in images {
        if !image.is_dir() {
            named.paths.push(image.clone());
            continue;
        }
        let walked = Walker::new(image, interrupt)?.walk(image)?;
        for link in &walked.loops {
            let text = format!(
                "not followed, since it leads to a folder above it: {}",
                link.display()
            );
            print_warning(&text, None);
        }
        let mut paths = walked.photos;
        // A link that leads nowhere may have been a photo, or a folder of them: opening it says so.
        paths.extend(walked.dangling);
        paths.sort();
        if paths.is_empty() && walked.unreadable.is_empty() {
            return Err(Failure::new(
                ExitCode::Data,
                format!("there are no photos in {}", image.display()),
            )
            .with_help("photos are JPEG, PNG, WebP, GIF, BMP and TIFF files")
            .into());
        }
        named.paths.extend(paths);
        named.unreadable.extend(walked.unreadable);
    }
    Ok(named)
}
