//! The time there is, and who ends the work: the budget or the user.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::interrupt::{Interrupt, Interrupted};

/// Why measuring ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The budget is spent.
    Spent,
    /// The user asked to stop.
    Interrupted,
}

/// A budget of time that runs.
pub struct Clock {
    begun: Instant,
    allowed: Duration,
    interrupt: Interrupt,
}

impl Clock {
    /// A budget that runs from now on.
    pub fn start(allowed: Duration, interrupt: &Interrupt) -> Self {
        Self {
            begun: Instant::now(),
            allowed,
            interrupt: interrupt.clone(),
        }
    }

    /// What commands are given, for work that has as long as the budget: it stops when that is spent.
    pub fn bound(&self, context: &Context) -> Context {
        Context {
            global: context.global.clone(),
            console: context.console,
            interrupt: self.bounded(),
            limits: context.limits,
            words: context.words.clone(),
        }
    }

    fn bounded(&self) -> Interrupt {
        self.interrupt.until(self.begun + self.allowed)
    }

    /// What halted the work that ended with this error; nothing if it failed.
    pub fn halted(&self, error: &anyhow::Error) -> Option<Halt> {
        error
            .is::<Interrupted>()
            .then(|| match self.interrupt.is_raised() {
                true => Halt::Interrupted,
                false => Halt::Spent,
            })
    }

    /// Seconds since it began.
    pub fn passed(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Seconds that are left, none or more.
    pub fn left(&self) -> f64 {
        (self.allowed.as_secs_f64() - self.passed()).max(0.0)
    }

    /// Seconds that are left of a share of the budget.
    pub fn left_of(&self, share: f64) -> f64 {
        (share * self.allowed.as_secs_f64() - self.passed()).max(0.0)
    }

    /// For use with `?` between two steps.
    ///
    /// # Errors
    ///
    /// What [`halted`](Self::halted) knows, when the time is up or the user asked to stop.
    pub fn check(&self) -> anyhow::Result<()> {
        Ok(self.bounded().check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_user_end_the_work_and_other_errors_are_errors() {
        let interrupt = Interrupt::new();
        let clock = Clock::start(Duration::from_secs(3600), &interrupt);
        assert!(clock.check().is_ok() && clock.left() > 3590.0);
        assert!(clock.left_of(0.5) < 1801.0);
        let spent = Clock::start(Duration::ZERO, &interrupt);
        let halted = || spent.halted(&spent.check().unwrap_err().context("while measuring"));
        assert_eq!(halted(), Some(Halt::Spent));
        interrupt.raise();
        assert_eq!(halted(), Some(Halt::Interrupted));
        assert_eq!(spent.halted(&anyhow::anyhow!("the disk is full")), None);
    }
}
