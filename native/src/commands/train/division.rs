//! Which photos train, and which are held back: decided first, for the head and for all that is tuned behind it.

use rekindle_core::random::Random;
use rekindle_core::train::{Split, TrainError, stratified_folds, stratified_split};

use super::material::Material;
use super::targets;
use crate::cli::TrainArgs;
use crate::dataset::{self, Dataset, Item};
use crate::ui::print_warning;

/// Share of the photos that is held back unless somebody says otherwise.
pub const HELD_BACK: f64 = 0.2;

/// How the photos are divided.
pub struct Division {
    /// What the model that is left trains on, and what is held back to measure it on. With cross-validation all photos
    /// train.
    pub split: Split,
    /// The folds of a cross-validation, if one was asked for.
    pub folds: Option<Vec<Split>>,
    /// What the figures are measured on, as `--json` names it; nothing if there is nothing to measure on.
    pub measured: Option<String>,
    strata: Vec<usize>,
    strata_count: usize,
    seed: u64,
}

impl Division {
    /// Divides the photos as the options, or the folder itself, say. `is_said` where it was said before that nothing
    /// can be measured.
    pub fn new(
        args: &TrainArgs,
        dataset: &Dataset,
        material: Material<'_>,
        is_said: bool,
    ) -> anyhow::Result<Self> {
        let wanted = dataset.targets()?;
        let is_classes = targets::rows(&wanted).is_none();
        let groups = material.groups.of();
        let (strata, strata_count) = targets::strata(&wanted, groups, dataset.classes.len());
        let mut division = Self {
            split: Split::default(),
            folds: None,
            measured: None,
            strata,
            strata_count,
            seed: args.seed(),
        };
        match args.folds {
            Some(folds) => {
                division.folds = Some(division.folded(folds, material)?);
                division.split.train = (0..material.cache.len()).collect();
            }
            None => division.split = division.held_back(args, dataset, material)?,
        }
        division.split = by_content(division.split, material);
        division.measured = measured_on(division.folds.is_some(), &division.split, dataset);
        if division.measured.is_none() && !is_said {
            print_warning(
                match is_classes {
                    true => {
                        "nothing is held back to measure the accuracy on, since no class has two photos that do not belong together"
                    }
                    false => {
                        "nothing is held back to measure the model on, since too few photos do not belong together"
                    }
                },
                Some("add photos, or judge the model by `rekindle evaluate` on others"),
            );
        }
        Ok(division)
    }

    /// Holds back a share of some photos, as is done with all of them where nobody says otherwise: to choose on, where
    /// others are measured on. Which, is drawn anew for each `fold`, or the same few photos would choose in all of them.
    /// Nothing is held back where too few belong to different groups.
    pub fn within(
        &self,
        fold: usize,
        photos: &[usize],
        material: Material<'_>,
    ) -> anyhow::Result<Split> {
        let pick = |all: &[usize]| -> Vec<usize> { photos.iter().map(|&row| all[row]).collect() };
        let keys: Vec<u64> = photos.iter().map(|&row| material.contents[row]).collect();
        let split = stratified_split(
            &pick(&self.strata),
            &pick(material.groups.of()),
            Some(&keys),
            self.strata_count,
            HELD_BACK,
            Random::new(self.seed).fork(fold as u64).next_u64(),
        );
        let split = split.map_err(TrainError::from)?;
        let rows = |places: Vec<usize>| places.into_iter().map(|place| photos[place]).collect();
        let split = Split {
            train: rows(split.train),
            valid: rows(split.valid),
        };
        Ok(by_content(split, material))
    }

    /// The folds of a cross-validation, by the stratum of each photo.
    fn folded(&self, folds: usize, material: Material<'_>) -> anyhow::Result<Vec<Split>> {
        let (groups, keys) = (material.groups.of(), Some(material.contents));
        let splits = stratified_folds(
            &self.strata,
            groups,
            keys,
            self.strata_count,
            folds,
            self.seed,
        );
        let splits = splits.map_err(TrainError::from)?.into_iter();
        Ok(splits.map(|split| by_content(split, material)).collect())
    }

    /// What is held back where there are no folds: by the folder itself, or a share.
    fn held_back(
        &self,
        args: &TrainArgs,
        dataset: &Dataset,
        material: Material<'_>,
    ) -> anyhow::Result<Split> {
        // What is left of a divided folder is train/ and one part to measure on, or train/ alone.
        let is_train = |item: &Item| item.split.is_none_or(|part| part == dataset::Split::Train);
        let (train, valid): (Vec<usize>, Vec<usize>) =
            (0..material.cache.len()).partition(|&row| is_train(&dataset.items[row]));
        if !valid.is_empty() {
            return Ok(Split { train, valid });
        }
        let share = args.split.unwrap_or(HELD_BACK);
        let split = stratified_split(
            &self.strata,
            material.groups.of(),
            Some(material.contents),
            self.strata_count,
            share,
            self.seed,
        );
        Ok(split.map_err(TrainError::from)?)
    }
}

fn by_content(split: Split, material: Material<'_>) -> Split {
    split.by_content(material.contents, material.cache.labels())
}

/// What the figures are measured on; nothing if there is nothing to measure on.
fn measured_on(crossed: bool, split: &Split, dataset: &Dataset) -> Option<String> {
    if crossed {
        return Some("cross-validation".to_owned());
    }
    let first = *split.valid.first()?;
    Some(match dataset.items[first].split {
        Some(part) if part != dataset::Split::Train => dataset.place_of(part),
        _ => "held-out photos".to_owned(),
    })
}
