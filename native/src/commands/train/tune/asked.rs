//! What is asked of a tuning: the recipe, and what of it makes no sense for a network.

use rekindle_core::graph::Op;
use rekindle_core::model::Model;
use rekindle_core::parts::meant;
use rekindle_core::task::Task;
use rekindle_core::tune::{Keep, Plan, PlanError, Recipe};

use super::super::recipe_file;
use crate::cli::{ClassWeightChoice, TrainArgs};
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
    if let ClassWeightChoice::Auto = args.class_weights {
        recipe.class_weights = rekindle_core::train::ClassWeights::Balanced;
    }
    tuning.change(&mut recipe);
    if let Some(decay) = args.weight_decay {
        recipe.optimizer = recipe.optimizer.with_weight_decay(decay);
    }
    recipe.check()?;
    Ok(recipe)
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
    let idle = |option: &str, why: &str| {
        let message = format!("{option} does not apply here: {why}");
        Err(Failure::new(ExitCode::Usage, message)
            .with_help("leave it out")
            .into())
    };
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
