//! Why weights could not be had.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::interrupt::Interrupted;
use crate::ui::ExitCode;
use crate::ui::advice;

/// Why weights could not be had. `by_hand` says which file to put where instead.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Not on this machine, and downloads are switched off.
    #[error("the weights of {name} are not on this machine, and downloads are switched off")]
    Offline {
        /// Name of the network.
        name: String,
        /// What to do instead.
        by_hand: String,
    },
    /// Not on this machine, and nobody publishes them.
    #[error(
        "the weights of {name} are not on this machine, and there is no address to get them from"
    )]
    NoAddress {
        /// Name of the network.
        name: String,
        /// What to do instead.
        by_hand: String,
    },
    /// The user has no cache folder.
    #[error("there is no cache folder to download the weights of {name} into")]
    NoCache {
        /// Name of the network.
        name: String,
        /// What to do instead.
        by_hand: String,
    },
    /// The server could not be reached.
    #[error("no connection to {url} ({cause})")]
    Unreachable {
        /// The address.
        url: String,
        /// What went wrong.
        cause: String,
        /// What to do instead.
        by_hand: String,
    },
    /// The server answered with an error.
    #[error("the server answers {status} to {url}")]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What to do instead.
        by_hand: String,
    },
    /// A web page came instead of the file: a login page of the network, or an error page.
    #[error("a web page came instead of the weights from {url}")]
    WebPage {
        /// The address.
        url: String,
        /// What to do instead.
        by_hand: String,
    },
    /// The connection broke several times.
    #[error("the download broke off after {received} bytes: {url}")]
    BrokenOff {
        /// The address.
        url: String,
        /// Bytes that are kept for the next attempt.
        received: u64,
        /// What to do instead.
        by_hand: String,
    },
    /// More bytes than weights can have.
    #[error("the file at {url} is too large to be weights")]
    TooLarge {
        /// The address.
        url: String,
    },
    /// The file is complete but not the one wanted.
    #[error("the file from {url} has the SHA-256 {found}, which should begin with {wanted}")]
    WrongHash {
        /// The address.
        url: String,
        /// The hash.
        found: String,
        /// What it should begin with.
        wanted: String,
        /// What to do instead.
        by_hand: String,
    },
    /// The cache cannot be written.
    #[error("cannot write to the cache ({cause}): {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl FetchError {
    /// How the program should end.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Interrupted(_) => ExitCode::Interrupted,
            _ => ExitCode::Io,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Offline { by_hand, .. }
            | Self::NoAddress { by_hand, .. }
            | Self::NoCache { by_hand, .. }
            | Self::Status { by_hand, .. } => by_hand.clone(),
            Self::Unreachable { by_hand, .. } => {
                format!("check the connection (and HTTPS_PROXY), or {by_hand}")
            }
            Self::WebPage { by_hand, .. } => {
                format!("log in to this network in a browser, or {by_hand}")
            }
            Self::BrokenOff { by_hand, .. } => {
                format!("run the command again to go on where it stopped, or {by_hand}")
            }
            Self::WrongHash { by_hand, .. } => {
                format!(
                    "run the command again; if it stays so, do not trust the address; or {by_hand}"
                )
            }
            Self::Write { cause, .. } => {
                format!("{}: XDG_CACHE_HOME names another folder", advice(cause))
            }
            Self::TooLarge { .. } => {
                "get the network's weights from where it was published, and give the file with --weights".into()
            }
            Self::Interrupted(_) => return None,
        })
    }
}
