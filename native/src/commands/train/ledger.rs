//! What of a run in several parts is done: the outcome of each, kept in the run's folder, so that a run that was stopped
//! does none of them twice.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tune::checkpoint;
use crate::runs::{CHECKPOINT, PARTS, Run};
use crate::ui::{ExitCode, Failure};

/// The parts of a run that are done.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Views of each photo of which values are kept, decided once for all parts.
    views: Option<usize>,
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
    /// What a run has done so far: of a new one, nothing. What was begun and is not done goes on from the run's
    /// checkpoint, if it has one; what was told of it behind that is taken back.
    pub fn open(run: &mut Run) -> anyhow::Result<Self> {
        if !run.is_resumed() {
            return Ok(Self::default());
        }
        let ledger = match run.read(PARTS)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| damaged(run))?,
            None => Self::default(),
        };
        // It was stopped when a part was done, before its checkpoint went.
        let is_done = |part: String| ledger.parts.contains_key(&part);
        if !ledger.parts.is_empty() && checkpoint::part(run)?.is_some_and(is_done) {
            run.remove(CHECKPOINT);
        }
        if run.read(CHECKPOINT)?.is_none() {
            run.cut_metrics(ledger.metrics)?;
        }
        Ok(ledger)
    }

    /// Views of each photo of which values are kept, as they were decided; `decide` if they were not.
    pub fn views(
        &mut self,
        decide: impl FnOnce() -> anyhow::Result<usize>,
    ) -> anyhow::Result<usize> {
        let views = match self.views {
            Some(views) => views,
            None => decide()?,
        };
        self.views = Some(views);
        Ok(views)
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
        run.write(PARTS, &serde_json::to_vec(self)?)?;
        run.remove(CHECKPOINT);
        Ok(())
    }
}

fn damaged(run: &Run) -> anyhow::Error {
    let message = format!("{} is damaged", run.folder().join(PARTS).display());
    let failure = Failure::new(ExitCode::Data, message);
    failure.with_help("begin the run anew").into()
}
