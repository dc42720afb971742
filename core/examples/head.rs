//! Solves a linear head on features from a file and says how long it took: `bench/head.py` runs this
//! beside scikit-learn.
//!
//! `cargo run --release -p rekindle-core --no-default-features --example head -- FEATURES C RUNS WEIGHTS`
//!
//! FEATURES holds photos, features and classes as u32, the features as f32, photo after photo, and the
//! labels as u32, all little-endian. WEIGHTS is written: `[classes, features]` and `[classes]`, f32.

use std::time::Instant;

use rekindle_core::train::logistic::{LogisticOptions, LogisticProblem, LogisticSolver, Scaling};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [features, c, runs, weights] = &arguments[..] else {
        return Err("expected FEATURES C RUNS WEIGHTS".into());
    };
    let bytes = std::fs::read(features)?;
    let words: Vec<u32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    let [photos, width, classes] = [0, 1, 2].map(|at| words[at] as usize);
    let (x, y) = words[3..].split_at(photos * width);
    let x: Vec<f32> = x.iter().map(|word| f32::from_bits(*word)).collect();
    let y: Vec<usize> = y.iter().map(|word| *word as usize).collect();
    let options = LogisticOptions {
        c: c.parse()?,
        scaling: Scaling::None,
        ..LogisticOptions::default()
    };

    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..runs.parse()? {
        let started = Instant::now();
        let problem = LogisticProblem::new(&x, width, &y, classes, options.clone())?;
        let solution = LogisticSolver::new(problem).solve()?;
        times.push(started.elapsed().as_secs_f64());
        last = Some(solution);
    }
    times.sort_by(f64::total_cmp);
    let (Some(solution), Some(least)) = (last, times.first()) else {
        return Err("expected a run at least".into());
    };
    let numbers = solution.weight.iter().chain(&solution.bias);
    let numbers: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(weights, numbers)?;
    let median = times[times.len() / 2];
    println!(
        "{{\"seconds\": {median}, \"least\": {least}, \"objective\": {}, \"iterations\": {}}}",
        solution.objective, solution.iterations
    );
    Ok(())
}
