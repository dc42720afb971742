//! `rekindle export`: a model for other runtimes.

use std::iter::once;
use std::path::{Path, PathBuf};

use rekindle_core::inspect::onnx;
use rekindle_core::model::Contents;
use serde_json::{Value, json};

use crate::cli::ExportArgs;
use crate::context::Context;
use crate::files;
use crate::models;
use crate::runs::MODEL;
use crate::ui::{ExitCode, Failure, print_json, print_text};

/// Writes the file and says where, and how photos must be prepared for it.
pub fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let weights = args.weights.weights.as_deref();
    let path = Path::new(&args.model);
    // A run's model is called as all runs' models are: its run says which one it is.
    let name = match (path.is_file(), path.file_name()) {
        (true, Some(name)) if name == MODEL => path.parent().and_then(Path::file_name),
        (true, _) => path.file_stem(),
        (false, _) => None,
    };
    let out = args.out.clone().unwrap_or_else(|| {
        let name = name.unwrap_or(args.model.as_ref()).to_string_lossy();
        PathBuf::from(format!("{name}.onnx"))
    });
    files::is_not_read(&out, &models::files_read(&args.model, weights))?;
    if args.out.is_none() && out.exists() {
        let message = format!("{} exists", out.display());
        return Err(Failure::new(ExitCode::Usage, message)
            .with_help("name another file by --out, or the same one to replace it")
            .into());
    }
    let device = rekindle_core::device::cpu().device;
    let model = models::open_to_write(&args.model, weights, &device, context)?;
    let sized = args.input.map(|size| at_size(&model, size)).transpose()?;
    let contents = sized.as_ref().unwrap_or(&model);
    let bytes = onnx::export(contents)?;
    files::write(&out, &bytes)?;
    let graph = contents.graph();
    let batches = |shape: &[usize]| -> Vec<Value> {
        let sides = shape.iter().map(|&side| json!(side));
        once(json!("batch")).chain(sides).collect()
    };
    let output = graph.shape_of(graph.output());
    let preset = model.card.preset;
    if context.global.json {
        print_json(&json!({
            "path": out,
            "bytes": bytes.len(),
            "input": batches(graph.input()),
            "output": batches(output),
            "preset": preset,
        }))?;
        return Ok(ExitCode::Ok);
    }
    let words = |shape: &[usize]| {
        let sides = shape.iter().map(usize::to_string);
        let words: Vec<String> = once("batch".to_owned()).chain(sides).collect();
        words.join(", ")
    };
    let name = graph.main_outputs().next();
    print_text(&format!(
        "{}: {:.1} MB; image [{}], (x / 255 − {:?}) / {:?}; {} [{}]",
        out.display(),
        bytes.len() as f64 / 1e6,
        words(graph.input()),
        preset.mean(),
        preset.std(),
        name.map_or("output", |output| output.name.as_str()),
        words(output),
    ))?;
    if args.input.is_none() && preset.crop().is_none() {
        context.console.note(&format!(
            "the file takes images of {0}×{0} pixels and no others; photos that keep their aspect have other sizes: \
             `--input HEIGHTxWIDTH` names one",
            preset.side()
        ));
    }
    Ok(ExitCode::Ok)
}

/// The model for images of this height and width.
fn at_size(model: &Contents, size: [usize; 2]) -> anyhow::Result<Contents> {
    let sized = model.at_size(size).map_err(models::too_small("--input"))?;
    sized.ok_or_else(|| {
        let [height, width] = size;
        let side = model.card.preset.side();
        let message = format!(
            "--input {height}x{width} does not apply here: positions that {} has learnt belong to images of \
             {side}×{side} pixels",
            model.card.architecture
        );
        let failure = Failure::new(ExitCode::Usage, message);
        failure.with_help("leave --input out").into()
    })
}
