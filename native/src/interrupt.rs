//! Ctrl-C, and what ends programs otherwise (SIGTERM, SIGHUP). The first asks the work to stop in order, and gives
//! it a second; another signal, or the end of that time, ends the program at once. Nothing half done stays behind
//! either way.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::ui::{ExitCode, print_lines};

/// The time that work has to come to the end of its step. One layer of a large network takes longer, and nothing
/// would be gained by waiting for it.
const GRACE: Duration = Duration::from_secs(1);

/// The user asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A flag that long work looks at between its steps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Shared>, Option<Instant>);

#[derive(Debug, Default)]
struct Shared {
    is_raised: AtomicBool,
    /// How many pieces of work must not be broken off by the first Ctrl-C.
    held: AtomicUsize,
}

impl Interrupt {
    /// A flag that nobody has raised, and no signal will; see [`Interrupt::install`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag raised by Ctrl-C, SIGTERM and SIGHUP. At the second one, or where the work does not stop by itself, the
    /// program ends with code 130.
    ///
    /// # Errors
    /// If a handler is installed already, or the operating system refuses.
    pub fn install() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::new();
        // A file beyond `ulimit -f` is then an error of the write, which leaves nothing behind, and not the end.
        #[cfg(unix)]
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
        let flag = interrupt.clone();
        ctrlc::set_handler(move || {
            if flag.0.is_raised.swap(true, Ordering::SeqCst) {
                end();
            }
            // Where stderr is closed there is nobody left to tell.
            let said = "\nstopping after this step; Ctrl-C again stops at once";
            let _ = writeln!(io::stderr().lock(), "{said}");
            let flag = flag.clone();
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                while flag.0.held.load(Ordering::SeqCst) > 0 {
                    std::thread::sleep(GRACE / 10);
                }
                end();
            });
        })?;
        Ok(interrupt)
    }

    /// Lets the first Ctrl-C wait as long as what is returned lives.
    pub fn hold(&self) -> Hold {
        self.0.held.fetch_add(1, Ordering::SeqCst);
        Hold(self.clone())
    }

    /// The same flag for work that has time until then: it is up for that work when the time is.
    pub fn until(&self, end: Instant) -> Self {
        Self(Arc::clone(&self.0), Some(end))
    }

    /// Raises the flag, as Ctrl-C does.
    #[cfg(test)]
    pub fn raise(&self) {
        self.0.is_raised.store(true, Ordering::SeqCst);
    }

    /// Whether the flag is up.
    pub fn is_raised(&self) -> bool {
        let is_late = self.1.is_some_and(|end| Instant::now() >= end);
        is_late || self.0.is_raised.load(Ordering::SeqCst)
    }

    /// For use with `?` between two steps.
    ///
    /// # Errors
    /// [`Interrupted`] if the flag is up.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_raised() {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }
}

/// While it lives, the first Ctrl-C waits: what is done now is the fruit of long work, such as writing the model
/// that was trained. The second does not wait.
#[must_use]
pub struct Hold(Interrupt);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is to be undone if the program ends now, by the number of its [`Unfinished`]. It belongs to the process as
/// the signals that end it do.
static HALF_DONE: Mutex<Vec<(usize, Undo)>> = Mutex::new(Vec::new());

type Undo = Box<dyn FnOnce() + Send>;

/// Something on the disk that is of no use as long as it is not finished: if the program is ended while this
/// lives, it is undone.
#[derive(Debug)]
#[must_use]
pub struct Unfinished(usize);

impl Unfinished {
    /// Something that `undo` takes back. Dropping what is returned undoes nothing: then all went as it should,
    /// or whoever failed has cleaned up.
    pub fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        half_done(|all| all.push((number, Box::new(undo))));
        Self(number)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        half_done(|all| all.retain(|(number, _)| *number != self.0));
    }
}

fn half_done<R>(act: impl FnOnce(&mut Vec<(usize, Undo)>) -> R) -> R {
    // Every change is one call, so a poisoned lock still guards a sound list.
    let mut all = HALF_DONE.lock().unwrap_or_else(PoisonError::into_inner);
    act(&mut all)
}

/// What the user can do after an interruption, where the same command again is not it.
static ADVICE: Mutex<Option<String>> = Mutex::new(None);

/// From now on an interruption ends with this help. Like the signals it belongs to the process.
pub fn advise(help: String) {
    *ADVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(help);
}

/// Prints that the program was interrupted and what to do, once: the work may come to its end while the time that it
/// was given is up.
pub fn tell() {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    if IS_TOLD.swap(true, Ordering::SeqCst) {
        return;
    }
    let advice = ADVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = "give the same command again; no result was left half written";
    let help = advice.as_deref().unwrap_or(usual);
    print_lines("error", &Interrupted.to_string(), Some(help));
}

/// Ends the program with nothing half done, the newest first.
fn end() -> ! {
    let all = half_done(std::mem::take);
    for (_, undo) in all.into_iter().rev() {
        undo();
    }
    tell();
    std::process::exit(ExitCode::Interrupted.code());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_up_stops_the_work_that_it_was_given_to_and_no_other() {
        let interrupt = Interrupt::new();
        let late = interrupt.until(Instant::now());
        let early = interrupt.until(Instant::now() + Duration::from_secs(3600));
        assert_eq!(late.check(), Err(Interrupted));
        assert!(!interrupt.is_raised() && !early.is_raised());
        interrupt.raise();
        assert!(early.is_raised());
    }

    #[test]
    fn what_is_finished_is_not_undone() {
        let known = |number: usize| half_done(|all| all.iter().any(|(other, _)| *other == number));
        let unfinished = Unfinished::new(|| unreachable!("nobody ends the program"));
        let number = unfinished.0;
        assert!(known(number));
        drop(unfinished);
        assert!(!known(number));
    }
}
