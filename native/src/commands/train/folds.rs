//! Cross-validation of a way to tune.
//!
//! What is measured in each fold is made as the model that is left is made: the photos that train are divided once more,
//! and what is held back of them chooses between the head alone and each epoch; then the head is solved, and tuned up to
//! that epoch, on all of them; and only then the fold's own photos are asked, which nothing was chosen on. The model that
//! is left trains on all photos up to the epoch that is best in the mean of all folds' choices.

use rekindle_core::train::Split;
use rekindle_core::tune::{Keep, Recipe, Tune};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::division::Division;
use super::learn::{self, Learnt, learn};
use super::material::Material;
use super::mean::Mean;
use super::tune::{self, Foreseen, Ledger, Training, Work};
use crate::cli::TrainArgs;
use crate::context::Context;
use crate::dataset::Dataset;
use crate::judged::Judged;
use crate::runs::Run;
use crate::ui::{ExitCode, Failure, table};

/// What a cross-validation works on.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    pub args: &'a TrainArgs,
    pub dataset: &'a Dataset,
    pub material: Material<'a>,
    pub division: &'a Division,
    /// The device's name.
    pub device: &'a str,
    pub context: &'a Context,
}

/// What a cross-validation came to.
pub struct Crossed {
    /// What is left in each fold, on photos that it has not seen, all taken together; of labels, the thresholds chosen
    /// there.
    pub report: Judged,
    pub thresholds: Option<Vec<f32>>,
    /// Of a way to tune: what became of each fold.
    pub tuned: Option<CrossedTuning>,
}

/// What a cross-validation of a way to tune came to.
pub struct CrossedTuning {
    /// The head alone, on photos that it has not seen, all taken together; nothing from scratch, where there is none.
    pub head: Option<Judged>,
    /// What the folds tell of the training on all photos; nothing where nothing is chosen.
    pub foreseen: Option<Foreseen>,
    folds: Vec<FoldFigures>,
    /// What the score is.
    score: &'static str,
}

/// What is told of a fold.
struct FoldFigures {
    photos: usize,
    trained_on: usize,
    chosen_on: usize,
    /// The epoch that is left, counted from 1; nothing where the head alone is.
    epoch: Option<usize>,
    score: Option<f64>,
    head: Option<f64>,
}

/// What became of a fold.
#[derive(Serialize, Deserialize)]
struct Fold {
    /// What the head alone puts out for the fold's own photos.
    head: Vec<f32>,
    /// What is left puts out for them.
    left: Vec<f32>,
    /// The epoch that is left, counted from 1; nothing where the head alone is.
    epoch: Option<usize>,
}

impl Crossed {
    /// Cross-validates the head alone.
    pub fn of_heads(field: Field<'_>, splits: &[Split]) -> anyhow::Result<Self> {
        let Field {
            args,
            dataset,
            material,
            context,
            ..
        } = field;
        let (report, thresholds) =
            learn::cross_validated(args, dataset, material, splits, context)?;
        Ok(Self {
            report,
            thresholds,
            tuned: None,
        })
    }

    /// Cross-validates a way to tune.
    pub fn of(
        field: Field<'_>,
        recipe: &Recipe,
        splits: &[Split],
        ledger: &mut Ledger,
        run: &mut Run,
    ) -> anyhow::Result<Self> {
        cross_validated(field, recipe, splits, ledger, run)
    }

    /// What it tells of the training on all photos.
    pub fn foreseen(&self) -> Option<&Foreseen> {
        self.tuned.as_ref()?.foreseen.as_ref()
    }
}

fn cross_validated(
    field: Field<'_>,
    recipe: &Recipe,
    splits: &[Split],
    ledger: &mut Ledger,
    run: &mut Run,
) -> anyhow::Result<Crossed> {
    let within: Vec<Split> = splits
        .iter()
        .enumerate()
        .map(|(fold, split)| field.within(recipe, fold, &split.train))
        .collect::<Result<_, _>>()?;
    let names: Vec<String> = (1..=splits.len())
        .map(|number| format!("fold {number} of {}", splits.len()))
        .collect();
    let mut trainings = Vec::new();
    let mut add = |part: Option<String>, split: &Split| {
        let photos = split.train.len();
        trainings.push(Training { part, photos });
    };
    for ((name, split), within) in names.iter().zip(splits).zip(&within) {
        if recipe.keep != Keep::Last {
            add(Some(choosing(name)), within);
        }
        add(Some(name.clone()), split);
    }
    add(None, &field.division.split);
    let crossing = Crossing {
        field,
        recipe,
        trainings: &trainings,
    };
    let (mut folds, mut chosen) = (Vec::new(), Vec::new());
    for ((name, split), within) in names.iter().zip(splits).zip(&within) {
        let foreseen = match recipe.keep {
            Keep::Last => None,
            _ => Some(crossing.choose(name, within, ledger, run)?),
        };
        folds.push(crossing.fold(name, split, foreseen.as_ref(), ledger, run)?);
        chosen.extend(foreseen);
    }
    let of_head = |fold: &Fold| fold.head.clone();
    let head = match recipe.tune {
        Tune::Scratch => None,
        _ => Some(field.pooled(splits, &folds, of_head)?.0),
    };
    let (report, thresholds) = field.pooled(splits, &folds, |fold| fold.left.clone())?;
    let figures = folds.iter().zip(splits).zip(&within);
    let figures = figures.map(|((fold, split), within)| {
        let score = |answers: &[f32]| -> anyhow::Result<Option<f64>> {
            let (judged, _) = learn::judged(field.dataset, &split.valid, answers)?;
            Ok(judged.score())
        };
        Ok(FoldFigures {
            photos: split.valid.len(),
            trained_on: split.train.len(),
            chosen_on: within.valid.len(),
            epoch: fold.epoch,
            score: score(&fold.left)?,
            head: match head {
                Some(_) => score(&fold.head)?,
                None => None,
            },
        })
    });
    let figures = figures.collect::<anyhow::Result<Vec<_>>>()?;
    let tuned = CrossedTuning {
        head,
        foreseen: Foreseen::mean(&chosen),
        folds: figures,
        score: report.score_name(),
    };
    Ok(Crossed {
        report,
        thresholds,
        tuned: Some(tuned),
    })
}

impl Field<'_> {
    /// Divides the photos that train in a fold once more: into those that a first training learns from, and those on
    /// which its epoch is chosen.
    fn within(&self, recipe: &Recipe, fold: usize, train: &[usize]) -> anyhow::Result<Split> {
        if recipe.keep == Keep::Last {
            return Ok(Split::default());
        }
        let split = self.division.within(fold, train, self.material)?;
        match split.valid.is_empty() {
            true => Err(unchoosable()),
            false => Ok(split),
        }
    }

    /// Judges the answers of all folds together.
    fn pooled(
        &self,
        splits: &[Split],
        folds: &[Fold],
        answers: impl Fn(&Fold) -> Vec<f32>,
    ) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
        let photos: Vec<usize> = splits
            .iter()
            .flat_map(|split| split.valid.clone())
            .collect();
        let answers: Vec<f32> = folds.iter().flat_map(answers).collect();
        learn::judged(self.dataset, &photos, &answers)
    }
}

/// The training that chooses in a fold.
fn choosing(fold: &str) -> String {
    format!("{fold}, choosing")
}

/// A cross-validation that goes on.
struct Crossing<'a> {
    field: Field<'a>,
    recipe: &'a Recipe,
    /// All trainings of the run.
    trainings: &'a [Training],
}

impl Crossing<'_> {
    /// What a training on a part of a fold's photos says of one on all of them.
    fn choose(
        &self,
        fold: &str,
        split: &Split,
        ledger: &mut Ledger,
        run: &mut Run,
    ) -> anyhow::Result<Foreseen> {
        let part = choosing(fold);
        let learnt = self.learn(split.clone())?;
        if learnt.report.score().is_none() {
            return Err(unchoosable());
        }
        let work = self.work(&learnt, &part, None);
        let identity = tune::identity(&work, self.recipe)?;
        if let Some(known) = ledger.outcome(&part, &identity, run)? {
            return Ok(known);
        }
        self.field.context.console.note(&format!(
            "{part}: {} photos train, {} choose the epoch",
            split.train.len(),
            split.valid.len(),
        ));
        let foreseen = tune::tune(&work, self.recipe.clone(), ledger, run)?.foreseen;
        ledger.keep(&part, identity, &foreseen, run)?;
        Ok(foreseen)
    }

    /// Trains on a fold's photos, and asks what is left of those that it has not seen.
    fn fold(
        &self,
        name: &str,
        split: &Split,
        foreseen: Option<&Foreseen>,
        ledger: &mut Ledger,
        run: &mut Run,
    ) -> anyhow::Result<Fold> {
        let learnt = self.learn(Split {
            train: split.train.clone(),
            valid: Vec::new(),
        })?;
        let work = self.work(&learnt, name, foreseen);
        let identity = tune::identity(&work, self.recipe)?;
        let Field {
            material, context, ..
        } = self.field;
        if let Some(known) = ledger.outcome(name, &identity, run)? {
            context.console.note(&format!("{name} is done already"));
            return Ok(known);
        }
        context.console.note(&format!(
            "{name}: {} photos train, {} measure",
            split.train.len(),
            split.valid.len(),
        ));
        let tuned = tune::tune(&work, self.recipe.clone(), ledger, run)?;
        let head = learn::answers(&learnt.fitted, material, &split.valid)?;
        let left = match tuned.is_tuned {
            true => tune::answers(&work, &tuned.model, &split.valid)?,
            false => head.clone(),
        };
        let fold = Fold {
            head,
            left,
            epoch: tuned.best_epoch,
        };
        self.tell(name, split, &fold)?;
        ledger.keep(name, identity, &fold, run)?;
        Ok(fold)
    }

    /// Says how good a fold is that is done.
    fn tell(&self, name: &str, split: &Split, fold: &Fold) -> anyhow::Result<()> {
        let headline = |answers: &[f32]| -> anyhow::Result<String> {
            let (judged, _) = learn::judged(self.field.dataset, &split.valid, answers)?;
            Ok(judged.headline())
        };
        let left = headline(&fold.left)?;
        let line = match (fold.epoch, self.recipe.tune) {
            (Some(epoch), Tune::Scratch) => format!("{name}: {left} after epoch {epoch}"),
            (Some(epoch), _) => {
                let head = headline(&fold.head)?;
                format!("{name}: {left} after epoch {epoch}, the head alone {head}")
            }
            (None, _) => format!("{name}: {left}, of the head alone, which is kept"),
        };
        self.field.context.console.note(&line);
        Ok(())
    }

    fn learn(&self, split: Split) -> anyhow::Result<Learnt> {
        let Field {
            args,
            dataset,
            material,
            context,
            ..
        } = self.field;
        context.interrupt.check()?;
        learn(args, dataset, material, split, None, context)
    }

    fn work<'w>(
        &'w self,
        learnt: &'w Learnt,
        part: &'w str,
        foreseen: Option<&'w Foreseen>,
    ) -> Work<'w> {
        let Field {
            args,
            dataset,
            material,
            device,
            context,
            ..
        } = self.field;
        Work {
            args,
            dataset,
            material,
            learnt,
            part: Some(part),
            trainings: self.trainings,
            foreseen,
            device,
            context,
        }
    }
}

fn unchoosable() -> anyhow::Error {
    let message = "the photos that train in a fold cannot be divided once more, and without that nothing tells which epoch \
                   is the best: too few of them do not belong together";
    let failure = Failure::new(ExitCode::Usage, message);
    failure
        .with_help("add photos, give fewer --folds, or --keep last, where nothing is chosen")
        .into()
}

impl CrossedTuning {
    fn mean(&self, of: impl Fn(&FoldFigures) -> Option<f64>) -> Option<Mean> {
        Mean::of(&self.folds.iter().filter_map(of).collect::<Vec<_>>())
    }

    fn difference(&self) -> Option<Mean> {
        self.mean(|fold| Some(fold.score? - fold.head?))
    }

    /// What `--json` says of it.
    pub fn json(&self) -> Value {
        let folds = self.folds.iter().enumerate().map(|(number, fold)| {
            json!({
                "fold": number + 1,
                "photos": fold.photos,
                "trained_on": fold.trained_on,
                "chosen_on": fold.chosen_on,
                "kept": kept(fold.epoch),
                "best_epoch": fold.epoch,
                "score": fold.score,
                "score_head": fold.head,
            })
        });
        json!({
            "score_is": self.score,
            "folds": folds.collect::<Vec<_>>(),
            "score": self.mean(|fold| fold.score),
            "score_head": self.mean(|fold| fold.head),
            "difference": self.difference(),
        })
    }

    /// The folds, one a line, and their mean.
    pub fn table(&self) -> String {
        let (head, rows) = self.rows();
        let mut table = table(&head);
        rows.into_iter().for_each(|row| _ = table.add_row(row));
        table.to_string()
    }

    /// The head and the rows of that table.
    pub fn rows(&self) -> ([&'static str; 5], Vec<Vec<String>>) {
        let is_share = self.score == "accuracy";
        let figure = |value: f64| match is_share {
            true => format!("{:.1} %", 100.0 * value),
            false => format!("{value:.3}"),
        };
        let told = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
        let mean = |mean: Option<Mean>| {
            mean.map_or_else(
                || "–".to_owned(),
                |Mean {
                     mean,
                     standard_error,
                 }| match is_share {
                    true => format!("{:.1} ± {:.1} %", 100.0 * mean, 100.0 * standard_error),
                    false => format!("{mean:.3} ± {standard_error:.3}"),
                },
            )
        };
        let mut rows = Vec::with_capacity(self.folds.len() + 1);
        for (number, fold) in self.folds.iter().enumerate() {
            let kept = match fold.epoch {
                Some(epoch) => format!("tuned, epoch {epoch}"),
                None => "head".to_owned(),
            };
            rows.push(vec![
                (number + 1).to_string(),
                fold.photos.to_string(),
                told(fold.head),
                told(fold.score),
                kept,
            ]);
        }
        rows.push(vec![
            "mean".to_owned(),
            self.folds
                .iter()
                .map(|fold| fold.photos)
                .sum::<usize>()
                .to_string(),
            mean(self.mean(|fold| fold.head)),
            mean(self.mean(|fold| fold.score)),
            match self.difference() {
                Some(by) => format!("difference {}", signed(by, is_share)),
                None => String::new(),
            },
        ]);
        (
            ["fold", "photos", "head alone", "what is left", "kept"],
            rows,
        )
    }
}

/// A difference, in points where it is one of shares.
fn signed(by: Mean, is_share: bool) -> String {
    match is_share {
        true => format!(
            "{:+.1} ± {:.1} points",
            100.0 * by.mean,
            100.0 * by.standard_error
        ),
        false => format!("{:+.3} ± {:.3}", by.mean, by.standard_error),
    }
}

fn kept(epoch: Option<usize>) -> &'static str {
    match epoch {
        Some(_) => "tuned",
        None => "head",
    }
}
