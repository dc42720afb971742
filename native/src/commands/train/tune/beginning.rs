//! What a tuning begins with: the network, the photos and what they are, and what tells it from other trainings.

use rekindle_core::graph::Scratch;
use rekindle_core::head::HeadKind;
use rekindle_core::model::{Model, whole_graph};
use rekindle_core::tune::{Aims, Labels, Loss, Plan, Recipe, Tune, views_within};
use rekindle_core::weights::{TensorSource as _, Tensors};
use serde_json::{Value, json};

use super::super::learn::Learnt;
use super::super::material::Material;
use super::units::Units;
use super::work::Work;
use crate::activations::Store;
use crate::cli::TrainArgs;
use crate::dataset::{Dataset, Targets};
use crate::ui::{ExitCode, Failure, print_warning};

/// The views of each photo of which values are kept: those of the recipe, or as many as the budget has room for.
pub fn views(args: &TrainArgs, plan: &Plan, material: Material<'_>) -> usize {
    let (cache, recipe) = (&args.cache, &plan.recipe);
    let model = material.model;
    if cache.no_cache {
        return recipe.views;
    }
    let phases = || plan.phases.iter().filter(|phase| phase.cut != 0);
    let cuts: Vec<usize> = phases().map(|phase| phase.cut).collect();
    let Some(epochs) = phases().map(|phase| phase.epochs).max() else {
        return recipe.views;
    };
    // A view for each epoch is as many as are ever seen.
    let wanted = recipe.views.min(epochs);
    let budget = Store::chosen(false, cache.cache_budget).budget();
    // As many as there are in all: every fold of a cross-validation then has the same views.
    let count = material.cache.len();
    let fitting = views_within(budget, model.graph(), &cuts, count, wanted);
    if fitting >= wanted {
        return recipe.views;
    }
    let help = Some("give more by --cache-budget");
    if fitting == 0 {
        // Where all is computed anew, fewer views would save nothing.
        let message = "the cache's budget has no room for a single view of each photo: what stands before the first stage \
                       that trains is computed anew in every epoch";
        print_warning(message, help);
        return recipe.views;
    }
    let seen = match fitting {
        1 => "each photo is seen in the same view in all epochs".to_owned(),
        _ => format!("each photo is seen in these {fitting} in turn"),
    };
    print_warning(
        &format!("the cache's budget has room for {fitting} of {wanted} views: {seen}"),
        help,
    );
    fitting
}

/// What a run is of: another one's checkpoint is not taken up.
pub fn identity(work: &Work<'_>, recipe: &Recipe) -> anyhow::Result<Value> {
    let Work {
        args,
        dataset,
        material,
        learnt,
        device,
        ..
    } = work;
    let hashes = |rows: &[usize]| -> String {
        let named = |&row: &usize| {
            let item = &dataset.items[row];
            format!("{} {}", item.hash, item.class)
        };
        let text: Vec<String> = rows.iter().map(named).collect();
        crate::hash::hash_text(&text.join(" ")).to_string()
    };
    let mut identity = json!({
        "network": material.model.card.architecture,
        "weights": material.origin.get("weights_sha256"),
        "classes": dataset.classes,
        "photos that train": hashes(&learnt.split.train),
        "photos held back": hashes(&learnt.split.valid),
        "preset": material.model.card.preset,
        "recipe": recipe,
        "seed": args.seed(),
        "device": device,
    });
    if let Some(part) = work.part {
        identity["part"] = json!(part);
    }
    Ok(identity)
}

/// The network with the head that was trained, its card filled in but for the recipe.
pub fn with_head(model: &Model, dataset: &Dataset, learnt: &Learnt) -> Model {
    let fitted = &learnt.fitted;
    model.with_head(fitted.kind, fitted.head.clone(), dataset.classes.clone())
}

/// The units of the values that are learnt.
pub fn units(work: &Work<'_>) -> anyhow::Result<Units> {
    Ok(match work.dataset.targets()? {
        Targets::Values(all) => {
            let rows = all.pick(&work.learnt.split.train, 1);
            Units::of(rows.rows(), rows.width())
        }
        Targets::Classes(_) | Targets::Labels(_) => Units::default(),
    })
}

/// The network that tuning starts from, with a head for values in the units that they are learnt in.
pub fn start(work: &Work<'_>) -> anyhow::Result<Model> {
    let Work {
        args,
        dataset,
        material,
        learnt,
        ..
    } = *work;
    let model = material.model;
    if args.tuning.tune != Tune::Scratch {
        let fitted = &learnt.fitted;
        let names: Vec<String> = fitted.head.keys().cloned().collect();
        let head = units(work)?.shrunk(&fitted.head, &names);
        return Ok(model.with_head(fitted.kind, head, dataset.classes.clone()));
    }
    // From nothing: the head is drawn as the family draws it, like all that stands before it.
    let kind = HeadKind::Linear { lift: 0.0 };
    let mut card = model.card.clone();
    card.head = kind;
    card.classes.clone_from(&dataset.classes);
    let size = [1, 2].map(|axis| model.graph().input()[axis]);
    let graph = whole_graph(model.architecture(), &card, size)?;
    let drawn = Scratch::new(&graph, model.architecture().init, args.seed());
    let mut head = Tensors::new();
    for (name, shape) in graph.tensors_of(true) {
        let values = drawn.values(&name, &shape)?;
        head.insert(name, (shape, values.into()));
    }
    Ok(model.with_head(kind, head, dataset.classes.clone()))
}

/// What the photos that train are.
pub fn aims(work: &Work<'_>, recipe: &Recipe) -> anyhow::Result<Aims> {
    let train = &work.learnt.split.train;
    let (labels, weights) = match work.dataset.targets()? {
        Targets::Classes(all) => {
            let labels: Vec<usize> = train.iter().map(|&row| all[row]).collect();
            let classes = work.dataset.classes.len();
            let weights = recipe.class_weights.resolve(&labels, classes);
            let weights = weights.map_err(|error| Failure::new(ExitCode::Usage, error))?;
            (Labels::Classes(labels), weights)
        }
        Targets::Labels(all) => {
            let rows = all.pick(train, 1);
            let weights = recipe.class_weights.of_labels(rows.rows(), rows.width());
            let weights = weights.map_err(|error| Failure::new(ExitCode::Usage, error))?;
            (Labels::Several(rows.rows().to_vec()), weights)
        }
        Targets::Values(all) => {
            let rows = all.pick(train, 1);
            let learnt = units(work)?.learnt(rows.rows());
            let labels = Labels::Values(learnt, Loss::MeanSquare);
            (labels, vec![1.0; rows.width()])
        }
    };
    Ok(Aims::new(labels, weights, recipe.label_smoothing))
}
