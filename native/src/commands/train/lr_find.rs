//! `rekindle lr-find`: which learning rate a tuning may have, by trying them.

use std::borrow::Cow;
use std::fmt::Write as _;

use rekindle_core::model::Model;
use rekindle_core::tune::{
    Ended, Finder, Plan, RateCurve, RateRange, Recipe, Shown, Suggestion, Trainee, Tune,
};
use serde_json::json;

use super::division::Division;
use super::learn::learn;
use super::tune::room;
use super::tune::source::{Photos, Showing};
use super::tune::supply::{Supplier, Supply};
use super::tune::{self, Work};
use super::{Learnable, check, introduce, keep_limit, read, set_unused_aside, takes_head};
use crate::cli::{LrFindArgs, TrainArgs};
use crate::commands::suggested;
use crate::context::Context;
use crate::curves::{self, Axes, Curve, Mark, Scale};
use crate::dataset::{self, Dataset};
use crate::models::Origin;
use crate::runs::{self, Run};
use crate::ui::{ExitCode, Failure, Unit, print_json, print_text, print_warning, table};
use crate::{models, options};

/// The curve for people.
const DRAWING: &str = "lr.svg";
/// The curve for programs.
const FIGURES: &str = "lr.json";

/// Tries rates, and leaves the curve in a run folder.
pub fn run(args: &LrFindArgs, context: &Context) -> anyhow::Result<ExitCode> {
    check_tune(args.tune)?;
    let training = training(args)?;
    check(&training)?;
    dataset::check_root(&args.dir)?;
    let recipe = tune::recipe(&training)?;
    let device = context.open_device()?;
    keep_limit(&training, &device);
    let mut dataset = read(&training, context)?;
    options::check_task(&training, dataset.task)?;
    introduce(&dataset, context);
    set_unused_aside(&training, &mut dataset, context);
    let (model, origin) = models::pretrained(
        &args.model,
        args.weights.weights.as_deref(),
        &args.pictures,
        args.seed(),
        &device.device,
        context,
    )?;
    // As its stages stand whatever head comes on them.
    let plan = tune::planned(&training, &recipe, &model, dataset.task)?;
    takes_head(&model, dataset.task)?;
    let phase = plan.phases.last();
    let phase = phase.ok_or_else(|| Failure::new(ExitCode::Usage, "nothing trains"))?;
    context.console.note(&format!(
        "{} on {}: trying rates for {}",
        model.card.architecture, device.info.name, phase.name
    ));

    let now = jiff::Zoned::now().datetime();
    let default = || runs::default_name(&now, &args.model, "lr-find");
    let name = args.name.clone().unwrap_or_else(default);
    let mut run = Run::create(&args.out, &name)?;
    let search = Search {
        args,
        training: &training,
        model: &model,
        origin: &origin,
        recipe: &recipe,
        device: &device.info.name,
        context,
    };
    let outcome = search.find(&mut dataset, &mut run);
    if outcome.is_err() {
        run.discard_if_unfinished();
    }
    outcome
}

/// A head alone has no rate, and a network without weights no optimum of its head.
fn check_tune(tune: Tune) -> anyhow::Result<()> {
    let (message, help) = match tune {
        Tune::Last(_) | Tune::Full | Tune::Gradual => return Ok(()),
        Tune::Head => (
            "--tune head has no learning rate: a head alone is solved to the optimum",
            "say what is to train besides: --tune last, full or gradual",
        ),
        Tune::Scratch => (
            "--tune scratch does not apply to this `lr-find`: rates are tried from pretrained weights on",
            "say --tune last, full or gradual; --weights random with --tune full comes close",
        ),
    };
    Err(Failure::new(ExitCode::Usage, message)
        .with_help(help)
        .into())
}

/// The training of which a rate is looked for.
fn training(args: &LrFindArgs) -> anyhow::Result<TrainArgs> {
    let mut training = TrainArgs::plain(&args.dir)?;
    training.start = args.start.clone();
    training.batch = args.batch;
    training.tuning.tune = args.tune;
    training.tuning.memory_limit = args.memory_limit;
    training.tuning.augment.clone_from(&args.augment);
    Ok(training)
}

/// What is looked for, and in what.
struct Search<'a> {
    args: &'a LrFindArgs,
    training: &'a TrainArgs,
    model: &'a Model,
    origin: &'a Origin,
    recipe: &'a Recipe,
    /// The device's name.
    device: &'a str,
    context: &'a Context,
}

impl Search<'_> {
    fn find(&self, dataset: &mut Dataset, run: &mut Run) -> anyhow::Result<ExitCode> {
        let (training, context) = (self.training, self.context);
        let weights = self.args.weights.weights.as_deref();
        let learnable = Learnable::extract(training, dataset, self.model, weights, context)?;
        // Nothing is measured here that too few photos could spoil.
        let is_said = true;
        let material = learnable.material(self.model, self.origin);
        let division = Division::new(training, dataset, material, is_said)?;
        let split = division.split;
        let learnt = learn(training, dataset, material, split, Some(run), context)?;
        let work = Work {
            args: training,
            dataset,
            material,
            learnt: &learnt,
            part: None,
            trainings: &[],
            foreseen: None,
            device: self.device,
            context,
        };
        let curve = self.tried(&work)?;
        let _hold = context.interrupt.hold();
        self.tell(&curve, run)?;
        Ok(ExitCode::Ok)
    }

    /// The loss at rising rates in the last phase, in which all trains that ever does, from the head's optimum on.
    fn tried(&self, work: &Work<'_>) -> anyhow::Result<RateCurve> {
        let (args, context) = (self.args, self.context);
        let base = tune::start(work)?;
        let mut plan = Plan::new(self.recipe, base.graph())?;
        plan.recipe.accumulate = room::parts_of_last(work, &plan, base.graph(), base.device())?;
        let photos = Photos::of(work.dataset, &work.learnt.split.train, &[]);
        let aims = tune::aims(work, self.recipe)?;
        let mut engine = Trainee::new(base.graph().clone(), &base.state_dict(), base.device())?;
        let range = RateRange {
            steps: args.steps,
            ..RateRange::USUAL
        };
        let seed = args.seed();
        let last = plan.phases.len() - 1;
        let begun = Finder::begin(&mut engine, &plan, last, aims, seed, range);
        let finder = pollster::block_on(begun)?;

        let showing = Showing {
            photos: &photos,
            preset: base.card.preset,
            augment: &plan.recipe.augment,
            seed,
        };
        let ahead: Vec<Vec<Shown>> = finder.ahead().flatten().collect();
        let last_shown = ahead.last().and_then(|batch| batch.last());
        let epochs = last_shown.map_or(1, |shown| shown.epoch as usize + 1);
        let supplier = Supplier {
            model: Cow::Borrowed(&base),
            showing,
            cut: plan.phases[last].cut,
            views: plan.recipe.views.min(epochs),
            batch: plan.recipe.batch,
            cache: &args.cache,
            context,
        };
        supplier.bring(ahead.into_iter(), |supply| self.steps(finder, supply))
    }

    /// All steps of the test.
    fn steps(
        &self,
        mut finder: Finder<'_, Trainee>,
        supply: &mut dyn Supply,
    ) -> anyhow::Result<RateCurve> {
        let context = self.context;
        let steps = self.args.steps as u64;
        let mut progress = context.console.start("rates", Unit::Items, Some(steps));
        while let Some(step) = finder.wanted() {
            let (given, size) = supply.step(step)?;
            pollster::block_on(finder.step(given, size))?;
            context.interrupt.check()?;
            progress.set(finder.taken() as u64, Some(steps));
            let curve = finder.curve();
            if let (Some(rate), Some(loss)) = (curve.rates.last(), curve.smoothed.last()) {
                progress.message(&format!("rate {rate:.1e}, loss {loss:.4}"));
            }
        }
        let curve = pollster::block_on(finder.finish())?;
        progress.finish(&format!("rates: {}", ended(&curve)));
        Ok(curve)
    }

    /// Writes the curve into the run folder and prints what it suggests.
    fn tell(&self, curve: &RateCurve, run: &Run) -> anyhow::Result<()> {
        let (valley, steepest) = match curve.falls() {
            true => (curve.valley(), curve.steepest()),
            false => (None, None),
        };
        let command = valley.map(|found| self.command(found.rate)).transpose()?;
        let drawing = run.write(DRAWING, drawing(curve, valley, steepest).as_bytes())?;
        let mut figures = json!({
            "model": self.model.card.architecture,
            "tune": self.args.tune,
            "batch": self.recipe.batch,
            "seed": self.args.seed(),
            "rates": curve.rates,
            "losses": curve.losses,
            "smoothed": curve.smoothed,
            "ended": curve.ended,
            "valley": valley.map(|found| found.rate),
            "steepest": steepest.map(|found| found.rate),
            "command": command,
        });
        let text = serde_json::to_string_pretty(&figures)?;
        let file = run.write(FIGURES, text.as_bytes())?;
        if valley.is_none() {
            print_warning(
                "the loss falls at no rate, so none is suggested",
                Some(
                    "the head alone may already be as good as the photos let it be: add photos, give more --steps, \
                     or another --batch",
                ),
            );
        }
        if let Some((rate_there, least)) = valley.and_then(|found| lower_before(curve, found)) {
            print_warning(
                &format!(
                    "the loss was as low at a rate too small to matter ({least:.4} at {}): the curve is mostly chance, \
                     since the head alone fits the photos it was solved on",
                    rate(rate_there)
                ),
                Some("look at lr.svg before you use the rate; the default of --tune needs none"),
            );
        }
        if self.context.global.json {
            figures["run"] = json!(run.folder());
            figures["files"] = json!([drawing, file]);
            return print_json(&figures);
        }
        let mut rows = table(&["suggestion", "rate", "loss there", "which is"]);
        let which = [
            (
                "valley",
                valley,
                "two thirds into the longest fall: a rate to begin with",
            ),
            ("steepest", steepest, "where the loss falls most"),
        ];
        for (name, found, what) in which {
            if let Some(found) = found {
                let loss = format!("{:.4}", found.loss);
                rows.add_row(vec![name, &rate(found.rate), &loss, what]);
            }
        }
        if valley.is_some() {
            print_text(&rows.to_string())?;
        }
        let mut text = String::new();
        if let Some(command) = command {
            let _ = writeln!(text, "{command}");
        }
        let _ = write!(text, "saved {}", drawing.display());
        print_text(&text)
    }

    /// The training at a rate, as a command.
    fn command(&self, found: f64) -> anyhow::Result<String> {
        let mut training = training(self.args)?;
        // The digits that are told.
        training.lr = rate(found).parse().ok();
        Ok(suggested::command(&training, self.context.global.device))
    }
}

/// The smoothed loss over the rate, as far as it is looked at, and what is suggested.
fn drawing(curve: &RateCurve, valley: Option<Suggestion>, steepest: Option<Suggestion>) -> String {
    // A loss that runs away would press all else to the ground.
    let best = curve.smoothed.iter().copied().fold(f64::INFINITY, f64::min);
    let points = curve.rates.iter().zip(&curve.smoothed);
    let points = points.filter(|&(_, &loss)| loss <= 4.0 * best);
    let loss = Curve {
        name: "loss, smoothed".to_owned(),
        points: points.map(|(&rate, &loss)| (rate, loss)).collect(),
    };
    let mark = |name: &str, found: Suggestion| Mark {
        name: format!("{name}: {}", rate(found.rate)),
        x: found.rate,
        y: Some(found.loss),
    };
    let marks = [
        valley.map(|found| mark("valley", found)),
        steepest.map(|found| mark("steepest", found)),
    ];
    let marks: Vec<Mark> = marks.into_iter().flatten().collect();
    let axes = Axes {
        title: "Loss at rising learning rates",
        x_label: "learning rate",
        y_label: "loss",
        x: Scale::Logarithmic,
        y: Scale::Plain,
    };
    curves::svg(&axes, &[loss], &[], &marks)
}

/// The lowest of the losses at rates below a suggested one, and its rate, where the suggested one's is no lower: then the
/// loss did not fall by the rate.
fn lower_before(curve: &RateCurve, found: Suggestion) -> Option<(f64, f64)> {
    let points = curve
        .rates
        .iter()
        .copied()
        .zip(curve.smoothed.iter().copied());
    let before = points.take_while(|(rate, _)| *rate < found.rate);
    let least = before.min_by(|(_, one), (_, other)| one.total_cmp(other));
    least.filter(|(_, least)| *least <= found.loss)
}

/// A rate with two digits: more would say more than is known.
fn rate(rate: f64) -> String {
    format!("{rate:.1e}")
}

fn ended(curve: &RateCurve) -> String {
    let steps = curve.rates.len();
    let last = curve
        .rates
        .last()
        .map_or_else(|| "–".to_owned(), |&last| rate(last));
    match curve.ended {
        Some(Ended::LossRose) => {
            format!("{steps} tried; at {last} the loss had risen to four times the best")
        }
        Some(Ended::LossIsNoNumber) => format!("{steps} tried; at {last} the loss was no number"),
        Some(Ended::Steps) | None => format!("{steps} tried, up to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_chance_where_the_loss_was_as_low_before() {
        let range = RateRange::USUAL;
        let (mut falling, mut noise) = (RateCurve::new(range), RateCurve::new(range));
        for step in 0..60 {
            falling.push(2.3 - 0.02 * f64::from(step));
            // Up and slowly down again, to where it came from and not below.
            noise.push(if step < 8 {
                0.04
            } else {
                0.12 - 0.001 * f64::from(step)
            });
        }
        let found = |curve: &RateCurve| curve.valley().unwrap();
        assert_eq!(lower_before(&falling, found(&falling)), None);
        let (rate, least) = lower_before(&noise, found(&noise)).unwrap();
        assert!(rate < 1e-6 && (least - 0.04).abs() < 1e-9, "{rate} {least}");
    }

    #[test]
    fn a_drawing_shows_both_suggestions_and_leaves_out_what_ran_away() {
        let mut curve = RateCurve::new(RateRange::USUAL);
        for step in 0..100 {
            let share = f64::from(step) / 100.0;
            curve.push(
                2.3 - 1.5 / (1.0 + (-14.0 * (share - 0.6)).exp()) + (60.0 * (share - 0.8)).exp(),
            );
        }
        assert_eq!(curve.ended, Some(Ended::LossRose));
        let svg = drawing(&curve, curve.valley(), curve.steepest());
        assert!(svg.contains("valley: ") && svg.contains("steepest: "));
        assert_eq!(svg.matches("<circle").count(), 2);
        if let Ok(path) = std::env::var("REKINDLE_LOOK") {
            std::fs::write(path, svg).unwrap();
        }
    }
}
