//! Times a training step on the processor, without Burn and so built in seconds.
//!
//! `cargo run --release -p rekindle-core --no-default-features --example step -- NETWORK [BATCH] [train|frozen] [RUNS] [jobs] [recompute]`

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rekindle_core::backbone::find;
use rekindle_core::graph::Options;
use rekindle_core::tune::{
    Descent, Draws, Engine as _, Footprint, Given, Goal, Learning, Loss, Optimizer, Place, Planned,
    Rate,
};
use rekindle_core::weights::{Generated, state_dict, take};

/// Megabytes of this process, where the system says so.
fn resident(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(
        line.trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<f64>()
            .ok()?
            * 1.024e-3,
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |place: usize, usual: &str| {
        arguments
            .get(place)
            .map_or(usual, String::as_str)
            .to_owned()
    };
    let name = text(0, "resnet18");
    let (batch, runs): (usize, usize) = (text(1, "8").parse()?, text(3, "10").parse()?);
    let follows = text(2, "train") == "train";
    let architecture = find(&name)?;
    let (side, classes) = (architecture.input_size, 1000);
    let graph = architecture.whole_graph([3, side, side], &Options::default(), classes)?;
    let (tensors, _) = take(graph.tensors(), &Generated)?;
    let before = resident("VmRSS:");
    let mut engine = Planned::new(Arc::new(graph.clone()), &state_dict([&tensors]))?;
    let mut learning = Learning::default();
    for (name, _) in graph.tensors() {
        match name.contains("running") {
            true if follows => _ = learning.statistics.insert(name),
            true => {}
            false => _ = learning.parameters.insert(name),
        }
    }
    engine.learns(&learning);
    let asks = |word: &str| arguments.iter().any(|argument| argument == word);
    let recomputes = asks("recompute");
    engine.recompute(recomputes);
    let rate = Rate {
        rate: 0.0,
        decays: true,
    };
    let rates: BTreeMap<String, Rate> = learning
        .parameters
        .iter()
        .map(|name| (name.clone(), rate))
        .collect();
    let optimizer = Optimizer::Sgd {
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1e-4,
    };
    let mut wanted = vec![0.0; batch * classes];
    (0..batch).for_each(|image| wanted[image * classes + image] = 1.0);
    let goal = Goal {
        loss: Loss::CrossEntropy,
        wanted,
        counts: None,
        answers: classes,
        share: 1.0 / batch as f64,
    };
    let numbers: Vec<f32> = (0..batch * 3 * side * side)
        .map(|at| (at % 251) as f32 / 125.0 - 1.0)
        .collect();
    let begun = resident("VmRSS:");
    let mut seconds = Vec::new();
    for step in 0..=runs {
        let draws = Draws {
            seed: 0,
            batch: step as u64,
            first: 0,
            mix: None,
        };
        let input = Given::rows(0, numbers.clone());
        let started = Instant::now();
        engine.accumulate(input, &goal, &draws);
        let halfway = started.elapsed().as_secs_f64();
        engine.descend(&Descent {
            optimizer: &optimizer,
            rates: &rates,
            factor: 1.0,
            momentum: None,
            clip: None,
        });
        seconds.push((started.elapsed().as_secs_f64(), halfway));
    }
    if asks("jobs") {
        let input = || Given::rows(0, numbers.clone());
        let started = Instant::now();
        let clock = move || started.elapsed().as_secs_f64();
        let mut best: Vec<(String, [f64; 2])> = engine.profile(input(), &goal, &clock);
        for _ in 0..runs {
            for (best, now) in best.iter_mut().zip(engine.profile(input(), &goal, &clock)) {
                best.1 = [0, 1].map(|way| best.1[way].min(now.1[way]));
            }
        }
        for (name, [there, back]) in best {
            println!("{name:50} {:8.2} {:8.2}", 1e3 * there, 1e3 * back);
        }
    }
    let first = seconds.remove(0).0;
    seconds.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!(
        "{name} batch {batch} bn {}: best {:.1} ms (optimiser {:.1}), median {:.1}, first {:.1}",
        text(2, "train"),
        1e3 * seconds[0].0,
        1e3 * (seconds[0].0 - seconds[0].1),
        1e3 * seconds[runs / 2].0,
        1e3 * first
    );
    let predicted = Footprint::of(&graph, &learning, 0, 1, Place::Processor { threads: 2 })
        .recomputing(recomputes)
        .bytes(batch, batch) as f64
        / 1e6;
    if let (Some(before), Some(begun), Some(most)) = (before, begun, resident("VmHWM:")) {
        println!(
            "took {:.0} MB, predicted {predicted:.0}: {:.2}; {:.0} of them since before the first step",
            most - before,
            predicted / (most - before),
            most - begun
        );
    }
    Ok(())
}
