//! What a training says of its result to people.

use rekindle_core::metrics::classify::Report;
use rekindle_core::tune::{Keep, Tune};

use super::folds::CrossedTuning;
use super::record::Record;
use super::tune::{Soup, Tuned, epochs_of};
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
        // Of classes without any photo to measure on there is nothing to show.
        if !matches!(report, Judged::Classes(_)) || !shown.is_empty() {
            print_text(&report.table(&self.dataset.classes, shown))?;
        }
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
        if let (Some(_), Some(crossed)) = (self.tuned, crossed) {
            print_text(&crossed.table())?;
        }
        for line in self.story() {
            print_text(&line)?;
        }
        Ok(())
    }

    /// How the network was tuned and what that added to the head alone, in sentences; nothing of a head alone.
    pub fn story(&self) -> Vec<String> {
        let Some(tuned) = self.tuned else {
            return Vec::new();
        };
        let crossed = self.crossed.and_then(|crossed| crossed.tuned.as_ref());
        let mut story = match crossed {
            None => vec![beside_head(tuned, &self.learnt.report)],
            Some(crossed) => by_folds(tuned, crossed, self.learnt.split.train.len()),
        };
        if let (Some(why), true) = (&tuned.stopped, crossed.is_none()) {
            story.push(format!(
                "ended after {} of {}: {why}",
                epochs_of(tuned.epochs),
                tuned.planned
            ));
        }
        story.extend(tuned.soup.as_ref().map(of_soup));
        if crossed.is_none() && chose(tuned) && self.learnt.report.score().is_some() {
            let chosen = match tuned.recipe.tune {
                Tune::Scratch => "the epoch was chosen",
                _ => "the epoch, or the head alone, was chosen",
            };
            story.push(format!(
                "{chosen} on these photos too, so the figures flatter a little: --folds 5 measures on photos that chose \
                 nothing"
            ));
        }
        story
    }
}

/// Whether anything was chosen by how good it is on the photos held back.
fn chose(tuned: &Tuned) -> bool {
    let head = tuned.recipe.keep == Keep::Best && tuned.recipe.tune != Tune::Scratch;
    tuned.recipe.keep != Keep::Last && tuned.epochs + usize::from(head) > 1
}

/// What a mean of epochs was made of.
fn of_soup(soup: &Soup) -> String {
    let mut epochs = soup.epochs.clone();
    epochs.sort_unstable();
    let named: Vec<String> = epochs.iter().map(usize::to_string).collect();
    let rest = soup.tried - epochs.len();
    match (&epochs[..], rest) {
        ([only], 0) => format!("--soup: there was epoch {only} alone to average"),
        ([only], _) => format!("--soup: no average with other epochs was better than epoch {only}"),
        (_, 0) => format!("--soup: the average of epochs {}", named.join(", ")),
        (_, rest) => format!(
            "--soup: the average of epochs {}; {rest} more would not have made it better",
            named.join(", ")
        ),
    }
}

/// What tuning added to the head alone.
fn beside_head(tuned: &Tuned, head: &Judged) -> String {
    let (tune, planned) = (tuned.recipe.tune, tuned.planned);
    let is_tie = |report: &Judged| report.score().is_some() && report.score() == head.score();
    let head_is = head.headline();
    match (tuned.best_epoch, &tuned.report) {
        (Some(epoch), Some((report, _))) if tune == Tune::Scratch => format!(
            "trained from scratch: {} after epoch {epoch} of {planned}; {NO_HEAD_BESIDE}",
            report.headline(),
        ),
        (Some(epoch), Some((report, _))) => {
            let by_loss = match is_tie(report) && tuned.recipe.keep == Keep::Best {
                true => "; of equals the lower loss is kept",
                false => "",
            };
            format!(
                "tuned ({tune}): {} after epoch {epoch} of {planned}, the head alone {head_is}{by_loss}",
                report.headline(),
            )
        }
        (Some(epoch), None) => format!("tuned ({tune}): epoch {epoch} of {planned} is kept"),
        (None, _) if planned == 0 => format!(
            "--tune {tune}: nothing was held back to tell whether tuning is better than the head alone, which is kept"
        ),
        (None, _) if tuned.epochs == 0 => {
            format!("tuned ({tune}): no epoch was completed, so the head alone ({head_is}) is kept")
        }
        (None, _) => {
            let none = match tuned.epochs {
                1 => "its epoch was not better".to_owned(),
                epochs => format!("none of {epochs} epochs was better"),
            };
            format!(
                "tuned ({tune}): {none} than the head alone ({head_is}), which is kept; --keep tuned keeps the best epoch"
            )
        }
    }
}

/// What is said of a training from nothing, which has no head alone to be compared with.
const NO_HEAD_BESIDE: &str =
    "no head on pretrained features is measured beside it: --tune head does that";

/// What folds say of the model that is left, which nothing was held back from.
fn by_folds(tuned: &Tuned, crossed: &CrossedTuning, photos: usize) -> Vec<String> {
    let tune = tuned.recipe.tune;
    let head = crossed.head.as_ref().map(Judged::headline);
    let left = match tuned.best_epoch {
        Some(epoch) if crossed.foreseen.is_some() => format!(
            "tuned ({tune}) on all {photos} photos up to epoch {epoch}, the best in the mean of the folds"
        ),
        Some(epoch) => {
            format!("tuned ({tune}) on all {photos} photos to its last epoch, {epoch}")
        }
        None if tuned.broke_off => {
            format!(
                "tuned ({tune}): it broke off before an epoch that could be kept, so the head alone is"
            )
        }
        None => format!(
            "tuned ({tune}): in the mean of the folds no epoch was clearly better than the head alone, which is kept, trained on \
             all {photos} photos; --keep tuned keeps the best epoch"
        ),
    };
    let beside = match head {
        Some(head) => format!("the head alone, on all folds' photos together: {head}"),
        None => NO_HEAD_BESIDE.to_owned(),
    };
    vec![left, beside]
}

/// The classes that a table shows: those with photos, and some of the others; none where no class has any.
fn rows(report: &Report) -> Vec<usize> {
    const WITHOUT_PHOTOS: usize = 20;
    if report.images == 0 {
        return Vec::new();
    }
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
