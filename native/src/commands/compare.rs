//! `rekindle compare`: networks side by side.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rekindle_core::backbone::{Architecture, PretrainedWeights};
use rekindle_core::head::HeadKind;
use rekindle_core::model::ModelCard;
use serde::Serialize;
use serde_json::Value;

use super::bench::UNTRAINED;
use crate::cli::{CompareArgs, InspectArgs};
use crate::context::Context;
use crate::figures::Figures;
use crate::inspected::Inspected;
use crate::models;
use crate::ui::{ExitCode, Failure, Unit, print_json, print_text, table};

/// One network, as `compare --json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    params: usize,
    /// Multiply-adds of one image.
    macs: u64,
    /// Size of the weights as 32-bit numbers, in millions of bytes.
    size_mb: f64,
    input_size: usize,
    /// Published accuracy of the default weights, or of those that the file says it holds.
    #[serde(flatten)]
    figures: Figures,
    /// How numbers were kept while it was measured.
    precision: Option<&'static str>,
    /// Milliseconds an image, the median over the runs.
    ms_per_image: Option<f64>,
    /// The most memory that a process of its own held, in millions of bytes.
    peak_memory_mb: Option<f64>,
}

/// Prints the table.
pub fn run(args: &CompareArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let is_named = |model: &String| !Path::new(model).is_file();
    if !args.no_measure && args.models.iter().any(is_named) {
        context.console.note(UNTRAINED);
    }
    let measured = if args.no_measure {
        0
    } else {
        args.models.len()
    };
    let mut progress = (measured > 0).then(|| {
        let total = Some(measured as u64);
        context.console.start("measuring", Unit::Items, total)
    });
    for model in &args.models {
        context.interrupt.check()?;
        rows.push(row(model, args, context)?);
        if let Some(progress) = &mut progress {
            progress.advance();
        }
    }
    drop(progress);
    if context.global.json {
        print_json(&rows)?;
        return Ok(ExitCode::Ok);
    }
    let mut table = table(&[
        "model",
        "parameters",
        "multiply-adds",
        "size",
        "input",
        "accuracy",
        "ms an image",
        "peak memory",
    ]);
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    for row in &rows {
        table.add_row(vec![
            row.model.clone(),
            format!("{:.2} M", row.params as f64 / 1e6),
            format!("{:.3} G", row.macs as f64 / 1e9),
            format!("{:.1} MB", row.size_mb),
            format!("{0}×{0}", row.input_size),
            or_dash(row.figures.in_words()),
            or_dash(row.ms_per_image.map(|ms| format!("{ms:.1}"))),
            or_dash(row.peak_memory_mb.map(|mb| format!("{mb:.0} MB"))),
        ]);
    }
    print_text(&table.to_string())?;
    Ok(ExitCode::Ok)
}

fn row(model: &str, args: &CompareArgs, context: &Context) -> anyhow::Result<Row> {
    let inspected = Inspected::new(&InspectArgs {
        model: model.to_owned(),
        input: None,
        classes: None,
        bare: false,
        freeze: Vec::new(),
        unfreeze: Vec::new(),
    })?;
    let Inspected {
        architecture,
        card,
        graph,
        ..
    } = inspected;
    let side = graph.input()[1];
    let weights = match &card {
        Some(card) => published_in(architecture, card),
        None => architecture.weights.iter().find(|w| w.accuracy.is_some()),
    };
    let accuracy = weights.and_then(|weights| weights.accuracy);
    let (ms_per_image, peak_memory_mb) = match args.no_measure {
        true => (None, None),
        false => measure(model, args, context)?,
    };
    Ok(Row {
        model: model.to_owned(),
        params: graph.parameter_count(),
        macs: graph.macs(),
        size_mb: 4.0 * graph.parameter_count() as f64 / 1e6,
        input_size: side,
        figures: Figures::of(accuracy),
        precision: (!args.no_measure).then(|| context.global.precision.word()),
        ms_per_image,
        peak_memory_mb,
    })
}

/// The published weights that a model file holds, as they were published, by what it says of where they came from:
/// classes alone may be those of a head trained anew, or of random numbers.
fn published_in(
    architecture: &Architecture,
    card: &ModelCard,
) -> Option<&'static PretrainedWeights> {
    let told = |key: &str| card.provenance.get(key).and_then(Value::as_str);
    let is_own =
        card.head == HeadKind::Original && card.channels.is_rgb() && !card.small_stem && !card.bare;
    let (name, sha256) = (told("weights")?, told("weights_sha256")?);
    architecture.weights.iter().find(|weights| {
        let prefix = models::source(weights).sha256_prefix;
        is_own
            && weights.name == name
            && prefix.is_none_or(|prefix| sha256.starts_with(prefix))
            && card.preset == weights.preset
            && card.classes == weights.classes.names()
    })
}

/// Measures in a process of its own, so that one network's memory is not counted for the next.
fn measure(
    model: &str,
    args: &CompareArgs,
    context: &Context,
) -> anyhow::Result<(Option<f64>, Option<f64>)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command
        .args(["bench", model, "--json", "--quiet"])
        .args(["--batch", &args.batch.to_string()])
        .args(["--runs", &args.runs.to_string()])
        .args(["--device", &context.global.device.to_string()])
        .args(["--precision", context.global.precision.word()]);
    if !Path::new(model).is_file() {
        // Speed does not depend on the numbers.
        command.args(["--weights", "random"]);
    }
    let output = output_of(&mut command, context)?;
    if !output.status.success() {
        return Err(not_measured(model, &output));
    }
    let found: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot read what measuring {model} gave"))?;
    let memory = found["peak_memory_bytes"].as_f64();
    Ok((
        found["ms_per_image"].as_f64(),
        memory.map(|bytes| bytes / 1e6),
    ))
}

/// What the process leaves, unless the user would rather not wait for it.
fn output_of(command: &mut Command, context: &Context) -> anyhow::Result<Output> {
    /// How often Ctrl-C is looked for.
    const LOOK_UP: Duration = Duration::from_millis(20);
    let failed = "cannot start this program again";
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().context(failed)?;
    // What it prints fits into a pipe, so that it need not be read meanwhile.
    while child.try_wait().context(failed)?.is_none() {
        if let Err(interrupted) = context.interrupt.check() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(interrupted.into());
        }
        std::thread::sleep(LOOK_UP);
    }
    context.interrupt.check()?;
    child.wait_with_output().context(failed)
}

/// The other process's error as ours.
fn not_measured(model: &str, output: &Output) -> anyhow::Error {
    let code = match output.status.code() {
        Some(code) if code == ExitCode::Data.code() => ExitCode::Data,
        Some(code) if code == ExitCode::Io.code() => ExitCode::Io,
        _ => ExitCode::Device,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let line = |label: &str| said.lines().find_map(|line| line.strip_prefix(label));
    let error = line("error: ").unwrap_or(said.trim());
    let help = line("help: ").unwrap_or("compare with --no-measure, or look at `rekindle doctor`");
    Failure::new(code, format!("cannot measure {model}: {error}"))
        .with_help(help)
        .into()
}
