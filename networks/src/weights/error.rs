//! Why weights cannot be read or written, and how names and messages from foreign files are quoted.

use std::fmt;

/// The longest name of a tensor or of a storage, in bytes. A file can say one name many times over at the cost of
/// saying it once, and each time it is read.
pub(super) const MAX_NAME: usize = 1024;

/// Why a weight file could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The bytes are something else altogether.
    #[error("this is no PyTorch or safetensors file but {found}")]
    NotAWeightFile {
        /// What the bytes look like.
        found: &'static str,
        /// What can be done with such a file.
        help: &'static str,
    },
    /// A PyTorch file of an object that is neither a dictionary of tensors nor a module.
    #[error(
        "this file is a whole pickled `{class}`, an object of Python code, and no dictionary of named tensors"
    )]
    WholeObject {
        /// The object's class.
        class: String,
    },
    /// A dictionary was asked for that the file does not have.
    #[error("there are no tensors under `{key}` in the file, but under {there}")]
    NoPart {
        /// What was asked for.
        key: String,
        /// What there is.
        there: String,
    },
    /// A tensor holds what no network can compute with.
    #[error("tensor `{name}` holds {found} (element {index} of {len})")]
    NotFinite {
        /// The tensor.
        name: String,
        /// NaN, an infinity, or what becomes one in 32 bits.
        found: &'static str,
        /// The first such element, in row-major order.
        index: usize,
        /// How many elements there are.
        len: usize,
    },
    /// A parameter is stored as whole numbers.
    #[error("tensor `{name}` holds {dtype} numbers, where the network has fractions")]
    NotFloats {
        /// The tensor.
        name: String,
        /// PyTorch's name for what its elements are.
        dtype: &'static str,
    },
    /// A batch norm would take the root of a number below zero.
    #[error("tensor `{name}` holds {value}, which is no variance (element {index} of {len})")]
    NoVariance {
        /// The tensor.
        name: String,
        /// The first such element, as it is written.
        value: String,
        /// Its place.
        index: usize,
        /// How many elements there are.
        len: usize,
    },
    /// The file ends before something it announces.
    #[error("{}", cut_short(what, *at, *len))]
    Truncated {
        /// What is missing, in part or whole.
        what: String,
        /// Where it should be, in bytes; the file's length where only the missing part would tell.
        at: usize,
        /// The file's length in bytes.
        len: usize,
    },
    /// The file contradicts itself or its format.
    #[error("the file is damaged: {what} (at byte {at})")]
    Corrupt {
        /// What is wrong.
        what: String,
        /// Where, in bytes from the start of the file.
        at: usize,
    },
    /// The file asks for something that weights have no business asking for, such as running code.
    #[error("the file asks for {what}, which is refused; nothing was run")]
    Refused {
        /// What it asks for.
        what: String,
    },
    /// A sound file, as far as can be told, that uses what is not read here.
    #[error("{what} cannot be read")]
    Unsupported {
        /// The feature in question.
        what: String,
    },
    /// A limit on size or count was passed.
    #[error("{what} passes the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// There is not enough memory for a tensor's values.
    #[error("not enough memory for {bytes} bytes of weights")]
    OutOfMemory {
        /// The bytes asked for.
        bytes: usize,
    },
    /// A tensor given to the writer cannot be stored.
    #[error("tensor `{name}` cannot be stored: {why}")]
    Unwritable {
        /// The tensor.
        name: String,
        /// What stands against it.
        why: String,
    },
}

impl WeightsError {
    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotAWeightFile { help, .. } => help,
            Self::WholeObject { .. } => {
                "in Python, with the code it was made by, save the network's weights alone: \
                 torch.save(learn.model.state_dict(), \"weights.pth\") for a fastai learner, \
                 torch.save(model.state_dict(), \"weights.pth\") for others"
            }
            Self::NoPart { .. } => "name one that there is after the `#`, or leave the `#` out",
            Self::NotFloats { .. } => {
                "the weights are quantised, or no weights at all: save the network in floating point, as \
                 torch.save(model.float().state_dict(), \"weights.pth\") does before it is quantised"
            }
            Self::NotFinite { .. } | Self::NoVariance { .. } => {
                "the file is damaged, or its training went astray (a rate too high, 16-bit numbers that ran \
                 over): fetch it again, or take an earlier checkpoint"
            }
            Self::Truncated { .. } | Self::Corrupt { .. } => {
                "the download or copy probably went wrong: fetch the file again and compare its SHA-256"
            }
            Self::Refused { .. } => {
                "use it only if you trust where it came from: then load it in PyTorch, and save \
                 `model.state_dict()` alone"
            }
            Self::Unsupported { .. } | Self::TooLarge { .. } => {
                "load it in PyTorch, and save `model.state_dict()` with torch.save or \
                 safetensors.torch.save_file"
            }
            Self::OutOfMemory { .. } => "close other programs, or choose a smaller network",
            Self::Unwritable { .. } => "store the tensors as f32, and check their shapes",
        }
    }

    pub(super) fn corrupt(what: impl Into<String>, at: usize) -> Self {
        Self::Corrupt {
            what: what.into(),
            at,
        }
    }

    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    /// Refuses a name that is longer than any that a network has.
    pub(super) fn check_name(name: &str) -> Result<(), Self> {
        if name.len() > MAX_NAME {
            let what = format!("the length of the name `{}`", shown(name));
            let limit = MAX_NAME;
            return Err(Self::TooLarge { what, limit });
        }
        Ok(())
    }
}

/// What is said of a file that ends before something that should be at byte `at`.
fn cut_short(what: &str, at: usize, len: usize) -> String {
    match at > len {
        true => format!(
            "the file is cut short: {what} should be at byte {at}, but the file has {len} bytes"
        ),
        false => format!("the file is cut short: it ends after {len} bytes, without {what}"),
    }
}

/// A name from the file, fit for a message: no control characters, no more than 80 characters.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        text.push('…');
    }
    text
}

/// What a parser says of the file, fit for a message: it may quote any amount of it.
pub fn quoted(message: impl fmt::Display) -> String {
    const MOST: usize = 200;
    let message = message.to_string();
    let mut text = String::new();
    for c in message.chars().take(MOST) {
        match c.is_control() {
            true => text.extend(c.escape_default()),
            false => text.push(c),
        }
    }
    if message.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}
