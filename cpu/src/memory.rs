//! Memory that starts at a cache line, so that no vector load straddles two.

#![allow(unsafe_code)] // A slice of lines is read as a slice of elements, and zeros are lines.

use std::ops::{Deref, DerefMut};

/// One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; LINE]);

/// The elements of a cache line.
pub(crate) const LINE: usize = 16;

// SAFETY: a line of bytes of zeros is a line of zeros.
unsafe impl bytemuck::Zeroable for Line {}

/// Elements that start at a cache line; as many as whole lines have.
#[derive(Clone, Debug, Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// At least `length` zeros.
    pub fn zeros(length: usize) -> Self {
        Self(bytemuck::zeroed_vec(length.div_ceil(LINE)))
    }

    /// How many there are: a multiple of a line.
    pub fn len(&self) -> usize {
        self.0.len() * LINE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: a `Line` is sixteen f32 and nothing else.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.len()) }
    }

    /// The elements.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: a `Line` is sixteen f32 and nothing else.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.len()) }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.as_slice()
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.as_mut_slice()
    }
}
