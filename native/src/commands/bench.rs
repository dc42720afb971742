//! `rekindle bench`: how fast a network answers and trains on this device.

use std::path::Path;
use std::time::{Duration, Instant};

use rekindle_core::compiled::{Precision, Timing};
use rekindle_core::device::{
    DeviceClass, DeviceError, Measure, OpenDevice, Yardstick, is_processor,
};
use rekindle_core::image::RgbImage;
use rekindle_core::kernels;
use rekindle_core::model::{Model, whole_graph};
use rekindle_core::random::Random;
use rekindle_core::tune::{Footprint, Place};
use serde::Serialize;

use super::steps::{self, Spent, Steps};
use crate::cli::{BenchArgs, KernelChoice, NormSteps};
use crate::context::Context;
use crate::memory;
use crate::models;
use crate::ui::{ExitCode, percent, print_json, print_text, table};

/// What is said where a network is named and its weights are not: nothing is downloaded to see how fast it is.
pub(super) const UNTRAINED: &str = "measured with numbers drawn at random: speed does not depend on them (`bench --weights` takes \
     others)";

/// Times at most that something is done between runs.
const MOST_BETWEEN: usize = 32;

/// Below this share of the device's most, a try at it was disturbed.
const UNSTEADY: f64 = 0.8;

/// What was measured, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Measured {
    model: String,
    device: String,
    kernels: &'static str,
    precision: Precision,
    batch: usize,
    runs: usize,
    /// From opening the model to its first answer: packing weights, compiling shaders.
    first_ms: f64,
    median_ms: f64,
    fastest_ms: f64,
    /// The median where images lie on the adapter already, normalised: without the way there.
    resident_ms: Option<f64>,
    ms_per_image: f64,
    images_per_second: f64,
    /// Of the network as it is written down, in the fastest run: whatever else the machine does only makes a run
    /// slower, as it makes the yardstick.
    gflops: f64,
    /// Of what is carried out: Winograd's method saves multiplications.
    executed_gflops: f64,
    /// What the device can do at most: multiply-adds in registers, or whatever it was seen to do here.
    peak_gflops: f64,
    /// The slowest that the device was when it was asked for its most, before, between and after the runs: far
    /// below `peak_gflops` where its clock or other work comes and goes.
    lowest_peak_gflops: f64,
    /// What is carried out, of that.
    share_of_peak: f64,
    /// What the process held at most.
    peak_memory_bytes: Option<u64>,
    /// What the graphics adapter holds for us.
    device_memory_bytes: Option<u64>,
    training: Option<Training>,
    layers: Option<Vec<Layer>>,
}

#[derive(Debug, Serialize)]
struct Training {
    first_ms: f64,
    step_ms: f64,
    /// The fastest step.
    best_ms: f64,
    /// What it took beyond what was held before, on the processor, and what was predicted.
    taken_memory_bytes: Option<u64>,
    /// The same less the network's numbers in training, which are there before the first step.
    step_memory_bytes: Option<u64>,
    predicted_memory_bytes: u64,
    steps_per_second: f64,
    images_per_second: f64,
    /// What a step is made of.
    spent: Option<Vec<Spent>>,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    kind: &'static str,
    ms: f64,
    /// Of the layer as it is written down; none where nothing is multiplied, or where the device has no time for it.
    gflops: Option<f64>,
    /// Of what is carried out.
    executed_gflops: Option<f64>,
    /// What is carried out, of what the device can do at most.
    share_of_peak: Option<f64>,
}

/// Measures, and prints a table.
pub fn run(args: &BenchArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let device = context.open_device()?;
    let (model, is_random) = opened(args, &device, context)?;
    kernels::switch(args.kernels == KernelChoice::Ours);
    check_memory(&model, &device, args)?;
    let crops = crops(&model, args.batch)?;
    let answer = || pollster::block_on(answer(&model, &crops, args.kernels, is_random));
    let mut peak = Peak::new(&device);
    let (first, seconds) = timed(args.runs, context, answer, || peak.ask(context))?;
    peak.ask_all(context)?;
    let median = seconds[seconds.len() / 2];
    let per_image = median / args.batch as f64;
    let gigaflops = |macs: u64| 2.0 * (macs as f64) * (args.batch as f64) / seconds[0] / 1e9;
    let side = model.card.preset.side() as usize;
    let macs = whole_graph(model.architecture(), &model.card, [side; 2])?.macs();
    let executed = gigaflops(match args.kernels {
        KernelChoice::Ours => model.multiply_adds()?,
        KernelChoice::Burn => macs,
    });
    let layers = match args.layers {
        true => Some(layers(&model, &crops, context)?),
        false => None,
    };
    // Whatever the device was seen to do is a thing that it can do: a share is one of the best there was.
    let seen = layers
        .iter()
        .flatten()
        .filter_map(|layer| layer.executed_gflops);
    let lowest_peak = peak.lowest;
    let peak = seen.fold(peak.best.max(executed), f64::max);
    let layers = layers.map(|layers| {
        let layers = layers.into_iter().map(|layer| Layer {
            share_of_peak: layer.executed_gflops.map(|executed| executed / peak),
            ..layer
        });
        layers.collect()
    });
    let measured = Measured {
        model: model.card.architecture.clone(),
        device: device.info.name.clone(),
        kernels: match args.kernels {
            KernelChoice::Ours => "ours",
            KernelChoice::Burn => "burn",
        },
        precision: model.precision(),
        batch: args.batch,
        runs: args.runs,
        first_ms: 1e3 * first,
        median_ms: 1e3 * median,
        fastest_ms: 1e3 * seconds[0],
        resident_ms: resident(&model, &crops, args, is_random, context)?,
        ms_per_image: 1e3 * per_image,
        images_per_second: 1.0 / per_image,
        gflops: gigaflops(macs),
        executed_gflops: executed,
        peak_gflops: peak,
        lowest_peak_gflops: lowest_peak.min(peak),
        share_of_peak: executed / peak,
        peak_memory_bytes: memory::peak_bytes(),
        device_memory_bytes: device
            .device
            .memory_pool_usage()
            .map(|usage| usage.bytes_reserved),
        training: match args.train {
            true => Some(training(&model, &crops, args, context)?),
            false => None,
        },
        layers,
    };
    match context.global.json {
        true => print_json(&measured)?,
        false => print(&measured)?,
    }
    Ok(ExitCode::Ok)
}

/// The model, and whether its numbers were drawn at random: nothing is downloaded to see how fast a network is.
fn opened(
    args: &BenchArgs,
    device: &OpenDevice,
    context: &Context,
) -> anyhow::Result<(Model, bool)> {
    let mut weights = args.weights.weights.as_deref();
    let is_named = weights.is_none() && !Path::new(&args.model).is_file();
    if is_named {
        weights = Some("random");
    }
    let model = models::open(&args.model, weights, &device.device, context)?;
    if is_named {
        context.console.note(UNTRAINED);
    }
    Ok((model, weights == Some("random")))
}

/// Refuses a batch that this machine has no room for. An adapter with memory of its own says so itself.
fn check_memory(model: &Model, device: &OpenDevice, args: &BenchArgs) -> anyhow::Result<()> {
    if device.info.kind == DeviceClass::Gpu {
        return Ok(());
    }
    let graph = model.graph();
    let batch = args.batch as u64;
    // Our kernels take a batch in parts on the processor, as many at a time as there are threads.
    let in_parts = device.info.kind == DeviceClass::Cpu
        && args.kernels == KernelChoice::Ours
        && !args.layers
        && !args.train;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let together = match in_parts {
        true => batch.min(threads as u64),
        false => batch,
    };
    let photo = graph.input().iter().product::<usize>() as u64;
    // Answers are put together out of those of the parts.
    let bytes = batch * (photo + 2 * memory::of_answers(graph)) + together * memory::of_maps(graph);
    memory::check(
        bytes,
        &format!("{} with a batch of {}", model.card.architecture, args.batch),
        "give a smaller --batch, or free some memory",
    )?;
    Ok(())
}

/// A batch of the same picture, of noise.
pub(super) fn crops(model: &Model, images: usize) -> anyhow::Result<Vec<RgbImage>> {
    let side = model.card.preset.side();
    let mut random = Random::new(1);
    let bytes = (0..3 * side * side)
        .map(|_| random.below(256) as u8)
        .collect();
    Ok(vec![RgbImage::new(side, side, bytes)?; images])
}

/// Asks the model about a batch, and waits for all answers.
async fn answer(
    model: &Model,
    crops: &[RgbImage],
    kernels: KernelChoice,
    is_random: bool,
) -> anyhow::Result<()> {
    match kernels {
        KernelChoice::Ours => match model.logits(crops).await {
            // An untrained network may run over, and takes as long all the same.
            Err(DeviceError::NotFinite { .. }) if is_random => {}
            logits => _ = logits?,
        },
        // As the network was written down, nothing folded or fused.
        KernelChoice::Burn => {
            let logits = model.forward(model.batch(crops)).flatten();
            let logits = logits.into_data_async().await;
            let logits = logits.map_err(DeviceError::execution)?;
            // Burn reads back what is looked at, when it is looked at.
            std::hint::black_box(logits.iter::<f32>().last());
        }
    }
    Ok(())
}

/// The median of passes over images that lie on the adapter, in milliseconds; nothing on the processor.
fn resident(
    model: &Model,
    crops: &[RgbImage],
    args: &BenchArgs,
    is_random: bool,
    context: &Context,
) -> anyhow::Result<Option<f64>> {
    if is_processor(model.device()) || args.kernels == KernelChoice::Burn {
        return Ok(None);
    }
    let images = model.batch(crops);
    let answer = || match pollster::block_on(model.logits_of(images.clone())) {
        // As above.
        Err(DeviceError::NotFinite { .. }) if is_random => Ok(()),
        logits => Ok(logits.map(drop)?),
    };
    let (_, seconds) = timed(args.runs, context, answer, || Ok(()))?;
    Ok(Some(1e3 * seconds[seconds.len() / 2]))
}

/// Runs once to warm up, then `runs` times: the first run's seconds, and the others' from the fastest
/// to the slowest. What is to be done `between` them is done before each of the others, or every so many where
/// they are very many, and after the last.
fn timed(
    runs: usize,
    context: &Context,
    mut act: impl FnMut() -> anyhow::Result<()>,
    mut between: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<(f64, Vec<f64>)> {
    let mut once = || -> anyhow::Result<f64> {
        context.interrupt.check()?;
        let started = Instant::now();
        act()?;
        Ok(started.elapsed().as_secs_f64())
    };
    // The first pass compiles shaders and fills caches: it is told apart.
    let first = once()?;
    let mut seconds = Vec::new();
    let every = runs.div_ceil(MOST_BETWEEN);
    for run in 0..runs {
        if run % every == 0 {
            between()?;
        }
        seconds.push(once()?);
    }
    between()?;
    seconds.sort_by(f64::total_cmp);
    Ok((first, seconds))
}

/// What the device does at most, in billions of operations a second: the fastest of many tries at each kind of
/// work, since whatever else the machine does only makes it slower. The tries are spread over the measurement, so
/// that they see the clock and the neighbours that the network sees.
struct Peak {
    yardstick: Yardstick,
    times: usize,
    /// Kinds of work there are here; nothing before the first try.
    kinds: Option<Vec<Measure>>,
    best: f64,
    /// The least that a series of tries at multiply-adds in registers came to.
    lowest: f64,
}

impl Peak {
    /// Seconds of the tries between two runs. A processor that is shared is taken away for some milliseconds at a
    /// time: a series lasts longer than that.
    const SHORT: Duration = Duration::from_millis(25);
    /// And after the last, at each kind of work.
    const LONG: Duration = Duration::from_millis(200);
    /// Tries in a row. Schedulers let somebody work undisturbed who has just been away, so a pause follows.
    const IN_A_ROW: usize = 3;
    const PAUSE: Duration = Duration::from_millis(2);

    fn new(device: &OpenDevice) -> Self {
        Self {
            yardstick: Yardstick::new(device),
            // An adapter's answer takes a time of its own, whatever was asked.
            times: match device.info.kind {
                DeviceClass::Cpu => 1,
                DeviceClass::Gpu | DeviceClass::Software => 8,
            },
            kinds: None,
            best: 0.0,
            lowest: f64::INFINITY,
        }
    }

    fn kinds(&mut self) -> anyhow::Result<Vec<Measure>> {
        if let Some(kinds) = &self.kinds {
            return Ok(kinds.clone());
        }
        let mut kinds = Vec::new();
        for by in Measure::ALL {
            // The first try compiles and warms up.
            if pollster::block_on(self.yardstick.run(by, 1))?.is_some() {
                kinds.push(by);
            }
        }
        self.kinds = Some(kinds.clone());
        Ok(kinds)
    }

    /// A short series at the first kind of work.
    fn ask(&mut self, context: &Context) -> anyhow::Result<()> {
        match self.kinds()?.first() {
            Some(&by) => self.series(by, Self::SHORT, context),
            None => Ok(()),
        }
    }

    /// A longer series at each kind of work.
    fn ask_all(&mut self, context: &Context) -> anyhow::Result<()> {
        for by in self.kinds()? {
            self.series(by, Self::LONG, context)?;
        }
        Ok(())
    }

    fn series(&mut self, by: Measure, least: Duration, context: &Context) -> anyhow::Result<()> {
        const FEWEST: usize = 4;
        let (begun, mut tries, mut best) = (Instant::now(), 0, 0.0_f64);
        while tries < FEWEST || begun.elapsed() < least {
            context.interrupt.check()?;
            let started = Instant::now();
            let operations = pollster::block_on(self.yardstick.run(by, self.times))?;
            let seconds = started.elapsed().as_secs_f64();
            best = best.max(operations.unwrap_or_default() / seconds / 1e9);
            tries += 1;
            if tries % Self::IN_A_ROW == 0 {
                std::thread::sleep(Self::PAUSE);
            }
        }
        // The run that follows begins as a try does.
        std::thread::sleep(Self::PAUSE);
        self.best = self.best.max(best);
        if self.kinds.as_ref().and_then(|kinds| kinds.first()) == Some(&by) {
            self.lowest = self.lowest.min(best);
        }
        Ok(())
    }
}

/// Whole steps: the loss of a batch, its gradients, and every parameter moved.
fn training(
    model: &Model,
    crops: &[RgbImage],
    args: &BenchArgs,
    context: &Context,
) -> anyhow::Result<Training> {
    let place = memory::place(model.device());
    let learning = steps::learning(model, args.bn == NormSteps::Train);
    let footprint =
        Footprint::of(model.graph(), &learning, 0, 1, place).recomputing(args.recompute);
    let before = match place {
        Place::Processor { .. } => memory::resident_bytes(),
        Place::Adapter => None,
    };
    let mut steps = Steps::new(model, crops, &learning, args.kernels)?;
    steps.recompute(args.recompute)?;
    let begun = before.and_then(|_| memory::resident_bytes());
    let (first, seconds) = timed(args.runs, context, || steps.take(), || Ok(()))?;
    // Read before each job is asked for its time, which is work of its own.
    let peak = memory::peak_bytes();
    let beyond = |held: Option<u64>| held.zip(peak).map(|(held, peak)| peak.saturating_sub(held));
    let median = seconds[seconds.len() / 2];
    Ok(Training {
        first_ms: 1e3 * first,
        step_ms: 1e3 * median,
        best_ms: 1e3 * seconds[0],
        taken_memory_bytes: beyond(before),
        step_memory_bytes: beyond(begun),
        predicted_memory_bytes: footprint.bytes(crops.len(), crops.len()),
        steps_per_second: 1.0 / median,
        images_per_second: crops.len() as f64 / median,
        spent: match args.layers {
            true => Some(steps.spent()?),
            false => None,
        },
    })
}

/// Each layer's time: the fastest of three passes, after a first that warms up.
fn layers(model: &Model, crops: &[RgbImage], context: &Context) -> anyhow::Result<Vec<Layer>> {
    let start = Instant::now();
    let pass = || pollster::block_on(model.profile(crops, || start.elapsed().as_secs_f64()));
    let mut best: Vec<Timing> = pass()?;
    for _ in 0..3 {
        context.interrupt.check()?;
        for (best, now) in best.iter_mut().zip(pass()?) {
            best.seconds = best.seconds.min(now.seconds);
        }
    }
    let layers = best.into_iter().map(|timing| {
        let gigaflops = |macs: u64| {
            (macs > 0 && timing.seconds > 0.0).then(|| 2.0 * macs as f64 / timing.seconds / 1e9)
        };
        Layer {
            ms: 1e3 * timing.seconds,
            gflops: gigaflops(timing.macs),
            executed_gflops: gigaflops(timing.executed),
            share_of_peak: None,
            name: timing.name,
            kind: timing.kind,
        }
    });
    Ok(layers.collect())
}

fn print(measured: &Measured) -> anyhow::Result<()> {
    print_text(&format!(
        "{} on {}, batch {}: {:.1} ms an image ({:.1} images a second); first batch {:.0} ms",
        measured.model,
        measured.device,
        measured.batch,
        measured.ms_per_image,
        measured.images_per_second,
        measured.first_ms,
    ))?;
    if let Some(resident) = measured.resident_ms {
        print_text(&format!(
            "from images that lie on the adapter already: {:.1} ms an image",
            resident / measured.batch as f64
        ))?;
    }
    print_text(&format!(
        "{:.1} GFLOP/s, of which {:.1} are carried out: {} of the {:.1} that the device can do at most",
        measured.gflops,
        measured.executed_gflops,
        percent(measured.share_of_peak),
        measured.peak_gflops,
    ))?;
    // Between one series of tries and the next a quiet machine differs by a few hundredths.
    if measured.lowest_peak_gflops < UNSTEADY * measured.peak_gflops {
        print_text(&format!(
            "the device's most came and went between {:.1} and {:.1} GFLOP/s meanwhile, by its clock or by other \
             work: times and the share are uncertain",
            measured.lowest_peak_gflops, measured.peak_gflops,
        ))?;
    }
    let megabytes = |bytes: Option<u64>| {
        bytes.map_or("–".to_owned(), |bytes| {
            format!("{:.0} MB", bytes as f64 / 1e6)
        })
    };
    print_text(&format!(
        "memory: {} in the process, {} on the device",
        megabytes(measured.peak_memory_bytes),
        megabytes(measured.device_memory_bytes),
    ))?;
    if let Some(training) = &measured.training {
        print_text(&format!(
            "training: {:.1} ms a step, {:.2} steps ({:.1} images) a second; first step {:.0} ms",
            training.step_ms,
            training.steps_per_second,
            training.images_per_second,
            training.first_ms,
        ))?;
        if let Some(spent) = &training.spent {
            print_text(&steps::told(spent))?;
        }
    }
    if let Some(layers) = &measured.layers {
        // As above: Winograd's method carries out fewer multiplications than a layer is made of.
        let mut rows = table(&["layer", "kernel", "ms", "GFLOP/s", "carried out", "share"]);
        let rate = |rate: Option<f64>| rate.map_or("–".to_owned(), |rate| format!("{rate:.1}"));
        for layer in layers {
            rows.add_row(vec![
                layer.name.clone(),
                layer.kind.to_owned(),
                format!("{:.3}", layer.ms),
                rate(layer.gflops),
                rate(layer.executed_gflops),
                layer.share_of_peak.map_or("–".to_owned(), percent),
            ]);
        }
        print_text(&rows.to_string())?;
    }
    Ok(())
}
