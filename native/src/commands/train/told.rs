//! What a training says of its result to people.

use rekindle_core::metrics::classify::Report;
use rekindle_core::tune::Tune;

use super::folds::CrossedTuning;
use super::record::Record;
use super::tune::Tuned;
use crate::judged::Judged;
use crate::ui::print_text;

impl Record<'_> {
    /// Prints how well the model does, class by class and as a whole, and what tuning added to the head alone.
    pub fn print(&self, train_seconds: f64) -> anyhow::Result<()> {
        let (report, trained_on) = (self.report(), self.learnt.split.train.len());
        let shown = match report {
            Judged::Classes(report) => rows(report),
            _ => Vec::new(),
        };
        print_text(&report.table(&self.dataset.classes, shown))?;
        let images = report.images();
        let held = if images == 1 { "photo" } else { "photos" };
        let measured = match self.measured {
            Some("cross-validation") => format!(" on {images} {held} by cross-validation"),
            Some("held-out photos") => format!(" on {images} held-out {held}"),
            Some(place) => format!(" on {images} {held} of {place}"),
            None => ": nothing was held back to measure it on".to_owned(),
        };
        print_text(&format!(
            "{}{measured}, trained on {trained_on} photos in {train_seconds:.1} s",
            report.headline(),
        ))?;
        if let Some(remark) = report.remark() {
            print_text(remark)?;
        }
        let crossed = self.crossed.and_then(|crossed| crossed.tuned.as_ref());
        match (self.tuned, crossed) {
            (None, _) => Ok(()),
            (Some(tuned), None) => print_text(&beside_head(tuned, &self.learnt.report)),
            (Some(tuned), Some(crossed)) => {
                print_text(&crossed.table())?;
                print_text(&by_folds(tuned, crossed, trained_on))
            }
        }
    }
}

/// What tuning added to the head alone.
fn beside_head(tuned: &Tuned, head: &Judged) -> String {
    let (tune, epochs, head) = (tuned.recipe.tune, tuned.epochs, head.headline());
    match (tuned.best_epoch, &tuned.report) {
        (Some(epoch), Some((report, _))) if tune == Tune::Scratch => format!(
            "trained from scratch: {} after epoch {epoch} of {epochs}",
            report.headline(),
        ),
        (Some(epoch), Some((report, _))) => format!(
            "tuned ({tune}): {} after epoch {epoch} of {epochs}, the head alone {head}",
            report.headline(),
        ),
        (Some(epoch), None) => format!("tuned ({tune}): epoch {epoch} is kept"),
        (None, _) => format!(
            "tuned ({tune}): none of {epochs} epochs was better than the head alone ({head}), which is kept; --keep tuned \
             keeps the best epoch",
        ),
    }
}

/// What folds say of the model that is left, which nothing was held back from.
fn by_folds(tuned: &Tuned, crossed: &CrossedTuning, photos: usize) -> String {
    let tune = tuned.recipe.tune;
    let head = crossed.head.as_ref().map(Judged::headline);
    let beside = head.map_or_else(String::new, |head| format!(", the head alone {head}"));
    match tuned.best_epoch {
        Some(epoch) if crossed.foreseen.is_some() => format!(
            "tuned ({tune}) on all {photos} photos up to epoch {epoch}, the best in the mean of the folds{beside}"
        ),
        Some(epoch) => {
            format!("tuned ({tune}) on all {photos} photos to its last epoch, {epoch}{beside}")
        }
        None if tuned.stopped.is_some() => {
            format!(
                "tuned ({tune}): it broke off before an epoch that could be kept, so the head alone is{beside}"
            )
        }
        None => format!(
            "tuned ({tune}): in the mean of the folds no epoch was clearly better than the head alone, which is kept, trained on \
             all {photos} photos{beside}; --keep tuned keeps the best epoch"
        ),
    }
}

/// The classes that a table shows: those with photos, and some of the others.
fn rows(report: &Report) -> Vec<usize> {
    const WITHOUT_PHOTOS: usize = 20;
    let mut without = 0;
    let mut shown = |class: &usize| {
        let empty = report.per_class[*class].support == 0;
        without += usize::from(empty);
        !empty || without <= WITHOUT_PHOTOS
    };
    (0..report.per_class.len())
        .filter(|class| shown(class))
        .collect()
}
