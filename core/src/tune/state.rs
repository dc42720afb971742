//! A training's state as a file: safetensors, with all that is no tensor in one JSON string.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::engine::EngineState;
use super::trainer::{Standing, TrainerState};
use crate::weights::{
    Numbers, StateDict, StorageDtype, Tensors, WeightFile, WeightsError, write_safetensors,
};

/// The key of the string in the file's metadata.
const KEY: &str = "rekindle_training";

/// Why a file is no state of a training.
#[derive(Debug, Error)]
pub enum StateError {
    /// It is no file of tensors, or a damaged one.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// It holds no training.
    #[error("it does not say where a training stands")]
    NoStanding,
    /// What it says cannot be understood.
    #[error("what it says of the training is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Said {
    standing: Standing,
    /// Whatever the shell wants to find again beside it.
    note: serde_json::Value,
    best: usize,
}

impl Said {
    fn read(file: &WeightFile<'_>) -> Result<Self, StateError> {
        let said = file.metadata().get(KEY).ok_or(StateError::NoStanding)?;
        Ok(serde_json::from_str(said)?)
    }
}

impl TrainerState {
    /// The state as a file's bytes; `note` comes back with it.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn to_bytes(&self, note: serde_json::Value) -> Result<Vec<u8>, StateError> {
        let EngineState {
            tensors,
            averages,
            slots,
            steps: _,
        } = &self.engine;
        let mut groups = vec![
            ("tensors".to_owned(), tensors),
            ("averages".to_owned(), averages),
            ("slots".to_owned(), slots),
        ];
        for (place, tensors) in self.best.iter().enumerate() {
            groups.push((format!("best.{place}"), tensors));
        }
        let keys: Vec<Vec<String>> = groups
            .iter()
            .map(|(group, tensors)| {
                tensors
                    .keys()
                    .map(|name| format!("{group}:{name}"))
                    .collect()
            })
            .collect();
        let mut all = StateDict::new();
        for (keys, (_, tensors)) in keys.iter().zip(&groups) {
            for (key, (shape, values)) in keys.iter().zip(tensors.values()) {
                all.insert(key, (shape, values));
            }
        }
        let said = Said {
            standing: self.standing.clone(),
            note,
            best: self.best.len(),
        };
        let metadata = BTreeMap::from([(KEY.to_owned(), serde_json::to_string(&said)?)]);
        Ok(write_safetensors(&all, &metadata, StorageDtype::F32)?)
    }

    /// The note beside a state in a file's bytes.
    ///
    /// # Errors
    ///
    /// When it is no such file.
    pub fn note_in(bytes: &[u8]) -> Result<serde_json::Value, StateError> {
        Ok(Said::read(&WeightFile::parse(bytes)?)?.note)
    }

    /// The state in a file's bytes, and the note beside it.
    ///
    /// # Errors
    ///
    /// When it is no such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, serde_json::Value), StateError> {
        let file = WeightFile::parse(bytes)?;
        let Said {
            standing,
            note,
            best,
        } = Said::read(&file)?;
        let group = |group: &str| -> Result<Tensors, WeightsError> {
            let mut tensors = Tensors::new();
            for (name, view) in file.tensors() {
                let Some(name) = name
                    .strip_prefix(group)
                    .and_then(|name| name.strip_prefix(':'))
                else {
                    continue;
                };
                let values = Numbers::from(view.to_f32()?);
                tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
            }
            Ok(tensors)
        };
        let engine = EngineState {
            tensors: group("tensors")?,
            averages: group("averages")?,
            slots: group("slots")?,
            steps: BTreeMap::new(),
        };
        // No more than a soup has; a file that claims more has none of them.
        let best = (0..best.min(16)).map(|place| group(&format!("best.{place}")));
        let best = best.collect::<Result<_, _>>()?;
        let state = Self {
            standing,
            engine,
            best,
        };
        Ok((state, note))
    }
}
