//! What is left of a training: the model file, the recipe, the manifest and the report of its run folder.

use std::path::PathBuf;

use rekindle_core::device::DeviceInfo;
use rekindle_core::model::{Model, PhotoHashes};
use serde_json::{Map, Value, json};

use super::learn::{HELD_BACK, Learnt, Material};
use crate::cli::TrainArgs;
use crate::dataset::Dataset;
use crate::hash::FileHash;
use crate::models::{self, Origin};
use crate::report::{self, Page};
use crate::runs::{self, Run};

/// What a training went by, and what came of it.
pub struct Record<'a> {
    pub args: &'a TrainArgs,
    pub dataset: &'a Dataset,
    pub device: &'a DeviceInfo,
    /// Where the network's numbers are from.
    pub origin: &'a Origin,
    pub material: Material<'a>,
    pub learnt: &'a Learnt,
    /// Until the features were there, and until the head was.
    pub seconds: [f64; 2],
}

impl Record<'_> {
    /// Writes all files. Returns the model file, and what `--json` prints.
    pub fn write(&self, run: &mut Run) -> anyhow::Result<(PathBuf, Value)> {
        let (args, dataset, learnt) = (self.args, self.dataset, self.learnt);
        let rows = learnt.split.train.iter();
        let photos = PhotoHashes::new(rows.map(|&row| dataset.items[row].hash.0));
        let (in_card, in_manifest) = runs::keep_hashes(photos);
        let mut trained = self.model()?;
        trained.card.trained_on = in_card;
        let bytes = trained.save()?;
        let model_path = run.write(runs::MODEL, &bytes)?;
        let recipe = toml::to_string_pretty(&trained.card.recipe)?;
        run.write(runs::RECIPE, recipe.as_bytes())?;

        let mut summary = self.summary(&trained);
        summary["run"] = json!(run.folder());
        summary["model"] = json!(model_path);
        let manifest = json!({
            "name": run.name(),
            "rekindle": env!("CARGO_PKG_VERSION"),
            "device": self.device,
            "seed": args.seed(),
            "weights": self.origin,
            "data": {
                "sha256": dataset.data_hash().to_string(),
                "images": self.material.cache.len(),
                "skipped": dataset.skipped,
                "trained_on": in_manifest,
            },
            "model_sha256": sha256(&bytes),
            "recipe": trained.card.recipe,
            "result": summary,
            "report": learnt.report,
        });
        let manifest = serde_json::to_string_pretty(&manifest)?;
        run.write(runs::MANIFEST, manifest.as_bytes())?;
        let page = Page {
            title: models::title(&trained.card),
            measured: learnt
                .measured
                .as_deref()
                .unwrap_or("nothing was held back"),
            report: &learnt.report,
            classes: &dataset.classes,
            facts: &summary,
            skipped: &dataset.skipped,
            curves: Vec::new(),
        };
        run.write(runs::REPORT, report::html(&page).as_bytes())?;
        Ok((model_path, summary))
    }

    /// The network with its new head, its card filled in.
    fn model(&self) -> anyhow::Result<Model> {
        let (model, fitted) = (self.material.model, &self.learnt.fitted);
        let classes = self.dataset.classes.clone();
        let mut trained = model.with_head(fitted.kind, fitted.head.clone(), classes);
        trained.card.recipe = self.recipe_card()?;
        trained.card.provenance = self.provenance();
        Ok(trained)
    }

    /// What `--json` prints, but for the places of files.
    fn summary(&self, trained: &Model) -> Value {
        let (dataset, learnt) = (self.dataset, self.learnt);
        let [features_seconds, train_seconds] = self.seconds;
        let accuracy = learnt.report.accuracy;
        json!({
            "run": null,
            "model": null,
            "architecture": trained.card.architecture,
            "head": trained.card.head.name(),
            "classes": dataset.classes,
            "images": self.material.cache.len(),
            "skipped": dataset.skipped.len(),
            "unused": dataset.unused,
            "groups": self.material.groups.counts(),
            "measured_on": learnt.measured,
            "accuracy": accuracy,
            "cv_accuracy": self.args.folds.and(accuracy),
            "folds": self.args.folds,
            "trained_on": learnt.split.train.len(),
            "iterations": learnt.fitted.iterations,
            "loss": learnt.fitted.loss,
            "train_seconds": train_seconds,
            "seconds": { "features": features_seconds, "fit": learnt.fit_seconds },
            "device": self.device.name,
        })
    }

    /// The recipe as it travels in the model file and in `recipe.toml`.
    fn recipe_card(&self) -> anyhow::Result<Map<String, Value>> {
        let (args, model) = (self.args, self.material.model);
        let divided = self.dataset.holds_some_back();
        let mut card = Map::new();
        card.insert("model".into(), json!(model.card.architecture));
        card.insert("input".into(), json!(model.card.preset.side()));
        if !model.card.channels.is_rgb() {
            card.insert("channels".into(), json!(model.card.channels));
        }
        if model.card.bare {
            card.insert("bare".into(), json!(true));
        }
        if model.card.small_stem {
            card.insert("small_stem".into(), json!(true));
        }
        card.insert("seed".into(), json!(args.seed()));
        card.insert("views".into(), json!(args.views));
        match args.folds {
            Some(folds) => card.insert("folds".into(), json!(folds)),
            // A folder that is divided needs no share.
            None if divided => None,
            None => {
                let share = args.split.unwrap_or(HELD_BACK);
                card.insert("split".into(), json!(share))
            }
        };
        let mut head = serde_json::to_value(&self.learnt.recipe)?;
        // TOML has no null: what was left to the program is simply not there.
        if let Value::Object(fields) = &mut head {
            fields.retain(|_, value| !value.is_null());
        }
        card.insert("head".into(), head);
        Ok(card)
    }

    fn provenance(&self) -> Map<String, Value> {
        let mut provenance = self.origin.clone();
        let images = self.material.cache.len();
        provenance.insert("rekindle".into(), json!(env!("CARGO_PKG_VERSION")));
        provenance.insert("images".into(), json!(images));
        let hash = self.dataset.data_hash().to_string();
        provenance.insert("data_sha256".into(), json!(hash));
        provenance
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    FileHash(sha2::Sha256::digest(bytes).into()).to_string()
}
