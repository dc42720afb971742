//! What can be wrong with a photo.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rekindle_networks::preprocess::TooLong;
use thiserror::Error;

use super::foreign::{Foreign, help_with_other};

/// A photo that could not be used, and why.
#[derive(Debug, Error)]
#[error("{problem}: {}", path.display())]
pub struct PhotoError {
    /// The file as it was named by the caller.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: PhotoProblem,
}

impl PhotoError {
    /// `problem`, at `path`.
    pub fn new(path: &Path, problem: PhotoProblem) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }

    /// A short name of the problem for programs; see [`PhotoProblem::kind`].
    pub fn kind(&self) -> &'static str {
        self.problem.kind()
    }

    /// What the user can do about it, where there is something to do.
    pub fn help(&self) -> Option<&'static str> {
        self.problem.help()
    }
}

/// What is wrong with the content of a file, or with getting at it.
#[derive(Debug, Error)]
pub enum PhotoProblem {
    /// There is no such file (any more).
    #[error("no such file")]
    NotFound,
    /// The file may not be read by this user.
    #[error("no permission to read the file")]
    PermissionDenied,
    /// A symbolic link that leads nowhere, or in a circle.
    #[error("the link leads nowhere, or in a circle")]
    BadLink,
    /// A folder where a photo was expected.
    #[error("this is a folder, not a photo")]
    Directory,
    /// A pipe, socket or device.
    #[error("this is not a regular file")]
    NotAFile,
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// The file ends before the picture does.
    #[error("the file is cut off: the picture ends early")]
    Truncated,
    /// The content is something else, whatever the name says.
    #[error("not an image: the file holds {0}")]
    NotAnImage(&'static str),
    /// An image, but not of a kind that is read here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A known format that is not read here.
    #[error("{} is not supported", .0.name())]
    Foreign(Foreign),
    /// More than the limits allow.
    #[error("the picture of {width}×{height} pixels is larger than allowed: {bound}")]
    TooLarge {
        /// Width the header claims.
        width: u64,
        /// Height the header claims.
        height: u64,
        /// What was allowed.
        bound: Bound,
    },
    /// So long and thin that a network which is to see all of it cannot be given it.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// More passes over the picture than any encoder makes of one of that size: a small file could keep a
    /// decoder busy for minutes.
    #[error(
        "the picture of {width}×{height} pixels is stored in {scans} scans, and at that size at most {allowed} \
         are allowed"
    )]
    TooManyScans {
        /// Width the header claims.
        width: u32,
        /// Height the header claims.
        height: u32,
        /// Scans in the file.
        scans: usize,
        /// What was allowed.
        allowed: usize,
    },
    /// More bytes than the limits allow.
    #[error(
        "the file of {} MiB is larger than allowed: at most {} MiB are", mib(*bytes), mib(*allowed)
    )]
    FileTooLarge {
        /// Size of the file.
        bytes: u64,
        /// What was allowed.
        allowed: u64,
    },
    /// There is not as much memory as the picture takes, within what is allowed.
    #[error("there is not enough free memory to decode the picture")]
    OutOfMemory,
    /// The content contradicts itself.
    #[error("the image data is damaged ({0})")]
    Corrupt(String),
    /// Anything else the operating system reports.
    #[error("the file cannot be read ({0})")]
    Io(io::Error),
}

/// The bound that a picture is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The user's.
    Pixels {
        /// Width × height at most, in pixels.
        allowed: u64,
    },
    /// The usual one.
    Memory {
        /// Bytes that decoding would hold.
        needed: u64,
        /// Bytes that it may hold.
        allowed: u64,
    },
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        match *self {
            Self::Pixels { allowed } => write!(f, "at most {allowed} pixels are allowed"),
            Self::Memory { needed, allowed } => write!(
                f,
                "decoding it would take {:.1} GiB of memory, and {:.0} GiB are allowed",
                gib(needed),
                gib(allowed)
            ),
        }
    }
}

/// Bytes in units of 2²⁰, rounded up, so that what is too large looks larger.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl PhotoProblem {
    /// A short, stable name of the problem, for JSON and the manifest.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::BadLink => "bad_link",
            Self::Directory => "directory",
            Self::NotAFile => "not_a_file",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::NotAnImage(_) => "not_an_image",
            Self::Unsupported(_) | Self::Foreign(_) => "unsupported_format",
            Self::TooLarge { .. } | Self::TooManyScans { .. } => "too_large",
            Self::TooLong(_) => "too_long",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::OutOfMemory => "out_of_memory",
            Self::Corrupt(_) => "corrupt",
            Self::Io(_) => "io",
        }
    }

    /// What the user can do about it, where there is something to do.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::PermissionDenied => Some("make the file readable, or leave it out"),
            Self::Directory => Some("name the photos in it, or use `evaluate` for a whole folder"),
            Self::Empty | Self::Truncated | Self::Corrupt(_) => {
                Some("copy or download the photo again")
            }
            Self::NotAnImage(what) => Some(help_with_other(what)),
            Self::Unsupported(_) => Some("convert it to an ordinary JPEG or PNG first"),
            Self::Foreign(format) => Some(format.help()),
            Self::TooLarge { .. } | Self::FileTooLarge { .. } => Some(
                "scale the picture down first (networks see a few hundred pixels a side), or raise \
                 the limit with --max-pixels, where there is memory for it",
            ),
            Self::TooLong(_) => {
                Some("cut it into parts that are less long, or cut off what does not matter")
            }
            Self::TooManyScans { .. } => Some(
                "store it in one scan, which changes no pixel: `jpegtran -copy all -outfile NEW.jpg FILE`",
            ),
            Self::OutOfMemory => {
                Some("scale the picture down first: networks see a few hundred pixels a side")
            }
            Self::NotFound => Some("check the name, and the folder it is looked for in"),
            Self::BadLink => Some("name the photo itself, or mend the link"),
            Self::NotAFile => Some("copy the photo into a file first"),
            Self::Io(_) => Some("look at the disk, or copy the photo to another one"),
        }
    }

    /// Sorts an error of the operating system into the problems a user can tell apart.
    pub fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::IsADirectory => Self::Directory,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::OutOfMemory => Self::OutOfMemory,
            _ => Self::Io(error),
        }
    }
}
