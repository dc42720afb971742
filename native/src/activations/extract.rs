//! From photos to a shelf's rows: what is there is read, what is missing is decoded and computed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rekindle_core::device::DeviceError;
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::rows::Encoding;

use super::key::ShelfKey;
use super::need::Plan;
use super::place::program;
use super::record::RowKey;
use super::shelf::Shelf;
use super::store::Store;
use crate::context::Context;
use crate::hash::{FileHash, hash_file};
use crate::models::unanswered;
use crate::photos::{DecodeOptions, PhotoError, StreamError, decode_stream};
use crate::prepared::{Batch, Prepared};
use crate::ui::{Unit, print_warning};

/// Views that go through the network together. Larger batches gain little on a processor and cost
/// memory.
const BATCH: usize = 8;
/// Views that wait for it at most, beside those of the photos that are decoded just then.
pub const WAITING: usize = 4 * BATCH;

/// What is made of each photo.
pub trait Views: Sync {
    /// For each view of a photo, a number that says how it is drawn: the same number is the same view of the same
    /// content, at any time and place. It is told without the photo.
    fn keys(&self, photo: usize) -> Vec<u64>;

    /// The wanted views of a photo, by their places among its keys, in memory for no more than [`WAITING`]; one maker
    /// prepares all.
    fn prepare(&self, photo: usize, image: &RgbImage, wanted: &[usize]) -> Vec<Prepared>;
}

/// What rows are of.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Who computes them,
    pub model: &'a Model,
    /// up to which value of its graph,
    pub value: usize,
    /// of which photos,
    pub paths: &'a [PathBuf],
    /// whose content is this,
    pub contents: &'a [FileHash],
    /// in which views.
    pub views: &'a dyn Views,
}

/// The rows of photos and their views, from a shelf or computed.
pub struct Activations<'a> {
    rows: Rows<'a>,
    shelf: Mutex<Shelf>,
    width: usize,
    plan: Plan,
    context: &'a Context,
}

/// What filling a shelf came to.
#[derive(Debug, Default)]
pub struct Filled {
    /// Photos that could not be read, by their places, in order.
    pub unreadable: Vec<(usize, PhotoError)>,
    /// Photos of which nothing had to be computed.
    pub known: usize,
}

/// Rows of which some may be missing.
#[derive(Debug)]
pub struct Known {
    /// `[wanted, width]`.
    values: Vec<f32>,
    /// The places of those that are missing.
    missing: Vec<usize>,
}

/// Something that the work on photos brings.
enum Step<'r> {
    /// A row of a view; whether the file still held what it was known by.
    Row(usize, usize, &'r [f32], bool),
    /// A photo without rows.
    Unreadable(usize, PhotoError),
    /// A photo was looked at.
    Photo,
}

/// A photo's views, by their places among all of its own.
struct Seen {
    views: Vec<(usize, Prepared)>,
    is_sure: bool,
}

impl<'a> Activations<'a> {
    /// Opens the shelf of these rows and makes room for them; how far they fit is [said](Self::plan).
    ///
    /// # Errors
    ///
    /// When the graph has no such value.
    pub fn open(
        rows: Rows<'a>,
        encoding: Encoding,
        store: &Store,
        context: &'a Context,
    ) -> anyhow::Result<Self> {
        let Rows { model, value, .. } = rows;
        let key = ShelfKey::of(model, value, encoding, &program())?;
        let width = model.graph().shape_of(value).iter().product();
        let mut shelf = store.open(&key, width, encoding);
        let photos = 0..rows.paths.len();
        let views = photos
            .clone()
            .next()
            .map_or(0, |photo| rows.views.keys(photo).len());
        let plan = store.make_room(
            &mut shelf,
            rows.paths.len(),
            views,
            photos.flat_map(|photo| rows.keys(photo)),
        );
        if shelf.is_taken() {
            context.console.note(
                "another process is computing the same values: what it has kept is used, and this one keeps nothing",
            );
        }
        let opened = Self {
            rows,
            shelf: Mutex::new(shelf),
            width,
            plan,
            context,
        };
        opened.tell_trouble();
        Ok(opened)
    }

    /// What keeping the rows takes, and what there is room for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Whatever is done to a shelf is done whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes what is missing and keeps it, with progress that begins with the label; `skipped` photos have been
    /// skipped before. Where there is room for no more, what is left is not computed. What was kept before an
    /// interruption stays.
    ///
    /// # Errors
    ///
    /// When the device fails, a network has no answer, or the user asked to stop.
    pub fn fill(&mut self, label: &str, skipped: usize) -> anyhow::Result<Filled> {
        self.go(label, skipped, None)
    }

    /// The same, and hands every row on, those too for which there is no room: photo, view and numbers. Rows that are
    /// known come first; of a photo that could not be read some may come. Whoever is given them keeps them: from then on
    /// the shelf is the disk alone.
    ///
    /// # Errors
    ///
    /// As [`fill`](Self::fill), and what `each` says.
    pub fn each(
        &mut self,
        label: &str,
        skipped: usize,
        mut each: impl FnMut(usize, usize, &[f32]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Filled> {
        self.shelf().leave_memory();
        self.go(label, skipped, Some(&mut each))
    }

    fn go(
        &mut self,
        label: &str,
        skipped: usize,
        mut each: Option<Each<'_>>,
    ) -> anyhow::Result<Filled> {
        let (rows, context, width) = (self.rows, self.context, self.width);
        let shelf = self.shelf.get_mut();
        let shelf = shelf.unwrap_or_else(PoisonError::into_inner);
        let total = rows.paths.len();
        let mut progress = context
            .console
            .start(label, Unit::Items, Some(total as u64));
        let mut filled = Filled::default();
        let mut row = vec![0.0; width];
        let mut work = Vec::new();
        for photo in 0..total {
            context.interrupt.check()?;
            let mut missing = Vec::new();
            for (view, key) in rows.keys(photo).enumerate() {
                match &mut each {
                    Some(each) if shelf.read(&key, &mut row) => each(photo, view, &row)?,
                    None if shelf.holds(&key) => {}
                    _ => missing.push(view),
                }
            }
            if missing.is_empty() {
                filled.known += 1;
                progress.advance();
            } else {
                work.push((photo, missing));
            }
        }
        if each.is_none() {
            // Nobody takes what finds no room.
            let mut room = shelf.room() / shelf.record_bytes();
            work.retain(|(_, views)| {
                let fits = views.len() as u64 <= room;
                room -= if fits { views.len() as u64 } else { 0 };
                fits
            });
        }
        let mut told = false;
        rows.compute(&work, context, &mut |step| {
            match step {
                Step::Photo => progress.advance(),
                Step::Unreadable(photo, error) => filled.unreadable.push((photo, error)),
                Step::Row(photo, view, row, is_sure) => {
                    if let (true, Some(key)) = (is_sure, rows.keys(photo).nth(view)) {
                        shelf.put(key, row);
                        if let (false, Some(trouble)) = (told, shelf.trouble()) {
                            told = true;
                            progress.aside(|| warn(&trouble));
                        }
                    }
                    if let Some(each) = &mut each {
                        each(photo, view, row)?;
                    }
                }
            }
            Ok(())
        })?;
        let unreadable = filled.unreadable.len();
        let known = match filled.known {
            0 => String::new(),
            known => format!(" ({known} known from before)"),
        };
        let read = filled.known + work.len() - unreadable;
        let skipped = skipped + unreadable;
        progress.finish(&format!("{label}: {read} read, {skipped} skipped{known}"));
        Ok(filled)
    }

    /// The rows of some photos' views, in any order and as often as wanted; what is not kept is computed.
    ///
    /// # Shapes
    ///
    /// - wanted: photo and view
    /// - returns: `[wanted, width]`, row-major
    ///
    /// # Errors
    ///
    /// When a photo that must be read again cannot be, the device fails, or the user asked to stop.
    ///
    /// # Panics
    ///
    /// When there is no such photo or view.
    #[cfg(test)]
    pub fn rows(&self, wanted: &[(usize, usize)]) -> anyhow::Result<Vec<f32>> {
        self.completed(wanted, self.known(wanted))
    }

    /// What is kept of the rows of some photos' views, read by any thread while others do so too.
    ///
    /// # Panics
    ///
    /// When there is no such photo or view.
    pub fn known(&self, wanted: &[(usize, usize)]) -> Known {
        let mut known = Known {
            values: vec![0.0; wanted.len() * self.width],
            missing: Vec::new(),
        };
        let rows = known.values.chunks_exact_mut(self.width.max(1));
        for (place, (&(photo, view), row)) in wanted.iter().zip(rows).enumerate() {
            let Some(key) = self.rows.keys(photo).nth(view) else {
                panic!("photo {photo} has no view {view}");
            };
            // The disk is waited for, and numbers are widened, while others may use the shelf.
            let found = self.shelf().find(&key);
            let read = found.map(|found| found.read(row));
            if !read.is_some_and(|read| self.shelf().settle(&key, read)) {
                known.missing.push(place);
            }
        }
        known
    }

    /// All of the rows of which some are known: the others are computed.
    ///
    /// # Errors
    ///
    /// When a photo that must be read again cannot be, the device fails, or the user asked to stop.
    pub fn completed(&self, wanted: &[(usize, usize)], known: Known) -> anyhow::Result<Vec<f32>> {
        let (rows, width) = (self.rows, self.width);
        let Known {
            mut values,
            missing: places,
        } = known;
        if places.is_empty() {
            return Ok(values);
        }
        // By photo, the views that are missing, and the places where each belongs.
        let mut missing: BTreeMap<usize, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
        for place in places {
            let (photo, view) = wanted[place];
            let views = missing.entry(photo).or_default();
            views.entry(view).or_default().push(place);
        }
        let work: Vec<_> = missing
            .iter()
            .map(|(&photo, views)| (photo, views.keys().copied().collect()))
            .collect();
        rows.compute(&work, self.context, &mut |step| {
            match step {
                Step::Photo => {}
                Step::Unreadable(_, error) => return Err(error.into()),
                Step::Row(photo, view, row, is_sure) => {
                    let mut shelf = self.shelf();
                    // As if it had been kept: what is kept where must not change what is learnt.
                    let row = shelf.rounded(row);
                    for &place in &missing[&photo][&view] {
                        values[place * width..][..width].copy_from_slice(&row);
                    }
                    if let (true, Some(key)) = (is_sure, rows.keys(photo).nth(view)) {
                        shelf.put(key, &row);
                    }
                }
            }
            Ok(())
        })?;
        self.tell_trouble();
        Ok(values)
    }

    /// Says once that the disk takes no more. Nothing is lost by it.
    fn tell_trouble(&self) {
        let trouble = self.shelf().trouble();
        if let Some(trouble) = trouble {
            warn(&trouble);
        }
    }
}

type Each<'e> = &'e mut dyn FnMut(usize, usize, &[f32]) -> anyhow::Result<()>;

fn warn(trouble: &std::io::Error) {
    print_warning(
        &format!(
            "values computed once cannot be kept on the disk ({trouble}): from here on they are not"
        ),
        Some("nothing is lost but time; `--cache-budget` says how much of the disk they may take"),
    );
}

impl Rows<'_> {
    /// What the rows of a photo go by.
    fn keys(&self, photo: usize) -> impl Iterator<Item = RowKey> + use<> {
        let content = self.contents[photo].0;
        let views = self.views.keys(photo).into_iter();
        views.map(move |view| RowKey { content, view })
    }

    /// The rows of a batch, read back.
    fn read(&self, batch: Batch) -> Result<Vec<f32>, DeviceError> {
        let Self { model, value, .. } = *self;
        pollster::block_on(async {
            match batch {
                Batch::Pictures(pictures) => model.read_value(&pictures, value).await,
                Batch::Staged(staged) => {
                    let images = model.batch_of_staged(&staged);
                    model.read_value_of(images, value).await
                }
            }
        })
    }

    /// Decodes the photos on all cores and computes the views that are asked for.
    fn compute(
        &self,
        work: &[(usize, Vec<usize>)],
        context: &Context,
        receive: &mut dyn FnMut(Step<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let paths: Vec<&PathBuf> = work.iter().map(|(photo, _)| &self.paths[*photo]).collect();
        let most = work.iter().map(|(_, views)| views.len()).max().unwrap_or(1);
        let options = DecodeOptions {
            limits: context.limits,
            // Photos wait as views, of which there may be many for each.
            ahead: WAITING.div_ceil(most),
            ..DecodeOptions::default()
        };
        let prepare = |place: usize, image: RgbImage| {
            let (photo, views) = &work[place];
            let made = self.views.prepare(*photo, &image, views);
            // A file that was changed since its content was told would be kept under another's name.
            let is_sure =
                hash_file(&self.paths[*photo]).is_ok_and(|hash| hash == self.contents[*photo]);
            Seen {
                views: views.iter().copied().zip(made).collect(),
                is_sure,
            }
        };
        let (mut waiting, mut owners) = (Vec::new(), Vec::new());
        let take = |place: usize, seen: Result<Seen, PhotoError>| {
            let photo = work[place].0;
            match seen {
                Ok(seen) => {
                    for (view, prepared) in seen.views {
                        owners.push((photo, view, seen.is_sure));
                        waiting.push(prepared);
                    }
                }
                Err(error) => receive(Step::Unreadable(photo, error))?,
            }
            let is_last = place + 1 == work.len();
            while waiting.len() >= BATCH || (is_last && !waiting.is_empty()) {
                let count = waiting.len().min(BATCH);
                let later = (owners.split_off(count), waiting.split_off(count));
                let read = self.read(Batch::of(waiting.drain(..)));
                let photos: Vec<usize> = owners.iter().map(|(photo, ..)| *photo).collect();
                let values =
                    read.map_err(|error| unanswered(error, self.model, self.paths, &photos))?;
                let width = values.len() / count;
                for (&(photo, view, is_sure), row) in
                    owners.iter().zip(values.chunks_exact(width.max(1)))
                {
                    receive(Step::Row(photo, view, row, is_sure))?;
                }
                (owners, waiting) = later;
            }
            receive(Step::Photo)
        };
        decode_stream(&paths, &options, &context.interrupt, prepare, take).map_err(|error| {
            match error {
                StreamError::Interrupted(interrupted) => anyhow::Error::new(interrupted),
                StreamError::Receiver(error) => error,
            }
        })
    }
}

#[cfg(test)]
mod tests;
