//! What a training will take on this device: time, by what was measured in probes, and memory.

use rekindle_core::graph::Graph;
use rekindle_core::tune::{Footprint, Place, Plan, largest_step};

use crate::memory;

/// Photos that go through the compiled network together.
const ANSWERED: u64 = 8;

/// The speeds of a network on this device, as they were measured.
#[derive(Debug, Clone, Copy)]
pub struct Speeds {
    /// Seconds a photo, decoded and sent through the compiled network.
    pub photo: f64,
    /// The same of one that is decoded already.
    pub forward: f64,
    /// Seconds that solving the head takes for each photo it learns from.
    pub fit: f64,
    /// Seconds of a training step; nothing where none was made.
    pub step: Option<f64>,
}

/// How many photos a training has.
#[derive(Debug, Clone, Copy)]
pub struct Photos {
    /// To learn from,
    pub train: usize,
    /// and held back.
    pub held: usize,
}

/// The seconds that `train` takes, from photos of which nothing is known: the features of all, the head, and, of a
/// tuning, its views and steps. Nothing where a speed is missing. `plan` is of a tuning.
pub fn seconds(speeds: Speeds, photos: Photos, plan: Option<&Plan>) -> Option<f64> {
    let all = (photos.train + photos.held) as f64;
    let mut seconds = all * speeds.photo + photos.train as f64 * speeds.fit;
    let Some(plan) = plan else {
        return Some(seconds);
    };
    let step = speeds.step?;
    let steps = photos.train.div_ceil(plan.recipe.batch.max(1)) as f64;
    for phase in &plan.phases {
        let epochs = phase.epochs as f64;
        seconds += epochs * steps * step;
        seconds += match phase.cut {
            0 => epochs * photos.held as f64 * speeds.photo,
            _ => {
                // All views of a photo are made of it while it is there.
                let views = plan.recipe.views.min(phase.epochs) as f64;
                let viewed = speeds.photo.max(views * speeds.forward);
                photos.train as f64 * viewed + photos.held as f64 * speeds.photo
            }
        };
    }
    Some(seconds)
}

/// The least seconds that the phases of a tuning take, before anything of it was measured: a step back takes twice as
/// long as one forward, neither is faster than the compiled network, and what stands before a cut is half of it at
/// least.
pub fn least_seconds(forward: f64, photos: Photos, plan: &Plan) -> f64 {
    let of_phase = plan.phases.iter().map(|phase| match phase.cut {
        0 => 3.0 * phase.epochs as f64 * photos.train as f64,
        _ => (plan.recipe.views.min(phase.epochs) * photos.train) as f64 / 2.0,
    });
    forward * of_phase.sum::<f64>()
}

/// The multiply-adds that a training takes for each photo to learn from: what is cheaper does not depend on what else
/// the machine was doing. A step back counts as two forward.
pub fn work(graph: &Graph, plan: Option<&Plan>) -> f64 {
    let from = |cut: usize| -> f64 {
        let behind = graph.main().filter(|(index, _)| *index >= cut);
        behind.map(|(_, node)| graph.node_macs(node) as f64).sum()
    };
    let whole = from(0);
    let tuned = plan.map_or(0.0, |plan| {
        let of_phase = plan.phases.iter().map(|phase| {
            let views = plan.recipe.views.min(phase.epochs) as f64;
            let behind = from(phase.cut);
            views * (whole - behind) + 3.0 * phase.epochs as f64 * behind
        });
        of_phase.sum()
    });
    whole + tuned
}

/// About the most memory that a training holds, in bytes: the network's numbers, the features of all photos and, of a
/// tuning, what its [`Footprint`] says. `train` divides steps for which that is too much.
pub fn memory(graph: &Graph, photos: Photos, plan: Option<&Plan>, place: Place) -> u64 {
    let numbers = 4 * graph.parameter_count() as u64;
    let features = 4 * (graph.features() * (photos.train + photos.held)) as u64;
    let head = numbers + features + ANSWERED * memory::of_maps(graph);
    let tuned = plan.map_or(0, |plan| {
        let step = largest_step(photos.train, plan.recipe.batch);
        let of_phase = plan.phases.iter().map(|phase| {
            let images = step.div_ceil(phase.parts.max(1));
            Footprint::new(graph, plan, phase, place).bytes(images, step)
        });
        of_phase.max().unwrap_or(0)
    });
    head.max(features + tuned)
}

#[cfg(test)]
mod tests {
    use rekindle_core::backbone::find;
    use rekindle_core::tune::{Place, Recipe, Tune};

    use super::*;

    #[test]
    fn what_trains_more_takes_more() {
        let graph = find("squeezenet1_1").unwrap().published_whole_graph();
        let plan = |tune| Plan::new(&Recipe::of(tune), &graph).unwrap();
        let (last, full) = (plan(Tune::Last(2)), plan(Tune::Full));
        let photos = Photos {
            train: 100,
            held: 25,
        };
        let speeds = Speeds {
            photo: 0.01,
            forward: 0.01,
            fit: 0.001,
            step: Some(0.5),
        };
        let alone = seconds(speeds, photos, None).unwrap();
        assert!((alone - (1.25 + 0.1)).abs() < 1e-9);
        // Four steps an epoch; six views of what trains, and the plain one of what is held back.
        let tuned = seconds(speeds, photos, Some(&last)).unwrap();
        assert!(
            (tuned - (alone + 6.0 * 4.0 * 0.5 + 6.25)).abs() < 1e-9,
            "{tuned}"
        );
        let whole = seconds(speeds, photos, Some(&full)).unwrap();
        assert!(
            (whole - (alone + 5.0 * 4.0 * 0.5 + 5.0 * 0.25)).abs() < 1e-9,
            "{whole}"
        );
        assert!((least_seconds(0.01, photos, &full) - 15.0).abs() < 1e-9);
        assert!((least_seconds(0.01, photos, &last) - 3.0).abs() < 1e-9);
        let unknown = Speeds {
            step: None,
            ..speeds
        };
        assert!(seconds(unknown, photos, Some(&full)).is_none());

        assert_eq!(work(&graph, None), graph.macs() as f64);
        assert_eq!(work(&graph, Some(&full)), 16.0 * graph.macs() as f64);
        let of_last = work(&graph, Some(&last));
        assert!(of_last > work(&graph, None) && of_last < work(&graph, Some(&full)));

        let of = |plan| memory(&graph, photos, plan, Place::Processor { threads: 2 });
        assert!(of(None) < of(Some(&last)) && of(Some(&last)) < of(Some(&full)));
        // The maps of 32 images of 224 pixels: some tens of megabytes an image.
        assert!(
            (500_000_000..4_000_000_000).contains(&of(Some(&full))),
            "{}",
            of(Some(&full))
        );
    }
}
