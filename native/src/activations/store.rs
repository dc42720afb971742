//! All shelves on this machine, and the part of the disk that they share.

use rekindle_core::rows::Encoding;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::key::ShelfKey;
use super::need::Plan;
use super::place::free_bytes;
use super::record::RowKey;
use super::shelf::{INDEX, LOCK, ROWS, Shelf};
use crate::fetch::cache_folder;
use crate::memory;

/// Rows that are kept in memory beside the disk, in bytes: few, for the system keeps what was read and written in
/// memory that is free anyway, and the process stays as small for many photos as for few.
const BESIDE_THE_DISK: u64 = 64 << 20;

/// A folder of shelves with a budget.
#[derive(Debug, Clone)]
pub struct Store {
    /// `None` where nothing goes to the disk.
    folder: Option<PathBuf>,
    budget: u64,
    memory: u64,
}

impl Store {
    /// What `--no-cache` and `--cache-budget` ask for.
    pub fn chosen(no_cache: bool, budget: Option<u64>) -> Self {
        match no_cache {
            true => Self::in_memory(memory::free_bytes().unwrap_or(0) / 4),
            false => Self::of_this_machine(budget),
        }
    }

    /// The user's own, `rekindle/activations` in the cache folder, beside the weights. Without a budget it may take a
    /// quarter of what the disk would have free without it.
    pub fn of_this_machine(budget: Option<u64>) -> Self {
        match cache_folder("activations") {
            Some(folder) => {
                let quarter = || free_bytes(&folder).saturating_add(held(&folder)) / 4;
                let budget = budget.unwrap_or_else(quarter);
                Self::at(folder, budget)
            }
            None => Self::none(),
        }
    }

    /// In a folder, which is made when it is needed.
    pub fn at(folder: PathBuf, budget: u64) -> Self {
        Self {
            folder: Some(folder),
            budget,
            memory: BESIDE_THE_DISK,
        }
    }

    /// One whose rows are gone with the process, for so many bytes, but no more than 2 GB.
    pub fn in_memory(bytes: u64) -> Self {
        Self {
            folder: None,
            budget: 0,
            memory: bytes.min(2 << 30),
        }
    }

    /// One that keeps nothing.
    pub fn none() -> Self {
        Self::in_memory(0)
    }

    /// Bytes that all shelves may take together.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// The shelf of this key for rows of `width` numbers. It can be read; it takes rows once [room was
    /// made](Self::make_room) for them. A disk that refuses is the shelf's [trouble](Shelf::trouble), and no error.
    pub fn open(&self, key: &ShelfKey, width: usize, encoding: Encoding) -> Shelf {
        let in_memory = || Shelf::in_memory(width, encoding, self.memory);
        let Some(folder) = self.folder.as_ref().filter(|_| self.budget > 0) else {
            return in_memory();
        };
        match Shelf::open(&folder.join(key.to_string()), width, encoding, self.memory) {
            Ok(shelf) => shelf,
            Err(error) => in_memory().with_trouble(error),
        }
    }

    /// Makes room on a shelf for these rows: other shelves are deleted, those first that were not used for longest,
    /// until all are within the budget with it. What is in use by another process stays. Says how far it fits.
    pub fn make_room(
        &self,
        shelf: &mut Shelf,
        photos: usize,
        views: usize,
        wanted: impl Iterator<Item = RowKey>,
    ) -> Plan {
        let there = wanted.filter(|key| shelf.holds(key)).count() as u64;
        let counts = [photos as u64, views as u64];
        let record = shelf.record_bytes();
        let need = (counts[0] * counts[1])
            .saturating_sub(there)
            .saturating_mul(record);
        let (Some(own), Some(folder)) = (shelf.folder().map(Path::to_owned), &self.folder) else {
            let room = shelf.room().saturating_add(there.saturating_mul(record));
            return Plan::new(counts, record, there, self.memory, room);
        };
        let mut others = shelves(folder);
        others.retain(|other| other.folder != own);
        let mine = bytes_of(&own);
        let mut all: u64 = others.iter().map(|other| other.bytes).sum();
        others.sort_by_key(|other| other.used);
        // More than fits in all is not worth what lies there.
        let target = self
            .budget
            .saturating_sub(mine.saturating_add(need).min(self.budget));
        for other in &others {
            if all <= target {
                break;
            }
            if other.delete() {
                all -= other.bytes;
            }
        }
        let room = self.budget.saturating_sub(all.saturating_add(mine));
        shelf.allow(room);
        let room = shelf.room().saturating_add(there.saturating_mul(record));
        Plan::new(counts, record, there, self.budget, room)
    }

    /// Bytes that all shelves take now.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.folder.as_deref().map_or(0, held)
    }
}

/// A shelf on the disk that nobody has opened here.
#[derive(Debug)]
struct Closed {
    folder: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Closed {
    /// Deletes it unless a process is writing to it; says whether it is gone.
    fn delete(&self) -> bool {
        let lock = self.folder.join(LOCK);
        // Held until all is gone, so that nobody begins to write meanwhile.
        let held = File::open(&lock);
        if held.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) {
            return false;
        }
        // The index first: rows without entries are nothing.
        let gone = |name: &str| match fs::remove_file(self.folder.join(name)) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        let is_gone = gone(INDEX) && gone(ROWS) && gone(LOCK);
        drop(held);
        let _ = fs::remove_dir(&self.folder);
        is_gone
    }
}

/// The shelves in a folder. What is none of ours is left alone.
fn shelves(folder: &Path) -> Vec<Closed> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let shelves = entries.filter_map(|entry| {
        let folder = entry.path();
        if !ShelfKey::is_one(&entry.file_name().to_string_lossy()) || !folder.is_dir() {
            return None;
        }
        let used = fs::metadata(folder.join(LOCK)).and_then(|lock| lock.modified());
        Some(Closed {
            bytes: bytes_of(&folder),
            used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            folder,
        })
    });
    shelves.collect()
}

fn held(folder: &Path) -> u64 {
    shelves(folder).iter().map(|shelf| shelf.bytes).sum()
}

fn bytes_of(shelf: &Path) -> u64 {
    let bytes = |name| fs::metadata(shelf.join(name)).map_or(0, |file| file.len());
    bytes(ROWS) + bytes(INDEX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WIDTH: usize = 100;

    fn shelf_key(number: u8) -> ShelfKey {
        ShelfKey::from_digest([number; 32])
    }

    fn keys(count: u64) -> impl Iterator<Item = RowKey> {
        (0..count).map(|view| RowKey {
            content: [3; 32],
            view,
        })
    }

    fn fill(store: &Store, number: u8, count: u64) -> (Shelf, Plan, usize) {
        let mut shelf = store.open(&shelf_key(number), WIDTH, Encoding::Full);
        let plan = store.make_room(&mut shelf, 1, count as usize, keys(count));
        let kept = keys(count)
            .filter(|key| shelf.put(*key, &[1.0; WIDTH]))
            .count();
        (shelf, plan, kept)
    }

    fn age(folder: &Path, number: u8, seconds: u64) {
        let lock = folder.join(shelf_key(number).to_string()).join(LOCK);
        let lock = File::options().write(true).open(lock).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    fn there(store: &Store, number: u8) -> bool {
        store
            .folder
            .as_ref()
            .unwrap()
            .join(shelf_key(number).to_string())
            .is_dir()
    }

    #[test]
    fn the_shelf_that_was_not_used_for_longest_goes_first_and_the_budget_holds() {
        let folder = tempfile::tempdir().unwrap();
        // Ten rows fit.
        let store = Store::at(folder.path().to_owned(), 10 * (400 + 52));
        for (number, seconds) in [(1, 100), (2, 300), (3, 200)] {
            assert_eq!(fill(&store, number, 3).2, 3);
            age(folder.path(), number, seconds);
        }
        fs::create_dir(folder.path().join("not ours")).unwrap();
        assert_eq!(fill(&store, 4, 3).2, 3);
        assert_eq!(
            [1, 2, 3, 4].map(|number| there(&store, number)),
            [true, false, true, true]
        );
        assert!(store.held() <= store.budget());
        // More than there can be: all others go, and what fits is kept.
        let (_shelf, plan, kept) = fill(&store, 5, 20);
        assert_eq!((kept, plan.fitting, plan.views), (10, 10, 20));
        assert!(store.held() <= store.budget());
        assert!([1, 2, 3, 4].iter().all(|&number| !there(&store, number)));
        assert!(folder.path().join("not ours").is_dir());
    }

    #[test]
    fn a_shelf_that_another_process_fills_is_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned(), 4 * (400 + 52));
        let (_open, _, kept) = fill(&store, 1, 3);
        assert_eq!(kept, 3);
        let (_, plan, kept) = fill(&store, 2, 4);
        assert!(there(&store, 1) && !plan.fits() && kept == 1);
        assert!(store.held() <= store.budget());
    }

    #[test]
    fn what_is_there_already_needs_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned(), 4 * (400 + 52));
        drop(fill(&store, 1, 4));
        let (shelf, plan, _) = fill(&store, 1, 4);
        assert!(plan.fits() && plan.there == plan.bytes && shelf.len() == 4);
    }

    #[test]
    fn nothing_is_written_without_a_budget_and_where_no_folder_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        let store = Store::at(inside.clone(), 0);
        let (shelf, plan, _) = fill(&store, 1, 3);
        assert!(!shelf.writes() && !inside.exists());
        // Memory takes them.
        assert!(plan.fits() && shelf.len() == 3);
        let (shelf, plan, kept) = fill(&Store::in_memory(2 * 452), 1, 3);
        assert!(!plan.fits() && kept == 2 && shelf.len() == 2);
        let (shelf, plan, kept) = fill(&Store::none(), 1, 3);
        assert!(plan.recomputes() && kept == 0 && shelf.is_empty());
        fs::write(&inside, "a file").unwrap();
        let (mut shelf, _, kept) = fill(&Store::at(inside, 1 << 20), 1, 3);
        assert!(shelf.trouble().is_some() && shelf.trouble().is_none());
        assert_eq!(kept, 3);
    }
}
