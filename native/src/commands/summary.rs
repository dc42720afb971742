//! `rekindle summary`: what a model is made of.

use rekindle_core::model::Model;
use serde::Serialize;

use super::{Context, print_json, print_text, table};
use crate::cli::SummaryArgs;
use crate::models;
use crate::ui::ExitCode;

#[derive(Debug, Serialize)]
struct Row {
    stage: String,
    stride: usize,
    channels: usize,
    output: Vec<usize>,
    params: usize,
}

/// Prints the stages, the head and how photos are prepared.
pub fn run(args: &SummaryArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let device = rekindle_core::device::cpu().device;
    let model = models::open(
        &args.model,
        args.weights.weights.as_deref(),
        &device,
        context,
    )?;
    let rows = rows(&model);
    let params = model.parameters();
    if context.global.json {
        print_json(&serde_json::json!({
            "card": model.card,
            "stages": rows,
            "head_params": model.head_parameters(),
            "params": params,
        }))?;
        return Ok(ExitCode::Ok);
    }
    let card = &model.card;
    let preset = card.preset;
    let mut text = format!("{}\n\n", models::title(card));
    let mut stages = table(&["stage", "stride", "output", "parameters"]);
    for row in &rows {
        let output = row
            .output
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join("×");
        stages.add_row(vec![
            row.stage.clone(),
            row.stride.to_string(),
            output,
            grouped(row.params),
        ]);
    }
    stages.add_row(vec![
        format!("head ({})", card.head.name()),
        String::new(),
        card.classes.len().to_string(),
        grouped(model.head_parameters()),
    ]);
    text += &format!("{stages}\n\n{} parameters\n", grouped(params));
    text += &format!(
        "photos: shorter side to {}, {:?}, centre {}×{}, mean {:?}, std {:?}\n",
        preset.resize(),
        preset.interpolation(),
        preset.crop(),
        preset.crop(),
        preset.mean(),
        preset.std(),
    );
    let shown = card
        .classes
        .iter()
        .take(10)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    text += &format!(
        "classes: {shown}{}",
        if card.classes.len() > 10 { ", …" } else { "" }
    );
    print_text(&text)?;
    Ok(ExitCode::Ok)
}

fn rows(model: &Model) -> Vec<Row> {
    let side = model.card.preset.crop() as usize;
    let outputs = model
        .backbone()
        .stage_shapes([1, 3, side, side], model.device());
    let params = model.stage_parameters();
    let stages = model
        .backbone()
        .stages()
        .into_iter()
        .zip(outputs)
        .zip(params);
    stages
        .map(|((stage, output), params)| Row {
            stage: stage.name,
            stride: stage.stride,
            channels: stage.channels,
            output: output[1..].to_vec(),
            params,
        })
        .collect()
}

/// Digits in groups of three: `4,652,008`.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
