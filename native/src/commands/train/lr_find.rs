//! `rekindle lr-find`: which learning rate a tuning may have, by trying them.

use std::borrow::Cow;
use std::fmt::Write as _;

use rekindle_core::model::Model;
use rekindle_core::network::Network;
use rekindle_core::preprocess::AugmentRecipe;
use rekindle_core::tune::{
    Aims, Ended, Finder, Labels, Phase, Plan, RateCurve, RateRange, Recipe, Shown, Stepwise,
    Suggestion, Tune,
};
use serde_json::json;

use super::division::Division;
use super::learn::{Learnt, learn};
use super::material::Material;
use super::tune::prepared::Maker;
use super::tune::source::{Photos, Showing};
use super::tune::supply::{Supplier, Supply};
use super::{check, extract, introduce, set_unused_aside, views_of};
use crate::cli::{LrFindArgs, TrainArgs};
use crate::context::Context;
use crate::curves::{self, Curve, Mark};
use crate::dataset::{self, Dataset, ScanOptions, scan};
use crate::runs::{self, Run};
use crate::ui::{ExitCode, Failure, Unit, print_json, print_text, print_warning, quoted, table};
use crate::{groups, models};

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
    let device = context.open_device()?;
    let options = ScanOptions {
        limits: context.limits,
        strict: args.strict,
    };
    let mut dataset = scan(&args.dir, &options, &context.interrupt)?;
    introduce(&dataset, context);
    set_unused_aside(&training, &mut dataset, context);
    let (model, _) = models::pretrained(
        &args.model,
        args.weights.weights.as_deref(),
        &args.pictures,
        training.seed(),
        &device.device,
        context,
    )?;
    let (plan, phase) = planned(args, &model)?;
    context.console.note(&format!(
        "{} on {}: trying rates for {}",
        model.card.architecture, device.info.name, phase.name
    ));

    let now = jiff::Zoned::now().datetime();
    let default = || runs::default_name(&now, &args.model, "lr-find");
    let name = args.name.clone().unwrap_or_else(default);
    let mut run = Run::create(&args.out, &name)?;
    let work = Work {
        args,
        training: &training,
        model: &model,
        plan: &plan,
        context,
    };
    let outcome = work.find(&mut dataset, &mut run);
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
    training.model.clone_from(&args.model);
    training.weights = args.weights.clone();
    training.pictures = args.pictures.clone();
    training.photos = args.photos;
    training.cache = args.cache.clone();
    training.tuning.tune = args.tune;
    training.seed = args.seed;
    training.out.clone_from(&args.out);
    training.name.clone_from(&args.name);
    training.strict = args.strict;
    Ok(training)
}

/// The recipe met with the network, as its stages stand whatever head comes on them, and the phase that is tested: the
/// last one, in which all trains that ever does.
fn planned(args: &LrFindArgs, model: &Model) -> anyhow::Result<(Plan, Phase)> {
    let mut recipe = Recipe::of(args.tune);
    recipe.batch = args.batch.unwrap_or(recipe.batch);
    if let Some(name) = &args.augment {
        recipe.augment = AugmentRecipe::named(name)?;
    }
    let plan = Plan::new(&recipe, model.graph()).map_err(|error| {
        let help = format!(
            "`rekindle summary {} --stages` lists its stages",
            args.model
        );
        Failure::new(ExitCode::Usage, error).with_help(help)
    })?;
    let phase = plan.phases.last().cloned();
    let phase = phase.ok_or_else(|| Failure::new(ExitCode::Usage, "nothing trains"))?;
    Ok((plan, phase))
}

/// What is looked for, and in what.
struct Work<'a> {
    args: &'a LrFindArgs,
    training: &'a TrainArgs,
    model: &'a Model,
    plan: &'a Plan,
    context: &'a Context,
}

impl Work<'_> {
    fn find(&self, dataset: &mut Dataset, run: &mut Run) -> anyhow::Result<ExitCode> {
        let context = self.context;
        let training = self.training;
        let views = views_of(training);
        let cache = extract(
            "features",
            dataset,
            self.model,
            views,
            &training.cache,
            context,
        )?;
        let contents: Vec<_> = dataset.items.iter().map(|item| item.hash.key()).collect();
        let weights = self.args.weights.weights.as_deref();
        let untrained = models::untrained(weights, &self.args.pictures);
        let groups = groups::find(&cache, &contents, untrained, context);
        // Nothing is measured here that too few photos could spoil.
        let is_said = true;
        let material = Material {
            model: self.model,
            cache: &cache,
            groups: &groups,
            contents: &contents,
        };
        let division = Division::new(self.training, dataset, material, is_said)?;
        let split = division.split;
        let learnt = learn(self.training, dataset, material, split, Some(run), context)?;
        let curve = self.tried(dataset, &learnt)?;
        let _hold = context.interrupt.hold();
        self.tell(&curve, run)?;
        Ok(ExitCode::Ok)
    }

    /// The loss at rising rates, from the head's optimum on.
    fn tried(&self, dataset: &Dataset, learnt: &Learnt) -> anyhow::Result<RateCurve> {
        let (args, context) = (self.args, self.context);
        let fitted = &learnt.fitted;
        let (kind, head) = (fitted.kind, fitted.head.clone());
        let base = self.model.with_head(kind, head, dataset.classes.clone());
        let plan = Plan::new(&self.plan.recipe, base.graph())?;
        let rows = learnt.split.train.iter();
        let items = || rows.clone().map(|&row| &dataset.items[row]);
        let photos = Photos {
            paths: items().map(|item| item.path.clone()).collect(),
            contents: items().map(|item| item.hash).collect(),
            trained: rows.len(),
        };
        let aims = Aims {
            labels: Labels::Classes(items().map(|item| item.class).collect()),
            answers: dataset.classes.len(),
            weights: vec![1.0; dataset.classes.len()],
            smoothing: plan.recipe.label_smoothing,
        };
        let network = Network::new(base.graph().clone(), &base.state_dict(), base.device())?;
        let mut engine = Stepwise::new(network, base.device());
        let range = RateRange {
            steps: args.steps,
            ..RateRange::USUAL
        };
        let seed = self.training.seed();
        let last = plan.phases.len() - 1;
        let begun = Finder::begin(&mut engine, &plan, last, aims, seed, range);
        let finder = pollster::block_on(begun)?;

        let showing = Showing {
            photos: &photos,
            preset: base.card.preset,
            augment: &plan.recipe.augment,
            seed,
            maker: match plan.phases[last].cut {
                0 => Maker::chosen(&base, &plan.recipe.augment, plan.recipe.batch)?,
                _ => Maker::Host,
            },
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
        mut finder: Finder<'_, Stepwise>,
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
        let command = valley.map(|found| self.command(found.rate));
        let drawing = run.write(DRAWING, drawing(curve, valley, steepest).as_bytes())?;
        let mut figures = json!({
            "model": self.model.card.architecture,
            "tune": self.args.tune,
            "batch": self.plan.recipe.batch,
            "seed": self.training.seed(),
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
        // The first tenth is left out, as it is where suggestions are sought.
        let begins = curve.smoothed.get(self.args.steps / 10);
        if let (Some(found), Some(&begins)) = (valley, begins)
            && found.loss >= begins
        {
            print_warning(
                &format!(
                    "at the suggested rate the loss ({:.4}) is no lower than at the beginning ({begins:.4}): the curve is \
                     mostly chance, since the head alone fits the photos it was solved on",
                    found.loss
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

    /// The training at a rate.
    fn command(&self, found: f64) -> String {
        let args = self.args;
        let mut command = format!("rekindle train {}", quoted(&args.dir.display().to_string()));
        let mut add = |words: String| {
            command.push(' ');
            command.push_str(&words);
        };
        add(format!("--model {}", args.model));
        if let Some(weights) = &args.weights.weights {
            add(format!("--weights {}", quoted(weights)));
        }
        if let Some(side) = args.pictures.input {
            add(format!("--input {side}"));
        }
        if let Some(grey) = args.pictures.grey {
            let value = clap::ValueEnum::to_possible_value(&grey);
            add(format!(
                "--grey {}",
                value.map_or(String::new(), |value| value.get_name().to_owned())
            ));
        }
        if args.pictures.bare {
            add("--bare".to_owned());
        }
        if args.pictures.small_stem {
            add("--small-stem".to_owned());
        }
        add(format!("--tune {} --lr {}", args.tune, rate(found)));
        if let Some(batch) = args.batch {
            add(format!("--batch {batch}"));
        }
        if let Some(augment) = &args.augment {
            add(format!("--augment {augment}"));
        }
        if let Some(seed) = args.seed {
            add(format!("--seed {seed}"));
        }
        command
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
    curves::svg(
        "Loss at rising learning rates",
        "learning rate",
        "loss",
        true,
        &[loss],
        &marks,
    )
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
