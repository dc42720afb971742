//! Fitting a head and measuring it, a piece at a time: the worker lets answers through in between.

#[cfg(feature = "training")]
use rekindle_core::model::Contents;
use rekindle_core::model::Model;
use rekindle_core::postprocess::{Prediction, top_k};
use rekindle_core::train::logistic::LinearSolution;
use rekindle_core::train::{
    ClassWeights, Fitted, FoldFits, GroupSearch, Groups, HeadFit, HeadRecipe, LinearRecipe, judge,
    stratified_folds,
};
#[cfg(feature = "training")]
use rekindle_core::weights::{Numbers, Tensors};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::Failure;
use crate::project::{Project, label_of};

/// Folds, where the rarest class has enough photos for them.
const FOLDS: usize = 5;

/// What a page may say about a fit.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FitOptions {
    c: Option<f64>,
    class_weights: Option<Weights>,
    seed: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weights {
    None,
    Balanced,
}

/// How a head is fitted and measured.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    recipe: LinearRecipe,
    seed: u64,
}

impl From<FitOptions> for Plan {
    fn from(options: FitOptions) -> Self {
        let class_weights = match options.class_weights {
            Some(Weights::Balanced) => ClassWeights::Balanced,
            Some(Weights::None) | None => ClassWeights::None,
        };
        Self {
            recipe: LinearRecipe {
                c: options.c,
                class_weights,
            },
            seed: u64::from(options.seed.unwrap_or(0)),
        }
    }
}

impl Plan {
    /// How the head is solved.
    #[cfg(feature = "training")]
    pub fn recipe(&self) -> &LinearRecipe {
        &self.recipe
    }
}

/// Where a fit or a measurement stands.
#[derive(Debug, Default, Serialize)]
pub struct Step {
    /// Whether there is nothing left to do.
    done: bool,
    /// Iterations of a fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    iterations: Option<usize>,
    /// Folds that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    folds: Option<usize>,
    /// Folds in all, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<usize>,
}

/// What a fit came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FitReport {
    iterations: usize,
    objective: f64,
    train_accuracy: f64,
}

/// What a measurement came to.
#[derive(Debug, Serialize)]
pub struct FoldReport {
    accuracy: f64,
    folds: usize,
    /// Photos that belong to others: copies, near copies, pictures of one recording.
    together: usize,
}

/// A head that was fitted here, or a network that was trained here. It answers with the classes it was fitted on, by
/// their ids.
pub struct Head {
    /// The whole network, for the model file. Answers of a fitted head need its features and the solution only: the
    /// backbone is compiled once, whatever becomes of the head.
    pub model: Model,
    /// The classes, in the order of its outputs; none where they came with the model.
    pub classes: Vec<u32>,
    /// How it was fitted.
    pub plan: Plan,
    /// What answers from features; nothing where more than the head was trained.
    solution: Option<LinearSolution>,
}

/// A class's share in an answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    class: String,
    id: Option<u32>,
    index: usize,
    probability: f32,
    logit: f32,
}

impl Answer {
    /// Answers as a network gives them, with the ids of the classes where there are any.
    pub fn with_ids(predictions: Vec<Prediction>, ids: &[u32]) -> Vec<Self> {
        let answer = |prediction: Prediction| Self {
            id: ids.get(prediction.index).copied(),
            class: prediction.class,
            index: prediction.index,
            probability: prediction.probability,
            logit: prediction.logit,
        };
        predictions.into_iter().map(answer).collect()
    }
}

impl Head {
    /// A network that was trained from a head that was fitted by this plan.
    #[cfg(feature = "training")]
    pub fn trained(model: Model, classes: Vec<u32>, plan: Plan) -> Self {
        Self {
            model,
            classes,
            plan,
            solution: None,
        }
    }

    /// A head that was fitted by this plan and saved: what answers from features stands in its file.
    ///
    /// # Errors
    ///
    /// When the file has no linear head.
    #[cfg(feature = "training")]
    pub fn restored(
        base: &Model,
        file: &Contents,
        classes: Vec<u32>,
        plan: Plan,
    ) -> Result<Self, Failure> {
        // Numbers of their own: those in the file would keep all of it in memory.
        let own = |(name, (shape, numbers)): (&String, &(Vec<usize>, Numbers))| {
            (name.clone(), (shape.clone(), numbers.to_vec().into()))
        };
        let head: Tensors = file.head_tensors().iter().map(own).collect();
        let solution = Fitted::linear_solution(&head, file.card.lift(), base.slot());
        let solution =
            solution.ok_or_else(|| Failure::unexpected("what was saved has no linear head"))?;
        let mut model = base.with_head(file.card.head, head, file.card.classes.clone());
        model.card = file.card.clone();
        Ok(Self {
            model,
            classes,
            plan,
            solution: Some(solution),
        })
    }

    /// Whether it answers from the features that the network had when it was loaded.
    pub fn reads_features(&self) -> bool {
        self.solution.is_some()
    }

    /// The best classes for a photo, by its features; none where those do not tell.
    pub fn answer(&self, features: &[f32], k: usize) -> Vec<Answer> {
        let logits = self
            .solution
            .as_ref()
            .map(|solution| solution.logits(features));
        let logits = logits.unwrap_or_default();
        Answer::with_ids(top_k(&logits, &self.model.card.classes, k), &self.classes)
    }
}

/// A fit under way.
pub struct Fitting {
    fit: HeadFit,
    classes: Vec<u32>,
    plan: Plan,
    iterations: usize,
}

impl Fitting {
    /// Sets up a fit of all classes to all photos.
    ///
    /// # Errors
    ///
    /// When fewer than two classes have photos, or the options make no sense.
    pub fn new(project: &Project, plan: Plan) -> Result<Self, Failure> {
        let classes = project.class_ids();
        let labels: Vec<usize> = classes.iter().copied().map(label_of).collect();
        let fit = project.photos().fit(&plan.recipe, &labels)?;
        Ok(Self {
            fit,
            classes,
            plan,
            iterations: 0,
        })
    }

    /// Does a piece of it.
    ///
    /// # Errors
    ///
    /// When the objective overflows.
    pub fn step(&mut self) -> Result<Step, Failure> {
        let progress = self.fit.step()?;
        self.iterations = progress.iteration;
        Ok(Step {
            done: progress.done(),
            iterations: Some(progress.iteration),
            ..Step::default()
        })
    }

    /// The head, and what it came to. The next fit starts from here.
    ///
    /// # Errors
    ///
    /// When the labels do not fit the classes.
    pub fn finish(self, project: &mut Project, base: &Model) -> Result<(Head, FitReport), Failure> {
        project.photos_mut().keep(&self.fit);
        let photos = project.photos();
        let solution = self.fit.solution();
        let all: Vec<usize> = (0..photos.len()).collect();
        let examples = photos.cache().plain(&all);
        let accuracy = accuracy(
            &solution.logits_of(examples.rows()),
            &positions(photos.labels(), &self.classes),
            self.classes.len(),
        )?;
        let report = FitReport {
            iterations: self.iterations,
            objective: solution.objective,
            train_accuracy: accuracy,
        };
        let fitted = Fitted::linear(solution.clone(), examples.rows(), base.slot());
        let names = project.names(&self.classes);
        let mut model = base.with_head(fitted.kind, fitted.head, names);
        let recipe = HeadRecipe::Linear(self.plan.recipe.clone());
        model.card.trained_on = project.files();
        model.card.recipe = object(json!({ "head": recipe, "seed": self.plan.seed }));
        model.card.provenance = object(json!({
            "rekindle": env!("CARGO_PKG_VERSION"),
            "made_in": "browser",
            "images": photos.len(),
        }));
        let head = Head {
            model,
            classes: self.classes,
            plan: self.plan,
            solution: Some(solution),
        };
        Ok((head, report))
    }
}

/// A measurement under way: heads fitted to a part of the photos name the others.
pub struct Measuring {
    plan: Plan,
    classes: Vec<u32>,
    stage: Stage,
}

/// What is being done for a measurement.
enum Stage {
    /// Finding out what belongs together.
    Grouping(GroupSearch<'static>),
    Folding {
        fits: FoldFits,
        folds: usize,
        together: usize,
    },
    /// There is nothing to be measured: some class would be left without photos.
    TooFew,
}

impl Measuring {
    /// Sets one up for heads fitted by this plan.
    pub fn new(project: &Project, plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            classes: project.class_ids(),
            stage: Stage::Grouping(GroupSearch::new(project.photos().cache(), None)),
        }
    }

    /// Does a piece of it. How many folds there are is known once it is known what belongs together.
    ///
    /// # Errors
    ///
    /// When the photos cannot be divided or have changed meanwhile, or the objective of a fold overflows.
    pub fn step(mut self, project: &Project) -> Result<(Self, Step), Failure> {
        let mut step = Step::default();
        self.stage = match self.stage {
            Stage::Grouping(mut search) => match search.step() {
                false => Stage::Grouping(search),
                true => Stage::folds(project, &self.classes, &self.plan, &search.finish())?,
            },
            Stage::Folding {
                mut fits,
                folds,
                together,
            } => {
                let progress = fits.step(project.photos())?;
                step.done = progress.done();
                step.folds = Some(progress.done);
                step.of = Some(folds);
                Stage::Folding {
                    fits,
                    folds,
                    together,
                }
            }
            Stage::TooFew => {
                step.done = true;
                Stage::TooFew
            }
        };
        Ok((self, step))
    }

    /// What it came to; nothing where the photos are too few to be divided.
    ///
    /// # Errors
    ///
    /// When the labels do not fit the classes.
    pub fn finish(self, project: &Project) -> Result<Option<FoldReport>, Failure> {
        let Stage::Folding {
            fits,
            folds,
            together,
        } = self.stage
        else {
            return Ok(None);
        };
        let labels = positions(project.photos().labels(), &self.classes);
        Ok(Some(FoldReport {
            accuracy: accuracy(fits.logits(), &labels, self.classes.len())?,
            folds,
            together,
        }))
    }
}

impl Stage {
    /// Divides the photos to be measured: into as many parts as the rarest class has photos that do not belong
    /// together, five at most; copies and pictures of one recording stay in one part. Fewer than two would say
    /// nothing. The one place where folds are chosen.
    fn folds(
        project: &Project,
        classes: &[u32],
        plan: &Plan,
        groups: &Groups,
    ) -> Result<Self, Failure> {
        let labels = positions(project.photos().labels(), classes);
        let counts = groups.of_classes(&labels, classes.len());
        let rarest = counts.into_iter().filter(|&count| count > 0).min();
        let folds = rarest.unwrap_or(0).min(FOLDS);
        if folds < 2 {
            return Ok(Self::TooFew);
        }
        let splits = stratified_folds(&labels, groups.of(), None, classes.len(), folds, plan.seed)?;
        let labels: Vec<usize> = classes.iter().copied().map(label_of).collect();
        Ok(Self::Folding {
            fits: FoldFits::new(project.photos(), &plan.recipe, &labels, splits),
            folds,
            together: groups.counts().photos,
        })
    }
}

/// The places of the photos' classes in a list of classes.
pub fn positions(labels: &[usize], classes: &[u32]) -> Vec<usize> {
    let place = |label| classes.iter().position(|&class| label_of(class) == label);
    labels
        .iter()
        .map(|&label| place(label).unwrap_or(classes.len()))
        .collect()
}

fn accuracy(logits: &[f32], labels: &[usize], classes: usize) -> Result<f64, Failure> {
    let report = judge(logits, labels, classes).map_err(Failure::unexpected)?;
    Ok(report.accuracy.unwrap_or(f64::NAN))
}

/// The fields of an object.
pub fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
