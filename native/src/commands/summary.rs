//! `rekindle summary`: what a model is made of.

use rekindle_core::graph::LayerId;
use rekindle_core::inspect::{Summary, grouped};
use rekindle_core::preprocess::Interpolation;
use serde::Serialize;

use crate::cli::SummaryArgs;
use crate::context::Context;
use crate::inspected::Inspected;
use crate::models;
use crate::ui::{ExitCode, print_json, print_text, table};

/// A stage, as `summary --json` prints it.
#[derive(Debug, Serialize)]
struct StageRow {
    stage: String,
    /// Input pixels per output position; none where positions have been averaged away.
    stride: Option<usize>,
    channels: usize,
    output: Vec<usize>,
    params: usize,
    trainable: usize,
}

/// A parameter, as `summary --json` prints it.
#[derive(Debug, Serialize)]
struct ParameterRow {
    name: String,
    shape: Vec<usize>,
    trainable: bool,
}

/// Prints the layers, the stages or the parameters.
pub fn run(args: &SummaryArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let inspected = Inspected::new(&args.inspect)?;
    let summary = Summary::new(&inspected.graph, &inspected.freezing, args.batch);
    let (stages, parameters) = (stages(&inspected), parameters(&inspected));
    let auxiliary = inspected.architecture.auxiliary_params();
    if auxiliary > 0 {
        context.console.note(&format!(
            "not counted: the auxiliary classifier ({} parameters), which only helps in training and which \
             `rekindle models`, as torchvision, counts with the rest",
            grouped(auxiliary as usize)
        ));
    }
    if context.global.json {
        print_json(&serde_json::json!({
            "architecture": inspected.architecture.name,
            "family": inspected.architecture.family,
            "card": inspected.card,
            "summary": summary,
            "stages": stages,
            "parameters": parameters,
        }))?;
        return Ok(ExitCode::Ok);
    }
    if args.stages {
        print_text(&stage_table(&stages))?;
    } else if args.parameters {
        print_text(&parameter_table(&parameters))?;
    } else {
        print_text(&summary.to_string())?;
    }
    if let Some(card) = &inspected.card {
        let preset = card.preset;
        let shown = card.classes.iter().take(10).cloned().collect::<Vec<_>>();
        let more = if card.classes.len() > 10 { ", …" } else { "" };
        let (title, classes) = match args.inspect.classes {
            // The file's own head and classes are not what was looked at.
            Some(count) => (
                format!("{} with a new head, {count} classes", card.architecture),
                String::new(),
            ),
            None => (
                models::title(card),
                format!("\nclasses: {}{more}", shown.join(", ")),
            ),
        };
        let interpolation = match preset.interpolation() {
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
        };
        let part = match preset.crop() {
            Some(crop) => format!("centre {crop}×{crop}"),
            None => "whole".to_owned(),
        };
        print_text(&format!(
            "{title}\nphotos: shorter side to {}, {interpolation}, {part}, mean {:?}, std {:?}{classes}",
            preset.resize(),
            preset.mean(),
            preset.std(),
        ))?;
    }
    Ok(ExitCode::Ok)
}

fn stages(inspected: &Inspected) -> Vec<StageRow> {
    let graph = &inspected.graph;
    let mut rows: Vec<StageRow> = graph
        .stages()
        .iter()
        .map(|stage| StageRow {
            stage: stage.name.clone(),
            stride: stage.stride,
            channels: stage.channels,
            output: stage.shape.clone(),
            params: 0,
            trainable: 0,
        })
        .collect();
    for (index, layer) in graph.layers().iter().enumerate() {
        let row = &mut rows[graph.stage_of_layer(LayerId(index))];
        row.params += layer.parameter_count();
        row.trainable += inspected.freezing.trainable(layer);
    }
    rows
}

fn parameters(inspected: &Inspected) -> Vec<ParameterRow> {
    let layers = inspected.graph.layers().iter();
    layers
        .flat_map(|layer| layer.parameters())
        .map(|(name, shape)| ParameterRow {
            trainable: inspected.freezing.trains_tensor(&name),
            name,
            shape,
        })
        .collect()
}

fn joined(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    axes.join("×")
}

fn stage_table(rows: &[StageRow]) -> String {
    let mut table = table(&["stage", "stride", "output", "parameters", "trainable"]);
    for row in rows {
        table.add_row(vec![
            row.stage.clone(),
            row.stride
                .map_or_else(String::new, |stride| stride.to_string()),
            joined(&row.output),
            grouped(row.params),
            grouped(row.trainable),
        ]);
    }
    table.to_string()
}

fn parameter_table(rows: &[ParameterRow]) -> String {
    let mut table = table(&["parameter", "shape", ""]);
    for row in rows {
        table.add_row(vec![
            row.name.clone(),
            joined(&row.shape),
            if row.trainable { "" } else { "frozen" }.to_owned(),
        ]);
    }
    table.to_string()
}
