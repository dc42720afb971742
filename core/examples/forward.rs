//! Times a frozen network on the processor, without Burn and so built in seconds.
//!
//! `cargo run --release -p rekindle-core --no-default-features --example forward -- NETWORK [BATCH] [RUNS] [steps]`
//!
//! `RAYON_NUM_THREADS` says how many cores take part. With `steps`, what each step takes at best follows. With
//! `turns`, so many passes are timed as each line read says, so that another program can take turns with this one.

use std::error::Error;
use std::io::BufRead as _;
use std::time::Instant;

use rekindle_core::backbone::find;
use rekindle_core::compiled::{Processor, fuse, lower};
use rekindle_core::graph::Options;
use rekindle_core::weights::{Generated, state_dict, take};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |place: usize, usual: &str| {
        arguments
            .get(place)
            .map_or(usual, String::as_str)
            .to_owned()
    };
    let name = text(0, "squeezenet1_1");
    let (batch, runs): (usize, usize) = (text(1, "1").parse()?, text(2, "20").parse()?);
    let architecture = find(&name)?;
    let (side, classes) = (architecture.input_size, 1000);
    let graph = architecture.whole_graph([3, side, side], &Options::default(), classes)?;
    let (tensors, _) = take(graph.tensors(), &Generated)?;
    let tensors = state_dict([&tensors]);
    let processor = Processor::new(fuse(lower(&graph, &tensors, &[graph.output()])?));
    let images: Vec<f32> = (0..batch * 3 * side * side)
        .map(|at| (at % 251) as f32 / 125.0 - 1.0)
        .collect();
    let fill = |slot: &mut [f32]| slot.copy_from_slice(&images[..slot.len()]);
    let pass = || {
        let started = Instant::now();
        processor.run(batch, |_, slot| fill(slot));
        1e3 * started.elapsed().as_secs_f64() / batch as f64
    };
    pass();
    if text(3, "") == "turns" {
        for line in std::io::stdin().lock().lines() {
            let runs: usize = line?.trim().parse()?;
            let times: Vec<String> = (0..runs).map(|_| pass().to_string()).collect();
            println!("{}", times.join(" "));
        }
        return Ok(());
    }
    let mut times: Vec<f64> = (0..runs).map(|_| pass()).collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{name} batch {batch}: {:.3} ms an image at best, {:.3} median",
        times[0],
        times[runs / 2]
    );
    if text(3, "") == "steps" {
        let clock = Instant::now();
        let profile = || processor.profile(batch, fill, || clock.elapsed().as_secs_f64());
        let rounds: Vec<_> = (0..runs).map(|_| profile()).collect();
        let mut best = profile();
        for (number, step) in best.iter_mut().enumerate() {
            let mut times: Vec<f64> = rounds.iter().map(|round| round[number].seconds).collect();
            times.sort_by(f64::total_cmp);
            step.seconds = times[0];
            println!(
                "{:44} {:10} {:9.1} µs {:7.1} GFLOP/s, median {:9.1} µs",
                step.name,
                step.kind,
                1e6 * times[0],
                2e-9 * step.executed as f64 / times[0],
                1e6 * times[runs / 2],
            );
        }
        let all: f64 = best.iter().map(|step| step.seconds).sum();
        println!("{:44} {:10} {:9.1} µs", "all steps", "", 1e6 * all);
    }
    Ok(())
}
