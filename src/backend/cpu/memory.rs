//! Buffers aligned for the widest vectors, and rows handed to threads.

use super::ViewMut;
use crate::backend::HostBuffer;
use crate::error::{Error, Result};
use crate::storage::mmap::Numbers;
use rayon::prelude::*;
use std::marker::PhantomData;

/// A cache line of scalars.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Line([f32; 16]);

// SAFETY: an array of f32, whose 64 bytes fill the alignment: no padding, all-zero bytes are zeros.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above; any bit pattern is an array of f32.
unsafe impl bytemuck::Pod for Line {}

/// Scalars in host memory or in a mapped file, aligned to 64 bytes.
#[derive(Debug)]
pub enum Buffer {
    /// Memory of the process: lines, and how many of their scalars count.
    Memory(Vec<Line>, usize),
    /// Pages of a file.
    File(Numbers),
}

impl Buffer {
    /// `len` zeros; pages are only touched when they are used.
    pub fn zeros(len: usize) -> Result<Self> {
        let lines = bytemuck::allocation::try_zeroed_slice_box(len.div_ceil(16)).map_err(|()| {
            Error::invalid(format!("out of memory: {} bytes are needed for one table", len * 4))
        })?;
        Ok(Buffer::Memory(lines.into_vec(), len))
    }
}

impl HostBuffer for Buffer {
    type Scalar = f32;

    #[inline]
    fn as_slice(&self) -> &[f32] {
        match self {
            Buffer::Memory(lines, len) => &bytemuck::cast_slice(lines)[..*len],
            Buffer::File(numbers) => numbers.as_slice(),
        }
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [f32] {
        match self {
            Buffer::Memory(lines, len) => &mut bytemuck::cast_slice_mut(lines)[..*len],
            Buffer::File(numbers) => numbers.as_mut_slice(),
        }
    }
}

impl crate::backend::Length for Buffer {
    fn length(&self) -> usize {
        self.as_slice().len()
    }
}

/// Rows per parallel task where nothing else suggests a number.
pub const CHUNK: usize = 64;

/// Consecutive rows that one task owns.
pub struct Rows<'a> {
    data: &'a mut [f32],
    cols: usize,
    stride: usize,
    /// Number of the first row in the whole matrix.
    pub first: usize,
    /// Number of rows.
    pub count: usize,
}

impl Rows<'_> {
    /// Row `first + i`.
    #[inline]
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.stride..][..self.cols]
    }

    /// All rows with what lies between them; the last one ends where its columns end.
    pub fn all(&mut self) -> &mut [f32] {
        self.data
    }
}

/// Runs `body` on all chunks of `chunk` rows of `out`, in parallel.
pub fn par_rows(out: ViewMut, chunk: usize, body: impl Fn(Rows) + Sync) {
    let (rows, cols, stride) = (out.rows, out.cols, out.stride);
    if rows == 0 || cols == 0 {
        return;
    }
    let data = &mut out.buffer.as_mut_slice()[out.offset..][..(rows - 1) * stride + cols];
    data.par_chunks_mut(chunk * stride).enumerate().for_each(|(i, data)| {
        let first = i * chunk;
        body(Rows { data, cols, stride, first, count: chunk.min(rows - first) });
    });
}

/// Panics unless the numbers are distinct and below `bound`: what parallel writes to rows rest on.
/// O(numbers + bound / 64).
pub fn assert_distinct(numbers: &[u32], bound: usize) {
    let mut seen = vec![0u64; bound.div_ceil(64)];
    for &number in numbers {
        assert!((number as usize) < bound, "row {number} of {bound}");
        let (word, bit) = (&mut seen[number as usize / 64], 1 << (number % 64));
        assert!(*word & bit == 0, "row {number} is named twice");
        *word |= bit;
    }
}

/// A matrix that several tasks write at once, each to places of its own.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer comes from an exclusive borrow that lives as long as this value; every access
// goes through `Shared::slice`, whose caller promises that slices alive at once do not overlap.
unsafe impl Sync for Shared<'_> {}
// SAFETY: as for Sync; f32 may be sent.
unsafe impl Send for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Shares the rows of a matrix.
    pub fn new(out: ViewMut<'a>) -> Self {
        let len = if out.rows == 0 { 0 } else { (out.rows - 1) * out.stride + out.cols };
        let data = &mut out.buffer.as_mut_slice()[out.offset..][..len];
        Shared { start: data.as_mut_ptr(), len, stride: out.stride, lifetime: PhantomData }
    }

    /// Shares a slice as rows of `stride` scalars.
    pub fn new_rows(data: &'a mut [f32], stride: usize) -> Self {
        Shared { start: data.as_mut_ptr(), len: data.len(), stride, lifetime: PhantomData }
    }

    /// Pointer to the first scalar of `rows x cols` scalars from `row` and `col` on, and the distance between rows;
    /// panics where they are not inside the matrix. Whoever writes there must be alone with them.
    pub fn tile(&self, row: usize, col: usize, rows: usize, cols: usize) -> (*mut f32, usize) {
        let begin = row * self.stride + col;
        assert!(rows > 0 && begin + (rows - 1) * self.stride + cols <= self.len);
        // SAFETY: in bounds by the assertion.
        (unsafe { self.start.add(begin) }, self.stride)
    }

    /// `cols` scalars of row `row` from column `first` on.
    ///
    /// # Safety
    /// No two slices that are alive at the same time may overlap.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, row: usize, first: usize, cols: usize) -> &mut [f32] {
        let begin = row * self.stride + first;
        assert!(begin + cols <= self.len);
        // SAFETY: in bounds by the assertion; unaliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(begin), cols) }
    }
}
