//! The operations on an NVIDIA GPU: kernels of our own (`kernels/*.cu`), matrix products by cuBLAS.
//!
//! Nothing of CUDA is needed to build this. Kernels are compiled for the GPU at hand when it is first
//! used. Sums have a fixed order and there are no float atomics: the same input gives the same bits.
//!
//! Operations are asynchronous. What goes wrong is kept, operations after it do nothing, and the next
//! call that returns a `Result` says it.
//!
//! Reading order: [`driver`] (what is needed of a device), `nvidia` (the real one), [`memory`] (buffers, views), [`source`] (all
//! kernels as one program), then a launcher file per family of operations ([`ops`](crate::program::ops)), of the same stem as
//! its kernels: a launcher checks indices and names the kernel. [`formulas`] names those of scores and functions, [`matrix`] does
//! projections by shared matrices, [`beta`] the score of Beta distributions, [`rank`] rankings; [`ceilings`] measures what
//! the GPU's arithmetic can do.

pub mod beta;
pub mod ceilings;
pub mod clip;
pub mod convolution;
pub mod driver;
pub mod elementwise;
pub mod formulas;
pub mod label_loss;
pub mod linear;
pub mod loss;
pub mod matrix;
pub mod memory;
pub mod normalise;
#[cfg(all(unix, feature = "cuda"))]
pub mod nvidia;
pub mod optimizer;
pub mod penalty;
pub mod project;
pub mod rank;
pub mod rows;
pub mod score;
pub mod segment;
pub mod source;

use super::*;
use crate::error::Error;
use driver::{Argument, Driver, Launch, When};
use memory::{Buffer, Index, RawMat, Reading};
use std::sync::{Arc, Mutex};

/// A CUDA device with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct Cuda {
    driver: Arc<dyn Driver>,
    /// What went wrong in an operation.
    failure: Arc<Mutex<Option<String>>>,
}

type View<'a> = Mat<'a, Buffer>;
type ViewMut<'a> = MatMut<'a, Buffer>;

impl Cuda {
    /// Opens GPU `ordinal`; see [`nvidia::Nvidia::open`]. `cache` is the folder of compiled kernels.
    #[cfg(all(unix, feature = "cuda"))]
    pub fn open(ordinal: i32, math: Math, cache: &std::path::Path) -> Result<Self> {
        Ok(Self::on(Arc::new(nvidia::Nvidia::open(nvidia::Options { ordinal, math, cache })?)))
    }

    /// Errors: this build has no GPUs.
    #[cfg(not(all(unix, feature = "cuda")))]
    pub fn open(_: i32, _: Math, _: &std::path::Path) -> Result<Self> {
        let why =
            if cfg!(unix) { "this build is without the feature cuda" } else { "GPUs are used on Linux only" };
        Err(Error::Device(format!("{why}: use the CPU")))
    }

    /// The operations on a driver.
    pub fn on(driver: Arc<dyn Driver>) -> Self {
        Cuda { driver, failure: Arc::default() }
    }

    /// Why matrix products are slower than they could be, where they are.
    pub fn slow_products(&self) -> Option<String> {
        self.driver.slow_products()
    }

    /// Runs an operation unless an earlier one failed; keeps its error.
    fn attempt(&self, operation: impl FnOnce() -> Result<()>) {
        let mut failure = self.failure.lock().expect("no panic while it is held");
        if failure.is_none() {
            *failure = operation().err().map(|error| error.to_string());
        }
    }

    /// What went wrong in an operation: nothing after it was done.
    fn check(&self) -> Result<()> {
        let failure = self.failure.lock().expect("no panic while it is held");
        failure.as_ref().map_or(Ok(()), |what| Err(Error::Device(what.clone())))
    }

    /// Launches a kernel; an empty grid is no launch.
    fn launch(&self, kernel: &'static str, grid: [usize; 3], threads: u32, arguments: &[&dyn Argument]) {
        if grid.contains(&0) {
            return;
        }
        assert!(grid[0] < 1 << 31 && grid[1] < 1 << 16 && grid[2] < 1 << 16, "{kernel}: grid {grid:?}");
        let grid = grid.map(|n| n as u32);
        self.attempt(|| self.driver.launch(&Launch { kernel, grid, threads, arguments }));
    }

    /// Launches the kernel that has a thread per cell of `shape`, or where `wide` its twin that has one
    /// per four columns: see `cell` in `kernels/common.cuh`.
    fn cells(&self, kernels: [&'static str; 2], wide: bool, shape: RawMat, arguments: &[&dyn Argument]) {
        let cols = if wide { shape.cols / 4 } else { shape.cols };
        self.launch(kernels[usize::from(wide)], cell_grid(shape.rows, cols), 256, arguments);
    }
}

/// The most blocks in the second and in the third dimension of a grid.
const LOW: usize = (1 << 16) - 1;

/// Blocks of 256 threads for the cells of a matrix: those of 256 rows, then groups of 256 rows. See `cell` in
/// `kernels/common.cuh`.
fn cell_grid(rows: u32, cols: u32) -> [usize; 3] {
    let (rows, cols) = (rows as usize, cols as usize);
    let (cells, groups) = (rows.min(256) * cols, rows.div_ceil(256));
    let layers = groups.div_ceil(LOW).max(1);
    let grid = [cells.div_ceil(256), groups.div_ceil(layers), layers];
    // Threads count the cells of a group, and rows, by 32 bits.
    assert!(grid[0] <= 1 << 24 && grid[1] * grid[2] <= 1 << 24, "{rows} rows of {cols} columns");
    grid
}

/// The codes of activations in `kernels/common.cuh`.
fn activation_code(f: Activation) -> u32 {
    match f {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Softplus => 2,
    }
}

impl Clock for Cuda {
    fn moment(&self) -> Result<Option<Moment>> {
        self.check()?;
        self.driver.moment()
    }

    fn seconds_between(&self, from: Moment, to: Moment) -> Result<f64> {
        self.driver.seconds_between(from, to)
    }
}

impl Backend for Cuda {
    type Scalar = f32;
    type Buffer = Buffer;
    type Index = Index;
    type Reading = Reading;

    fn describe(&self) -> String {
        self.driver.describe()
    }

    fn memory(&self) -> Option<u64> {
        Some(self.driver.memory())
    }

    fn counters(&self) -> Counters {
        self.driver.counters()
    }

    fn clock(&self) -> Option<&dyn Clock> {
        Some(self)
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        self.check()?;
        let buffer = Buffer::new(&self.driver, len)?;
        if len > 0 {
            self.driver.zero(buffer.address(0, len), len * 4)?;
        }
        Ok(buffer)
    }

    fn upload(&self, data: &[f32], buffer: &mut Buffer, offset: usize) -> Result<()> {
        self.check()?;
        let address = buffer.address(offset, data.len());
        if data.is_empty() {
            return Ok(());
        }
        self.driver.upload(bytemuck::cast_slice(data), address, When::InOrder)
    }

    fn replace(&self, data: &[f32], buffer: &mut Buffer) -> Result<()> {
        self.check()?;
        buffer.replace(&self.driver, data)
    }

    fn read(&self, buffer: &Buffer, offset: usize, len: usize) -> Result<Reading> {
        self.check()?;
        Reading::start(&self.driver, buffer.address(offset, len), len)
    }

    fn finish(&self, reading: Reading) -> Result<Vec<f32>> {
        self.check()?;
        reading.finish()
    }

    fn download(&self, buffer: &Buffer, offset: usize, out: &mut [f32]) -> Result<()> {
        self.check()?;
        let address = buffer.address(offset, out.len());
        if out.is_empty() {
            return Ok(());
        }
        self.driver.download(address, bytemuck::cast_slice_mut(out))
    }

    fn index(&self, data: &[u32]) -> Result<Index> {
        self.check()?;
        Index::new(&self.driver, data)
    }

    fn set_index(&self, data: &[u32], index: &mut Index) -> Result<()> {
        self.check()?;
        index.set(&self.driver, data)
    }

    fn run<'a>(&'a self, op: impl Into<Op<On<'a, Self>>>) {
        let op = op.into();
        op.check();
        match op {
            Op::Rows(op) => rows::run(self, op),
            Op::Elementwise(op) => elementwise::run(self, op),
            Op::Projections(op) => project::run(self, op),
            Op::Layers(op) => linear::run(self, op),
            Op::Convolution(op) => convolution::run(self, op),
            Op::Normalisation(op) => normalise::run(self, op),
            Op::Segment(op) => segment::run(self, op),
            Op::Score(op) => score::run(self, op),
            Op::Losses(op) => loss::run(self, op),
            Op::LabelLosses(op) => label_loss::run(self, op),
            Op::Penalties(op) => penalty::run(self, op),
            Op::Clip(op) => clip::run(self, op),
            Op::Optimizers(op) => optimizer::run(self, op),
        }
    }

    fn rank(&self, kind: Scoring, task: RankTask<Self>, entities: View) -> Result<Vec<RankCount>> {
        self.check()?;
        rank::rank(self, kind, task, entities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cells that the threads of a grid have: the twin of `cell` in `kernels/common.cuh`.
    fn covered(rows: u32, cols: u32, [x, y, z]: [usize; 3]) -> u64 {
        let mut cells = 0;
        for group in (0..z as u32).flat_map(|k| (0..y as u32).map(move |j| k * y as u32 + j)) {
            // Threads of a group have cells 0..256 x of it, in 32 bits.
            let first = group.checked_mul(256).expect("a row is a number of 32 bits");
            assert!(x <= 1 << 24);
            let rows = rows.saturating_sub(first).min(256);
            cells += (u64::from(rows) * u64::from(cols)).min(256 * x as u64);
        }
        cells
    }

    #[test]
    fn a_grid_has_a_thread_for_every_cell_of_any_matrix() {
        let shapes = [
            (1, 1),
            (255, 3),
            (257, 400),
            // RESCAL with 512 columns, and with an odd number of them.
            (1088, 512 * 512),
            (1088, 511 * 511),
            // Entities of Freebase, in groups of four columns; a vector with a number for each.
            (86_054_151, 100),
            (86_054_151, 1),
            (1, 86_054_151),
            (65_535 * 256, 1),
            (65_535 * 256 + 1, 1),
            (u32::MAX - (1 << 16), 1),
            (1, u32::MAX - 256),
            (0, 7),
            (7, 0),
        ];
        for (rows, cols) in shapes {
            let grid = cell_grid(rows, cols);
            assert!(grid[0] < 1 << 31 && grid[1] <= LOW && grid[2] <= LOW, "{rows} x {cols}: {grid:?}");
            assert_eq!(
                covered(rows, cols, grid),
                u64::from(rows) * u64::from(cols),
                "{rows} x {cols}: {grid:?}"
            );
            // Only what the last group and the last layer have too much of is started for nothing.
            let spare = grid[1] * grid[2] - (rows as usize).div_ceil(256);
            assert!(spare < grid[2], "{rows} x {cols}: {spare} of {grid:?} have no rows");
        }
    }
}
