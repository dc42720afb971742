//! What was found, for people and as JSON: the folder, its place in the matrix, the candidates in order, and the
//! training to run.

use rekindle_core::tune::Tune;
use serde_json::{Value, json};

use super::candidates::{Candidate, LeftOut};
use super::chance::Interval;
use super::clock::Halt;
use super::command::command;
use super::looking::{Look, Sureness};
use super::matrix::{self, Likeness, Size};
use super::measured::{Figure, Network, Tuning, Whole};
use super::ranking::{Contender, Ranked, rank};
use super::separability::Separability;
use crate::cli::RecommendArgs;
use crate::context::Context;
use crate::dataset::Dataset;
use crate::size::size;
use crate::ui::{percent, print_json, print_text, table};

/// All that was found.
pub struct Found<'a> {
    pub args: &'a RecommendArgs,
    pub look: &'a Look,
    pub dataset: &'a Dataset,
    /// The photos that were tried.
    pub sample: &'a Dataset,
    /// In how many parts they were held back; 1 if the folder says itself which are, 0 if nothing could be measured.
    pub folds: usize,
    pub separability: Option<Separability>,
    pub networks: &'a [Network],
    pub left_out: &'a [LeftOut],
    /// What is recommended where nothing could be measured.
    pub usual: &'a Candidate,
    pub device: &'a str,
    /// Seconds.
    pub took: f64,
    pub halt: Option<Halt>,
}

/// A candidate that was measured.
struct Measured<'a> {
    network: &'a Network,
    /// Nothing if the head alone trains.
    tuning: Option<&'a Tuning>,
    contender: Contender,
}

impl Measured<'_> {
    fn tune(&self) -> Tune {
        self.tuning.map_or(Tune::Head, |tuning| tuning.tune)
    }

    fn name(&self) -> String {
        let network = self.network.candidate.name();
        match self.tuning {
            None => format!("{network} with the head alone"),
            Some(tuning) => format!("{network} with --tune {}", tuning.tune),
        }
    }

    fn whole(&self) -> Whole {
        self.tuning
            .map_or(self.network.whole, |tuning| tuning.whole)
    }

    /// What is expected of it, and the interval of that.
    fn estimate(&self, head: &Figure) -> (f64, Interval) {
        match self.tuning {
            None => (head.accuracy(), head.interval),
            Some(tuning) => tuning.estimate(head),
        }
    }
}

/// What is recommended, and why.
struct Choice {
    candidate: Candidate,
    tune: Tune,
    why: String,
}

/// Prints it.
pub fn tell(found: &Found<'_>, context: &Context) -> anyhow::Result<()> {
    let measured = measured(found.networks);
    let contenders: Vec<Contender> = measured.iter().map(|one| one.contender.clone()).collect();
    let ranked = rank(&contenders);
    let choice = found.choice(&measured, &ranked);
    let divides = found.dataset.holds_some_back();
    let line = command(found.args, &choice.candidate, choice.tune, divides, context)?;
    if context.global.json {
        return print_json(&found.json(&measured, &ranked, &choice, &line));
    }
    print_text(&found.data())?;
    print_text(&found.matrix())?;
    if !ranked.is_empty() {
        print_text(&found.candidates(&measured, &ranked))?;
    }
    for left in found.left_out {
        context
            .console
            .note(&format!("not measured: {}", left.in_words()));
    }
    print_text(&choice.why)?;
    print_text(&line)
}

/// All candidates that were measured.
fn measured(networks: &[Network]) -> Vec<Measured<'_>> {
    let of_network = |(number, network): (usize, _)| {
        let head = Network::contender(network, number).map(|contender| Measured {
            network,
            tuning: None,
            contender,
        });
        let tuned = network.tunings.iter().filter_map(move |tuning| {
            Some(Measured {
                network,
                tuning: Some(tuning),
                contender: tuning.contender(network, number)?,
            })
        });
        head.into_iter().chain(tuned)
    };
    networks.iter().enumerate().flat_map(of_network).collect()
}

impl LeftOut {
    fn in_words(&self) -> String {
        let network = self.network.as_deref().unwrap_or("all networks");
        match &self.tune {
            None => format!("{network}: {}", self.why),
            Some(tune) => format!("{network} --tune {tune}: {}", self.why),
        }
    }
}

impl Found<'_> {
    fn ratio(&self) -> Option<f64> {
        self.look.sureness.as_ref().map(Sureness::ratio)
    }

    /// Photos that a training of all learns from.
    fn learnt_from(&self) -> usize {
        self.dataset.items.len()
    }

    fn cell(&self) -> [usize; 2] {
        matrix::cell(self.learnt_from(), self.ratio())
    }

    /// How the candidates were measured.
    fn by(&self) -> String {
        match self.folds {
            0 => "nothing held back".to_owned(),
            1 => "the folder's own part".to_owned(),
            folds => format!("{folds} folds"),
        }
    }

    /// The folder in words.
    fn data(&self) -> String {
        let look = self.look;
        let mut text = format!(
            "data: {} photos in {} classes, from {} (`{}`) to {} (`{}`) a class",
            look.photos,
            look.classes,
            look.smallest.1,
            look.smallest.0,
            look.largest.1,
            look.largest.0
        );
        if look.imbalance() >= 3.0 {
            text += &format!(
                "; the largest class has {:.0} for each of the smallest: --class-weights auto makes up for that",
                look.imbalance()
            );
        }
        if let (Some(median), Some(first), Some(last)) =
            (look.median(), look.sizes.first(), look.sizes.last())
        {
            let side = |[width, height]: [u32; 2]| format!("{width}×{height}");
            text += &format!(
                "\npictures: median size {}, {} to {}, of {} looked at",
                side(median),
                side(*first),
                side(*last),
                look.sizes.len()
            );
        }
        if let Some(sure) = &look.sureness {
            text += &format!(
                "\nlike ImageNet's: {} gives its likeliest ImageNet class {} on average (entropy {:.2} of 1), {:.2} of {}",
                sure.network,
                percent(sure.top),
                sure.entropy,
                sure.ratio(),
                match sure.published {
                    Some(published) => format!("its accuracy there, {}", percent(published)),
                    None => "what is usual there".to_owned(),
                }
            );
        }
        if let Some(apart) = &self.separability
            && let Some(network) = self.networks.first()
        {
            text += &format!(
                "\nclasses in {}'s features: silhouette {:.2}, {} of the variance between classes",
                network.candidate.name(),
                apart.silhouette,
                percent(apart.between)
            );
            if let Some(figure) = network.figure() {
                text += &format!(
                    "; a head tells {} of {} photos right ({} to {})",
                    percent(figure.accuracy()),
                    figure.photos,
                    percent(figure.interval.low),
                    percent(figure.interval.high)
                );
            }
        }
        text
    }

    /// Where the data is, in words.
    fn place(&self) -> String {
        let size = match Size::of(self.learnt_from()) {
            Size::Small => format!("small (up to {} photos)", matrix::SMALL),
            Size::Between => format!(
                "between small (up to {} photos) and large ({})",
                matrix::SMALL,
                matrix::LARGE
            ),
            Size::Large => format!("large (from {} photos on)", matrix::LARGE),
        };
        let likeness = match self.ratio().map(Likeness::of) {
            Some(Likeness::Similar) => "similar to ImageNet",
            Some(Likeness::Somewhat) => "somewhat similar to ImageNet",
            Some(Likeness::Dissimilar) => "unlike ImageNet",
            None => "taken to be similar to ImageNet, which was not measured",
        };
        format!("{size}, {likeness}")
    }

    /// The matrix with the data's place in it.
    fn matrix(&self) -> String {
        let [row, column] = self.cell();
        let mut shown = table(&["", "similar to ImageNet", "dissimilar"]);
        for (number, name) in ["small data", "large data"].into_iter().enumerate() {
            let cell = |at: usize| {
                let mark = if [number, at] == [row, column] {
                    "→ "
                } else {
                    ""
                };
                format!("{mark}{}", matrix::STRATEGIES[number][at])
            };
            shown.add_row(vec![name.to_owned(), cell(0), cell(1)]);
        }
        format!("{shown}\n→ your data: {}", self.place())
    }

    /// The candidates in order.
    fn candidates(&self, measured: &[Measured<'_>], ranked: &[Ranked]) -> String {
        let mut shown = table(&[
            "",
            "network",
            "tune",
            "accuracy",
            "95 %",
            "right of those asked",
            "over its head, points",
            "training",
            "memory",
            "",
        ]);
        for (place, one) in ranked.iter().enumerate() {
            let this = &measured[one.contender];
            let Some(head) = this.network.figure() else {
                continue;
            };
            let (estimate, interval) = this.estimate(&head);
            let (on, over) = match this.tuning {
                None => (
                    format!("{} of {}, {}", head.right, head.photos, self.by()),
                    "–".to_owned(),
                ),
                Some(tuning) => {
                    let [tuned, _] = tuning.figures();
                    let (gain, interval) = tuning.gain();
                    let on = format!(
                        "{} of {}, {} of {}",
                        tuned.right,
                        tuned.photos,
                        tuning.probes.len(),
                        self.by()
                    );
                    (
                        on,
                        format!(
                            "{} ({} to {})",
                            points(gain),
                            points(interval.low),
                            points(interval.high)
                        ),
                    )
                }
            };
            let whole = this.whole();
            shown.add_row(vec![
                (place + 1).to_string(),
                this.network.candidate.name().to_owned(),
                this.tune().to_string(),
                percent(estimate),
                format!("{} to {}", percent(interval.low), percent(interval.high)),
                on,
                over,
                whole.seconds.map_or_else(|| "–".to_owned(), duration),
                size(whole.memory),
                if one.is_tied() && ranked.len() > 1 {
                    "tied"
                } else {
                    ""
                }
                .to_owned(),
            ]);
        }
        shown.to_string()
    }

    /// What is recommended, and why.
    fn choice(&self, measured: &[Measured<'_>], ranked: &[Ranked]) -> Choice {
        let [row, column] = self.cell();
        let Some(first) = ranked.first() else {
            let tune = if row == 0 { Tune::Head } else { Tune::Full };
            let because = match (self.halt, self.folds, self.networks.is_empty()) {
                (Some(Halt::Interrupted), ..) => "it was interrupted before anything was measured",
                (_, 0, false) => {
                    "no photo can be held back to measure on: add some that do not belong together"
                }
                _ => "the budget was spent before anything was measured: give a larger --budget",
            };
            let network = self
                .networks
                .first()
                .map_or(self.usual, |network| &network.candidate);
            return Choice {
                candidate: *network,
                tune,
                why: format!(
                    "recommended by the matrix alone: {} with --tune {tune}; {because}",
                    network.name()
                ),
            };
        };
        let best = &measured[first.contender];
        let mut why = format!("recommended: {}", best.name());
        if let Some(head) = best.network.figure() {
            let (estimate, interval) = best.estimate(&head);
            why += &format!(
                ", {} ({} to {}) expected on photos that it has not seen",
                percent(estimate),
                percent(interval.low),
                percent(interval.high)
            );
        }
        // The most accurate of those that are tied is the first or the second.
        let second = ranked.get(1).filter(|one| one.is_tied());
        let more = second.filter(|second| {
            let estimate = |one: &Ranked| measured[one.contender].contender.estimate;
            estimate(second) > estimate(first)
        });
        if let Some(more) = more {
            let other = &measured[more.contender];
            why += &format!(
                ". More is expected of {}, but the {} points that were measured between them may be chance ({} to {}), \
                 and it costs more: of what cannot be told apart, the cheapest is taken",
                other.name(),
                points(first.behind),
                points(first.interval.low),
                points(first.interval.high)
            );
        } else if second.is_some() {
            why += ". Others cannot be told from it, but no more is expected of them, and none takes half as long or less";
        } else if ranked.len() > 1 {
            why += ". The others are behind it, or behind others, by more than chance explains";
        }
        let usual: &[Tune] = match [row, column] {
            [0, 0] => &[Tune::Head],
            [0, _] => &[Tune::Head, Tune::Last(Tune::USUAL_LAST)],
            [_, 0] => &[Tune::Full],
            _ => &[Tune::Full, Tune::Scratch],
        };
        why += match usual.contains(&best.tune()) {
            true => ". The matrix says the same",
            false => {
                ". The matrix would say otherwise; what was measured on these photos goes before it"
            }
        };
        if [row, column] == [0, 1] {
            why += "; more photos would help most";
        }
        if self.halt == Some(Halt::Interrupted) {
            why += ". It was interrupted: what was measured till then is what this rests on";
        }
        why.push('.');
        Choice {
            candidate: best.network.candidate,
            tune: best.tune(),
            why,
        }
    }

    fn json(
        &self,
        measured: &[Measured<'_>],
        ranked: &[Ranked],
        choice: &Choice,
        line: &str,
    ) -> Value {
        let [row, column] = self.cell();
        let mut data = self.look.json();
        data["skipped"] = json!(self.sample.skipped.len());
        data["unused"] = json!(self.dataset.unused);
        data["tried"] = json!(self.sample.items.len());
        let sure = self.look.sureness.as_ref();
        let separability = self.separability.as_ref();
        let reference = self.networks.first();
        let head = reference.and_then(Network::figure);
        json!({
            "dir": self.args.dir,
            "device": self.device,
            "seed": self.args.seed.unwrap_or(0),
            "data": data,
            "similarity": {
                "network": sure.map(|sure| sure.network),
                "photos": sure.map(|sure| sure.photos),
                "top_probability": sure.map(|sure| sure.top),
                "entropy": sure.map(|sure| sure.entropy),
                "published_accuracy": sure.and_then(|sure| sure.published),
                "ratio": self.ratio(),
                "likeness": self.ratio().map(Likeness::of),
                "features_of": separability.and(reference).map(|network| network.candidate.name()),
                "silhouette": separability.map(|apart| apart.silhouette),
                "variance_between_classes": separability.map(|apart| apart.between),
                "head_accuracy": head.map(|head| head.accuracy()),
                "head_interval": head.map(|head| pair(head.interval)),
            },
            "matrix": {
                "size": Size::of(self.learnt_from()),
                "likeness": self.ratio().map(Likeness::of),
                "cell": matrix::CELLS[row][column],
                "strategy": matrix::STRATEGIES[row][column],
                "why": self.place(),
            },
            "folds": self.folds,
            "budget_seconds": self.args.budget.as_secs_f64(),
            "seconds": self.took,
            "ended": match self.halt {
                None => "done",
                Some(Halt::Spent) => "budget",
                Some(Halt::Interrupted) => "interrupted",
            },
            "candidates": ranked.iter().enumerate().filter_map(|(place, one)| {
                candidate(place + 1, one, measured)
            }).collect::<Vec<_>>(),
            "not_measured": self.left_out.iter().map(|left| json!({
                "network": left.network,
                "tune": left.tune,
                "why": left.why,
            })).collect::<Vec<_>>(),
            "recommended": {
                "network": choice.candidate.name(),
                "weights": choice.candidate.weights.name,
                "tune": choice.tune,
                "measured": !ranked.is_empty(),
                "why": choice.why,
            },
            "command": line,
        })
    }
}

fn candidate(rank: usize, one: &Ranked, measured: &[Measured<'_>]) -> Option<Value> {
    let this = &measured[one.contender];
    let better = one.beaten_by.map(|better| &measured[better]);
    let head = this.network.figure()?;
    let (estimate, interval) = this.estimate(&head);
    let whole = this.whole();
    let mut value = json!({
        "rank": rank,
        "network": this.network.candidate.name(),
        "weights": this.network.candidate.weights.name,
        "tune": this.tune(),
        "accuracy": estimate,
        "interval": pair(interval),
        "tied": one.is_tied(),
        "clearly_better": better.map(|better| json!({
            "network": better.network.candidate.name(),
            "tune": better.tune(),
        })),
        "behind_best": one.behind,
        "behind_best_interval": pair(one.interval),
        "held_out": { "photos": head.photos, "right": head.right },
        "probe": null,
        "predicted_seconds": whole.seconds,
        "memory_bytes": whole.memory,
        "multiply_adds": whole.work,
    });
    if let Some(tuning) = this.tuning {
        let [tuned, head] = tuning.figures();
        let (gain, interval) = tuning.gain();
        value["held_out"] = json!({ "photos": tuned.photos, "right": tuned.right });
        value["probe"] = json!({
            "parts": tuning.probes.len(),
            "trained_on": tuning.trained(),
            "epochs": tuning.probes.first().map(|probe| probe.epochs),
            "head_right": head.right,
            "gain": gain,
            "gain_interval": pair(interval),
        });
    }
    Some(value)
}

fn pair(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

/// A difference of shares in points: `+2.7`.
fn points(share: f64) -> String {
    format!("{:+.1}", 100.0 * share)
}

/// A time for people.
fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{:.0} s", seconds.ceil()),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.0} days", seconds / 86_400.0),
    }
}
