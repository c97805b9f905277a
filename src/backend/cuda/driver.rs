//! What the launchers need of a device: memory, copies, kernels by name.
//!
//! [`nvidia`](super::nvidia) is the real one. The tests have another that runs the same kernels on the
//! CPU, so that launchers and kernels are executed where there is no GPU.

use crate::backend::{Counters, Moment};
use crate::error::Result;

/// A device. Operations are done in the order in which they are asked for, later than the call.
///
/// Addresses are the device's; whoever calls keeps memory alive and inside its bounds.
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// Name, for people.
    fn describe(&self) -> String;

    /// Memory with anything in it, at a multiple of 256 bytes. Work that was asked for earlier may still be using
    /// it: copies to it are safe [in order](When::InOrder). Errors say how much was free.
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// Gives memory back; what was asked for so far may still use it.
    fn free(&self, address: u64);

    /// Sets memory to zero.
    fn zero(&self, address: u64, bytes: usize) -> Result<()>;

    /// Copies to the device; `data` may be changed on return.
    fn upload(&self, data: &[u8], address: u64, when: When) -> Result<()>;

    /// A point after all launches so far, and before all later ones.
    fn mark(&self) -> u64;

    /// Copies from the device, when everything that was asked for is done; reports what went wrong there.
    fn download(&self, address: u64, out: &mut [u8]) -> Result<()>;

    /// Starts such a copy; its number is for [`Driver::finish`].
    fn read(&self, address: u64, bytes: usize) -> Result<u64>;

    /// Waits for a copy; `out` gets its first bytes, and the number is given up.
    fn finish(&self, reading: u64, out: &mut [u8]) -> Result<()>;

    /// Bytes of the device's memory.
    fn memory(&self) -> u64;

    /// What was asked for so far.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// The moment at which everything that was asked for so far is done, where there is a clock.
    fn moment(&self) -> Result<Option<Moment>> {
        Ok(None)
    }

    /// Seconds between two moments; waits for the second.
    fn seconds_between(&self, from: Moment, to: Moment) -> Result<f64> {
        unreachable!("{from:?} and {to:?} are of a driver with a clock")
    }

    /// Runs a kernel.
    fn launch(&self, launch: &Launch) -> Result<()>;

    /// Why there is no library for matrix products, where there is none, and how to get it.
    fn slow_products(&self) -> Option<String> {
        None
    }

    /// `c = a b` or `c += a b` by a library of the device. `false` where there is none: the caller then
    /// launches a kernel.
    fn matmul(&self, product: &Product) -> Result<bool>;
}

/// When a copy to the device may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In order with everything else.
    InOrder,
    /// After this mark, beside the launches that follow it; launches that are asked for later wait.
    After(u64),
}

/// A kernel with its grid and arguments.
pub struct Launch<'a> {
    /// Its name in `kernels/*.cu`.
    pub kernel: &'static str,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Values of its parameters, in order.
    pub arguments: &'a [&'a dyn Argument],
}

/// A value that a kernel takes: plain bytes with the layout of its C++ twin.
pub trait Argument {
    /// Its bytes.
    fn bytes(&self) -> &[u8];
}

impl<T: bytemuck::NoUninit> Argument for T {
    fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

/// Element (i, j) at `address + 4 (i * stride + j)`, or with `transposed` at `address + 4 (j * stride + i)`.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Address of the first float.
    pub address: u64,
    /// Distance between rows as they are stored.
    pub stride: usize,
    /// Whether rows and columns are exchanged.
    pub transposed: bool,
}

/// A matrix product: a is `m x k`, b is `k x n`, c is `m x n`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows of a and c.
    pub m: usize,
    /// Columns of b and c.
    pub n: usize,
    /// Columns of a, rows of b.
    pub k: usize,
    /// First factor.
    pub a: Operand,
    /// Second factor.
    pub b: Operand,
    /// The product; not transposed.
    pub c: Operand,
    /// Whether to add to c.
    pub accumulate: bool,
}
