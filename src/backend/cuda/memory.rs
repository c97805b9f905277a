//! Buffers and indices in device memory, and views of them as kernels take them.

use super::driver::{Driver, When};
use super::{View, ViewMut};
use crate::error::Result;
use std::sync::Arc;

/// Memory of a device, given back when this is dropped.
#[derive(Debug)]
pub struct Allocation {
    driver: Arc<dyn Driver>,
    address: u64,
    bytes: usize,
}

impl Allocation {
    /// Memory with anything in it; none for 0 bytes.
    pub fn new(driver: &Arc<dyn Driver>, bytes: usize) -> Result<Self> {
        let address = if bytes == 0 { 0 } else { driver.allocate(bytes)? };
        Ok(Allocation { driver: driver.clone(), address, bytes })
    }

    /// Where it starts.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How large it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.driver.free(self.address);
        }
    }
}

/// 32-bit floats on the device.
#[derive(Debug)]
pub struct Buffer {
    memory: Allocation,
    len: usize,
}

impl Buffer {
    /// Any floats.
    pub fn new(driver: &Arc<dyn Driver>, len: usize) -> Result<Self> {
        Ok(Buffer { memory: Allocation::new(driver, len * 4)?, len })
    }

    /// Number of floats.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of float `offset`; panics where `offset + count` is beyond the end.
    pub fn address(&self, offset: usize, count: usize) -> u64 {
        assert!(offset + count <= self.len, "floats {offset}+{count} of {}", self.len);
        self.memory.address() + 4 * offset as u64
    }
}

/// 32-bit numbers on the device, replaced for every batch.
///
/// Two halves take turns: while kernels still read the numbers of a batch from one, those of the next are
/// copied to the other.
#[derive(Debug)]
pub struct Index {
    front: Allocation,
    back: Allocation,
    len: usize,
    /// The mark after which nothing reads the back half.
    retired: u64,
}

impl Index {
    /// An index with these numbers.
    pub fn new(driver: &Arc<dyn Driver>, data: &[u32]) -> Result<Self> {
        let none = || Allocation::new(driver, 0);
        let mut index = Index { front: none()?, back: none()?, len: 0, retired: 0 };
        index.set(driver, data)?;
        Ok(index)
    }

    /// Replaces the numbers.
    pub fn set(&mut self, driver: &Arc<dyn Driver>, data: &[u32]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if self.back.bytes() < bytes.len() {
            self.back = Allocation::new(driver, bytes.len().next_power_of_two())?;
            // Whoever had this memory before may not be done with it.
            self.retired = driver.mark();
        }
        if !bytes.is_empty() {
            driver.upload(bytes, self.back.address(), When::After(self.retired))?;
        }
        std::mem::swap(&mut self.front, &mut self.back);
        self.retired = driver.mark();
        self.len = data.len();
        Ok(())
    }

    /// Number of numbers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first number.
    pub fn address(&self) -> u64 {
        self.front.address()
    }
}

/// A matrix as kernels take it: the twin of `Mat` and `MatMut` in `kernels/common.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RawMat {
    /// Address of the first float.
    pub data: u64,
    /// Distance between rows.
    pub stride: i64,
    /// Number of rows.
    pub rows: u32,
    /// Number of columns.
    pub cols: u32,
}

impl RawMat {
    /// Whether every row can be read in groups of four floats.
    pub fn is_wide(&self) -> bool {
        self.data.is_multiple_of(16) && self.stride % 4 == 0 && self.cols.is_multiple_of(4)
    }
}

fn raw(buffer: &Buffer, offset: usize, rows: usize, cols: usize, stride: usize) -> RawMat {
    let count = if rows == 0 { 0 } else { (rows - 1) * stride + cols };
    let number = |n: usize| u32::try_from(n).expect("a matrix has fewer than 2^32 rows and columns");
    RawMat {
        data: buffer.address(offset, count),
        stride: stride as i64,
        rows: number(rows),
        cols: number(cols),
    }
}

/// A view for a kernel that reads it; panics where it is not inside its buffer.
pub fn mat(view: View) -> RawMat {
    raw(view.buffer, view.offset, view.rows, view.cols, view.stride)
}

/// A view for a kernel that writes it; panics where it is not inside its buffer.
pub fn mat_mut(view: &mut ViewMut) -> RawMat {
    raw(view.buffer, view.offset, view.rows, view.cols, view.stride)
}
