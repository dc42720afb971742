//! Trains a two-layer head on features from a file, on the processor and without Burn, and says how long it took:
//! `bench/head.py --mlp` runs this beside PyTorch.
//!
//! `cargo run --release -p rekindle-core --no-default-features --example mlp -- FEATURES HIDDEN EPOCHS BATCH RUNS`
//!
//! FEATURES is as the example `head` takes it.

use std::time::Instant;

use rekindle_core::head::{HeadSlot, MlpConfig};
use rekindle_core::train::mlp::MlpTrainer;
use rekindle_core::train::{Examples, MlpRecipe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [features, hidden, epochs, batch, runs] = &arguments[..] else {
        return Err("expected FEATURES HIDDEN EPOCHS BATCH RUNS".into());
    };
    let bytes = std::fs::read(features)?;
    let words = bytes.as_chunks::<4>().0.iter();
    let words: Vec<u32> = words.map(|word| u32::from_le_bytes(*word)).collect();
    let [photos, width, classes] = [0, 1, 2].map(|at| words[at] as usize);
    let (x, y) = words[3..].split_at(photos * width);
    let x: Vec<f32> = x.iter().map(|word| f32::from_bits(*word)).collect();
    let y: Vec<usize> = y.iter().map(|word| *word as usize).collect();
    let config = MlpConfig {
        hidden: hidden.parse()?,
        dropout: MlpConfig::DROPOUT,
    };
    let recipe = MlpRecipe {
        epochs: epochs.parse()?,
        batch: batch.parse()?,
        ..MlpRecipe::USUAL
    };
    let mut times = Vec::new();
    let mut loss = None;
    for _ in 0..runs.parse()? {
        let examples = Examples::new(width, &x[..], y.clone());
        let started = Instant::now();
        let weights = vec![1.0; classes];
        let slot = HeadSlot::linear("fc");
        let mut trainer = MlpTrainer::new(config, slot, recipe, examples, weights, 0)?;
        loop {
            let progress = pollster::block_on(trainer.step())?;
            loss = progress.loss.or(loss);
            if progress.done {
                break;
            }
        }
        times.push(started.elapsed().as_secs_f64());
    }
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "{{\"seconds\": {least}, \"loss\": {}}}",
        loss.ok_or("expected an epoch and a run at least")?
    );
    Ok(())
}
