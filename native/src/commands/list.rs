//! `rekindle models`: the networks there are.

use rekindle_core::backbone::{Architecture, architectures};
use rekindle_core::task::Task;
use serde::Serialize;

use crate::context::Context;
use crate::fetch::{Places, locate};
use crate::figures::Figures;
use crate::models;
use crate::ui::{ExitCode, print_json, print_text, table};

/// A network, as `models --json` prints it.
#[derive(Debug, Serialize)]
struct Entry {
    name: &'static str,
    family: &'static str,
    task: Task,
    /// Learnable numbers with the ImageNet head.
    params: u64,
    /// Multiply-adds of one image.
    macs: u64,
    /// Side of the square input in pixels.
    input_size: usize,
    min_input_size: usize,
    /// Length of the pooled features.
    features: usize,
    /// SPDX identifier of the default weights' licence.
    license: &'static str,
    /// Where the default weights come from.
    source: String,
    /// Whether the default weights are on this machine.
    available: bool,
    weights: Vec<WeightEntry>,
}

#[derive(Debug, Serialize)]
struct WeightEntry {
    name: &'static str,
    file: &'static str,
    url: Option<&'static str>,
    license: &'static str,
    #[serde(flatten)]
    figures: Figures,
    resize: u32,
    /// None where the network sees whole photos.
    crop: Option<u32>,
    available: bool,
}

impl Entry {
    fn new(architecture: &'static Architecture, places: &Places) -> Option<Self> {
        let default = architecture.weights.first()?;
        let weights: Vec<_> = architecture
            .weights
            .iter()
            .map(|weights| WeightEntry {
                name: weights.name,
                file: weights.file_name,
                url: weights.url,
                license: weights.license.spdx(),
                figures: Figures::of(weights.accuracy),
                resize: weights.preset.resize(),
                crop: weights.preset.crop(),
                available: locate(&models::source(weights), places).is_some(),
            })
            .collect();
        Some(Self {
            name: architecture.name,
            family: architecture.family,
            task: architecture.task,
            params: architecture.params(),
            macs: architecture.macs(),
            input_size: architecture.input_size,
            min_input_size: architecture.min_input(),
            features: architecture.features(),
            license: default.license.spdx(),
            source: default
                .url
                .map_or_else(|| default.source.to_owned(), str::to_owned),
            available: weights.first().is_some_and(|weights| weights.available),
            weights,
        })
    }
}

/// Lists them.
pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let places = Places::of_this_machine();
    let entries: Vec<_> = architectures()
        .filter_map(|architecture| Entry::new(architecture, &places))
        .collect();
    if context.global.json {
        print_json(&entries)?;
        return Ok(ExitCode::Ok);
    }
    let mut table = table(&[
        "network",
        "task",
        "parameters",
        "multiply-adds",
        "input",
        "accuracy",
        "licence",
        "weights",
    ]);
    for entry in &entries {
        let figures = entry.weights.iter().map(|weights| &weights.figures);
        let accuracy = figures.into_iter().find_map(Figures::in_words);
        table.add_row(vec![
            entry.name.to_owned(),
            entry.task.to_string(),
            format!("{:.1} M", entry.params as f64 / 1e6),
            format!("{:.2} G", entry.macs as f64 / 1e9),
            match entry.weights.first() {
                // Whole photos, by their shorter side.
                Some(weights) if weights.crop.is_none() => format!("{} a side", entry.input_size),
                _ => format!("{0}×{0}", entry.input_size),
            },
            accuracy.unwrap_or_else(|| "–".to_owned()),
            entry.license.to_owned(),
            if entry.available {
                "here"
            } else {
                "to download"
            }
            .to_owned(),
        ]);
    }
    print_text(&table.to_string())?;
    Ok(ExitCode::Ok)
}
