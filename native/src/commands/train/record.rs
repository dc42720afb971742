//! What is left of a training: the model file, the recipe, the manifest and the report of its run folder.

use std::path::PathBuf;

use rekindle_core::device::DeviceInfo;
use rekindle_core::model::{Model, PhotoHashes};
use rekindle_core::task::Task;
use rekindle_core::tune::Tune;
use serde_json::{Map, Value, json};

use super::division::HELD_BACK;
use super::folds::{Crossed, CrossedTuning};
use super::learn::Learnt;
use super::material::Material;
use super::resume;
use super::tune::{Tuned, epochs_of};
use crate::cli::TrainArgs;
use crate::curves::{self, Axes, Curve, Level, Mark, Scale};
use crate::dataset::Dataset;
use crate::hash::FileHash;
use crate::judged::Judged;
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
    /// What the figures are measured on, as `--json` names it; nothing if there is nothing to measure on.
    pub measured: Option<&'a str>,
    pub learnt: &'a Learnt,
    /// What a cross-validation came to.
    pub crossed: Option<&'a Crossed>,
    /// What came of tuning more than the head, if that was asked for.
    pub tuned: Option<&'a Tuned>,
    /// Until the features were there, and until the head was.
    pub seconds: [f64; 2],
}

impl Record<'_> {
    /// How good the model is that is left.
    pub fn report(&self) -> &Judged {
        if let Some(crossed) = self.crossed {
            return &crossed.report;
        }
        let tuned = self.tuned.and_then(|tuned| tuned.report.as_ref());
        tuned.map_or(&self.learnt.report, |(judged, _)| judged)
    }

    /// How good the head alone is.
    fn head(&self) -> &Judged {
        match self.crossed {
            Some(crossed) => {
                let of_tuning = crossed.tuned.as_ref();
                of_tuning
                    .and_then(|tuned| tuned.head.as_ref())
                    .unwrap_or(&crossed.report)
            }
            None => &self.learnt.report,
        }
    }

    /// From which share on a label is put on a photo.
    fn thresholds(&self) -> Option<&Vec<f32>> {
        if let Some(crossed) = self.crossed {
            return crossed.thresholds.as_ref();
        }
        match self.tuned.and_then(|tuned| tuned.report.as_ref()) {
            Some((_, thresholds)) => thresholds.as_ref(),
            None => self.learnt.thresholds.as_ref(),
        }
    }

    /// Writes all files. Returns the model file, and what `--json` prints.
    pub fn write(&self, run: &mut Run) -> anyhow::Result<(PathBuf, Value)> {
        let (args, dataset) = (self.args, self.dataset);
        let rows = self.learnt.split.train.iter();
        let photos = PhotoHashes::new(rows.map(|&row| dataset.items[row].hash.0));
        let (in_card, in_manifest) = runs::keep_hashes(photos);
        let mut trained = self.model()?;
        trained.card.trained_on = in_card;
        let bytes = trained.save()?;
        let recipe = toml::to_string_pretty(&trained.card.recipe)?;
        run.write(runs::RECIPE, recipe.as_bytes())?;

        let mut summary = self.summary(&trained);
        summary["run"] = json!(run.folder());
        summary["model"] = json!(run.folder().join(runs::MODEL));
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
            "labels": dataset.labels.as_ref().map(|labels| json!({
                "file": labels.path,
                "sha256": labels.hash,
            })),
            "report": self.report().report(),
        });
        let manifest = serde_json::to_string_pretty(&manifest)?;
        run.write(runs::MANIFEST, manifest.as_bytes())?;
        let folds = self.crossed.and_then(|crossed| crossed.tuned.as_ref());
        let page = Page {
            title: models::title(&trained.card),
            measured: self.measured.unwrap_or("nothing was held back"),
            judged: self.report(),
            story: self.story(),
            folds: folds.map(CrossedTuning::rows),
            classes: &dataset.classes,
            run: self.told_run(run),
            facts: &summary,
            skipped: &dataset.skipped,
            curves: self.curves(run)?,
        };
        run.write(runs::REPORT, report::html(&page).as_bytes())?;
        // The model comes last: a run that has it is finished.
        let model_path = run.write(runs::MODEL, &bytes)?;
        Ok((model_path, summary))
    }

    /// What a reader of the report wants to know of the run, names and values.
    fn told_run(&self, run: &Run) -> Vec<(&'static str, String)> {
        let (learnt, card) = (self.learnt, &self.material.model.card);
        let text = |key: &str| {
            self.origin
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let [_, seconds] = self.seconds;
        let held = match (self.args.folds, learnt.split.valid.len()) {
            (Some(folds), _) => format!("measured in {folds} folds"),
            (None, held) => format!("{held} held out"),
        };
        let tuning = match self.tuned {
            None => "head: the head alone, solved to the optimum".to_owned(),
            Some(tuned) => format!(
                "{}: {} in steps of {} photos, learning rate {:e}",
                tuned.recipe.tune,
                epochs_of(match tuned.planned {
                    0 => tuned.recipe.epochs,
                    planned => planned,
                }),
                tuned.recipe.batch,
                tuned.recipe.lr,
            ),
        };
        let rows = [
            ("run", Some(run.name().to_owned())),
            (
                "finished",
                Some(jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string()),
            ),
            ("command", resume::told(run)),
            (
                "network",
                Some(format!(
                    "{}, photos of {}×{} pixels",
                    card.architecture,
                    card.preset.side(),
                    card.preset.side()
                )),
            ),
            ("weights", text("weights").or_else(|| text("weights_file"))),
            (
                "photos",
                Some(format!("{} that train, {held}", learnt.split.train.len())),
            ),
            ("tuning", Some(tuning)),
            ("device", Some(self.device.name.clone())),
            ("time", Some(format!("{seconds:.1} s"))),
        ];
        rows.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// How a tuning went, epoch by epoch, as the run's metrics tell: its losses, and the figure that it is judged by. What
    /// there are no figures of is not drawn.
    fn curves(&self, run: &Run) -> anyhow::Result<Vec<String>> {
        let Some(tuned) = self.tuned else {
            return Ok(Vec::new());
        };
        let text = run.read(runs::METRICS)?.unwrap_or_default();
        let lines = text.split(|&byte| byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        // Those of the training that made the model, not of folds.
        let is_its = |line: &Value| line.get("epoch").is_some() && line.get("part").is_none();
        let epochs: Vec<Value> = lines.filter(is_its).collect();
        let curve = |name: &str, key: &str| -> Curve {
            let points = epochs.iter();
            let points =
                points.filter_map(|line| Some((line["epoch"].as_f64()?, line[key].as_f64()?)));
            Curve {
                name: name.to_owned(),
                points: points.collect(),
            }
        };
        let judged = self.learnt.report.score_name();
        let up = match self.dataset.task {
            Task::Classify | Task::Segment => Scale::Share,
            Task::MultiLabel => Scale::Fraction,
            Task::Regress => Scale::UpToOne,
        };
        let score = curve(judged, "score");
        let kept = |curve: &Curve| -> Vec<Mark> {
            let epoch = tuned.best_epoch.map(|epoch| epoch as f64);
            let point = curve.points.iter().find(|point| Some(point.0) == epoch);
            let mark = |epoch: f64| Mark {
                name: format!("epoch {epoch}, which is kept"),
                x: epoch,
                y: point.map(|point| point.1),
            };
            epoch.map(mark).into_iter().collect()
        };
        let has_head = tuned.recipe.tune != Tune::Scratch && self.crossed.is_none();
        let head = self.learnt.report.score().filter(|_| has_head);
        let levels = head.map(|y| Level {
            name: match tuned.is_tuned {
                true => "the head alone".to_owned(),
                false => "the head alone, which is kept".to_owned(),
            },
            y,
        });
        let losses = [
            curve("training", "loss"),
            curve("held out", "held_out_loss"),
        ];
        let losses: Vec<Curve> = losses
            .into_iter()
            .filter(|curve| !curve.points.is_empty())
            .collect();
        let mut drawn = Vec::new();
        if let Some(last) = losses.last() {
            let axes = Axes::of_epochs("Loss", "loss", Scale::Plain);
            drawn.push(curves::svg(&axes, &losses, &[], &kept(last)));
        }
        if !score.points.is_empty() {
            let title = format!("Held-out {judged}");
            let axes = Axes::of_epochs(&title, judged, up);
            let (marks, levels) = (kept(&score), levels.as_slice());
            drawn.push(curves::svg(&axes, &[score], levels, &marks));
        }
        Ok(drawn)
    }

    /// The network with its new head, its card filled in.
    fn model(&self) -> anyhow::Result<Model> {
        let (model, fitted) = (self.material.model, &self.learnt.fitted);
        let classes = self.dataset.classes.clone();
        let mut trained = match self.tuned {
            Some(tuned) => tuned.model.clone(),
            None => model.with_head(fitted.kind, fitted.head.clone(), classes),
        };
        trained.card.task = self.dataset.task;
        trained.card.thresholds = self.thresholds().cloned();
        trained.card.recipe = self.recipe_card()?;
        trained.card.provenance = self.provenance();
        Ok(trained)
    }

    /// What `--json` prints, but for the places of files.
    fn summary(&self, trained: &Model) -> Value {
        let (dataset, learnt) = (self.dataset, self.learnt);
        let [features_seconds, train_seconds] = self.seconds;
        let accuracy = self.report().accuracy();
        let mut summary = json!({
            "run": null,
            "model": null,
            "architecture": trained.card.architecture,
            "head": trained.card.head.name(),
            "classes": dataset.classes,
            "images": self.material.cache.len(),
            "skipped": dataset.skipped.len(),
            "unused": dataset.unused,
            "groups": self.material.groups.counts(),
            "measured_on": self.measured,
            "accuracy": accuracy,
            "cv_accuracy": self.args.folds.and(accuracy),
            "folds": self.args.folds,
            "trained_on": learnt.split.train.len(),
            "iterations": learnt.fitted.iterations,
            "loss": learnt.fitted.loss,
            "train_seconds": train_seconds,
            "seconds": { "features": features_seconds, "fit": learnt.fit_seconds },
            "device": self.device.name,
            "tune": "head",
            "kept": "head",
            "score": self.report().score(),
            "score_head": self.head().score(),
            "accuracy_head": self.head().accuracy(),
            "epochs": 0,
        });
        if let Some(tuned) = self.crossed.and_then(|crossed| crossed.tuned.as_ref()) {
            summary["cross_validation"] = tuned.json();
        }
        if let Some(tuned) = self.tuned {
            summary["tune"] = json!(tuned.recipe.tune);
            if tuned.recipe.tune == Tune::Scratch {
                // A head on numbers drawn at random is nothing to compare with.
                summary["accuracy_head"] = Value::Null;
                summary["score_head"] = Value::Null;
            }
            summary["kept"] = json!(if tuned.is_tuned { "tuned" } else { "head" });
            summary["epochs"] = json!(tuned.epochs);
            summary["best_epoch"] = json!(tuned.best_epoch);
            summary["waited_for_photos"] = json!(tuned.waited);
            summary["stopped"] = json!(tuned.stopped);
            summary["seconds"]["tune"] = json!(tuned.seconds);
            summary["batch"] = json!(tuned.recipe.batch);
            summary["accumulate"] = json!(tuned.recipe.accumulate);
            summary["images_at_once"] = json!(tuned.images_at_once);
            summary["divided"] = json!(tuned.divided);
            summary["predicted_memory_bytes"] = json!(tuned.room.needed);
            summary["free_memory_bytes"] = json!(tuned.room.free);
        }
        if self.dataset.task != Task::Classify {
            summary["task"] = json!(self.dataset.task);
            for (name, figure) in self.report().figures() {
                summary[name] = figure;
            }
        }
        summary
    }

    /// The recipe as it travels in the model file and in `recipe.toml`.
    fn recipe_card(&self) -> anyhow::Result<Map<String, Value>> {
        let (args, model) = (self.args, self.material.model);
        let divided = self.dataset.holds_some_back();
        let mut card = Map::new();
        card.insert("model".into(), json!(model.card.architecture));
        let weights = args.weights.weights.as_deref();
        if weights == Some("random") {
            card.insert("weights".into(), json!(weights));
        }
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
        if self.dataset.task != Task::Classify {
            card.insert("task".into(), json!(self.dataset.task));
        }
        if let Some(column) = &args.labels.group_column {
            card.insert("group_column".into(), json!(column));
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
        leave_out_nulls(&mut head);
        card.insert("head".into(), head);
        if let Some(tuned) = self.tuned {
            let mut tuning = serde_json::to_value(&tuned.recipe)?;
            leave_out_nulls(&mut tuning);
            card.insert("tuning".into(), tuning);
        }
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

/// TOML has no null: what was left to the program is simply not there.
fn leave_out_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(leave_out_nulls);
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    FileHash(sha2::Sha256::digest(bytes).into()).to_string()
}
