//! Exit codes, the same for every command.

/// How the program ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything asked for was done.
    Ok = 0,
    /// The work was done, but a gate such as `--min-accuracy` was not reached.
    GateFailed = 1,
    /// The command line does not make sense (clap uses the same code).
    Usage = 2,
    /// The photos, the model file or the weights are not usable.
    Data = 3,
    /// The device is missing, computes wrongly, was lost or has too little memory.
    Device = 4,
    /// Reading, writing or downloading failed.
    Io = 5,
    /// The user stopped the program (128 + SIGINT).
    Interrupted = 130,
}

impl ExitCode {
    /// The number handed to the operating system.
    pub fn code(self) -> i32 {
        i32::from(self as u8)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
