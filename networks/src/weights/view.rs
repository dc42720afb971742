//! One tensor in a file's bytes: a shape laid over a storage, proved to lie inside it before a number is read.

use half::{bf16, f16};

use super::error::{WeightsError, shown};

/// The most dimensions a tensor may have. Image networks use four.
pub(super) const MAX_RANK: usize = 8;

/// The most elements a view may have when it repeats elements of a smaller storage (stride zero).
const MAX_EXPANDED: usize = 1 << 16;

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
