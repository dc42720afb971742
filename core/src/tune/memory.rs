//! How much memory a training takes, read off the graph before its first step, and into how many parts a step is
//! divided so that it fits.

use super::engine::Learning;
use super::kept::{Costs, Place, Step, numbers};
use super::plan::{Phase, Plan};
use crate::differentiated::pass_bytes;
use crate::graph::Graph;

/// What a phase of a training holds, in bytes.
///
/// The prediction follows the steps there and back: at each moment, the values that somebody still needs, what is kept
/// for the way back, gradients on their way, and what a step takes for itself. What stands before the first number that
/// trains keeps nothing. Beside that there are parameters, their gradients, what the optimiser keeps, averages, the best
/// networks so far, and a checkpoint while it is written.
#[derive(Debug, Clone)]
pub struct Footprint<'a> {
    graph: &'a Graph,
    learning: &'a Learning,
    cut: usize,
    place: Place,
    /// Those of all numbers of the network.
    network: u64,
    /// Those of the numbers that train.
    trained: u64,
    /// What the optimiser keeps, in numbers for each that trains.
    slots: u64,
    /// Networks that are kept beside the one that trains: averages and the best epochs'.
    beside: u64,
    /// Whether little is kept, and much done again.
    recomputes: bool,
}

/// The bytes of a number.
const NUMBER: u64 = 4;

/// What allocators hold beside what is used of it, in percent, with much else that is not followed, where a network trains
/// step by step: measured.
const UNUSED: u64 = 15;

/// What a network's program takes beside its layout: a layer's packed weights, and what threads work in. In percent of the
/// layout, and in bytes; measured.
const BESIDE_LAYOUT: u64 = 5;
const PACKED: u64 = 8_000_000;

impl<'a> Footprint<'a> {
    /// That of a phase of a plan for a network.
    pub fn new(graph: &'a Graph, plan: &Plan, phase: &'a Phase, place: Place) -> Self {
        let recipe = &plan.recipe;
        Self {
            beside: u64::from(recipe.ema.is_some()) + if recipe.soup { 3 } else { 1 },
            ..Self::of(
                graph,
                &phase.learning,
                phase.cut,
                recipe.optimizer.slots().len(),
                place,
            )
        }
    }

    /// That of bare steps: forward, back and a step of an optimiser that keeps so many numbers for each that trains.
    pub fn of(
        graph: &'a Graph,
        learning: &'a Learning,
        cut: usize,
        slots: usize,
        place: Place,
    ) -> Self {
        let mut network = 0;
        let mut trained = 0;
        for (name, shape) in graph.tensors() {
            let bytes = NUMBER * numbers(&shape);
            network += bytes;
            trained += if learning.parameters.contains(&name) {
                bytes
            } else {
                0
            };
        }
        Self {
            graph,
            learning,
            cut,
            place,
            network,
            trained,
            slots: slots as u64,
            beside: 0,
            recomputes: false,
        }
    }

    /// The same where little is kept for the way back, and much done again.
    #[must_use]
    pub fn recomputing(self, recomputes: bool) -> Self {
        Self { recomputes, ..self }
    }

    /// The bytes that are held at most, where so many `images` go through the network at a time, of `step` images that
    /// make up a step.
    pub fn bytes(&self, images: usize, step: usize) -> u64 {
        let lasting = self.network * (1 + self.beside) + self.trained * self.slots;
        // A step's images lie ready together.
        let given = NUMBER * numbers(self.graph.shape_of(self.cut)) * step as u64;
        let working = given
            + match self.planned(images) {
                // Gradients of the first part lie where its maps did, and apart while later ones are added to them.
                Some(pass) => {
                    let apart = if images < step { self.trained } else { 0 };
                    apart + pass * (100 + BESIDE_LAYOUT) / 100 + PACKED
                }
                // Gradients of weights are put in order, and those of a part are added to those of the parts before it.
                None => {
                    let is_parted = images < step;
                    let gradients = self.trained * if is_parted { 3 } else { 2 };
                    gradients + self.stepwise(images) * (100 + UNUSED) / 100
                }
            };
        // All of it is copied, and made into a file's bytes.
        let checkpoint = match self.beside {
            0 => 0,
            _ => 2 * lasting,
        };
        lasting + working.max(checkpoint)
    }

    /// The bytes of images on their way through the network and of gradients on their way back.
    pub fn pass(&self, images: usize) -> u64 {
        self.planned(images)
            .unwrap_or_else(|| self.stepwise(images))
    }

    /// The same where the network trains by its program.
    fn planned(&self, images: usize) -> Option<u64> {
        let Learning {
            parameters,
            statistics,
        } = self.learning;
        match self.place {
            Place::Processor { .. } => {
                pass_bytes(self.graph, self.cut, images, self.recomputes, |name| {
                    parameters.contains(name) || statistics.contains(name)
                })
            }
            Place::Adapter => None,
        }
    }

    /// The same where it trains step by step.
    fn stepwise(&self, images: usize) -> u64 {
        let Walk {
            steps,
            roots,
            bytes,
        } = self.walk();
        let images = images as u64;
        let threads = match self.place {
            Place::Processor { threads } => (threads as u64).min(images),
            Place::Adapter => 0,
        };
        // Values, by the places where they lie: how many steps hold one, on the way there or for the way back.
        let mut held = vec![0_usize; bytes.len()];
        for step in &steps {
            step.inputs
                .iter()
                .for_each(|&value| held[roots[value]] += 1);
        }
        held[roots[self.graph.output()]] += 1;
        let mut now = bytes[roots[self.cut]];
        let mut most = 0;
        let mut own = 0;
        let release = |held: &mut Vec<usize>, root: usize, now: &mut u64| {
            held[root] -= 1;
            if held[root] == 0 {
                *now -= bytes[root];
            }
        };
        let mut is_there = vec![false; bytes.len()];
        is_there[roots[self.cut]] = true;
        for step in &steps {
            let root = roots[step.output];
            if !is_there[root] {
                is_there[root] = true;
                now += bytes[root];
            }
            own += step.costs.own;
            most = most.max(images * (now + own + step.costs.forward));
            for &place in &step.costs.inputs {
                held[roots[step.inputs[place]]] += 1;
            }
            for &value in &step.inputs {
                release(&mut held, roots[value], &mut now);
            }
        }
        // And back. The last value's gradient is the first.
        let mut gradients = vec![false; bytes.len()];
        let mut on_the_way = 0;
        let begin = |root: usize, gradients: &mut Vec<bool>| {
            if gradients[root] {
                return 0;
            }
            gradients[root] = true;
            bytes[root]
        };
        on_the_way += begin(roots[self.graph.output()], &mut gradients);
        for step in steps.iter().rev().filter(|step| step.is_tracked) {
            for &value in &step.reached {
                on_the_way += begin(roots[value], &mut gradients);
            }
            let moment = images * (now + own + on_the_way + step.costs.backward);
            most = most.max(moment + threads * step.costs.each_thread);
            own -= step.costs.own;
            for &place in &step.costs.inputs {
                release(&mut held, roots[step.inputs[place]], &mut now);
            }
            let root = roots[step.output];
            if !step.costs.is_view && gradients[root] {
                gradients[root] = false;
                on_the_way -= bytes[root];
            }
        }
        most
    }

    /// The steps that run, what they take, and where values lie.
    fn walk(&self) -> Walk {
        let output = self.graph.output();
        let steps = self.graph.schedule(&[self.cut], &[output]);
        let steps: Vec<usize> = steps.map(|all| all.steps().to_vec()).unwrap_or_default();
        let count = self.graph.nodes().len() + 1;
        let mut roots: Vec<usize> = (0..count).collect();
        let mut reached = vec![false; count];
        let mut walked = Vec::with_capacity(steps.len());
        for index in steps {
            let node = &self.graph.nodes()[index];
            let step = Step {
                graph: self.graph,
                node,
                learning: self.learning,
                place: self.place,
                is_reached: node.inputs.iter().any(|&value| reached[value]),
            };
            let costs = step.costs();
            let is_tracked = step.is_reached || step.any_learns();
            if costs.is_view {
                roots[index + 1] = roots[node.inputs[0]];
            }
            let gradients = node.inputs.iter().copied();
            walked.push(Walked {
                reached: gradients.filter(|&value| reached[value]).collect(),
                inputs: node.inputs.clone(),
                output: index + 1,
                is_tracked,
                costs,
            });
            reached[index + 1] = is_tracked;
        }
        let bytes = (0..count).map(|value| NUMBER * numbers(self.graph.shape_of(value)));
        Walk {
            steps: walked,
            roots,
            bytes: bytes.collect(),
        }
    }
}

/// The way through a network.
struct Walk {
    steps: Vec<Walked>,
    /// For each value, the one in whose memory it lies.
    roots: Vec<usize>,
    /// The bytes of each value of one image.
    bytes: Vec<u64>,
}

/// A step on it.
struct Walked {
    inputs: Vec<usize>,
    output: usize,
    /// The inputs that gradients go back to.
    reached: Vec<usize>,
    /// Whether gradients come through it.
    is_tracked: bool,
    costs: Costs,
}

/// In how many parts a step of so many images goes through the network, so that they fit: as many as were asked for,
/// doubled until they do. None where not even single images fit, or parts would be smaller than `least`.
///
/// # Panics
///
/// When `asked` is 0.
pub fn halved(
    step: usize,
    asked: usize,
    least: usize,
    fits: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut parts = asked;
    loop {
        let images = step.div_ceil(parts).max(1);
        if fits(images) {
            return Some(parts);
        }
        if images <= 1 || step.div_ceil(2 * parts) < least {
            return None;
        }
        parts *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::find;
    use crate::graph::{Conv, Options, sketch};

    /// That everything learns, or what begins with a word.
    fn learning(graph: &Graph, begins: &str) -> Learning {
        let mut learning = Learning::default();
        for layer in graph.layers() {
            for (name, _) in layer.tensors() {
                if !name.starts_with(begins) {
                    continue;
                }
                match name.contains("running") {
                    true => learning.statistics.insert(name),
                    false => learning.parameters.insert(name),
                };
            }
        }
        learning
    }

    #[test]
    fn a_small_network_is_followed_byte_by_byte() {
        // Numbers: 32 of the image, 48 and 48 of the maps, 3 of the means, 2 of the answers.
        let graph = sketch([2, 4, 4], &Options::default(), |image| {
            let maps = image.conv("conv", Conv::new(3, 3).padding(1)).relu();
            let means = maps.adaptive_avg_pool(1, 1).flatten();
            means.linear("fc", 2).stage("all")
        });
        let graph = graph.unwrap();
        let footprint = |learning, cut| Footprint::of(&graph, learning, cut, 2, Place::Adapter);
        let all = learning(&graph, "");
        let whole = footprint(&all, 0);
        // On the way back through the ReLU: image (128), its input (192), the answers (8), two gradients (384), and one
        // that is put together (192).
        assert_eq!(whole.pass(1), 128 + 192 + 8 + 384 + 192);
        assert_eq!(whole.pass(3), 3 * whole.pass(1));
        // 62 parameters, two moments each, gradients twice, the image, and what passes.
        assert_eq!(whole.bytes(1, 1), 248 + 496 + 496 + 128 + 904 * 115 / 100);
        // Gradients are added up, and all images of the step lie ready.
        assert_eq!(whole.bytes(1, 4) - whole.bytes(1, 1), 248 + 3 * 128);
        // Frozen maps are not kept: the most is at the ReLU, which makes a copy for itself.
        let head = learning(&graph, "fc");
        assert_eq!(footprint(&head, 0).pass(1), 3 * 192);
        // Behind the cut there are means, answers and gradients of these.
        assert_eq!(footprint(&head, 4).pass(1), 12 + 8 + 8);
    }

    #[test]
    fn more_takes_more() {
        let graph = |side| {
            let network = find("mobilenet_v3_small").unwrap();
            network
                .whole_graph([3, side, side], &Options::default(), 10)
                .unwrap()
        };
        let (small, large) = (graph(64), graph(128));
        let place = Place::Processor { threads: 2 };
        let all = learning(&small, "");
        let of = |graph, images| Footprint::of(graph, &all, 0, 2, place).bytes(images, images);
        for images in 1..20 {
            assert!(of(&small, images + 1) > of(&small, images));
            assert!(of(&large, images) > of(&small, images));
        }
        let last = learning(&small, "classifier");
        // With few small images the network's own numbers are most of it.
        let last = Footprint::of(&small, &last, 0, 2, place).bytes(32, 32);
        assert!(last < of(&small, 32) / 2);
        let slots = |slots| Footprint::of(&small, &all, 0, slots, place).bytes(8, 8);
        assert!(slots(0) < slots(1) && slots(1) < slots(2));
    }

    /// Megabytes that steps took, the network's numbers among them, with 4 and 12 images of 224 pixels (`examples/step.rs`).
    const MEASURED: [(&str, [f64; 2]); 10] = [
        ("resnet18", [247.0, 421.0]),
        ("mobilenet_v3_small", [83.0, 189.0]),
        ("efficientnet_lite0", [291.0, 748.0]),
        ("densenet121", [614.0, 1627.0]),
        ("convnext_tiny", [629.0, 1232.0]),
        ("vit_b_32", [1117.0, 1149.0]),
        ("swin_t", [620.0, 1237.0]),
        ("regnet_y_400mf", [195.0, 483.0]),
        ("shufflenet_v2_x1_0", [121.0, 277.0]),
        ("squeezenet1_1", [107.0, 285.0]),
    ];

    #[test]
    fn predictions_lie_near_what_was_measured() {
        for (name, measured) in MEASURED {
            let network = find(name).unwrap();
            let graph = network.whole_graph([3, 224, 224], &Options::default(), 1000);
            let graph = graph.unwrap();
            let all = learning(&graph, "");
            let footprint = Footprint::of(&graph, &all, 0, 1, Place::Processor { threads: 2 });
            for (images, measured) in [4, 12].into_iter().zip(measured) {
                let predicted = footprint.bytes(images, images) as f64 / 1e6;
                let ratio = predicted / measured;
                println!(
                    "{name}, {images} images: {predicted:.0} MB, {ratio:.2} of what was measured"
                );
                assert!(
                    (0.8..1.4).contains(&ratio),
                    "{name}, {images} images: {ratio:.2}"
                );
            }
        }
    }

    #[test]
    fn steps_are_halved_until_they_fit() {
        let fits = |most: usize| move |images: usize| images <= most;
        assert_eq!(halved(32, 1, 1, fits(40)), Some(1));
        assert_eq!(halved(32, 1, 1, fits(31)), Some(2));
        assert_eq!(halved(32, 1, 1, fits(8)), Some(4));
        // A step of 33 is in parts of 9, of 17 where it is in two.
        assert_eq!(halved(33, 1, 1, fits(8)), Some(8));
        assert_eq!(halved(33, 1, 1, fits(17)), Some(2));
        // From what was asked for on.
        assert_eq!(halved(32, 3, 1, fits(8)), Some(6));
        assert_eq!(halved(32, 1, 1, fits(1)), Some(32));
        assert_eq!(halved(32, 1, 1, fits(0)), None);
        assert_eq!(halved(1, 1, 1, fits(0)), None);
        assert_eq!(halved(32, 1, 16, fits(16)), Some(2));
        assert_eq!(halved(32, 1, 16, fits(15)), None);
        assert_eq!(halved(3, 8, 1, fits(1)), Some(8));
    }
}
