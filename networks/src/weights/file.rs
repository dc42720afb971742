//! One face for every kind of weight file: named tensors, read from bytes, checked before they are used.
//!
//! Whatever the format, opening a file costs memory in proportion to its index, never to a number
//! written in it: tensors stay borrowed views of the file's bytes until
//! [`to_f32`](TensorView::to_f32) copies one, and each view is proved to lie inside its storage first.

use std::collections::BTreeMap;
use std::fmt;

use half::{bf16, f16};

use super::names::{beginnings, behind};
use super::parts::{self, Part};
use super::{foreign, safetensors, torch};

/// The most dimensions a tensor may have. Image networks use four.
pub(super) const MAX_RANK: usize = 8;

/// The longest name of a tensor or of a storage, in bytes. A file can say one name many times over at the cost of
/// saying it once, and each time it is read.
pub(super) const MAX_NAME: usize = 1024;

/// The most elements a view may have when it repeats elements of a smaller storage (stride zero).
const MAX_EXPANDED: usize = 1 << 16;

/// The layouts of weight files that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// A safetensors file: a JSON header, then the tensors' bytes.
    Safetensors,
    /// What `torch.save` has written since PyTorch 1.6: a zip archive with a pickle and raw storages.
    TorchZip,
    /// What `torch.save` wrote before: five pickles in a row, then raw storages.
    TorchLegacy,
}

/// The element types that can be read, all of them as `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte; anything but zero is true.
    Bool,
}

impl Dtype {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    /// Whether it has fractions, as a network's parameters do.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// PyTorch's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }
}

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

/// A weight file opened over its bytes.
#[derive(Debug, Clone)]
pub struct WeightFile<'a> {
    pub(super) format: WeightFormat,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, TensorView<'a>>,
    /// The key of the dictionary the tensors are from.
    pub(super) part: String,
    /// All dictionaries of tensors in the file.
    pub(super) parts: Vec<Part>,
}

impl<'a> WeightFile<'a> {
    /// Opens a weight file, recognising its format by its content.
    ///
    /// From a PyTorch file comes the state dict, whether it is the file itself, lies under one of the usual
    /// keys (`state_dict`, `model`, `net` and their like; else the largest dictionary of tensors) or is
    /// that of a pickled module. Averages over a training (EMA) are taken only where there is nothing else:
    /// [`parts`](Self::parts) tells of them. Names are kept exactly as they are, a leading `module.`
    /// included. Everything else in a checkpoint (optimiser, epoch, arguments) is passed over.
    ///
    /// # Errors
    /// Any [`WeightsError`] that does not speak of single numbers or of memory: those are looked at when
    /// tensors are taken. The bytes may be hostile: they are parsed, never executed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        Self::of_part(bytes, None)
    }

    /// The same, of the dictionary of tensors of this key: the names that lead to it, joined by dots. Where
    /// no dictionary is called so, the tensors whose names begin with the key and a dot, without them, whatever
    /// wrappers (`module.`, `_orig_mod.`) stand before or in it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`WeightsError::NoPart`].
    pub fn parse_part(bytes: &'a [u8], key: &str) -> Result<Self, WeightsError> {
        Self::of_part(bytes, Some(key))
    }

    fn of_part(bytes: &'a [u8], key: Option<&str>) -> Result<Self, WeightsError> {
        // The length of a safetensors header comes first, and may begin like the mark of another format: one of
        // 640 bytes like a pickle. That it is far below 2³², and what follows it, settles the matter.
        if let [_, _, _, _, 0, 0, 0, 0, b'{', ..] = bytes {
            return Self::of_safetensors(bytes, key);
        }
        // A tar archive has its mark in the header of the first member, after a name of 100 bytes and more.
        if bytes.get(257..262) == Some(b"ustar") {
            return Err(WeightsError::unsupported(
                "a tar archive, as PyTorch wrote before version 0.1.10,",
            ));
        }
        match bytes {
            [b'P', b'K', 3, 4, ..] => torch::parse_zip(bytes, key),
            [0x80, 2..=5, ..] => torch::parse_legacy(bytes, key),
            [_, _, _, _, _, _, _, _, b'{', ..] => Self::of_safetensors(bytes, key),
            _ => Err(foreign::refuse(bytes)),
        }
    }

    fn of_safetensors(bytes: &'a [u8], key: Option<&str>) -> Result<Self, WeightsError> {
        let file = safetensors::parse(bytes)?;
        match key {
            Some(key) => file.narrowed(key),
            None => Ok(file),
        }
    }

    /// The tensors whose names begin with the key and a dot, without them.
    fn narrowed(mut self, key: &str) -> Result<Self, WeightsError> {
        let rest = self
            .tensors
            .iter()
            .filter_map(|(name, view)| Some((behind(name, key)?.to_owned(), view.clone())));
        let rest: BTreeMap<_, _> = rest.collect();
        if rest.is_empty() {
            let there = beginnings(self.tensors.keys().map(String::as_str));
            return Err(parts::no_part(key, there));
        }
        self.tensors = rest;
        key.clone_into(&mut self.part);
        Ok(self)
    }

    /// The format the bytes are in.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// The `__metadata__` of a safetensors file; empty for other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The key of the dictionary that the tensors are from; empty where they are the file itself.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// All dictionaries of tensors in the file, the one that is meant when nobody says otherwise first.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorView<'a>> {
        &self.tensors
    }

    /// The tensor of that exact name.
    pub fn get(&self, name: &str) -> Option<&TensorView<'a>> {
        self.tensors.get(name)
    }
}

/// The place of the first NaN or infinity among some numbers, and what it is.
pub fn first_strange(numbers: &[f32]) -> Option<(usize, &'static str)> {
    /// Looked at together, without a branch between them, so that a processor does many at a time.
    const RUN: usize = 4096;
    /// The bits of the exponent: all set in NaN and in infinities, and in nothing else.
    const EXPONENT: u32 = 0x7F80_0000;
    let is_sound = |run: &[f32]| {
        let strange = run.iter().fold(0, |strange, number| {
            strange | u32::from(number.to_bits() & EXPONENT == EXPONENT)
        });
        strange == 0
    };
    let run = numbers.chunks(RUN).position(|run| !is_sound(run))?;
    let mut rest = numbers[run * RUN..].iter();
    let index = run * RUN + rest.position(|number| !number.is_finite())?;
    Some(match numbers[index].is_nan() {
        true => (index, "NaN"),
        false => (index, "an infinity"),
    })
}

/// Whether a tensor holds numbers alone, no NaN and no infinity.
pub(crate) fn all_finite(name: &str, numbers: &[f32]) -> Result<(), WeightsError> {
    match first_strange(numbers) {
        None => Ok(()),
        Some((index, found)) => Err(WeightsError::NotFinite {
            name: shown(name),
            found,
            index,
            len: numbers.len(),
        }),
    }
}

/// A tensor inside a weight file: a shape laid over bytes of the file.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In elements, one per dimension.
    strides: Vec<usize>,
    /// Of the first element, in elements.
    offset: usize,
    len: usize,
    /// Whole elements, little-endian.
    storage: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Lays `shape` and `strides` over a storage, if all of it lies inside; the error says what is wrong.
    pub(super) fn new(
        dtype: Dtype,
        shape: Vec<usize>,
        mut strides: Vec<usize>,
        offset: usize,
        storage: &'a [u8],
    ) -> Result<Self, &'static str> {
        if shape.len() != strides.len() {
            return Err("its shape and strides differ in length");
        }
        if shape.len() > MAX_RANK {
            return Err("it has too many dimensions");
        }
        let capacity = storage.len() / dtype.size();
        let len = element_count(&shape).ok_or("its shape overflows")?;
        if len == 0 {
            return Ok(Self {
                dtype,
                shape,
                strides,
                offset: 0,
                len,
                storage: &[],
            });
        }
        // The stride of an extent of one is never taken, and PyTorch lets it be anything.
        for (axis, stride) in row_major_strides(&shape).into_iter().enumerate() {
            if shape[axis] == 1 {
                strides[axis] = stride;
            }
        }
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |at, (&extent, &stride)| {
                at.checked_add((extent - 1).checked_mul(stride)?)
            })
            .ok_or("its strides overflow")?;
        if last >= capacity {
            return Err("it reaches past the end of its storage");
        }
        // `expand` makes views that repeat elements. A small one is innocent, a large one would make
        // a small file ask for any amount of memory.
        if len > capacity.max(MAX_EXPANDED) {
            return Err("it repeats the elements of its storage too often");
        }
        Ok(Self {
            dtype,
            shape,
            strides,
            offset,
            len,
            storage,
        })
    }

    /// A view of a whole storage in row-major order.
    pub(super) fn contiguous(
        dtype: Dtype,
        shape: Vec<usize>,
        storage: &'a [u8],
    ) -> Result<Self, &'static str> {
        let strides = row_major_strides(&shape);
        Self::new(dtype, shape, strides, 0, storage)
    }

    /// The type of the elements in the file.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The extent of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether some dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the elements out in row-major order as `f32`, rounding where they do not fit.
    ///
    /// Tensors of a file may share storage, so converting all of them can take more memory than
    /// the file: convert those whose name and shape are wanted.
    ///
    /// # Errors
    /// [`WeightsError::OutOfMemory`] if there is no room for the copy.
    pub fn to_f32(&self) -> Result<Vec<f32>, WeightsError> {
        let mut values = Vec::new();
        values
            .try_reserve_exact(self.len)
            .map_err(|_| WeightsError::OutOfMemory {
                bytes: self.len.saturating_mul(size_of::<f32>()),
            })?;
        if let Some(numbers) = self.as_f32() {
            values.extend_from_slice(numbers);
            return Ok(values);
        }
        match self.dtype {
            Dtype::F16 => self.gather(&mut values, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.gather(&mut values, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F32 => self.gather(&mut values, f32::from_le_bytes),
            Dtype::F64 => self.gather(&mut values, |b| f64::from_le_bytes(b) as f32),
            Dtype::I64 => self.gather(&mut values, |b| i64::from_le_bytes(b) as f32),
            Dtype::I32 => self.gather(&mut values, |b| i32::from_le_bytes(b) as f32),
            Dtype::I16 => self.gather(&mut values, |b| f32::from(i16::from_le_bytes(b))),
            Dtype::I8 => self.gather(&mut values, |b| f32::from(i8::from_le_bytes(b))),
            Dtype::U8 => self.gather(&mut values, |[b]: [u8; 1]| f32::from(b)),
            Dtype::Bool => self.gather(&mut values, |[b]: [u8; 1]| f32::from(u8::from(b != 0))),
        }
        Ok(values)
    }

    /// The first element of 64 bits that is a number and is none in 32.
    pub(super) fn first_beyond_f32(&self) -> Option<usize> {
        let mut beyond = Vec::new();
        let is_beyond = |bytes| {
            let number = f64::from_le_bytes(bytes);
            number.is_finite() && !(number as f32).is_finite()
        };
        match self.dtype {
            Dtype::F64 => self.gather(&mut beyond, is_beyond),
            _ => return None,
        }
        beyond.iter().position(|&is_beyond| is_beyond)
    }

    /// The elements where they lie in the file, if that is as this machine has `f32`s.
    pub(super) fn as_f32(&self) -> Option<&'a [f32]> {
        let is_here = cfg!(target_endian = "little")
            && self.dtype == Dtype::F32
            && self.strides == row_major_strides(&self.shape);
        let start = is_here.then_some(self.offset * size_of::<f32>())?;
        let bytes = &self.storage[start..start + self.len * size_of::<f32>()];
        bytemuck::try_cast_slice(bytes).ok()
    }

    /// Appends every element, decoded, in row-major order. `new` proved that all of them exist.
    fn gather<const N: usize, T>(&self, values: &mut Vec<T>, decode: impl Fn([u8; N]) -> T) {
        let (elements, _) = self.storage.as_chunks::<N>();
        if self.len == 0 {
            return;
        }
        if self.strides == row_major_strides(&self.shape) {
            let run = &elements[self.offset..self.offset + self.len];
            values.extend(run.iter().map(|&bytes| decode(bytes)));
            return;
        }
        let mut index = [0usize; MAX_RANK];
        let mut at = self.offset;
        loop {
            values.push(decode(elements[at]));
            // Step the index like an odometer, the last dimension fastest.
            let mut axis = self.shape.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
    }
}

/// The number of elements of a shape, or `None` if it overflows.
pub(super) fn element_count(shape: &[usize]) -> Option<usize> {
    // Zero is looked for first: [huge, huge, 0] is a legal empty shape.
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent))
}

/// Strides of a contiguous tensor, in elements.
fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Saturating: an overflowing shape is refused by its element count.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
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
