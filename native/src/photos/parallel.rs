//! Many photos: decoded on all cores, handed on in order, within a memory budget.

use std::path::Path;

use rekindle_core::image::RgbImage;

use super::{Limits, MemoryBudget, PhotoError, decode_within};
use crate::interrupt::{Interrupt, Interrupted};
use crate::ordered::{Ahead, in_order};

/// How [`decode_stream`] shares the machine.
#[derive(Debug, Clone, Copy)]
pub struct DecodeOptions {
    /// Bounds on each photo.
    pub limits: Limits,
    /// Bytes that all photos in flight may hold together.
    pub memory: u64,
    /// Worker threads; 0 means one for each core.
    pub threads: usize,
    /// How many prepared photos may wait for an earlier one or for the receiver; at least one per
    /// thread.
    pub ahead: usize,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            memory: 2 * 1024 * 1024 * 1024,
            threads: 0,
            ahead: 64,
        }
    }
}

impl DecodeOptions {
    /// Worker threads there are to be.
    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// Why [`decode_stream`] ended early.
#[derive(Debug, thiserror::Error)]
pub enum StreamError<E> {
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The receiver refused to go on.
    #[error("{0}")]
    Receiver(E),
}

/// Decodes `paths` on all cores and hands each result to `receive`, in the order of `paths`.
///
/// `prepare` runs in the worker threads, right after decoding; it should turn the full-sized
/// picture into the small thing that is kept (a network's input, a thumbnail), so that no more than
/// the budget of full-sized pictures ever exists. `receive` runs in the calling thread while the
/// workers decode ahead.
///
/// # Errors
/// [`StreamError::Interrupted`] soon after the flag went up, [`StreamError::Receiver`] with the
/// first error of `receive`. A photo that cannot be decoded is no error here but an `Err` given to
/// `receive`.
pub fn decode_stream<T: Send, E>(
    paths: &[impl AsRef<Path> + Sync],
    options: &DecodeOptions,
    interrupt: &Interrupt,
    prepare: impl Fn(usize, RgbImage) -> T + Sync,
    mut receive: impl FnMut(usize, Result<T, PhotoError>) -> Result<(), E>,
) -> Result<(), StreamError<E>> {
    let budget = MemoryBudget::new(options.memory);
    let decode = |&index: &usize| {
        let decoded = decode_within(paths[index].as_ref(), &options.limits, &budget);
        // The permit is given back once the full-sized picture is gone.
        decoded.map(|(image, _permit)| prepare(index, image))
    };
    let ahead = Ahead {
        threads: options.threads().min(paths.len()),
        most: options.ahead,
    };
    in_order(0..paths.len(), ahead, decode, |mut results| {
        while let Some((index, result)) = results.next(interrupt)? {
            receive(index, result).map_err(StreamError::Receiver)?;
        }
        Ok(())
    })
}

/// Decodes `paths` on all cores and returns what `prepare` made of each, in order; see
/// [`decode_stream`].
///
/// `on_each` is told of each result as it is added, for a progress bar.
///
/// # Errors
/// [`Interrupted`] soon after the flag went up.
#[cfg(test)]
pub fn decode_all<T: Send>(
    paths: &[impl AsRef<Path> + Sync],
    options: &DecodeOptions,
    interrupt: &Interrupt,
    prepare: impl Fn(usize, RgbImage) -> T + Sync,
    mut on_each: impl FnMut(usize, &Result<T, PhotoError>),
) -> Result<Vec<Result<T, PhotoError>>, Interrupted> {
    let mut all = Vec::with_capacity(paths.len());
    let receive = |index, result| {
        on_each(index, &result);
        all.push(result);
        Ok::<(), std::convert::Infallible>(())
    };
    match decode_stream(paths, options, interrupt, prepare, receive) {
        Ok(()) => Ok(all),
        Err(StreamError::Interrupted(interrupted)) => Err(interrupted),
        Err(StreamError::Receiver(never)) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// `count` PNG files whose width tells their index, with a broken one at every fifth place.
    fn photos(folder: &Path, count: usize) -> Vec<PathBuf> {
        let write = |index: usize| {
            let path = folder.join(format!("{index}.png"));
            if index % 5 == 4 {
                std::fs::write(&path, b"broken").unwrap();
            } else {
                image::RgbImage::new(index as u32 + 1, 2)
                    .save(&path)
                    .unwrap();
            }
            path
        };
        (0..count).map(write).collect()
    }

    fn options(threads: usize) -> DecodeOptions {
        DecodeOptions {
            threads,
            ahead: 3,
            memory: 2000,
            ..DecodeOptions::default()
        }
    }

    #[test]
    fn results_come_in_order_whatever_the_threads_and_the_budget() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 50);
        for threads in [1, 3, 8] {
            let mut told = Vec::new();
            let widths = decode_all(
                &paths,
                &options(threads),
                &Interrupt::new(),
                |index, image| (index, image.width() as usize),
                |index, result| told.push((index, result.is_ok())),
            );
            let widths = widths.unwrap();
            assert_eq!(widths.len(), 50);
            for (index, result) in widths.iter().enumerate() {
                assert_eq!(told[index], (index, index % 5 != 4));
                match result {
                    Ok(seen) => assert_eq!(*seen, (index, index + 1)),
                    Err(error) => assert_eq!((index % 5, error.kind()), (4, "not_an_image")),
                }
            }
        }
    }

    #[test]
    fn no_more_photos_wait_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 40);
        let (made, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let prepare = |_, _| {
            let ahead = made.fetch_add(1, Ordering::SeqCst) + 1 - taken.load(Ordering::SeqCst);
            // `ahead` may wait besides the one that the receiver holds.
            assert!(ahead <= 4, "{ahead} photos wait");
        };
        let receive = |_, result: Result<(), PhotoError>| {
            std::thread::sleep(Duration::from_millis(1));
            taken.fetch_add(usize::from(result.is_ok()), Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        decode_stream(&paths, &options(3), &Interrupt::new(), prepare, receive).unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 32);
    }

    #[test]
    fn an_interrupt_stops_the_stream_within_a_few_photos() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 40);
        let interrupt = Interrupt::new();
        let decoded = AtomicUsize::new(0);
        let prepare = |_, _| decoded.fetch_add(1, Ordering::SeqCst);
        let on_each = |index, _: &_| {
            if index == 5 {
                interrupt.raise();
            }
        };
        let result = decode_all(&paths, &options(2), &interrupt, prepare, on_each);
        assert_eq!(result.unwrap_err(), Interrupted);
        assert!(decoded.load(Ordering::SeqCst) < 15);
    }

    #[test]
    fn the_receiver_can_refuse_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 20);
        let receive = |index, _| if index == 7 { Err("disk full") } else { Ok(()) };
        let result = decode_stream(&paths, &options(2), &Interrupt::new(), |_, _| (), receive);
        assert!(matches!(result, Err(StreamError::Receiver("disk full"))));
    }

    #[test]
    fn a_panic_in_a_worker_is_passed_on_instead_of_hanging() {
        let folder = tempfile::tempdir().unwrap();
        let paths = photos(folder.path(), 20);
        let prepare = |index, _| assert!(index != 3, "on purpose");
        let run = || decode_all(&paths, &options(2), &Interrupt::new(), prepare, |_, _| ());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }

    #[test]
    fn nothing_to_decode_is_done_at_once() {
        let none: [PathBuf; 0] = [];
        let all = decode_all(&none, &options(0), &Interrupt::new(), |_, _| (), |_, _| ());
        assert!(all.unwrap().is_empty());
    }
}
