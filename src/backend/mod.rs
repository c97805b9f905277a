//! Who does the operations of a program: one trait, a twin per device.
//!
//! Reading order: this file (memory and matrices), `operands` (matrices as operands), [`workspace`] (the arrays of a program, and how it
//! is run), [`cpu`] (the fast one, every operation in the file of its family), [`reference`](mod@reference) (the same operations as plain
//! loops in float64: the oracle of the parity tests, and what the finite differences are run on), [`cuda`].
//!
//! What an operation means stands in [`ops`](crate::program::ops). All work on row-major matrices inside device buffers ([`Mat`],
//! [`MatMut`]). A backend knows nothing of queries or graphs. Shapes are checked when a program is written down and where an operation
//! starts; a violation is a bug of the caller and panics. Operations return nothing: an asynchronous device reports its errors at the next
//! call that returns a `Result`.

pub mod cpu;
pub mod cuda;
mod operands;
pub mod reference;
pub mod workspace;

pub use crate::program::ops::convolution::ConvolutionSize;
pub use crate::program::ops::dropout::Dropout;
pub use crate::program::ops::elementwise::{BETA_MAX, BETA_MIN, Function};
pub use crate::program::ops::label_loss::LabelLoss;
pub use crate::program::ops::linear::Activation;
pub use crate::program::ops::loss::{LossOptions, PoolLoss};
pub use crate::program::ops::normalise::NORM_EPSILON;
pub use crate::program::ops::optimizer::{AdagradStep, AdamStep, Optimizer, OptimizerStep};
pub use crate::program::ops::penalty::Penalty;
pub use crate::program::ops::project::Projection;
pub use crate::program::ops::score::Scoring;
pub use cpu::Cpu;
pub use cuda::Cuda;
pub use operands::On;
pub use reference::Reference;
pub use workspace::{Tables, Workspace};

use crate::error::{Error, Result};
use crate::program::Op;
use crate::storage::mmap::Numbers;

/// A read-only view of `rows x cols` scalars, row `i` at `offset + i * stride` of a buffer.
#[derive(Debug)]
pub struct Mat<'a, B> {
    /// The buffer.
    pub buffer: &'a B,
    /// Position of the first scalar.
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows.
    pub stride: usize,
}

/// A writable view, laid out like [`Mat`].
#[derive(Debug)]
pub struct MatMut<'a, B> {
    /// The buffer.
    pub buffer: &'a mut B,
    /// Position of the first scalar.
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows.
    pub stride: usize,
}

impl<B> Clone for Mat<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Mat<'_, B> {}

impl<'a, B> Mat<'a, B> {
    /// The first `rows` rows of a buffer with `cols` columns.
    pub fn new(buffer: &'a B, rows: usize, cols: usize) -> Self {
        Mat { buffer, offset: 0, rows, cols, stride: cols }
    }

    /// Rows `first..first + rows`.
    pub fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows {first}+{rows} of {}", self.rows);
        Mat { offset: self.offset + first * self.stride, rows, ..self }
    }

    /// Columns `first..first + cols`.
    pub fn columns(self, first: usize, cols: usize) -> Self {
        assert!(first + cols <= self.cols, "columns {first}+{cols} of {}", self.cols);
        Mat { offset: self.offset + first, cols, ..self }
    }
}

impl<B> Mat<'_, B> {
    /// A column as one row.
    pub(super) fn into_row(self) -> Self {
        assert!(self.cols == 1 && self.stride == 1, "a column of consecutive numbers");
        Mat { rows: 1, cols: self.rows, stride: self.rows, ..self }
    }
}

impl<B> MatMut<'_, B> {
    /// A column as one row.
    pub(super) fn into_row(self) -> Self {
        assert!(self.cols == 1 && self.stride == 1, "a column of consecutive numbers");
        let cols = self.rows;
        MatMut { rows: 1, cols, stride: cols, ..self }
    }
}

impl<'a, B> MatMut<'a, B> {
    /// The first `rows` rows of a buffer with `cols` columns.
    pub fn new(buffer: &'a mut B, rows: usize, cols: usize) -> Self {
        MatMut { buffer, offset: 0, rows, cols, stride: cols }
    }

    /// The same view for a shorter time.
    pub fn again(&mut self) -> MatMut<'_, B> {
        let MatMut { offset, rows, cols, stride, .. } = *self;
        MatMut { buffer: &mut *self.buffer, offset, rows, cols, stride }
    }

    /// Rows `first..first + rows`.
    pub fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows {first}+{rows} of {}", self.rows);
        MatMut { offset: self.offset + first * self.stride, rows, ..self }
    }

    /// The same view, to be read.
    pub fn as_mat(&self) -> Mat<'_, B> {
        let MatMut { offset, rows, cols, stride, .. } = *self;
        Mat { buffer: &*self.buffer, offset, rows, cols, stride }
    }

    /// Columns `first..first + cols`.
    pub fn columns(self, first: usize, cols: usize) -> Self {
        assert!(first + cols <= self.cols, "columns {first}+{cols} of {}", self.cols);
        MatMut { offset: self.offset + first, cols, ..self }
    }
}

/// What has a length.
pub trait Length {
    /// How many numbers there are.
    fn length(&self) -> usize;
}

impl Length for Vec<u32> {
    fn length(&self) -> usize {
        self.len()
    }
}

/// A buffer in host memory.
pub trait HostBuffer {
    /// What it holds.
    type Scalar;
    /// The scalars.
    fn as_slice(&self) -> &[Self::Scalar];
    /// The scalars, to be changed.
    fn as_mut_slice(&mut self) -> &mut [Self::Scalar];
}

impl<'a, B: HostBuffer> Mat<'a, B> {
    /// Row `i`.
    #[inline]
    pub fn row(&self, i: usize) -> &'a [B::Scalar] {
        debug_assert!(i < self.rows);
        &self.buffer.as_slice()[self.offset + i * self.stride..][..self.cols]
    }
}

impl<B: HostBuffer> MatMut<'_, B> {
    /// Row `i`.
    #[inline]
    pub fn row(&mut self, i: usize) -> &mut [B::Scalar] {
        debug_assert!(i < self.rows);
        &mut self.buffer.as_mut_slice()[self.offset + i * self.stride..][..self.cols]
    }
}

/// The precision of matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Math {
    /// Factors and sums of 32 bits.
    #[default]
    Fp32,
    /// On a GPU, factors with TF32's 10-bit mantissas and sums of 32 bits, by tensor cores; elsewhere as fp32.
    Tf32,
}

/// Parameters with the state of their optimizer.
#[derive(Debug)]
pub struct Parameters<B: Backend> {
    /// Number of rows.
    pub rows: usize,
    /// Columns of a row.
    pub cols: usize,
    /// The values.
    pub values: B::Buffer,
    /// What the optimizer keeps, `state[0]` columns: with Adam the running mean of the gradient.
    pub first: B::Buffer,
    /// The same, `state[1]` columns: with Adam the running mean of the squared gradient.
    pub second: B::Buffer,
    /// See [`Optimizer::state`]; zeros on a table that is not trained.
    pub state: [usize; 2],
    /// Whether `values` holds a row's value, first and second moment side by side, `3 * cols` scalars a row,
    /// and `first` and `second` nothing: so a table in a file has it. Only backends with [`Backend::map`] take it.
    pub interleaved: bool,
}

impl<B: Backend> Parameters<B> {
    /// The values as a matrix.
    pub fn mat(&self) -> Mat<'_, B::Buffer> {
        let Parameters { rows, cols, values, .. } = self;
        let stride = if self.interleaved { 3 * cols } else { *cols };
        Mat { buffer: values, offset: 0, rows: *rows, cols: *cols, stride }
    }
}

/// All trained numbers of a model.
#[derive(Debug)]
pub struct Weights<B: Backend> {
    /// One row per entity.
    pub entities: Parameters<B>,
    /// One row per directed relation.
    pub relations: Parameters<B>,
    /// Parameters of the networks, in the model's order.
    pub dense: Vec<Parameters<B>>,
}

/// Rows of a gradient that belong to one row of a table, grouped.
#[derive(Clone, Copy, Debug)]
pub struct GroupLists<'a> {
    /// Distinct row numbers, ascending.
    pub ids: &'a [u32],
    /// Bounds of each group in `members`.
    pub offsets: &'a [u32],
    /// Rows of the gradient, in the order in which they are added.
    pub members: &'a [u32],
}

/// [`GroupLists`] on the device.
#[derive(Debug)]
pub struct DeviceGroups<B: Backend> {
    /// Distinct row numbers, ascending.
    pub ids: B::Index,
    /// Bounds of each group in `members`.
    pub offsets: B::Index,
    /// Rows of the gradient that belong to a group, in the order in which they are added.
    pub members: B::Index,
}

/// What to rank: thresholds per query, in the order of the queries.
#[derive(Debug)]
pub struct RankTask<'a, B: Backend> {
    /// Roots of query `q` are rows `root_offsets[q]..root_offsets[q + 1]` of the queries; its score of
    /// an entity is the best of theirs.
    pub root_offsets: &'a [u32],
    /// Query embeddings.
    pub queries: Mat<'a, B::Buffer>,
    /// Targets of query `q` are `targets[target_offsets[q]..target_offsets[q + 1]]`.
    pub target_offsets: &'a [u32],
    /// Entities to be ranked.
    pub targets: &'a [u32],
    /// Entities of query `q` to be left out: `filter[filter_offsets[q]..filter_offsets[q + 1]]`, distinct.
    pub filter_offsets: &'a [u32],
    /// Entities to be left out.
    pub filter: &'a [u32],
}

/// How many entities do better than a target, and how many exactly as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankCount {
    /// Entities with a greater score.
    pub better: u32,
    /// Other entities with the same score.
    pub equal: u32,
}

/// What was asked of a device since it was opened, and how long the host waited for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Counters {
    /// Kernels.
    pub launches: u64,
    /// Matrix products by a library, which launches kernels of its own.
    pub products: u64,
    /// Copies to the device.
    pub uploads: u64,
    /// Bytes of them.
    pub uploaded_bytes: u64,
    /// Seconds in which the host waited for memory to put a copy in, because the device was behind.
    pub upload_wait_seconds: f64,
    /// Seconds in which the host waited for numbers from the device.
    pub download_wait_seconds: f64,
}

impl std::ops::Sub for Counters {
    type Output = Counters;

    fn sub(self, before: Counters) -> Counters {
        Counters {
            launches: self.launches - before.launches,
            products: self.products - before.products,
            uploads: self.uploads - before.uploads,
            uploaded_bytes: self.uploaded_bytes - before.uploaded_bytes,
            upload_wait_seconds: self.upload_wait_seconds - before.upload_wait_seconds,
            download_wait_seconds: self.download_wait_seconds - before.download_wait_seconds,
        }
    }
}

/// A moment on a device's own clock: see [`Clock::moment`].
#[derive(Debug)]
pub struct Moment(#[cfg_attr(not(feature = "cuda"), allow(dead_code))] pub(crate) u64);

/// What the numbers of a device are on the host.
pub trait Number: Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The nearest one to a number.
    fn of(value: f64) -> Self;
    /// Its value.
    fn value(self) -> f64;
}

impl Number for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }

    fn value(self) -> f64 {
        f64::from(self)
    }
}

impl Number for f64 {
    fn of(value: f64) -> f64 {
        value
    }

    fn value(self) -> f64 {
        self
    }
}

/// A device's own clock.
pub trait Clock {
    /// The moment at which everything that was asked for so far is done; `None` where it does not tell.
    fn moment(&self) -> Result<Option<Moment>>;
    /// Seconds between two moments; waits for the second.
    fn seconds_between(&self, from: Moment, to: Moment) -> Result<f64>;
}

/// Whether operations run on the host's cores, which other threads then take from them.
pub fn on_host(backend: &impl Backend) -> bool {
    backend.memory().is_none()
}

/// The operations.
pub trait Backend: Sized + Send + Sync + std::fmt::Debug + 'static {
    /// What buffers hold.
    type Scalar: Number;
    /// Scalars on the device.
    type Buffer: Length + Send + Sync + std::fmt::Debug;
    /// 32-bit row numbers, offsets or mask words on the device.
    type Index: Length + Send + Sync + std::fmt::Debug;
    /// Scalars on their way from the device.
    type Reading: Send + std::fmt::Debug;

    /// Device and instruction set, for people.
    fn describe(&self) -> String;

    /// Bytes of the device's own memory; `None` where it works in the host's.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// What was asked of the device so far; zeros where nothing stands between it and the host.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Its clock, where it has one.
    fn clock(&self) -> Option<&dyn Clock> {
        None
    }

    // Memory.

    /// `len` zeros. Errors when the device has not enough memory.
    fn zeros(&self, len: usize) -> Result<Self::Buffer>;
    /// A buffer of numbers that stay in their mapped file. Errors where the device works in memory of its own.
    fn map(&self, numbers: Numbers) -> Result<Self::Buffer> {
        let _ = numbers;
        Err(Error::invalid(format!("{} cannot work on rows in a file: use --device cpu", self.describe())))
    }
    /// Copies host scalars to `buffer[offset..]`.
    fn upload(&self, data: &[Self::Scalar], buffer: &mut Self::Buffer, offset: usize) -> Result<()>;
    /// Replaces the first scalars of a buffer; those behind them may be anything then. Other than with [`Backend::upload`],
    /// a device may copy while it still works on the old ones.
    fn replace(&self, data: &[Self::Scalar], buffer: &mut Self::Buffer) -> Result<()> {
        self.upload(data, buffer, 0)
    }
    /// Starts to copy `len` scalars of `buffer[offset..]` to the host, as they are after all operations so far.
    fn read(&self, buffer: &Self::Buffer, offset: usize, len: usize) -> Result<Self::Reading>;
    /// What a reading has read; waits for it.
    fn finish(&self, reading: Self::Reading) -> Result<Vec<Self::Scalar>>;
    /// Copies `buffer[offset..]` to host scalars; waits for what was started before.
    fn download(&self, buffer: &Self::Buffer, offset: usize, out: &mut [Self::Scalar]) -> Result<()>;
    /// An index with these numbers.
    fn index(&self, data: &[u32]) -> Result<Self::Index>;
    /// Replaces the numbers of an index, reusing its memory where it can.
    fn set_index(&self, data: &[u32], index: &mut Self::Index) -> Result<()>;

    /// Does an operation, after [`Op::check`].
    fn run<'a>(&'a self, op: impl Into<Op<On<'a, Self>>>);

    /// For every target: how many entities, without the query's filter, beat it or equal it.
    ///
    /// A query's score is NaN only where those of all its roots are. NaN ranks last: a NaN target is beaten
    /// by every entity, and an entity with a NaN score neither beats nor equals a number. `scores` is never
    /// stored beyond a tile.
    fn rank(
        &self,
        kind: Scoring,
        task: RankTask<Self>,
        entities: Mat<Self::Buffer>,
    ) -> Result<Vec<RankCount>>;
}
