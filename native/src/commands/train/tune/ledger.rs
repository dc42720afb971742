//! What was decided once for all of a run, and what of a run in several parts is done: kept in the run's folder, so that a
//! run that was stopped goes on as it began, and does nothing twice.

use std::collections::BTreeMap;

use rekindle_core::tune::Parting;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::checkpoint;
use crate::cli::Divided;
use crate::runs::{CHECKPOINT, PARTS, Run};
use crate::ui::{ExitCode, Failure};

/// What was decided for a run, and its parts that are done.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Views of each photo of which values are kept.
    views: Option<usize>,
    /// In how many parts the steps of its trainings go through the network.
    #[serde(default)]
    divided: Divided,
    /// Whether that was decided for the run as it goes on now, by the memory that is free now.
    #[serde(skip)]
    is_divided_now: bool,
    /// How long the run's metrics were when the last part was done.
    metrics: u64,
    parts: BTreeMap<String, Done>,
}

/// A part that is done.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    /// What it was of: for something else it is not taken up.
    identity: Value,
    outcome: Value,
}

impl Ledger {
    /// What a run has decided and done so far: of a new one, nothing but how it is `divided` where another one is made
    /// again. What was begun and is not done goes on from the run's checkpoint, if it has one; what was told of it behind
    /// that is taken back.
    pub fn open(run: &mut Run, divided: Option<&Divided>) -> anyhow::Result<Self> {
        if !run.is_resumed() {
            return Ok(Self {
                divided: divided.cloned().unwrap_or_default(),
                ..Self::default()
            });
        }
        let ledger: Self = match run.read(PARTS)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| damaged(run))?,
            None => Self::default(),
        };
        let of_checkpoint = checkpoint::part(run)?;
        let is_done = |part: &str| ledger.parts.contains_key(part);
        // It was stopped when a part was done, before its checkpoint went.
        let is_over = matches!(&of_checkpoint, Some(Some(part)) if is_done(part));
        if is_over {
            run.remove(CHECKPOINT);
        }
        if is_over || of_checkpoint.is_none() {
            run.cut_metrics(ledger.metrics)?;
        }
        Ok(ledger)
    }

    /// In how many parts the steps of the run's trainings go through the network, as far as that is decided.
    pub fn divided(&self) -> &Divided {
        &self.divided
    }

    /// Whether it was decided before, for the run that is gone on with or made again.
    pub fn is_taken_over(&self) -> bool {
        !self.is_divided_now
    }

    /// Keeps what was decided, before anything is trained by it.
    pub fn divide(&mut self, divided: Divided, run: &Run) -> anyhow::Result<()> {
        self.divided = divided;
        self.is_divided_now = true;
        self.write(run)
    }

    /// Keeps in mind where a training was divided further, because its device had too little memory.
    pub fn divided_further(&mut self, part: Option<&str>, further: &[Parting]) {
        self.divided.of_mut(part).further = further.to_vec();
    }

    fn write(&self, run: &Run) -> anyhow::Result<()> {
        run.write(PARTS, &serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// Views of each photo of which values are kept, as they were decided; `decide` if they were not.
    pub fn views(&mut self, decide: impl FnOnce() -> usize) -> usize {
        *self.views.get_or_insert_with(decide)
    }

    /// The outcome of a part, if it is done.
    ///
    /// # Errors
    ///
    /// When it was done for something else, or is damaged.
    pub fn outcome<T: DeserializeOwned>(
        &self,
        part: &str,
        identity: &Value,
        run: &Run,
    ) -> anyhow::Result<Option<T>> {
        let Some(done) = self.parts.get(part) else {
            return Ok(None);
        };
        checkpoint::check_same(&done.identity, identity)?;
        let outcome = serde_json::from_value(done.outcome.clone());
        Ok(Some(outcome.map_err(|_| damaged(run))?))
    }

    /// Keeps the outcome of a part that is done.
    pub fn keep(
        &mut self,
        part: &str,
        identity: Value,
        outcome: &impl Serialize,
        run: &Run,
    ) -> anyhow::Result<()> {
        let outcome = serde_json::to_value(outcome)?;
        self.parts
            .insert(part.to_owned(), Done { identity, outcome });
        self.metrics = run.metrics_length();
        self.write(run)?;
        run.remove(CHECKPOINT);
        Ok(())
    }
}

fn damaged(run: &Run) -> anyhow::Error {
    let message = format!("{} is damaged", run.folder().join(PARTS).display());
    let failure = Failure::new(ExitCode::Data, message);
    failure.with_help("begin the run anew").into()
}
