//! `rekindle bench`: how fast a network answers on this device.

use std::time::Instant;

use rekindle_core::image::RgbImage;
use rekindle_core::random::Random;
use serde_json::json;

use super::{Context, print_json, print_text};
use crate::cli::BenchArgs;
use crate::memory;
use crate::models;
use crate::ui::{ExitCode, Failure};

/// Times forward passes from crops to logits, and prints the median.
pub fn run(args: &BenchArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.batch == 0 || args.runs == 0 {
        return Err(Failure::new(ExitCode::Usage, "--batch and --runs must be at least 1").into());
    }
    let device = context.open_device()?;
    let weights = args.weights.weights.as_deref();
    let model = models::open(&args.model, weights, &device.device, context)?;
    let side = model.card.preset.crop();
    let mut random = Random::new(1);
    let bytes = (0..3 * side * side)
        .map(|_| random.below(256) as u8)
        .collect();
    let crops = vec![RgbImage::new(side, side, bytes)?; args.batch];

    // The first pass compiles shaders and fills caches: it is told apart.
    let started = Instant::now();
    pollster::block_on(model.logits(&crops))?;
    let first = started.elapsed().as_secs_f64();
    let mut seconds = Vec::new();
    for _ in 0..args.runs {
        context.interrupt.check()?;
        let started = Instant::now();
        pollster::block_on(model.logits(&crops))?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let per_image = median / args.batch as f64;
    let gigaflops = 2.0 * model.architecture().macs() as f64 / per_image / 1e9;
    if context.global.json {
        print_json(&json!({
            "model": model.card.architecture,
            "device": device.info.name,
            "batch": args.batch,
            "runs": args.runs,
            "first_ms": 1e3 * first,
            "median_ms": 1e3 * median,
            "fastest_ms": 1e3 * seconds[0],
            "ms_per_image": 1e3 * per_image,
            "images_per_second": 1.0 / per_image,
            "gflops": gigaflops,
            "peak_memory_bytes": memory::peak_bytes(),
        }))?;
    } else {
        print_text(&format!(
            "{} on {}, batch {}: {:.1} ms an image ({:.1} images a second, {gigaflops:.1} GFLOP/s); first batch {:.0} ms",
            model.card.architecture,
            device.info.name,
            args.batch,
            1e3 * per_image,
            1.0 / per_image,
            1e3 * first,
        ))?;
    }
    Ok(ExitCode::Ok)
}
