//! What is asked of a tuning: the recipe, and what of it makes no sense for a network.

use rekindle_core::graph::Op;
use rekindle_core::model::Model;
use rekindle_core::parts::meant;
use rekindle_core::task::Task;
use rekindle_core::tune::{Keep, Plan, PlanError, Recipe, Schedule};

use super::super::recipe_file;
use crate::cli::TrainArgs;
use crate::ui::{ExitCode, Failure};

/// The recipe that the options, and a file, ask for.
pub fn recipe(args: &TrainArgs) -> anyhow::Result<Recipe> {
    let tuning = &args.tuning;
    for (index, (part, _)) in tuning.lr_of.iter().enumerate() {
        if tuning.lr_of[..index].iter().any(|(other, _)| other == part) {
            let message = format!("--lr-of gives {part} two rates");
            return Err(Failure::new(ExitCode::Usage, message)
                .with_help("give each part one rate")
                .into());
        }
    }
    let mut recipe = match &tuning.recipe {
        Some(file) => recipe_file::read(file, tuning.tune)?,
        None => Recipe::of(tuning.tune),
    };
    recipe.epochs = args.epochs.unwrap_or(recipe.epochs);
    recipe.batch = args.batch.unwrap_or(recipe.batch);
    recipe.lr = args.lr.unwrap_or(recipe.lr);
    if args.views > 0 {
        recipe.views = args.views as usize;
    }
    recipe.dropout = args.dropout.or(recipe.dropout);
    recipe.class_weights = match args.class_weights {
        Some(choice) => choice.weights(),
        None => recipe.class_weights,
    };
    tuning.change(&mut recipe);
    if let Some(decay) = args.weight_decay {
        recipe.optimizer = recipe.optimizer.with_weight_decay(decay);
    }
    check_rates(args, &recipe)?;
    check_phases(args, &recipe)?;
    recipe.check()?;
    Ok(recipe)
}

/// Refuses options that the schedule leaves nothing to do.
fn check_rates(args: &TrainArgs, recipe: &Recipe) -> anyhow::Result<()> {
    let Schedule::OneCycle { momentum, .. } = &recipe.schedule else {
        return Ok(());
    };
    let help = "leave it out, or give another schedule, such as --schedule cosine";
    if args.tuning.warmup.is_some() {
        return idle("--warmup", "one-cycle rises by itself", help);
    }
    match momentum {
        Some([least, most]) if args.tuning.momentum.is_some() => {
            let why =
                format!("one-cycle moves the momentum itself, from {most} to {least} and back");
            idle("--momentum", &why, help)
        }
        _ => Ok(()),
    }
}

/// Refuses options that the phases of a recipe's file leave nothing to do.
fn check_phases(args: &TrainArgs, recipe: &Recipe) -> anyhow::Result<()> {
    if recipe.phases.is_empty() {
        return Ok(());
    }
    let help = "change them in the recipe's file";
    if args.epochs.is_some() {
        let why = "each of the recipe's phases has epochs of its own";
        return idle("--epochs", why, help);
    }
    if args.lr.is_some() && recipe.phases.iter().all(|phase| phase.lr.is_some()) {
        let why = "each of the recipe's phases has a learning rate of its own";
        return idle("--lr", why, help);
    }
    Ok(())
}

/// The refusal of an option that would do nothing.
fn idle<T>(option: &str, why: &str, help: &str) -> anyhow::Result<T> {
    let message = format!("{option} does not apply here: {why}");
    Err(Failure::new(ExitCode::Usage, message)
        .with_help(help.to_owned())
        .into())
}

/// What a recipe means for the network, whatever head comes on it. One that does not fit it is refused, and so are options
/// that would do nothing, before the work begins.
pub fn planned(
    args: &TrainArgs,
    recipe: &Recipe,
    model: &Model,
    task: Task,
) -> anyhow::Result<Plan> {
    let plan = Plan::new(recipe, model.graph())?;
    check_mixing(&plan)?;
    let tuning = &args.tuning;
    let idle = |option: &str, why: &str| idle(option, why, "leave it out");
    let network = &model.card.architecture;
    let nodes = model.graph().nodes();
    let norms = nodes.iter().any(|node| matches!(node.op, Op::BatchNorm(_)));
    let drops = nodes
        .iter()
        .any(|node| matches!(node.op, Op::StochasticDepth(_)));
    if !norms && (tuning.bn.is_some() || tuning.freeze_bn_affine) {
        let option = if tuning.bn.is_some() {
            "--bn"
        } else {
            "--freeze-bn-affine"
        };
        return idle(option, &format!("{network} has no batch norms"));
    }
    if !drops && tuning.stochastic_depth.is_some() {
        return idle(
            "--stochastic-depth",
            &format!("{network} has no blocks that are left out"),
        );
    }
    if recipe.soup && recipe.keep == Keep::Last {
        return idle("--soup", "with --keep last the last epoch is left");
    }
    if task != Task::Classify && (tuning.balanced || tuning.label_smoothing.is_some()) {
        let option = if tuning.balanced {
            "--balanced"
        } else {
            "--label-smoothing"
        };
        return idle(option, "it belongs to photos of one class each");
    }
    for (part, _) in &tuning.lr_of {
        let meant = meant(model.graph(), part).map_err(PlanError::from)?;
        let mut phases = plan.phases.iter();
        if !phases.any(|phase| !phase.learning.parameters.is_disjoint(&meant)) {
            return idle(&format!("--lr-of {part}"), "that part does not train");
        }
    }
    Ok(plan)
}

/// Images are mixed where they are seen; values at a cut are none.
fn check_mixing(plan: &Plan) -> anyhow::Result<()> {
    let is_cached = plan.phases.iter().any(|phase| phase.cut != 0);
    match plan.recipe.mixing.is_on() && is_cached {
        true => {
            let message = "--mixup and --cutmix do not apply here: what stands before the first stage that trains is \
                           computed once, and images are not seen again";
            let help = "leave them out, or tune everything by --tune full";
            Err(Failure::new(ExitCode::Usage, message)
                .with_help(help)
                .into())
        }
        false => Ok(()),
    }
}
