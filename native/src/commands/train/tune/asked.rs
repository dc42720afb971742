//! What is asked of a tuning: the recipe, and what of it makes no sense for a network.

use rekindle_core::graph::Op;
use rekindle_core::model::Model;
use rekindle_core::parts::meant;
use rekindle_core::task::Task;
use rekindle_core::tune::{
    Keep, NormMode, Plan, PlanError, Recipe, RecipeError, Sampler, Schedule,
};

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
    recipe.check().map_err(|error| in_options(args, error))?;
    Ok(recipe)
}

/// A value that cannot be, by the option that gave it, where one did.
fn in_options(args: &TrainArgs, error: RecipeError) -> anyhow::Error {
    let tuning = &args.tuning;
    let option = match error.field {
        "betas" | "momentum" | "alpha" if tuning.momentum.is_some() => "--momentum",
        "weight_decay" if args.weight_decay.is_some() => "--weight-decay",
        "label_smoothing" if tuning.label_smoothing.is_some() => "--label-smoothing",
        "dropout" if args.dropout.is_some() => "--dropout",
        "stochastic_depth" if tuning.stochastic_depth.is_some() => "--stochastic-depth",
        "ema" if tuning.ema.is_some() => "--ema",
        "clip" if tuning.clip.is_some() => "--clip",
        "mixup" if tuning.mixup.is_some() => "--mixup",
        "cutmix" if tuning.cutmix.is_some() => "--cutmix",
        "lr" if args.lr.is_some() => "--lr",
        _ => return error.into(),
    };
    let message = format!("{option} is {}; it must be {}", error.value, error.help);
    Failure::new(ExitCode::Usage, message)
        .with_help("give it such a value, or leave it out")
        .into()
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
    let mut recipe = recipe.clone();
    let tuning = &args.tuning;
    let network = &model.card.architecture;
    let nodes = model.graph().nodes();
    let norms = nodes.iter().any(|node| matches!(node.op, Op::BatchNorm(_)));
    let drops = nodes
        .iter()
        .any(|node| matches!(node.op, Op::StochasticDepth(_)));
    let usual = Recipe::of(recipe.tune);
    let no_norms = || format!("{network} has no batch norms");
    let no_depth = || format!("{network} has no blocks that are left out");
    let no_classes = || "it belongs to photos of one class each".to_owned();
    let follows = recipe.bn == NormMode::Train;
    if !norms {
        set_aside(args, tuning.bn.is_some(), follows, "--bn", "bn", no_norms)?;
        let given = tuning.freeze_bn_affine;
        let differs = !recipe.bn_affine;
        set_aside(
            args,
            given,
            differs,
            "--freeze-bn-affine",
            "bn_affine",
            no_norms,
        )?;
        (recipe.bn, recipe.bn_affine) = (usual.bn, usual.bn_affine);
    }
    if !drops {
        let given = tuning.stochastic_depth.is_some();
        let differs = recipe.stochastic_depth.is_some_and(|share| share > 0.0);
        set_aside(
            args,
            given,
            differs,
            "--stochastic-depth",
            "stochastic_depth",
            no_depth,
        )?;
        recipe.stochastic_depth = None;
    }
    if task != Task::Classify {
        let differs = recipe.sampler == Sampler::Balanced;
        set_aside(
            args,
            tuning.balanced,
            differs,
            "--balanced",
            "sampler",
            no_classes,
        )?;
        let given = tuning.label_smoothing.is_some();
        let differs = recipe.label_smoothing > 0.0;
        set_aside(
            args,
            given,
            differs,
            "--label-smoothing",
            "label_smoothing",
            no_classes,
        )?;
        (recipe.sampler, recipe.label_smoothing) = (Sampler::Shuffled, 0.0);
    }
    let plan = Plan::new(&recipe, model.graph())?;
    check_mixing(args, &plan)?;
    let idle = |option: &str, why: &str| idle(option, why, "leave it out");
    if recipe.soup && recipe.keep == Keep::Last {
        return idle("--soup", "with --keep last the last epoch is left");
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

/// Refuses an option, or a field of a recipe's file, that would do nothing. The recipes that come with Rekindle are for all
/// networks and tasks: what one of them has for others is set aside.
fn set_aside(
    args: &TrainArgs,
    is_given: bool,
    differs: bool,
    option: &str,
    field: &str,
    why: impl Fn() -> String,
) -> anyhow::Result<()> {
    if is_given {
        return idle(option, &why(), "leave it out");
    }
    match &args.tuning.recipe {
        Some(file) if differs && !recipe_file::comes_along(file) => idle(
            &format!("`{field}` of {}", file.display()),
            &why(),
            "leave it out of the recipe",
        ),
        _ => Ok(()),
    }
}

/// Images are mixed where they are seen, which values at a cut are not, and each with another one of its batch.
fn check_mixing(args: &TrainArgs, plan: &Plan) -> anyhow::Result<()> {
    let recipe = &plan.recipe;
    if !recipe.mixing.is_on() {
        return Ok(());
    }
    let options = match (recipe.mixing.mixup > 0.0, recipe.mixing.cutmix > 0.0) {
        (true, true) => "--mixup and --cutmix do",
        (true, false) => "--mixup does",
        _ => "--cutmix does",
    };
    let refuse = |why: &str, help: &str| {
        let message = format!("{options} not apply here: {why}");
        Err(Failure::new(ExitCode::Usage, message)
            .with_help(help.to_owned())
            .into())
    };
    if plan.phases.iter().any(|phase| phase.cut != 0) {
        return refuse(
            "what stands before the first stage that trains is computed once, and images are not seen again",
            "leave them out, or tune everything by --tune full",
        );
    }
    if recipe.batch.div_ceil(recipe.accumulate.max(1)) < 2 {
        let why = match args.tuning.accumulate.is_some() || recipe.accumulate > 1 {
            true => {
                "the photos of a step go through the network one by one, and each is mixed with another one"
            }
            false => "a step has one photo, and each is mixed with another one",
        };
        return refuse(why, "give a larger --batch, or fewer parts by --accumulate");
    }
    Ok(())
}
