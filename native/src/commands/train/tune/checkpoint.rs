//! Where a tuning stands, in its run folder: written whole or not at all, and taken up only by the same training.

use std::time::{Duration, Instant};

use rekindle_core::tune::{Trainee, Trainer, TrainerState, differences};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::hash::FileHash;
use crate::runs::{CHECKPOINT, Run};
use crate::ui::{ExitCode, Failure};

/// Writes checkpoints of a training every so often.
pub struct Checkpoints<'a> {
    /// What the training is of: a checkpoint of another one is not taken up.
    identity: &'a Value,
    every: Duration,
    last: Instant,
}

/// Seconds between two checkpoints where nobody says otherwise.
pub const USUAL_SECONDS: f64 = 60.0;

impl<'a> Checkpoints<'a> {
    pub fn new(identity: &'a Value, seconds: Option<f64>) -> Self {
        Self {
            identity,
            every: Duration::from_secs_f64(seconds.unwrap_or(USUAL_SECONDS)),
            last: Instant::now(),
        }
    }

    /// Writes one if it is time.
    pub fn perhaps(&mut self, trainer: &mut Trainer<Trainee>, run: &Run) -> anyhow::Result<()> {
        match self.last.elapsed() >= self.every {
            true => self.write(trainer, run),
            false => Ok(()),
        }
    }

    /// Writes one.
    pub fn write(&mut self, trainer: &mut Trainer<Trainee>, run: &Run) -> anyhow::Result<()> {
        let state = pollster::block_on(trainer.state())?;
        let note = serde_json::json!({
            "identity": self.identity,
            "metrics": run.metrics_length(),
            "sha256": fingerprint(&state)?,
        });
        run.write(CHECKPOINT, &state.to_bytes(note)?)?;
        self.last = Instant::now();
        Ok(())
    }

    /// Takes up the run's checkpoint, if it has one of this part. Metrics that came after it are taken back.
    pub fn take_up(&self, trainer: &mut Trainer<Trainee>, run: &mut Run) -> anyhow::Result<bool> {
        let Some(bytes) = run.read(CHECKPOINT)? else {
            return Ok(false);
        };
        let (state, note) = whole(&bytes)?;
        check_same(&note["identity"], self.identity)?;
        trainer.restore(state)?;
        run.cut_metrics(note["metrics"].as_u64().unwrap_or(0))?;
        Ok(true)
    }
}

/// Refuses to go on with what was done for something else.
pub fn check_same(then: &Value, now: &Value) -> anyhow::Result<()> {
    let differs = differences(then, now);
    if differs.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this run cannot go on: {} changed since it was stopped",
        differs.join(", ")
    );
    let failure = Failure::new(ExitCode::Data, message)
        .with_help("put back what changed, or begin a new run");
    Err(failure.into())
}

/// Which part of a run its checkpoint is of, if it has one: nothing where it is of what the run leaves.
pub fn part(run: &Run) -> anyhow::Result<Option<Option<String>>> {
    let Some(bytes) = run.read(CHECKPOINT)? else {
        return Ok(None);
    };
    let note = TrainerState::note_in(&bytes)?;
    Ok(Some(note["identity"]["part"].as_str().map(str::to_owned)))
}

/// The state that a run's last checkpoint holds, and the bytes of metrics that came before it; nothing without one.
pub fn last(run: &Run) -> anyhow::Result<Option<(TrainerState, u64)>> {
    let Some(bytes) = run.read(CHECKPOINT)? else {
        return Ok(None);
    };
    let (state, note) = whole(&bytes)?;
    Ok(Some((state, note["metrics"].as_u64().unwrap_or(0))))
}

/// What a checkpoint's bytes hold.
fn whole(bytes: &[u8]) -> anyhow::Result<(TrainerState, Value)> {
    let (state, note) = TrainerState::from_bytes(bytes)?;
    match note["sha256"] == Value::String(fingerprint(&state)?) {
        true => Ok((state, note)),
        false => {
            let failure = Failure::new(ExitCode::Data, "the checkpoint is damaged");
            Err(failure.with_help("begin the run anew").into())
        }
    }
}

/// A hash of all that a state holds.
fn fingerprint(state: &TrainerState) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(&state.standing)?);
    let engine = &state.engine;
    let groups = [&engine.tensors, &engine.averages, &engine.slots];
    for tensors in groups.into_iter().chain(&state.best) {
        for (name, (_, values)) in tensors {
            hasher.update(name.as_bytes());
            for value in values.iter() {
                hasher.update(value.to_le_bytes());
            }
        }
    }
    Ok(FileHash(hasher.finalize().into()).to_string())
}
