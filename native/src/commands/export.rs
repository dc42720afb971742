//! `rekindle export`: a model for other runtimes.

use std::iter::once;
use std::path::PathBuf;

use rekindle_core::inspect::onnx;
use serde_json::{Value, json};

use crate::cli::ExportArgs;
use crate::context::Context;
use crate::files;
use crate::models;
use crate::ui::{ExitCode, print_json, print_text};

/// Writes the file and says where, and how photos must be prepared for it.
pub fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let weights = args.weights.weights.as_deref();
    if let Some(out) = &args.out {
        files::is_not_read(out, &models::files_read(&args.model, weights))?;
    }
    let device = rekindle_core::device::cpu().device;
    let model = models::open(&args.model, weights, &device, context)?;
    let bytes = onnx::export(&model)?;
    let default = || PathBuf::from(format!("{}.onnx", model.card.architecture));
    let out = args.out.clone().unwrap_or_else(default);
    files::write(&out, &bytes)?;
    let side = model.card.preset.side();
    let graph = model.graph();
    let output = graph.shape_of(graph.output());
    let answer: Vec<Value> = once(json!("batch"))
        .chain(output.iter().map(|&side| json!(side)))
        .collect();
    if context.global.json {
        print_json(&json!({
            "path": out,
            "bytes": bytes.len(),
            "input": ["batch", 3, side, side],
            "output": answer,
            "preset": model.card.preset,
        }))?;
    } else {
        let preset = model.card.preset;
        let sides = output.iter().map(usize::to_string);
        let words: Vec<String> = once("batch".to_owned()).chain(sides).collect();
        print_text(&format!(
            "{}: {:.1} MB; image [batch, 3, {side}, {side}], (x / 255 − {:?}) / {:?}; logits [{}]",
            out.display(),
            bytes.len() as f64 / 1e6,
            preset.mean(),
            preset.std(),
            words.join(", "),
        ))?;
    }
    Ok(ExitCode::Ok)
}
