//! A tuning that goes on: the steps of each phase, what follows each epoch, and which network is left at the end.

use std::time::Instant;

use rekindle_core::device::DeviceError;
use rekindle_core::model::Model;
use rekindle_core::tune::{
    Engine as _, EpochEnd, Judgement, Keep, Recipe, Trainee, Trainer, Tune, TuneError, Wanted,
};
use rekindle_core::weights::Tensors;
use serde_json::{Value, json};

use super::super::learn::judged;
use super::checkpoint::{self, Checkpoints};
use super::room;
use super::source::Showing;
use super::supply::{Supplier, Supply, held_out};
use super::units::Units;
use super::work::Work;
use crate::interrupt::Interrupted;
use crate::judged::Judged;
use crate::runs::Run;
use crate::tensorboard::Board;
use crate::ui::{Progress, Unit, print_text, print_warning, unless_closed};

/// A network that is left.
pub struct Chosen {
    pub tensors: Tensors,
    /// Its epoch, counted over all phases from 0; of a mean, the best one's.
    pub epoch: usize,
    /// What was averaged, where that was asked for.
    pub soup: Option<Soup>,
}

/// A mean of several epochs' networks.
pub struct Soup {
    /// The epochs, counted from 1, the best first; the best alone where no mean was better.
    pub epochs: Vec<usize>,
    /// How many were there to be averaged.
    pub tried: usize,
}

/// So many epochs, in words.
pub fn epochs_of(epochs: usize) -> String {
    match epochs {
        1 => "1 epoch".to_owned(),
        _ => format!("{epochs} epochs"),
    }
}

/// Why patience is at its end.
pub fn none_of_the_last(patience: usize) -> String {
    match patience {
        1 => "the last epoch was no better".to_owned(),
        _ => format!("none of the last {patience} epochs was better"),
    }
}

/// The time in which a tuning waited for photos.
#[derive(Default)]
pub struct Waited {
    waited: f64,
    all: f64,
}

impl Waited {
    /// Adds some time, of which a share was waited.
    fn add(&mut self, share: f64, since: Instant) {
        let all = since.elapsed().as_secs_f64();
        self.waited += share * all;
        self.all += all;
    }

    pub fn share(&self) -> Option<f64> {
        (self.all > 0.0).then(|| self.waited / self.all)
    }
}

/// A tuning that goes on.
pub struct Round<'a> {
    pub work: &'a Work<'a>,
    pub base: &'a Model,
    pub showing: Showing<'a>,
    pub trainer: Trainer<Trainee>,
    pub checkpoints: Checkpoints<'a>,
    pub run: &'a mut Run,
    pub board: Option<Board>,
    pub waited: Waited,
    /// Those of the values that are learnt.
    pub units: Units,
}

impl Round<'_> {
    /// The phase in which the trainer stands.
    pub fn phase(&mut self) -> anyhow::Result<()> {
        let Work { args, context, .. } = *self.work;
        let supplier = Supplier::of(&self.trainer, self.base, self.showing, &args.cache, context)?;
        let Some(supplier) = supplier else {
            return Ok(());
        };
        supplier.bring(self.trainer.ahead().flatten(), |supply| {
            let begun = Instant::now();
            let outcome = self.steps(supply);
            self.waited.add(supply.waited(), begun);
            outcome
        })
    }

    /// What came of work between two steps. Where Ctrl-C broke it off, nothing before it is lost.
    fn saved<T>(&mut self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if outcome
            .as_ref()
            .is_err_and(|error| error.is::<Interrupted>())
        {
            self.checkpoints.write(&mut self.trainer, self.run)?;
        }
        outcome
    }

    /// Goes back to the last checkpoint, because the device had no memory for a step, and on from there with smaller
    /// parts.
    pub fn go_back(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let Some((state, metrics)) = checkpoint::last(self.run)? else {
            return Err(error);
        };
        let least = self.trainer.phase().map_or(1, |phase| {
            room::least_images(&self.trainer.plan().recipe, phase)
        });
        let Some(images) = self.trainer.halve(state, least)? else {
            return Err(room::too_small(&error).into());
        };
        self.run.cut_metrics(metrics)?;
        self.checkpoints.write(&mut self.trainer, self.run)?;
        print_warning(
            &format!(
                "{error}: going on from step {} with batches of {images}, gradients of {} added up",
                self.trainer.position().steps,
                self.trainer.parts(),
            ),
            None,
        );
        Ok(())
    }

    /// The steps of a phase, and what follows each epoch.
    fn steps(&mut self, supply: &mut dyn Supply) -> anyhow::Result<()> {
        let context = self.work.context;
        let per_epoch = self.trainer.steps_per_epoch() as u64;
        let epochs = self.trainer.phase().map_or(0, |phase| phase.epochs) as u64;
        let mut progress = context
            .console
            .start("tuning", Unit::Items, Some(per_epoch * epochs));
        let (mut told, mut images) = (Instant::now(), 0);
        loop {
            match self.trainer.wanted() {
                Wanted::Nothing => return Ok(()),
                Wanted::Step(batches) => {
                    // Ctrl-C waits for the step and for what it came to.
                    let _hold = context.interrupt.hold();
                    let supplied = supply.step(&batches);
                    let (given, size) = self.saved(supplied)?;
                    room::check_pretence(&batches)?;
                    self.trainer.step(given, size);
                    images += batches.iter().map(Vec::len).sum::<usize>();
                    let position = self.trainer.position();
                    let done = position.epoch as u64 * per_epoch + position.step as u64;
                    progress.set(done, Some(per_epoch * epochs));
                    if told.elapsed().as_secs_f64() > 1.0 {
                        self.tell(&progress, images as f64 / told.elapsed().as_secs_f64())?;
                        (told, images) = (Instant::now(), 0);
                    }
                    self.checkpoints.perhaps(&mut self.trainer, self.run)?;
                    if context.interrupt.is_raised() {
                        self.checkpoints.write(&mut self.trainer, self.run)?;
                        context.interrupt.check()?;
                    }
                }
                Wanted::Judgement => {
                    let _hold = context.interrupt.hold();
                    let judged = self.judge(supply, &progress);
                    let end = self.saved(judged)?;
                    self.checkpoints.write(&mut self.trainer, self.run)?;
                    context.interrupt.check()?;
                    if end.ends_phase || self.is_over() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Says how it goes beside the bar.
    fn tell(&mut self, progress: &Progress, images_per_second: f64) -> anyhow::Result<()> {
        if let Some(loss) = self.losses()? {
            let position = self.trainer.position();
            let epoch = position.epoch + 1;
            progress.message(&format!(
                "epoch {epoch}, loss {loss:.4}, {images_per_second:.0} photos/s"
            ));
            self.event(|| {
                let mut line = json!({ "event": "step", "step": position.steps, "loss": loss,
                                       "images_per_second": images_per_second });
                if let Some(part) = self.work.part {
                    line["part"] = json!(part);
                }
                line
            })?;
        }
        Ok(())
    }

    /// The mean loss of the steps since it was last asked for, if there were any.
    fn losses(&mut self) -> anyhow::Result<Option<f64>> {
        let loss = pollster::block_on(self.trainer.losses())?;
        if let (Some(board), Some(_)) = (&mut self.board, loss) {
            board.tell(self.trainer.position().steps, &[("loss/step", loss)])?;
        }
        Ok(loss)
    }

    /// Tells TensorBoard of an epoch, at the step with which it ended.
    fn tell_board(
        &mut self,
        end: &EpochEnd,
        rate: f64,
        judged: Option<Judgement>,
        name: &str,
    ) -> anyhow::Result<()> {
        let head = self
            .head(&self.trainer.plan().recipe)
            .filter(|_| judged.is_some());
        let Some(board) = &mut self.board else {
            return Ok(());
        };
        let held_out = format!("{name}/held_out");
        let of_head = format!("{name}/head");
        board.tell(
            self.trainer.position().steps,
            &[
                ("epoch", Some((end.epoch + 1) as f64)),
                ("loss/training", Some(end.loss)),
                ("loss/held_out", judged.map(|judged| judged.loss)),
                ("loss/head", head.map(|head| head.loss)),
                (&held_out, judged.map(|judged| judged.score)),
                (&of_head, head.map(|head| head.score)),
                ("learning_rate", Some(rate)),
            ],
        )?;
        Ok(())
    }

    /// Ends an epoch: measures it on the photos held back.
    fn judge(&mut self, supply: &mut dyn Supply, progress: &Progress) -> anyhow::Result<EpochEnd> {
        let factor = self.trainer.factor();
        self.losses()?;
        let report = match self.work.learnt.split.valid.is_empty() {
            true => None,
            false => Some(self.judged(&self.answers(supply)?)?.0),
        };
        let judgement = report.as_ref().and_then(|report| self.judgement(report));
        let foreseen = self.work.foreseen;
        let foreseen = foreseen.map(|foreseen| foreseen.wanted(epochs_made(&self.trainer)));
        let within = (
            self.trainer.position().epoch + 1,
            self.trainer.phase().map(|phase| phase.epochs),
        );
        let end = pollster::block_on(self.trainer.judged(judgement.or(foreseen)))?;
        let mut line = json!({
            "epoch": end.epoch + 1,
            "phase": end.phase + 1,
            "loss": end.loss,
            "accuracy": report.as_ref().and_then(Judged::accuracy),
            "score": judgement.map(|judgement| judgement.score),
            "held_out_loss": judgement.map(|judgement| judgement.loss),
            "rate_factor": factor,
        });
        if let Some(part) = self.work.part {
            line["part"] = json!(part);
        }
        self.run.append_metrics(&line)?;
        let rate = factor * self.trainer.plan().recipe.lr;
        let name = report.as_ref().map_or("accuracy", Judged::score_name);
        self.tell_board(&end, rate, judgement, &name.replace('²', "2"))?;
        let measured = report.as_ref().map_or_else(String::new, |report| {
            format!(", held-out {}", report.headline())
        });
        let head = self.head(&self.trainer.plan().recipe);
        let keeps_any = self.trainer.plan().recipe.keep == Keep::Tuned;
        let best = match judgement.filter(|_| end.is_best) {
            Some(judged) if head.is_none_or(|head| judged.beats(&head)) => ", best so far",
            Some(_) if keeps_any => ", best epoch so far",
            _ => "",
        };
        let patience = self.trainer.plan().recipe.patience;
        let ended = match (within, patience) {
            ((made, Some(of)), Some(patience)) if end.ends_phase && made < of => {
                let what = match self.trainer.plan().phases.len() {
                    1 => "ended",
                    _ => "the phase ended",
                };
                let why = none_of_the_last(patience);
                Some(format!(
                    "{what} after epoch {made} of {of}: {why} (--patience {patience})"
                ))
            }
            _ => None,
        };
        progress.aside(|| {
            self.work.context.console.note(&format!(
                "epoch {}: loss {:.4}{measured}{best}",
                end.epoch + 1,
                end.loss
            ));
            if let Some(ended) = &ended {
                self.work.context.console.note(ended);
            }
        });
        self.event(|| {
            let mut line = line.clone();
            line["event"] = json!("epoch");
            line
        })?;
        Ok(end)
    }

    /// The answers for the photos held back. Numbers that run over there are what a loss without a number is in training.
    fn answers(&self, supply: &mut dyn Supply) -> anyhow::Result<Vec<f32>> {
        let diverged = || TuneError::Diverged {
            loss: f32::NAN,
            step: self.trainer.position().steps,
        };
        match supply.answers(&self.trainer) {
            Ok(answers) if answers.iter().all(|answer| answer.is_finite()) => {
                Ok(self.units.said(answers))
            }
            Ok(_) => Err(diverged().into()),
            Err(error) => Err(match error.downcast_ref::<DeviceError>() {
                Some(DeviceError::NotFinite { .. }) => diverged().into(),
                _ => error,
            }),
        }
    }

    /// Says a line of `--events`. That nobody reads them any more is no reason to stop.
    fn event(&self, line: impl FnOnce() -> Value) -> anyhow::Result<()> {
        match self.work.args.tuning.events {
            true => unless_closed(print_text(&line().to_string())),
            false => Ok(()),
        }
    }

    /// How good the head alone is, where it was measured, in words.
    pub fn told_head(&self, recipe: &Recipe) -> Option<String> {
        let is_measured = self.work.foreseen.is_none() && self.head(recipe).is_some();
        let head = self.work.learnt.report.headline();
        is_measured.then(|| format!("the head alone: held-out {head}"))
    }

    /// How good answers for the photos held back are; of labels, at thresholds that are chosen on them.
    fn judged(&self, answers: &[f32]) -> anyhow::Result<(Judged, Option<Vec<f32>>)> {
        judged(self.work.dataset, &self.work.learnt.split.valid, answers)
    }

    fn judgement(&self, judged: &Judged) -> Option<Judgement> {
        let loss = match judged {
            Judged::Values(report) => self.units.loss(report)?,
            _ => judged.loss()?,
        };
        Some(Judgement {
            score: judged.score()?,
            loss,
        })
    }

    /// Whether all epochs were made that may be kept.
    pub fn is_over(&self) -> bool {
        let foreseen = self.work.foreseen;
        foreseen.is_some_and(|foreseen| epochs_made(&self.trainer) >= foreseen.needed())
    }

    /// How good the head alone is; nothing where that was not measured, or there is none.
    pub fn head(&self, recipe: &Recipe) -> Option<Judgement> {
        match (recipe.tune, self.work.foreseen) {
            (Tune::Scratch, _) => None,
            (_, Some(foreseen)) => foreseen.head,
            (_, None) => self.judgement(&self.work.learnt.report),
        }
    }

    /// The network that is left; nothing if that is the head alone.
    pub fn choose(
        &self,
        recipe: &Recipe,
        head: Option<Judgement>,
        diverged: bool,
    ) -> anyhow::Result<Option<Chosen>> {
        if recipe.keep == Keep::Last && !diverged {
            let engine = self.trainer.engine();
            let tensors = pollster::block_on(engine.tensors(recipe.ema.is_some()))?;
            // Of phases that patience ended early, not all epochs were made.
            let last = self.trainer.seen().last().map_or(0, |(epoch, _)| *epoch);
            return Ok(Some(Chosen {
                tensors,
                epoch: last,
                soup: None,
            }));
        }
        let Some((epoch, best, tensors)) = self.trainer.best().next() else {
            return Ok(None);
        };
        match head {
            Some(head) if recipe.keep == Keep::Best && !best.beats(&head) => Ok(None),
            _ if recipe.soup => self.soup(best).map(Some),
            _ => Ok(Some(Chosen {
                tensors: tensors.clone(),
                epoch,
                soup: None,
            })),
        }
    }

    /// The best epochs' networks averaged, one after the other, as long as that does not make it worse: a greedy soup
    /// (Wortsman et al., <https://arxiv.org/abs/2203.05482>). Where nothing is held back, as many as were averaged
    /// elsewhere.
    fn soup(&self, mut best: Judgement) -> anyhow::Result<Chosen> {
        let mut all = self.trainer.best();
        let Some((epoch, _, first)) = all.next() else {
            unreachable!("there is a best epoch")
        };
        let (mut soup, mut parts) = (first.clone(), 1);
        let mut averaged = vec![epoch + 1];
        let tried = self.trainer.best().count();
        for (number, _, more) in all {
            let share = parts as f32;
            let mixed: Tensors = soup
                .iter()
                .map(|(name, (shape, values))| {
                    let with = values.iter().zip(more[name].1.iter());
                    let mean = with.map(|(a, b)| (a * share + b) / (share + 1.0));
                    let mean: Vec<f32> = mean.collect();
                    (name.clone(), (shape.clone(), mean.into()))
                })
                .collect();
            if let Some(foreseen) = self.work.foreseen {
                if parts < foreseen.parts {
                    (soup, parts) = (mixed, parts + 1);
                    averaged.push(number + 1);
                }
                continue;
            }
            let found = self.report(&self.model(&mixed))?;
            let Some(found) = found.and_then(|(judged, _)| self.judgement(&judged)) else {
                break;
            };
            if !best.beats(&found) {
                (soup, best, parts) = (mixed, found, parts + 1);
                averaged.push(number + 1);
            }
        }
        Ok(Chosen {
            tensors: soup,
            epoch,
            soup: Some(Soup {
                epochs: averaged,
                tried,
            }),
        })
    }

    /// The network with numbers that the training came to, which puts out values where there are any.
    pub fn model(&self, tensors: &Tensors) -> Model {
        let head: Vec<String> = self
            .base
            .graph()
            .tensors_of(true)
            .map(|(name, _)| name)
            .collect();
        self.base.with_tensors(&self.units.grown(tensors, &head))
    }

    /// How good a model is on the photos held back.
    pub fn report(&self, model: &Model) -> anyhow::Result<Option<(Judged, Option<Vec<f32>>)>> {
        if self.work.learnt.split.valid.is_empty() {
            return Ok(None);
        }
        let logits = held_out(model, self.showing, self.work.context)?;
        self.judged(&logits).map(Some)
    }
}

pub fn epochs_made(trainer: &Trainer<Trainee>) -> usize {
    let position = trainer.position();
    match trainer.phase() {
        Some(_) => trainer.plan().epochs_before(position.phase) + position.epoch,
        None => trainer.plan().epochs(),
    }
}
