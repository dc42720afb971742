//! One case of the golden, step by step on an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use burn::tensor::Device;
use pollster::block_on;
use rekindle_core::network::{Batch, Network};
use rekindle_core::tune::{Descent, Draws, Engine as _, Given, Phase, Plan, Rate, Trainee};
use rekindle_core::weights::{Tensors, state_dict};

use crate::golden::{Case, Told, floats};
use crate::schedules::settings;

/// How far from PyTorch numbers may be.
#[derive(Clone, Copy)]
pub struct Allowed {
    /// Losses and gradients' norms, relative.
    pub loss: f64,
    /// A tensor's numbers, relative to its largest.
    pub end: f64,
    /// How far they moved, relative.
    pub moved: f64,
}

pub const PROCESSOR: Allowed = Allowed {
    loss: 1e-4,
    end: 1e-3,
    moved: 5e-2,
};

pub const WGSL: Allowed = Allowed {
    loss: 1e-3,
    end: 1e-3,
    moved: 5e-2,
};

/// The plan of a case, held against what the golden says of it: what trains, where it begins, at which rates.
fn plan(case: &Case<'_>, network: &Network) -> (Plan, BTreeMap<String, Rate>) {
    let graph = network.graph();
    let recipe = case.recipe();
    let plan = Plan::new(&recipe, graph).unwrap();
    let [phase] = &plan.phases[..] else {
        panic!("{} has one phase", case.name);
    };
    let norms: BTreeSet<&str> = case
        .tensors()
        .into_iter()
        .filter_map(|name| name.strip_suffix("running_mean"))
        .collect();
    let is_norm = |name: &str| norms.iter().any(|norm| name.starts_with(norm));
    let is_statistic = |name: &str| name.contains("running_");
    let prefixes = case.trains();
    let trains = |name: &str| match &prefixes {
        None => true,
        Some(all) => all.iter().any(|prefix| name.starts_with(prefix)),
    };
    let named = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let names = case
            .tensors()
            .into_iter()
            .filter(|name| trains(name) && wanted(name));
        names.map(str::to_owned).collect()
    };
    let norm = case.get("batch_norm");
    let affine = norm["affine"].as_bool().unwrap();
    let parameters = named(&|name| !is_statistic(name) && (affine || !is_norm(name)));
    assert_eq!(phase.learning.parameters, parameters, "{}", case.name);
    let follows = norm["statistics"] == "batch";
    let statistics = named(&|name| follows && is_statistic(name));
    assert_eq!(phase.learning.statistics, statistics, "{}", case.name);
    let stage = case.get("first_stage").as_str();
    assert_eq!(
        stage.unwrap_or(&graph.stages()[0].name),
        graph.stages()[phase.stage].name
    );

    let spared = case.no_decay();
    let mut rates = phase.rates.clone();
    assert_eq!(rates.keys().cloned().collect::<BTreeSet<_>>(), parameters);
    for (name, rate) in &mut rates {
        assert_eq!(rate.decays, !spared.contains(&&name[..]), "{name}");
        let scale = case
            .get("scales")
            .get(name)
            .map_or(1.0, |scale| scale.as_f64().unwrap());
        let wanted = recipe.lr * scale;
        assert!(
            (rate.rate - wanted).abs() < 1e-6 * wanted,
            "{name}: {}, {wanted}",
            rate.rate
        );
        // PyTorch's default, which we do not offer.
        rate.decays |= case.get("decays") == "all";
    }
    (plan, rates)
}

/// Whether the numbers that do not learn are what they were, bit for bit, and the optimiser holds nothing of them.
fn keeps_what_is_frozen(phase: &Phase, engine: &Trainee, start: &Tensors) {
    let learning = &phase.learning;
    let state = block_on(engine.state()).unwrap();
    for (name, (_, values)) in &state.tensors {
        if !learning.parameters.contains(name) && !learning.statistics.contains(name) {
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(values),
                bits(&start[name].1),
                "{name} is frozen and moved"
            );
        }
    }
    let held = state.slots.keys().map(|key| key.split_once('/').unwrap().1);
    for name in held.chain(state.steps.keys().map(String::as_str)) {
        assert!(
            learning.parameters.contains(name),
            "the optimiser holds something of {name}"
        );
    }
    assert_eq!(state.steps.len(), learning.parameters.len());
}

/// Holds tensors against the rows of a case; says the worst differences of numbers and of how far they moved.
pub fn compare(
    told: &Told,
    case: &Case<'_>,
    found: &Tensors,
    start: &Tensors,
    averaged: bool,
    allowed: Allowed,
) -> [f64; 2] {
    let mut worst = [0.0_f64; 2];
    let square = |x: f64| x * x;
    for (name, row) in told.rows(case, averaged) {
        let (values, before) = (&found[name].1, &start[name].1);
        let at = |values: &[f32], place: usize| f64::from(values[place]);
        let [mut off, mut moved] = [0.0; 2];
        for (place, value) in row.places(name, values.len()) {
            let difference = at(values, place) - value;
            let error = difference.abs() / row.largest;
            assert!(
                error < allowed.end,
                "{} {name}[{place}]: {}, PyTorch {value}, of {} at most",
                case.name,
                at(values, place),
                row.largest
            );
            worst[0] = worst[0].max(error);
            off += square(difference);
            moved += square(value - at(before, place));
        }
        if moved > 0.0 {
            let error = (off / moved).sqrt();
            assert!(
                error < allowed.moved,
                "{} {name} moved by other amounts: {error:.1e}",
                case.name
            );
            worst[1] = worst[1].max(error);
        }
        let norm = values
            .iter()
            .map(|&x| square(f64::from(x)))
            .sum::<f64>()
            .sqrt();
        assert!(
            (norm - row.norm).abs() < allowed.end * row.norm,
            "{} {name}: {norm}",
            case.name
        );
        if row.moved == 0.0 {
            assert_eq!(
                values, before,
                "{} {name} did not move in PyTorch",
                case.name
            );
        }
    }
    worst
}

fn length(gradients: &Tensors) -> f64 {
    let values = gradients.values().flat_map(|(_, values)| values.iter());
    values.map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Takes the ten steps of a case.
pub fn follows(name: &str, device: &Device, allowed: Allowed) {
    let begun = Instant::now();
    let told = Told::read();
    let case = told.case(name);
    let (graph, start) = case.graph();
    let network = Network::new(graph, &state_dict([&start]), device).unwrap();
    let (plan, rates) = plan(&case, &network);
    let [phase] = &plan.phases[..] else {
        unreachable!("it was looked at")
    };
    let recipe = &plan.recipe;
    let settings = settings(case.all(), case.steps, case.per_epoch, recipe.lr);

    // What is frozen in front is computed once for all; where it holds running statistics that must stay while those
    // behind it move, the whole network runs.
    let frozen = (phase.cut > 0 && phase.learning.statistics.is_empty())
        .then(|| network.clone().answering());
    let mut engine = Trainee::new(network.graph().clone(), &state_dict([&start]), device).unwrap();
    engine.learns(&phase.learning);
    let (losses, norms) = (
        floats(case.get("losses")),
        floats(case.get("gradient_norms")),
    );
    let mut worst = [0.0_f64; 2];
    let mut batch = 0;
    for (step, setting) in settings.iter().enumerate() {
        let images = case.images(step);
        let aims = case.aims(step);
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut first = 0;
        for size in case.micro_batches() {
            parts.push((first..first + size).collect());
            first += size;
        }
        let whole: Vec<&[usize]> = parts.iter().map(Vec::as_slice).collect();
        let image = images.len() / case.batch();
        for part in &parts {
            let images = &images[part[0] * image..][..part.len() * image];
            let images = case.tensor(images, device);
            let given = match &frozen {
                None => Given::images(images),
                Some(front) => {
                    let made = front.run([(0, Batch::Maps(images))], &[phase.cut]);
                    Given::on_device(phase.cut, made.unwrap().pop().unwrap())
                }
            };
            let mix = case.mix(step);
            let mut goal = aims.goal(part, &whole, mix.as_ref());
            goal.share *= case.share_of_loss();
            let draws = Draws {
                first: 0,
                seed: 0,
                batch,
                mix,
            };
            engine.accumulate(given, &goal, &draws);
            batch += 1;
        }
        let norm = length(&block_on(engine.gradients()).unwrap());
        let error = (norm - norms[step]).abs() / norms[step];
        worst[1] = worst[1].max(error);
        engine.descend(&Descent {
            optimizer: &recipe.optimizer,
            rates: &rates,
            factor: setting.factor,
            momentum: setting.momentum,
            clip: recipe.clip,
        });
        if let Some(average) = recipe.ema {
            let kept = average.kept(step as u64 + 1);
            let decay = floats(&case.get("ema")["decays"])[step];
            assert!(
                (kept - decay).abs() < 1e-6,
                "{name} step {step}: {kept}, timm {decay}"
            );
            engine.average(kept);
        }
    }
    let found = block_on(engine.losses()).unwrap();
    assert_eq!(found.len(), losses.len());
    for (step, (&found, expected)) in found.iter().zip(losses).enumerate() {
        let found = f64::from(found);
        let error = (found - expected).abs() / expected;
        assert!(
            error < allowed.loss,
            "{name} step {step}: loss {found}, PyTorch {expected}"
        );
        worst[0] = worst[0].max(error);
    }
    let end = block_on(engine.tensors(false)).unwrap();
    let mut apart = compare(&told, &case, &end, &start, false, allowed);
    if recipe.ema.is_some() {
        let averaged = block_on(engine.tensors(true)).unwrap();
        let of_average = compare(&told, &case, &averaged, &start, true, allowed);
        apart = [0, 1].map(|i| apart[i].max(of_average[i]));
    }
    keeps_what_is_frozen(phase, &engine, &start);
    println!(
        "| {name} | loss {:.1e} | norm {:.1e} | end {:.1e} | moved {:.1e} | {:.1} s |",
        worst[0],
        worst[1],
        apart[0],
        apart[1],
        begun.elapsed().as_secs_f64()
    );
    assert!(
        worst[1] < 10.0 * allowed.loss,
        "{name}: gradients' norm {:.1e}",
        worst[1]
    );
}
