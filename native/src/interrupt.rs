//! Ctrl-C: the first asks the work to stop in order, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use crate::ui::ExitCode;

/// The user asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A flag that long work looks at between its steps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag that nobody has raised, and no signal will; see [`Interrupt::install`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag raised by Ctrl-C. At the second one the program ends with code 130.
    ///
    /// # Errors
    /// If a handler is installed already, or the operating system refuses.
    pub fn install() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::new();
        let flag = interrupt.clone();
        ctrlc::set_handler(move || {
            if flag.0.swap(true, Ordering::SeqCst) {
                std::process::exit(ExitCode::Interrupted.code());
            }
            eprintln!("\nstopping … (press Ctrl-C again to stop at once)");
        })?;
        Ok(interrupt)
    }

    /// Raises the flag, as Ctrl-C does.
    #[cfg(test)]
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the flag is up.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
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
