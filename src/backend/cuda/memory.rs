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

/// Memory whose content is replaced for every batch.
///
/// Two halves take turns: while kernels still read what a batch brought from one, what the next brings is copied to the
/// other.
#[derive(Debug)]
struct Halves {
    front: Allocation,
    back: Allocation,
    /// The mark after which nothing reads the back half.
    retired: u64,
}

impl Halves {
    /// One half has anything in it; the other is made when it is needed.
    fn new(driver: &Arc<dyn Driver>, bytes: usize) -> Result<Self> {
        Ok(Halves { front: Allocation::new(driver, bytes)?, back: Allocation::new(driver, 0)?, retired: 0 })
    }

    /// Replaces the content. A half that is too small is made anew with `bytes` bytes.
    fn set(&mut self, driver: &Arc<dyn Driver>, data: &[u8], bytes: usize) -> Result<()> {
        if self.back.bytes() < data.len() {
            self.back = Allocation::new(driver, bytes)?;
            // Whoever had this memory before may not be done with it.
            self.retired = driver.mark();
        }
        if !data.is_empty() {
            driver.upload(data, self.back.address(), When::After(self.retired))?;
        }
        std::mem::swap(&mut self.front, &mut self.back);
        self.retired = driver.mark();
        Ok(())
    }
}

/// 32-bit floats on the device.
#[derive(Debug)]
pub struct Buffer {
    memory: Halves,
    len: usize,
}

impl Buffer {
    /// Any floats.
    pub fn new(driver: &Arc<dyn Driver>, len: usize) -> Result<Self> {
        Ok(Buffer { memory: Halves::new(driver, len * 4)?, len })
    }

    /// Replaces the first floats; panics where there are fewer.
    pub fn replace(&mut self, driver: &Arc<dyn Driver>, data: &[f32]) -> Result<()> {
        assert!(data.len() <= self.len, "{} floats of {}", data.len(), self.len);
        match data {
            [] => Ok(()),
            data => self.memory.set(driver, bytemuck::cast_slice(data), self.len * 4),
        }
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
        self.memory.front.address() + 4 * offset as u64
    }
}

/// 32-bit numbers on the device, replaced for every batch.
#[derive(Debug)]
pub struct Index {
    memory: Halves,
    len: usize,
}

impl Index {
    /// An index with these numbers.
    pub fn new(driver: &Arc<dyn Driver>, data: &[u32]) -> Result<Self> {
        let mut index = Index { memory: Halves::new(driver, 0)?, len: 0 };
        index.set(driver, data)?;
        Ok(index)
    }

    /// Replaces the numbers.
    pub fn set(&mut self, driver: &Arc<dyn Driver>, data: &[u32]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        self.memory.set(driver, bytes, bytes.len().next_power_of_two())?;
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
        self.memory.front.address()
    }
}

/// Floats on their way from the device.
#[derive(Debug)]
pub struct Reading {
    driver: Arc<dyn Driver>,
    /// The driver's number of the copy, until it is given up.
    number: Option<u64>,
    len: usize,
}

impl Reading {
    /// Starts a copy of so many floats.
    pub fn start(driver: &Arc<dyn Driver>, address: u64, len: usize) -> Result<Self> {
        let number = if len == 0 { None } else { Some(driver.read(address, 4 * len)?) };
        Ok(Reading { driver: driver.clone(), number, len })
    }

    /// The floats; waits for them.
    pub fn finish(mut self) -> Result<Vec<f32>> {
        let mut floats = vec![0f32; self.len];
        match self.number.take() {
            Some(number) => {
                self.driver.finish(number, bytemuck::cast_slice_mut(&mut floats)).map(|()| floats)
            }
            None => Ok(floats),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            // Nobody wants what it read, or why it could not.
            let _ = self.driver.finish(number, &mut []);
        }
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

impl crate::backend::Length for Index {
    fn length(&self) -> usize {
        self.len()
    }
}

impl crate::backend::Length for Buffer {
    fn length(&self) -> usize {
        self.len()
    }
}
