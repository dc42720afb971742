//! Photos for training: decoded and prepared ahead of whoever trains, in the order in which they are asked for, again
//! and again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_core::image::RgbImage;

use super::parallel::DecodeOptions;
use super::{MemoryBudget, PhotoError, decode_within};
use crate::awaited::{Awaited, ahead};
use crate::interrupt::Interrupt;
use crate::ordered::Ahead;

/// A photo to be shown, by its place among the paths, and a number that says which showing of it this is: what is drawn
/// for it follows from the number.
pub type Showing = (usize, u64);

/// How [`load`] shares the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// How photos are decoded.
    pub decode: DecodeOptions,
    /// Bytes of decoded photos that are kept, so that photos which are small are decoded once: those that come first
    /// stay.
    pub keep: u64,
}

/// A stream of prepared photos, and how long it was waited for.
pub type Loader<'a, T> = Awaited<'a, Showing, Result<T, PhotoError>>;

/// Decodes the photos of a list that may have no end, on all cores and no further ahead than the options say, and
/// prepares each showing, while `body` takes them one after the other. Workers end with `body`.
///
/// `prepare` runs in the worker threads and makes the small thing that is kept (a network's input) of the whole photo.
/// It is told the photo and the showing's number, and the same two give the same result whatever the threads.
pub fn load<T: Send, R>(
    paths: &[impl AsRef<Path> + Sync],
    showings: impl Iterator<Item = Showing> + Send,
    options: &LoadOptions,
    interrupt: &Interrupt,
    prepare: impl Fn(Showing, &RgbImage) -> T + Sync,
    body: impl FnOnce(&mut Loader<'_, T>) -> R,
) -> R {
    let decode = &options.decode;
    let budget = MemoryBudget::new(decode.memory);
    let kept = Kept::new(options.keep);
    let work = |&showing: &Showing| {
        if let Some(image) = kept.get(showing.0) {
            return Ok(prepare(showing, &image));
        }
        let (image, _permit) = decode_within(paths[showing.0].as_ref(), &decode.limits, &budget)?;
        let made = prepare(showing, &image);
        kept.put(showing.0, image);
        Ok(made)
    };
    let far = Ahead {
        threads: decode.threads(),
        most: decode.ahead,
    };
    ahead(showings, far, interrupt, work, body)
}

/// Decoded photos, by their places, up to so many bytes.
struct Kept(Mutex<(HashMap<usize, Arc<RgbImage>>, u64)>);

impl Kept {
    fn new(bytes: u64) -> Self {
        Self(Mutex::new((HashMap::new(), bytes)))
    }

    fn get(&self, photo: usize) -> Option<Arc<RgbImage>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.get(&photo).map(Arc::clone)
    }

    fn put(&self, photo: usize, image: RgbImage) {
        let bytes = image.pixels().len() as u64;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes <= kept.1 && !kept.0.contains_key(&photo) {
            kept.1 -= bytes;
            kept.0.insert(photo, Arc::new(image));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// PNG files whose width tells their place; the last is broken.
    fn photos(folder: &Path, count: usize) -> Vec<PathBuf> {
        let write = |place: usize| {
            let path = folder.join(format!("{place}.png"));
            match place + 1 == count {
                true => std::fs::write(&path, b"broken").unwrap(),
                false => image::RgbImage::new(place as u32 + 1, 2)
                    .save(&path)
                    .unwrap(),
            }
            path
        };
        (0..count).map(write).collect()
    }

    fn options(threads: usize, keep: u64) -> LoadOptions {
        let decode = DecodeOptions {
            threads,
            ahead: 5,
            memory: 3000,
            ..DecodeOptions::default()
        };
        LoadOptions { decode, keep }
    }

    /// A list without an end, in no plain order.
    fn showings() -> impl Iterator<Item = Showing> + Send {
        (0_u64..).map(|number| ((number * 7 % 10) as usize, number))
    }

    #[test]
    fn showings_come_in_the_order_of_a_list_without_end_whatever_the_threads() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 10);
        for (threads, keep) in [(1, 0), (4, 0), (4, 50), (3, 1 << 20)] {
            let prepare = |(_, number): Showing, image: &RgbImage| (number, image.width() as usize);
            load(
                &paths,
                showings(),
                &options(threads, keep),
                &Interrupt::new(),
                prepare,
                |loader| {
                    for expected in showings().take(200) {
                        let (showing, shown) = loader.next().unwrap().unwrap();
                        assert_eq!(showing, expected);
                        match shown {
                            Ok(made) => assert_eq!(made, (showing.1, showing.0 + 1)),
                            Err(error) => {
                                assert_eq!((showing.0, error.kind()), (9, "not_an_image"))
                            }
                        }
                    }
                },
            );
        }
    }

    #[test]
    fn photos_that_are_kept_are_decoded_once() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 10);
        let count = |keep: u64| {
            load(
                &paths,
                showings().take(100),
                &options(1, keep),
                &Interrupt::new(),
                |_, _| (),
                |loader| {
                    let mut read = 0;
                    while let Some((_, shown)) = loader.next().unwrap() {
                        read += usize::from(shown.is_ok());
                        if read == 9 {
                            // All have been shown once: what is not kept cannot be shown again.
                            paths
                                .iter()
                                .for_each(|path| std::fs::write(path, b"gone").unwrap());
                        }
                    }
                    read
                },
            )
        };
        assert_eq!(count(1 << 20), 90);
        for (place, path) in photos(folder.path(), 10).iter().enumerate() {
            assert_eq!(path, &paths[place]);
        }
        // Up to the list's part that was decoded ahead.
        assert!(count(0) < 20);
    }

    #[test]
    fn the_share_of_time_that_is_waited_tells_who_is_slow() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 10);
        let share = |prepare: u64, train: u64| {
            let wait = |milliseconds| std::thread::sleep(Duration::from_millis(milliseconds));
            load(
                &paths,
                showings().take(20),
                &options(1, 1 << 20),
                &Interrupt::new(),
                |_, _| wait(prepare),
                |loader| {
                    while loader.next().unwrap().is_some() {
                        wait(train);
                    }
                    loader.waited()
                },
            )
        };
        let slow_loader = share(10, 0);
        let slow_trainer = share(0, 10);
        assert!(
            slow_loader > 0.5 && slow_trainer < 0.5,
            "{slow_loader} {slow_trainer}"
        );
    }

    #[test]
    fn no_more_is_decoded_ahead_than_allowed_and_leaving_early_ends_the_workers() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 10);
        let made = AtomicUsize::new(0);
        let prepare = |_, _: &RgbImage| made.fetch_add(1, Ordering::SeqCst);
        load(
            &paths,
            showings(),
            &options(3, 0),
            &Interrupt::new(),
            prepare,
            |loader| {
                for _ in 0..4 {
                    loader.next().unwrap();
                }
                std::thread::sleep(Duration::from_millis(50));
            },
        );
        assert!(made.load(Ordering::SeqCst) <= 4 + 5);
    }

    #[test]
    fn an_interrupt_ends_the_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 10);
        let interrupt = Interrupt::new();
        load(
            &paths,
            showings(),
            &options(2, 0),
            &interrupt,
            |_, _| (),
            |loader| {
                assert!(loader.next().unwrap().is_some());
                interrupt.raise();
                assert!(loader.next().is_err());
            },
        );
    }
}
