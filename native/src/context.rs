//! What every command is given: the options of all commands, where progress goes, Ctrl-C, the device.

use std::ffi::OsString;

use rekindle_core::device::{self, DeviceError, OpenDevice, Preference};

use crate::cli::Global;
use crate::interrupt::Interrupt;
use crate::photos::Limits;
use crate::ui::{Console, hushed};

/// What every command is given.
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Where progress goes.
    pub console: Console,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// Bounds on each photo.
    pub limits: Limits,
    /// The whole command, the program's name first, with what a recipe and the environment add to it.
    pub words: Vec<OsString>,
}

impl Context {
    /// For tests: nothing is said, and the processor computes.
    #[cfg(test)]
    pub fn quiet() -> Self {
        Self {
            global: Global {
                device: Preference::Cpu,
                precision: crate::cli::PrecisionChoice::Full,
                json: false,
                quiet: true,
                offline: true,
            },
            console: Console::new(true),
            interrupt: Interrupt::new(),
            limits: Limits::default(),
            words: Vec::new(),
        }
    }

    /// Opens the device that was asked for.
    pub fn open_device(&self) -> anyhow::Result<OpenDevice> {
        open_quietly(self.global.device)
    }
}

/// Opens a device. What its driver says meanwhile stays off the terminal; it is part of the error if there is one.
fn open_quietly(preference: Preference) -> anyhow::Result<OpenDevice> {
    // The processor has no driver.
    if preference == Preference::Cpu {
        return Ok(device::cpu());
    }
    let (opened, said) = hushed(|| pollster::block_on(device::open(preference)));
    // A driver that refuses may have said why. Where there is no adapter, there is nothing to say.
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    match opened {
        Err(error @ DeviceError::Open(_)) if !said.is_empty() => {
            let whole = format!("{error} (its driver said: {})", said.join("; "));
            Err(anyhow::Error::from(error).context(whole))
        }
        opened => Ok(opened?),
    }
}
